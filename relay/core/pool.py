"""How much the lanes of one shelf may keep together, and who loses when that is used up.

A lane is granted memory in steps as it fills, so a message that fits into what its lane has been granted costs nothing
here. Neither a lane nor the shelf is granted more than its quota, which follows from public counts alone (``shares``).
Where all lanes together could be granted more than the shelf, a lane that needs more takes it from the largest beside
it: those lose their oldest, a quarter at a time, until all that are large are about alike. A lane that is itself among
the largest goes without, and loses its own oldest. So whoever keeps little never loses anything, and a flood drowns
itself. Lanes count as alike up to a factor of two. What happens on one shelf concerns no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.core.counts import Counts
    from relay.core.shares import Quota
    from relay.core.stream import Lane

STEP: Final = 3 * 1024
"""The least that a lane is granted at once; later it is a quarter of what it has."""


class Tally:
    """The bytes granted on all shelves of a kind."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Pool:
    """See the module's text. ``limit`` is the name of the shelf's bound; what is granted counts in ``tally`` too."""

    __slots__ = ("_quota", "_ranks", "_shrunk", "_tally", "counts", "limit", "size")

    def __init__(self, limit: str, quota: Quota, counts: Counts, tally: Tally) -> None:
        self.limit = limit
        self.counts = counts
        self.size = 0
        """The bytes granted."""
        self._quota = quota
        self._tally = tally
        self._shrunk = quota.shrunk
        self._ranks: dict[int, dict[Lane, None]] = {}
        """The lanes that have been granted something, by how many bits that takes."""

    def fit(self, lane: Lane) -> None:
        """Grant a lane, to which a message was added, what it needs; or drop its oldest, this one too if it must be."""
        quota = self._quota
        if self._shrunk != quota.shrunk:
            for _ in self.shrink():
                pass
        while lane.size > lane.granted:
            limit = "sender"
            if lane.granted < quota.lane:
                step = min(max(STEP, lane.granted // 4), quota.lane - lane.granted)
                if self._find(step, lane):
                    self._grant(lane, lane.granted + step)
                    continue
                limit = self.limit
            self._evict(lane, limit)
            if not lane.numbers:
                self._grant(lane, 0)
                return

    def settle(self, lane: Lane) -> None:
        """Take back what a lane does not need any more; it has lost messages."""
        if not lane.numbers:
            self._grant(lane, 0)
        elif lane.size * 2 < lane.granted:
            self._grant(lane, lane.size + lane.size // 4)

    def shrink(self) -> Iterator[None]:
        """Take back what is over the quota since that became less, a message a piece: first lane by lane."""
        quota = self._quota
        if self._shrunk == quota.shrunk:
            return
        shrunk = quota.shrunk
        for lane in [lane for rank in self._ranks.values() for lane in rank if lane.granted > quota.lane]:
            while lane.size > quota.lane and lane.numbers:
                yield
                self._evict(lane, "sender")
            self._grant(lane, min(lane.granted, quota.lane) if lane.numbers else 0)
        while self.size > quota.shelf and (victim := self._largest(None)):
            yield
            self._take_a_quarter(victim)
        self._shrunk = shrunk

    def _evict(self, lane: Lane, limit: str) -> None:
        """Drop the oldest message of a lane, for the sake of a limit."""
        size = lane.shelf.drop_oldest(lane)
        self.counts.evicted[limit] += 1
        self.counts.evicted_bytes[limit] += size

    def _take_a_quarter(self, lane: Lane) -> None:
        granted = lane.granted - max(STEP, lane.granted // 4)
        while lane.size > granted and lane.numbers:
            self._evict(lane, self.limit)
        self._grant(lane, granted if lane.numbers else 0)

    def _find(self, step: int, lane: Lane) -> bool:
        """See to it that there are ``step`` bytes for a lane, at the cost of larger ones; say whether there are."""
        own = lane.granted.bit_length()
        needy = len(lane.numbers) == 1  # its only message, which has just come, is worth older ones of others
        while self.size + step > self._quota.shelf:
            victim = self._largest(lane)
            if victim is None or (not needy and victim.granted.bit_length() <= own):
                return False
            self._take_a_quarter(victim)
        return True

    def _largest(self, besides: Lane | None) -> Lane | None:
        lanes = (lane for rank in sorted(self._ranks, reverse=True) for lane in self._ranks[rank])
        return next((lane for lane in lanes if lane is not besides), None)

    def _grant(self, lane: Lane, granted: int) -> None:
        """Take note of what a lane is granted now; among those that are alike it is the last to lose something."""
        before, lane.granted = lane.granted, granted
        self.size += granted - before
        self._tally.size += granted - before
        if before:
            rank = before.bit_length()
            del self._ranks[rank][lane]
            if not self._ranks[rank]:
                del self._ranks[rank]
        if granted:
            self._ranks.setdefault(granted.bit_length(), {})[lane] = None
