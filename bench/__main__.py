"""``python -m bench``: run works against servers, in turn, several rounds, and report.

A round does every work with every server, one after the other on the same machine, so that whatever else the machine
does falls on all of them alike; what is compared is then the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.loads.__main__ import task
from bench.servers import SERVERS, CannotStart
from bench.works import WORKS, Work

PATIENCE: Final = 300


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare the relay with other servers.")
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS), help="these servers")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS), help="these works")
    parser.add_argument("--burst", nargs="+", type=int, help="messages written at once, in place of each work's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a work is measured each time")
    options = parser.parse_args()
    for _ in range(options.rounds):
        for work in (WORKS[name] for name in options.work):
            for burst in options.burst or work.bursts:
                for name in options.only:
                    result = run(name, work, burst, options.seconds)
                    print(f"{name:18} {work.name} by {burst}: {summary(result)}", flush=True)


def summary(result: dict[str, float | str]) -> str:
    """Return the figures in a line."""
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items()
    )


def run(name: str, work: Work, burst: int, seconds: float) -> dict[str, float | str]:
    """Start a server, do a work, and return what it cost."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            with SERVERS[name].running(Path(folder)) as server:
                done = subprocess.run(
                    [sys.executable, "-m", "bench.loads"],
                    input=task(server, work, burst, seconds),
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=PATIENCE,
                )
        except CannotStart as error:
            return {"cannot": str(error)}
    if done.returncode:
        return {"failed": done.stderr[-500:]}
    result: dict[str, float | str] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
