"""What each room, each inbox and each lane may keep: it follows from how many rooms and members there are, and no more.

Whoever sees something evicted learns nothing by it but what is public. A share shrinks when a room is founded or a
member enters, and never because somebody else said something. Half of the memory is shared out evenly among the rooms,
half by their members. Counts are rounded up to powers of two, so that shares rarely change, and tell little of others'
rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from protocol.limits import RelayLimits

LEAST: Final = 32 * 1024
"""What a lane of asides may keep at least, if its inbox has so much: some texts. In a room so large that all lanes
together could then keep more than an inbox has, those lose their oldest who keep most in that inbox."""


class Quota:
    """What all lanes of a shelf may keep together, and one lane, in bytes. ``shrunk`` counts how often it got less."""

    __slots__ = ("lane", "shelf", "shrunk")

    def __init__(self, shelf: int = 0, lane: int = 0) -> None:
        self.shelf, self.lane, self.shrunk = shelf, min(lane, shelf), 0

    def become(self, shelf: int, lane: int) -> None:
        lane = min(lane, shelf)
        if shelf < self.shelf or lane < self.lane:
            self.shrunk += 1
        self.shelf, self.lane = shelf, lane


class Shares:
    """How many rooms and members there are, in all rooms together, and what follows for one."""

    __slots__ = ("_bounds", "members", "rooms")

    def __init__(self, bounds: RelayLimits) -> None:
        self._bounds = bounds
        self.rooms = 0
        self.members = 0

    def count(self, *, rooms: int, members: int) -> None:
        """Take note of so many more."""
        self.rooms += rooms
        self.members += members

    def posts(self, quota: Quota, members: int) -> None:
        """Say what a room of so many ``members`` may keep of its posts."""
        shelf = min(self._bounds.bytes_per_room, self._share(self._bounds.bytes_of_posts, members))
        quota.become(shelf, self._bounds.bytes_per_sender)

    def asides(self, quota: Quota, members: int) -> None:
        """Say what each member of a room may be kept in asides, and as much again in chain keys."""
        people = _rounded(members)
        shelf = self._share(self._bounds.bytes_of_asides, members) // people // 2
        quota.become(shelf, min(self._bounds.bytes_per_pair, max(LEAST, shelf // max(1, people - 1))))

    def _share(self, most: int, members: int) -> int:
        half = most // 2
        return half // _rounded(self.rooms) + half * members // _rounded(self.members)


def _rounded(count: int) -> int:
    return 1 << (max(1, count) - 1).bit_length()
