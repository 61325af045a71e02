"""When to ask again what the relay refused for now.

A limit of speed or memory passes by itself, and whoever asks again at once is refused again. So what a program asks of
its own accord rests after a refusal: for half a second, then for twice as long each time, up to four seconds. What is
refused while it rests belongs to the same burst. A clock that was set lets nothing rest for longer.
"""

from __future__ import annotations

from typing import Final

from protocol import limits

FIRST: Final = limits.SECOND // 2
MOST: Final = 4 * limits.SECOND


class Pace:
    """How long one kind of request rests."""

    __slots__ = ("_pause", "_until")

    def __init__(self) -> None:
        """Begin without rest."""
        self._pause, self._until = FIRST, 0

    def refused(self, now: int) -> None:
        """Rest, for longer than the last time."""
        if not self.rests(now):
            self._until = now + self._pause
            self._pause = min(2 * self._pause, MOST)

    def accepted(self) -> None:
        """Rest for the shortest time after the next refusal."""
        self._pause = FIRST

    def rests(self, now: int) -> bool:
        """Say whether it is too soon to ask again."""
        return 0 < self._until - now <= MOST
