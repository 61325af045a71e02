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


class Buckets:
    """Token buckets of one rate: what each holds, in thousandths so that a millisecond's refill is whole, and when."""

    __slots__ = ("_buckets", "_full", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full = (rate.count_burst * 1_000, rate.bytes_burst * 1_000)
        self._buckets: dict[bytes, list[int]] = {}

    def take(self, key: bytes, size: int, now: int) -> bool:
        """Take one request of ``size`` bytes from the bucket of ``key``; say False, and take nothing, if it can't."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = [*self._full, now]
        elif bucket[2] != now:
            self._refill(bucket, now)
        size *= 1_000
        if bucket[0] < 1_000 or bucket[1] < size:
            return False
        bucket[0] -= 1_000
        bucket[1] -= size
        return True

    def forget_full(self, clock: Callable[[], int]) -> Iterator[None]:
        """Drop the buckets that have refilled, in pieces: a full one is as good as none."""
        for count, (key, bucket) in enumerate(tuple(self._buckets.items()), 1):
            self._refill(bucket, clock())
            if (bucket[0], bucket[1]) == self._full:
                del self._buckets[key]
            if count % SWEPT == 0:
                yield

    def __len__(self) -> int:
        return len(self._buckets)

    def _refill(self, bucket: list[int], now: int) -> None:
        passed = now - bucket[2]
        bucket[0] = min(self._full[0], bucket[0] + passed * self._rate.count_per_s)
        bucket[1] = min(self._full[1], bucket[1] + passed * self._rate.bytes_per_s)
        bucket[2] = now


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
