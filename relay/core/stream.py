"""A stream: numbered messages, kept for a while in memory so that whoever was away can catch up.

A room has one stream, and each member one more for its own asides; their numbers have nothing to do with each other.
Within a stream messages lie on shelves, a shelf for each lifetime. On a shelf each sender has a lane with a budget of
bytes: a sender who exceeds it loses its own oldest messages, never anybody else's, so an eviction tells nobody about
others (claim 1). What it may be is the business of ``pool``. An id is known as long as its message is kept:
that is what makes a post idempotent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, TypeAlias

from protocol import limits
from protocol.ids import PeerId

if TYPE_CHECKING:
    from relay.core.pool import Pool

Kept: TypeAlias = tuple[int, int, PeerId, bytes, bytes]
"""Time of arrival (ms), roster index, sender, message id, encoded envelope. A plain tuple: the garbage collector soon
forgets it, and there may be hundreds of thousands."""

OVERHEAD: Final = 384
"""What a kept message costs beside its envelope, in bytes, roughly: it counts against the budget, so that a flood of
empty messages is bounded too."""
LANE: Final = 1_280
"""What a lane costs beside its messages; it counts as well."""

_NOTHING: Final[AbstractSet[bytes]] = frozenset()


class Lane:
    """What one sender has on a shelf: numbers, oldest first, their bytes, their ids."""

    __slots__ = ("granted", "ids", "numbers", "shelf", "size")

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.numbers: deque[int] = deque()
        self.ids: set[bytes] = set()
        self.size = LANE
        self.granted = 0
        """How many bytes the pool lets it have."""


class Shelf:
    """The messages of a stream that are kept for ``life`` ms, in memory of ``pool``."""

    __slots__ = ("kept", "lanes", "life", "oldest", "pool")

    def __init__(self, life: int, pool: Pool) -> None:
        self.life = life
        self.pool = pool
        self.kept: dict[int, Kept] = {}
        self.lanes: dict[PeerId, Lane] = {}
        self.oldest = 0
        """No message on the shelf, if it holds any, has a lower number."""

    def expire(self, now: int, most: int) -> int:
        """Drop what has been kept for its life, at the cost of ``most`` looks; return how many are left, 0 if too few.

        Each number is looked at once in all, whatever is evicted between.
        """
        for left in range(most, 0, -1):
            kept = self.kept.get(self.oldest)
            if kept is None:
                if not self.kept:
                    return left
                self.oldest += 1
            elif kept[0] + self.life <= now:
                lane = self.lanes[kept[2]]
                self.drop_oldest(lane)
                self.pool.settle(lane)
                self.pool.counts.expired += 1
            else:
                return left
        return 0

    def drop_oldest(self, lane: Lane) -> int:
        """Drop the oldest message of a lane, and the lane if that was all of it; return how many bytes it cost."""
        kept = self.kept.pop(lane.numbers.popleft())
        lane.ids.discard(kept[3])
        size = len(kept[4]) + OVERHEAD
        lane.size -= size
        if not lane.numbers:
            del self.lanes[kept[2]]
        return size


class Stream:
    """Messages numbered from 1, on a shelf for each of one or two lives (ms), with the memory of a pool of its own."""

    __slots__ = ("_shelves", "number")

    def __init__(self, *lives: tuple[int, Pool]) -> None:
        self._shelves = tuple(Shelf(life, pool) for life, pool in lives)
        self.number = 0
        """The number of the latest message."""

    def lane(self, sender: PeerId, place: int = 0) -> tuple[Lane, AbstractSet[bytes]]:
        """Return what ``sender`` has on the shelf at ``place``, and the ids of what it has on the other one.

        An empty lane is on no shelf before something is added to it.
        """
        shelf = self._shelves[place]
        others: AbstractSet[bytes] = _NOTHING
        if len(self._shelves) > 1 and (other := self._shelves[1 - place].lanes.get(sender)) is not None:
            others = other.ids
        return shelf.lanes.get(sender) or Lane(shelf), others

    def add(self, kept: Kept, lane: Lane) -> None:
        """Append a message, whose envelope carries the number after ``number``, to a lane of its sender.

        The lane's oldest go if it then exceeds what it may have; this one too, if it is larger than that alone.
        """
        self.number = number = self.number + 1
        shelf = lane.shelf
        if not shelf.kept:
            shelf.oldest = number
        shelf.kept[number] = kept
        if not lane.numbers:
            shelf.lanes[kept[2]] = lane
        lane.numbers.append(number)
        lane.ids.add(kept[3])
        lane.size += len(kept[4]) + OVERHEAD
        if lane.size > lane.granted:
            shelf.pool.fit(lane)

    def clear(self) -> Iterator[None]:
        """Drop everything, a lane a piece."""
        for shelf in self._shelves:
            for lane in tuple(shelf.lanes.values()):
                yield
                shelf.pool.counts.expired += len(lane.numbers)
                while lane.numbers:
                    shelf.drop_oldest(lane)
                shelf.pool.settle(lane)

    def shrink(self) -> Iterator[None]:
        """Drop what is over a quota that became less, in pieces."""
        for shelf in self._shelves:
            yield from shelf.pool.shrink()

    def expire(self, now: int, most: int = limits.COUNTER) -> int:
        """Drop what has been kept for its life, at the cost of ``most`` looks; return how many are left (0: no)."""
        for shelf in self._shelves:
            if not (most := shelf.expire(now, most)):
                break
        return most

    def after(self, cursor: int, last: int) -> Iterator[tuple[int, Kept]]:
        """Yield what is kept of the numbers after ``cursor`` up to ``last``, in order."""
        oldest = min((shelf.oldest for shelf in self._shelves if shelf.kept), default=last + 1)
        first = max(cursor + 1, oldest)
        for number in range(first, last + 1):
            for shelf in self._shelves:
                if (kept := shelf.kept.get(number)) is not None:
                    yield number, kept
                    break

    def __len__(self) -> int:
        return sum(len(shelf.kept) for shelf in self._shelves)
