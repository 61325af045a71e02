"""What a process weighs and works: read from /proc, so on Linux alone."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1024 * 1024


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def worked(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def median(sorted_values: list[int]) -> int:
    assert sorted_values
    return sorted_values[len(sorted_values) // 2]
