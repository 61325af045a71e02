"""How much memory a relay can grow to: it follows from its limits, and is said when it starts.

This is for the process (its resident set). The kernel's own buffers come on top, up to ``kernel`` bytes, and count
where a service has a limit of memory. One thing is bounded by no setting of ours: ZeroMQ gathers the parts of a message
before anybody sees the first, so somebody who sends a message of very many parts can make the process larger until its
end, and is cut then. For that a service needs a limit of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay import pipes
from relay.core.session import UNREAD

if TYPE_CHECKING:
    from protocol.limits import RelayLimits

PROCESS: Final = 96 * 1024 * 1024
"""The interpreter and what it has loaded, what one turn takes in and gives out, buckets, and who was cut of late."""
CONNECTION: Final = 64 * 1024
"""A connection that says nothing: measured are 30 to 40 KiB."""
ATTACHMENT: Final = 1_024
SLACK: Final = 8
"""One part in so many is lost between the blocks of memory that are in use."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The parts of it, in bytes."""

    connections: int
    retained: int
    rooms: int
    returning: int
    """Logs of rooms that come back."""
    kernel: int

    @property
    def total(self) -> int:
        """What the process can grow to."""
        parts = self.connections + self.retained + self.rooms + self.returning
        return PROCESS + parts + parts // SLACK


def ceiling(bounds: RelayLimits, connections: int) -> Ceiling:
    """Return what a relay can grow to of which so many connections are taken, those before HELLO included."""
    known = min(bounds.connections, connections)
    attached = bounds.rooms_per_connection * ATTACHMENT
    return Ceiling(
        connections=connections * (CONNECTION + pipes.MOST_IN) + known * (pipes.MOST_OUT + UNREAD + attached),
        retained=bounds.bytes_of_posts + bounds.bytes_of_asides,
        rooms=bounds.bytes_of_rooms,
        returning=bounds.bytes_gathered,
        kernel=connections * 4 * pipes.BUFFER,
    )


def give_back() -> None:
    """Give the system back what is free inside the process: the C library keeps it otherwise. Elsewhere do nothing."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
