"""Runs one work against one server: starts the server, gives the work to a load process, and returns what it cost."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from bench.loads.__main__ import task
from bench.servers import CannotStart, Server
from bench.works import Work

PATIENCE: Final = 300
OUT: Final = Path("build/bench")

Figures: TypeAlias = Mapping[str, Any]
"""What a work cost by name: numbers, or under ``cannot`` or ``failed`` why there are none."""


def run(server: Server, work: Work, burst: int, seconds: float) -> Figures:
    """Start a server, do a work in bursts of so many messages for so long, and stop the server."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            with server.running(Path(folder)) as running:
                done = subprocess.run(
                    [sys.executable, "-m", "bench.loads"],
                    input=task(running, work, burst, seconds),
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=PATIENCE,
                )
        except CannotStart as error:
            return {"cannot": str(error)}
        except subprocess.TimeoutExpired:
            return {"failed": f"not done after {PATIENCE} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().rpartition("\n")[2]}
    figures: Figures = json.loads(done.stdout)
    return figures


def summary(figures: Figures) -> str:
    """Return the figures in a line."""
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in figures.items()}
    return "  ".join(f"{key} {value}" for key, value in shown.items())


def circumstances(servers: Iterable[Server]) -> dict[str, str]:
    """Return where, when and with what it was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python -m", Path(sys.argv[0]).parent.name, *sys.argv[1:]]),
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{server.program: server.version() for server in servers},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
