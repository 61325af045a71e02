"""Run the fuzzers of ``targets`` under atheris, which mutates what reached new code: ``make fuzz`` calls this.

Each target has a process of its own, as many at once as there are cores. It begins with the corpus beside this file
and the target's seeds. What makes one fail is written to ``tests/fuzz/found`` and printed; put it into the corpus with
the fix, so that every test run replays it. ``--keep`` adds to the corpus what reached code that nothing in it reaches.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.target import Target

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
PACKAGES = ["protocol", "peer", "relay"]
OURS = tuple(str(HERE.parents[1] / package) for package in PACKAGES)


def fuzz(target: str, arguments: list[str]) -> None:
    """Be the process of one target; it ends when libFuzzer says so."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target].feed)
    atheris.Fuzz()


def start(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one target in a process of its own, and return how it ended."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--only", target, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=HERE.parents[1])


def hunt(target: str, seconds: int, grown: Path) -> bool:
    """Fuzz one target for so long, and let its inputs grow in a folder; say whether it withstood."""
    from tests.fuzz.targets import TARGETS

    grown.mkdir()
    for number, seed in enumerate(TARGETS[target].seeds):
        (grown / f"seed-{number}").write_bytes(seed)
    bounds = [f"-max_len={TARGETS[target].longest}", "-timeout=10", "-rss_limit_mb=1024"]
    report = [f"-max_total_time={seconds}", f"-artifact_prefix={FOUND}/{target}-", "-print_final_stats=1"]
    ended = start(target, str(grown), str(CORPUS / target), *bounds, *report)
    figures = dict(line.split()[:2] for line in ended.stderr.splitlines() if line.startswith("stat::"))
    print(f"{target:14} {figures.get('stat::number_of_executed_units:', '?'):>9} inputs", end="  ")
    print("withstood" if ended.returncode == 0 else f"FAILED\n{ended.stdout}{ended.stderr}", flush=True)
    return ended.returncode == 0


def minimise(target: Target, grown: Path, kept: Path) -> None:
    """Add to the corpus, the smallest first, what runs a line that neither the seeds nor anything kept runs."""
    known = set().union(
        *(lines(target, data) for data in [*target.seeds, *(path.read_bytes() for path in kept.iterdir())])
    )
    for data in sorted((path.read_bytes() for path in grown.iterdir()), key=len):
        reached = lines(target, data)
        if not reached <= known:
            known |= reached
            (kept / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def lines(target: Target, data: bytes) -> set[tuple[str, int]]:
    """Return every line of ours that runs when a target is fed."""
    ran = set()

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        ran.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        target.feed(data)
    finally:
        sys.settrace(before)
    return ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="which ones; all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for how long, each")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reaches new code")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    known, rest = parser.parse_known_args()
    if known.only:
        fuzz(known.only, [*known.targets, *rest])
        return
    from tests.fuzz.targets import TARGETS

    names = known.targets or list(TARGETS)
    for folder in (FOUND, *(CORPUS / name for name in names)):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as grown, ThreadPoolExecutor(os.cpu_count()) as pool:
        withstood = list(pool.map(lambda name: hunt(name, known.seconds, Path(grown, name)), names))
        for name in names if known.keep else ():
            minimise(TARGETS[name], Path(grown, name), CORPUS / name)
    sys.exit(0 if all(withstood) else 1)


if __name__ == "__main__":
    main()
