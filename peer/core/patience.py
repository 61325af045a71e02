"""How long a relay that is there has not shown what it has to show.

Thirty seconds of unbroken attachment are more than an honest relay needs on any link that still lives. One that
restarts, or cuts the connection, more often than that is never attached for so long: so the time adds up, over any
number of attachments and of incarnations of the relay. An honest one owes what it owes for a round trip each time, or
for what a link takes to be found dead. Time asleep is no time attached.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

from protocol import limits
from protocol.ids import Anchor
from protocol.membership import Membership

T = TypeVar("T", bound=Hashable)
SLEPT: Final = 10 * limits.SECOND
"""Whoever ticks twice a second and finds that this long has passed was asleep."""
_PLACES: Final = 2_048
"""More than there are ticks in the time in which a place settles."""
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
    folded here, nobody speaks from before it, unless the relay holds it back from that member, or that member lies. But
    after a restart of the relay somebody may speak before it has the log again that others knew.
    """

    def __init__(self) -> None:
        """Begin with an empty log."""
        self._clock = self._restarted = 0
        self._folded: dict[Anchor, int] = {}
        """At which places the log was, and when; the latest that settled, and what came after."""
        self._known: tuple[object, int] = (None, 0)
        """What was found last, and of which log and when."""

    def passes(self, attached: int, membership: Membership) -> None:
        """Let ``attached`` ms pass, with ``membership`` folded here."""
        self._clock += attached
        self._folded.setdefault(membership.anchor, self._clock)
        known = self.known(membership)
        self._folded = {
            anchor: at for anchor, at in self._folded.items() if anchor.index >= known or not membership.agrees(anchor)
        }
        while len(self._folded) > _PLACES:
            del self._folded[next(iter(self._folded))]

    def known(self, membership: Membership | None) -> int:
        """Return up to which place all know the log who are honestly served, if no restart came between."""
        if membership is None:
            return 0
        now = (membership.head, self._clock)
        if self._known[0] != now:
            settled = (anchor for anchor, at in self._folded.items() if self._clock - at >= limits.SETTLED)
            self._known = now, max((anchor.index for anchor in settled if membership.agrees(anchor)), default=0)
        return self._known[1]

    def index(self, membership: Membership | None) -> int:
        """Return up to which place all know the log who are honestly served."""
        return self.known(membership) if self._clock - self._restarted >= limits.SETTLED else 0

    def restart(self) -> None:
        """Note that the relay was restarted, or says so."""
        self._restarted = self._clock
