"""Work that would take too long for one turn: it is cut into pieces, and each turn does a few of them.

A chore is a generator that yields between two pieces. Chores take turns piece by piece, so a long one delays a short
one little, and nobody's message waits for more than the pieces of one turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

PIECES: Final = 24
"""Pieces in one turn. The dearest is a statement with two signatures to verify, about 100 µs."""


class Chores:
    """See the module's text."""

    __slots__ = ("_left", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Iterator[None]] = deque()
        self._left = PIECES

    def add(self, chore: Iterator[None]) -> None:
        """Take on a chore, and begin with it if the turn has pieces left."""
        self._waiting.append(chore)
        self._work()

    def begin_turn(self) -> None:
        """Do the pieces of one turn."""
        self._left = PIECES
        self._work()

    def __len__(self) -> int:
        return len(self._waiting)

    def _work(self) -> None:
        while self._left and self._waiting:
            self._left -= 1
            chore = self._waiting.popleft()
            try:
                next(chore)
            except StopIteration:
                continue
            self._waiting.append(chore)
