"""The work that every server is given alike: who sends what to whom, how much at once, and what is measured.

A group is a room or a pair: one who sends, and those who receive. It sends in bursts, encoded beforehand and written at
once, as a busy peer would, and has at most two of them on their way. How large they are decides what a delivery costs
more than anything else does, for every server, so each work is done with several. Bodies are as long for all servers,
but in the works named *sealed*: there a person says 256 bytes, and ours carries what sealing makes of them.
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
    GROWTH = "growth"
    """CPU of the server after so many deliveries, and so many more."""
    CONNECTIONS = "connections"
    """Handshakes, and memory of members who are there and say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One work. ``members`` is how many receive what one of the ``groups`` sends; without a room it is 1 to 1."""

    name: str
    measured: Measured = Measured.THROUGHPUT
    groups: int = 1
    members: int = 1
    body: int = 256
    """Bytes that are sent, or (``sealed``) that a person says: theirs are as long, ours as sealing makes them."""
    bursts: tuple[int, ...] = (1, 8, 64)
    """How many messages are written at once: the work is done with each of these."""
    sealed: bool = False

    bystanders: int = 0
    """Members of the pair's room who are neither of the two."""
    others: int = 0
    """Other rooms, of two members who say nothing."""
    retained: int = 0
    """Messages that the group has sent before."""

    quick: bool = False
    """Whether a run that should be over soon has it."""

    @property
    def room(self) -> bool:
        """Whether this is a room and not a pair."""
        return self.members > 1


WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        Work(name="aside256", quick=True),
        Work(name="aside4k", body=4096, bursts=(8, 64)),
        Work(name="fan10", members=10, quick=True),
        Work(name="fan50", members=50, quick=True),
        Work(name="fan500", members=500, quick=True),
        Work(name="rooms50x20", groups=50, members=20, bursts=(1, 8)),
        Work(name="aside-sealed", bursts=(8,), sealed=True),
        Work(name="fan50-sealed", members=50, bursts=(8,), sealed=True),
        Work(name="latency-aside", measured=Measured.LATENCY, bursts=(8,), quick=True),
        Work(name="latency-fan50", measured=Measured.LATENCY, members=50, bursts=(8,)),
        Work(name="idle2000", measured=Measured.CONNECTIONS, groups=40, members=50, bursts=(1,)),
    )
}
