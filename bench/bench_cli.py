"""How long a command takes from the shell's point of view, beside the least that a click program can take.

One run measures three things in turn, round after round, so that whatever else the machine does falls on all of
them: a bare click program's `--help`, `backchannel --help`, and a one-shot `backchannel send` to a relay on
loopback. It compares medians with the goals, says whether they are met, and never fails: a busy machine is no
broken build.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BARE = """\
import click

@click.group()
def cli():
    "A program that does nothing, with as many commands as one has."

@cli.command()
@click.argument("room")
@click.option("--to", multiple=True, help="Whom.")
def send(room, to):
    "Send."

cli()
"""
HELP_GOAL = 1.6
SEND_GOAL = 5.0
PATIENCE = 60
"""Seconds after which a command that has not ended is given up."""


@dataclass(slots=True)
class Contender:
    """A command, what it may cost as a multiple of the bare program, and what it took so far, in seconds."""

    name: str
    command: list[str]
    goal: float | None = None
    took: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run the command once and note the time."""
        began = time.perf_counter()
        subprocess.run(self.command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=PATIENCE)
        self.took.append(time.perf_counter() - began)

    @property
    def median(self) -> float:
        """Return the median, in seconds."""
        return statistics.median(self.took)


@contextlib.contextmanager
def relay(home: Path) -> Iterator[str]:
    """Run a relay on loopback and give its address."""
    command = [installed("backchannel-relay"), "run", "--bind", "127.0.0.1:0", "--log-level", "warning"]
    command += ["--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(PATIENCE)


def installed(name: str) -> str:
    """Return the command that was installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="how often each is run (default: %(default)s)")
    rounds = parser.parse_args().rounds

    with tempfile.TemporaryDirectory() as folder, relay(Path(folder, "relay")) as address:
        os.environ["BACKCHANNEL_HOME"] = str(Path(folder, "alice"))
        backchannel = installed("backchannel")
        bare = Path(folder, "bare.py")
        bare.write_text(BARE)
        create = [backchannel, "create", "bench", "--relay", address, "--nick", "alice"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)

        contenders = [
            Contender("a bare click program's --help", [sys.executable, str(bare), "--help"]),
            Contender("backchannel --help", [backchannel, "--help"], HELP_GOAL),
            Contender("backchannel send", [backchannel, "send", "bench", "hello"], SEND_GOAL),
        ]
        for contender in contenders:
            contender.run()  # warms the caches of the disk and of Python
            contender.took.clear()
        for _ in range(rounds):
            for contender in contenders:
                contender.run()

    least = contenders[0].median
    print(f"medians of {rounds} interleaved rounds")
    for contender in contenders:
        line = f"{contender.name:32}{contender.median * 1e3:8.1f} ms{contender.median / least:7.2f} x bare"
        if contender.goal is not None:
            verdict = "met" if contender.median <= contender.goal * least else "NOT met"
            line += f"   goal {contender.goal:.1f}: {verdict}"
        print(line)


if __name__ == "__main__":
    main()
