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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="how long a work is measured each time")
    options = parser.parse_args()
    for _ in range(options.rounds):
        for work in (WORKS[name] for name in options.work):
            for name in options.only:
                print(name, work.name, json.dumps(run(name, work, options.seconds)), flush=True)


def run(name: str, work: Work, seconds: float) -> dict[str, float | str]:
    """Start a server, do a work, and return what it cost."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            with SERVERS[name].running(Path(folder)) as server:
                done = subprocess.run(
                    [sys.executable, "-m", "bench.loads"],
                    input=task(server, work, seconds),
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    timeout=PATIENCE,
                )
        except CannotStart as error:
            return {"cannot": str(error)}
    result: dict[str, float | str] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
