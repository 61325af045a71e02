"""How much the lanes of many streams may keep together, and who loses when that is used up.

A lane is granted memory in steps as it fills, so a message that fits into what its lane has been granted costs nothing
here. When a pool is used up, a lane that needs more takes it from the largest: those lose their oldest, a quarter at a
time, until all that are large are about alike. A lane that is itself among the largest goes without, and loses its own
oldest. So whoever keeps little never loses anything, whatever others do, and a flood drowns itself. Lanes count as
alike up to a factor of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.core.counts import Counts
    from relay.core.stream import Lane

STEP: Final = 3 * 1024
"""The least that a lane is granted at once; later it is a quarter of what it has."""


class Pool:
    """See the module's text. ``limit`` is the name of its bound, ``most`` bytes; all of it counts in ``above``, too."""

    __slots__ = ("_line", "_most", "_ranks", "counts", "limit", "size")

    def __init__(self, limit: str, most: int, counts: Counts, above: Pool | None = None) -> None:
        self.limit = limit
        self._most = most
        self._line: tuple[Pool, ...] = (self, above) if above else (self,)
        self._ranks: dict[int, dict[Lane, None]] = {}
        """The lanes that have been granted something, by how many bits that takes."""
        self.counts = counts
        self.size = 0
        """The bytes granted."""

    def grow(self, lane: Lane, most: int) -> str:
        """Grant a lane one step more, but not over ``most`` bytes in all, of which it has less.

        Return the name of the limit that is in the way, or nothing.
        """
        step = min(max(STEP, lane.granted // 4), most - lane.granted)
        for pool in self._line:
            if not pool.find(step, lane):
                return pool.limit
        self._grant(lane, lane.granted + step)
        return ""

    def settle(self, lane: Lane) -> None:
        """Take back what a lane does not need any more; it has lost messages."""
        if not lane.numbers:
            self._grant(lane, 0)
        elif lane.size * 2 < lane.granted:
            self._grant(lane, lane.size + lane.size // 4)

    def evict(self, lane: Lane, limit: str) -> None:
        """Drop the oldest message of a lane, for the sake of a limit."""
        size = lane.shelf.drop_oldest(lane)
        self.counts.evicted[limit] += 1
        self.counts.evicted_bytes[limit] += size

    def shrink(self, lane: Lane, limit: str) -> None:
        """Take a quarter from a lane, and with it its oldest messages."""
        granted = lane.granted - max(STEP, lane.granted // 4)
        while lane.size > granted and lane.numbers:
            self.evict(lane, limit)
        self._grant(lane, granted if lane.numbers else 0)

    def find(self, step: int, lane: Lane) -> bool:
        """See to it that there are ``step`` bytes for a lane, at the cost of larger ones; say whether there are."""
        own = lane.granted.bit_length()
        needy = len(lane.numbers) == 1  # its only message, which has just come, is kept
        while self.size + step > self._most:
            victim = self._largest(lane)
            if victim is None or (not needy and victim.granted.bit_length() <= own):
                return needy
            victim.shelf.pool.shrink(victim, self.limit)
        return True

    def book(self, lane: Lane, before: int, granted: int) -> None:
        """Take note of what a lane is granted now; among those that are alike it is the last to lose something."""
        self.size += granted - before
        rank = before.bit_length()
        if before:
            del self._ranks[rank][lane]
            if not self._ranks[rank]:
                del self._ranks[rank]
        if granted:
            self._ranks.setdefault(granted.bit_length(), {})[lane] = None

    def _largest(self, besides: Lane) -> Lane | None:
        for rank in sorted(self._ranks, reverse=True):
            for lane in self._ranks[rank]:
                if lane is not besides:
                    return lane
        return None

    def _grant(self, lane: Lane, granted: int) -> None:
        before, lane.granted = lane.granted, granted
        for pool in self._line:
            pool.book(lane, before, granted)
