"""How long a relay that is there has not shown what it has to show.

Thirty seconds of unbroken attachment are more than an honest relay needs on any link that still lives. One that
restarts, or cuts the connection, more often than that is never attached for so long: so the time adds up, over any
number of attachments and of incarnations of the relay. An honest one owes what it owes for a round trip each time, or
for what a link takes to be found dead. Time asleep is no time attached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

from protocol import limits

T = TypeVar("T", bound=Hashable)
SLEPT: Final = 10 * limits.SECOND
"""Whoever ticks twice a second and finds that this long has passed was asleep."""
OVERSLEPT: Final = limits.MINUTE
"""After this long asleep the log that one holds is old, and most likely the relay has cut the connection."""


class Patience(Generic[T]):
    """What has been outstanding, and for how long in all."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._waited: dict[T, int] = {}

    def passes(self, attached: int, outstanding: Iterable[T]) -> set[T]:
        """Let ``attached`` ms pass; return what of ``outstanding`` has been so for too long, and begin again with it.

        What came meanwhile keeps the time that it was owed: a relay may show it and take it back.
        """
        over = set()
        for thing in set(outstanding):
            waited = self._waited.get(thing, 0) + attached
            if waited >= limits.UNRESOLVED_IN_ALL:
                over.add(thing)
                waited = 0
            self._waited[thing] = waited
        return over


class Settled:
    """How much of the log everybody whom the relay serves has seen by now.

    A member learns of a statement when its relay does, or when it comes back; what it says before is delivered within
    a minute or two, or was here before this peer was attached. So ten minutes of attachment after a statement was
    folded here, nobody speaks from before it, unless the relay holds it back from that member, or that member lies.
    """

    def __init__(self) -> None:
        """Begin with an empty log."""
        self._clock = 0
        self._places: deque[tuple[int, int]] = deque()
        self.index = 0
        """Statements up to this place are known to all who are honestly served."""

    def passes(self, attached: int, folded: int) -> None:
        """Let ``attached`` ms pass, with ``folded`` statements known here."""
        self._clock += attached
        if not self._places or self._places[-1][1] < folded:
            self._places.append((self._clock, folded))
        while len(self._places) > 1 and self._clock - self._places[1][0] >= limits.SETTLED:
            self._places.popleft()
        if self._clock - self._places[0][0] >= limits.SETTLED:
            self.index = self._places[0][1]

    def restart(self) -> None:
        """Begin again: the relay was restarted, and its log may be another."""
        self._places.clear()
        self.index = 0
