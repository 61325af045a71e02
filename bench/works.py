"""The work that every server is given alike: who sends what to whom, how much at once, and what is measured.

A group is a room or a pair: one who sends, and those who receive. It sends in bursts, encoded beforehand and written at
once, as a busy peer would, and has at most two of them on their way. Bodies are as long for all servers, but in the
works named *sealed*: there a person says 256 bytes, and ours carries what sealing and encrypting make of them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Measured(enum.StrEnum):
    """What a work is about."""

    THROUGHPUT = "throughput"
    """CPU per delivery and deliveries per second, with as much on its way as two bursts of every group."""
    LATENCY = "latency"
    """From sending to receiving: one message at a time, then at half of the rate that was reached before."""
    CONNECTIONS = "connections"
    """Handshakes, and memory of members who are there and say nothing."""


@dataclass(frozen=True, slots=True)
class Work:
    """One work. ``members`` is how many receive what one of the group sends; a work without rooms is 1 to 1."""

    name: str
    measured: Measured
    groups: int
    members: int
    room: bool
    body: int
    burst: int
    sealed: bool = False


def _work(name: str, groups: int, members: int, body: int, burst: int, *, sealed: bool = False) -> Work:
    return Work(name, Measured.THROUGHPUT, groups, members, members > 1, body, burst, sealed)


BURST = 64

WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        _work("aside256", 1, 1, 256, BURST),
        _work("aside4k", 1, 1, 4096, BURST),
        _work("fan10", 1, 10, 256, BURST),
        _work("fan50", 1, 50, 256, BURST),
        _work("fan500", 1, 500, 256, BURST),
        _work("rooms50x20", 50, 20, 256, 8),
        _work("aside256-sealed", 1, 1, 256, BURST, sealed=True),
        _work("fan50-sealed", 1, 50, 256, BURST, sealed=True),
        _work("aside256-by-1", 1, 1, 256, 1),
        _work("aside256-by-8", 1, 1, 256, 8),
        _work("fan50-by-1", 1, 50, 256, 1),
        _work("fan50-by-8", 1, 50, 256, 8),
        Work("latency-aside", Measured.LATENCY, 1, 1, False, 256, 8),
        Work("latency-fan50", Measured.LATENCY, 1, 50, True, 256, 8),
        Work("idle2000", Measured.CONNECTIONS, 40, 50, True, 256, 1),
        Work("idle200", Measured.CONNECTIONS, 4, 50, True, 256, 1),
    )
}
