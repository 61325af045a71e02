"""What is measured of a server's process, and how samples become figures.

CPU time comes from the process's own clock: user and system time of all its threads, those that have ended included,
exact to the nanosecond where ``/proc/PID/stat`` counts hundredths of seconds of the same.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that the process has used so far, all threads together."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)  # what clock_getcpuclockid(3) gives for another process


def user_share(pid: int) -> tuple[int, int]:
    """Return the ticks of user and of system time so far: how the CPU time divides, not how much it is."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def resident_bytes(pid: int) -> int:
    """Return what of the process's memory lies in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the sample below which ``percent`` of all lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several rounds, the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))
