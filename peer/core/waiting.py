"""Messages that wait for a card, a chain or a part of the log, within a bound that no sender fills for the others.

Each weighs its bytes and something for itself. When all together weigh too much, whoever has most waiting loses its
oldest: a member who floods the room loses its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from peer.core.opening import Arrival

MOST: Final = 32 * 1024 * 1024
"""What all may weigh; a message in wait is held in memory whole."""
EACH: Final = 8 * 1024
"""What a message weighs beside its body: so there are at most 4,096."""


class Waiting:
    """The messages of one room that wait, in the order in which they came."""

    def __init__(self) -> None:
        """Begin with none."""
        self._arrivals: list[Arrival] = []
        self._weights: Counter[bytes] = Counter()
        """Of the messages of each sender."""

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self._arrivals)

    def add(self, arrival: Arrival) -> list[Arrival]:
        """Let a message wait; return those that can wait no longer because there are too many."""
        self._arrivals.append(arrival)
        self._weights[arrival.message.sender] += _weight(arrival)
        dropped = []
        while self._weights.total() > MOST:
            greediest = max(self._weights, key=self._weights.__getitem__)
            oldest = next(waiting for waiting in self._arrivals if waiting.message.sender == greediest)
            self._arrivals.remove(oldest)
            self._lighten(oldest)
            dropped.append(oldest)
        return dropped

    def pick(self, wanted: Callable[[Arrival], bool]) -> list[Arrival]:
        """Return, and keep no longer, those that are ``wanted``."""
        picked: list[Arrival] = []
        rest: list[Arrival] = []
        for waiting in self._arrivals:
            (picked if wanted(waiting) else rest).append(waiting)
        self._arrivals = rest
        for waiting in picked:
            self._lighten(waiting)
        return picked

    def _lighten(self, gone: Arrival) -> None:
        sender = gone.message.sender
        self._weights[sender] -= _weight(gone)
        if not self._weights[sender]:
            del self._weights[sender]


def _weight(arrival: Arrival) -> int:
    return EACH + len(arrival.message.body)
