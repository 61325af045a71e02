"""The benchmark runs: against our relay alone, briefly, with every message counted. What it measures is not judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench import profile
from bench.measure import Spread, cpu_seconds, percentile
from bench.report import Report, Result

ROOT = Path(__file__).parents[2]


def test_it_measures_our_relay(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--only", "backchannel", "--work", "aside256", "fan10", "--burst", "8"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--seconds", "0.05"],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "build/bench/compare.json").read_text())["results"]
    assert [(result["work"], result["burst"]) for result in found] == [("aside256", 8), ("fan10", 8)]
    for result in found:
        assert result["deliveries"] > 0 < result["cpu_us"], result
    assert "| fan10 | 8 |" in done.stdout


def test_a_ratio_is_taken_within_each_round() -> None:
    ours, theirs = (2.0, 40.0, 3.0), (1.0, 10.0, 3.0)
    results = [
        Result(number, server, "fan10", 8, {"cpu_us": values[number]})
        for server, values in (("backchannel", ours), ("nats", theirs))
        for number in range(3)
    ]
    report = Report({}, [*results, Result(0, "redis", "fan10", 8, {"cannot": "not today"})])
    assert report.ratio("nats", ("fan10", 8), "cpu_us") == Spread(2, 1, 4)
    assert "| fan10 | 8 | 3 | 3 | - |" in report.markdown()
    assert "redis, fan10: not today" in report.markdown()


def test_the_cpu_time_of_another_process_is_read() -> None:
    with subprocess.Popen([sys.executable, "-c", "sum(range(10**6)); print(); input()"], stdin=-1, stdout=-1) as child:
        child.stdout.readline()
        used = cpu_seconds(child.pid)
        child.stdin.close()
    assert 0 < used < 30


def test_a_percentile_is_one_of_the_samples() -> None:
    assert [percentile([3, 1, 2, 4], percent) for percent in (0, 50, 99)] == [1, 3, 4]


def test_the_steps_of_a_post_are_told_apart() -> None:
    in_core = profile._core(members=2, posts=8, rounds=1)
    assert tuple(in_core) == profile.STEPS
    assert all(instructions > 0 for _, instructions in in_core.values())
