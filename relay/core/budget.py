"""How much one identity may ask for in a time: token buckets, one a key, counting requests and bytes.

A bucket is keyed by whoever would notice its being empty, and by nobody else. Room posts, statements and cards draw
from one of their sender; questions from another; asides from one of (sender, recipient), chain keys from a further one:
so no aside between two members can ever make anything else be refused (claim 1). Room in memory is not this module's
business: ``stream`` bounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.limits import RelayLimits

SWEPT: Final = 128
"""Buckets that are looked at in one piece of work."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a bucket refills, and how much it holds."""

    count_per_s: int
    count_burst: int
    bytes_per_s: int
    bytes_burst: int


class Bucket:
    """What one key may still ask for at the time ``at`` (ms), in thousandths: a millisecond's refill is whole."""

    __slots__ = ("at", "count", "room")

    def __init__(self, count: int, room: int, at: int) -> None:
        self.count = count
        self.room = room
        self.at = at

    def take(self, size: int) -> bool:
        """Take one request of ``size`` bytes; say False, and take nothing, if there is not enough."""
        size *= 1_000
        if self.count < 1_000 or self.room < size:
            return False
        self.count -= 1_000
        self.room -= size
        return True


class Buckets:
    """Token buckets of one rate."""

    __slots__ = ("_buckets", "_count", "_rate", "_room")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._count, self._room = rate.count_burst * 1_000, rate.bytes_burst * 1_000
        self._buckets: dict[bytes, Bucket] = {}

    def open(self, key: bytes, now: int) -> Bucket:
        """Return the bucket of ``key`` with what it holds at ``now``; it is good for as long as it is ``now``."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._count, self._room, now)
        elif bucket.at != now:
            self._refill(bucket, now)
        return bucket

    def take(self, key: bytes, size: int, now: int) -> bool:
        """Take one request of ``size`` bytes from the bucket of ``key``; say False, and take nothing, if it can't."""
        return self.open(key, now).take(size)

    def forget_full(self, clock: Callable[[], int]) -> Iterator[None]:
        """Drop the buckets that have refilled, in pieces: a full one is as good as none."""
        for count, (key, bucket) in enumerate(tuple(self._buckets.items()), 1):
            self._refill(bucket, clock())
            if bucket.count == self._count and bucket.room == self._room:
                del self._buckets[key]
            if count % SWEPT == 0:
                yield

    def __len__(self) -> int:
        return len(self._buckets)

    def _refill(self, bucket: Bucket, now: int) -> None:
        passed = now - bucket.at
        bucket.count = min(self._count, bucket.count + passed * self._rate.count_per_s)
        bucket.room = min(self._room, bucket.room + passed * self._rate.bytes_per_s)
        bucket.at = now


class Budgets:
    """The four kinds of buckets; see the module's text for why they are apart."""

    __slots__ = ("asides", "chain_keys", "questions", "talk")

    def __init__(self, limits: RelayLimits) -> None:
        rate = Rate(limits.posts_per_s, limits.posts_burst, limits.bytes_per_s, limits.bytes_burst)
        self.talk = Buckets(rate)
        """Room posts, statements and cards, by identity."""
        self.questions = Buckets(rate)
        """Everything that changes nothing for others, by identity."""
        self.asides = Buckets(rate)
        """By sender and recipient."""
        self.chain_keys = Buckets(rate)
        """By sender and recipient, so that asides never delay a room message's key."""

    def sweep(self, clock: Callable[[], int]) -> Iterator[None]:
        """Free what need not be kept, in pieces; ``clock`` says what time it is in each."""
        for buckets in (self.talk, self.questions, self.asides, self.chain_keys):
            yield from buckets.forget_full(clock)
