"""``python -m bench``: run works against servers, in turn, several rounds, and report.

A round does every work with every server, one after the other on the same machine, so that whatever else the machine
does falls on all of them alike; what is compared is then the ratio within a round.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from bench.report import Report, Result
from bench.run import OUT, circumstances, run, summary
from bench.servers import SERVERS
from bench.works import WORKS


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare the relay with other servers.")
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS), help="these servers")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS), help="these works")
    parser.add_argument("--burst", nargs="+", type=int, help="messages written at once, in place of each work's own")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a work is measured (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a minute or two: the main works, once")
    options = parser.parse_args()
    works = [WORKS[name] for name in options.work]
    if options.quick:
        options.rounds, options.seconds, options.burst = 1, 0.5, options.burst or [8]
        works = [work for work in works if work.quick]

    servers = {name: SERVERS[name] for name in options.only if SERVERS[name].path()}
    for absent in [name for name in options.only if name not in servers]:
        print(f"{absent}: not installed here, so not measured (make bench-servers)", file=sys.stderr)
    results: list[Result] = []
    report = Report(circumstances(servers.values()), results)
    for number in range(options.rounds):
        for work in works:
            for burst in options.burst or work.bursts:
                for name, server in servers.items():
                    figures = run(server, work, burst, options.seconds)
                    results.append(Result(number, name, work.name, burst, figures))
                    print(f"{number + 1}: {name:18} {work.name} by {burst}: {summary(figures)}", file=sys.stderr)
        _write(report)  # so that a run that is broken off has its rounds
    print(report.markdown())
    print(f"\nJSON, tables and plots are in {OUT}.", file=sys.stderr)


def _write(report: Report) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "compare.json").write_text(report.json())
    (OUT / "compare.md").write_text(report.markdown())
    if importlib.util.find_spec("matplotlib"):
        for kind in ("png", "svg"):
            report.plot(OUT / f"compare.{kind}")


if __name__ == "__main__":
    main()
