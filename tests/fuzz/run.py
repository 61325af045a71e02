"""Run the fuzzers of ``targets`` under atheris, which mutates what reached new code: ``make fuzz`` calls this.

Each target has a process of its own, as many at once as there are cores. It begins with the corpus beside this file
and the target's seeds. What makes one fail is written to ``tests/fuzz/found`` and printed; put it into the corpus with
the fix, so that every test run replays it. ``--keep`` adds to the corpus what reached code that nothing in it reaches.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
PACKAGES = ["protocol", "peer", "relay"]


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


def hunt(target: str, seconds: int, keep: bool) -> bool:
    """Fuzz one target for so long; say whether it withstood."""
    from tests.fuzz.targets import TARGETS

    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        grown = Path(folder)
        for number, seed in enumerate(TARGETS[target].seeds):
            (grown / f"seed-{number}").write_bytes(seed)
        limits = [f"-max_len={TARGETS[target].longest}", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]
        prefix = f"-artifact_prefix={FOUND}/{target}-"
        ended = start(target, str(grown), str(kept), f"-max_total_time={seconds}", prefix, *limits)
        figures = dict(line.split()[0:2] for line in ended.stderr.splitlines() if line.startswith("stat::"))
        print(f"{target:14} {figures.get('stat::number_of_executed_units:', '?'):>9} inputs", end="  ")
        print("withstood" if ended.returncode == 0 else f"FAILED\n{ended.stdout}{ended.stderr}", flush=True)
        if keep and ended.returncode == 0:
            start(target, str(kept), str(grown), "-merge=1", "-use_counters=0", *limits[:2])
    return ended.returncode == 0


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

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        withstood = list(pool.map(lambda name: hunt(name, known.seconds, known.keep), known.targets or TARGETS))
    sys.exit(0 if all(withstood) else 1)


if __name__ == "__main__":
    main()
