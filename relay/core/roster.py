"""A room's cards: the newest of each member, in the order of their coming, and superseded ones for a while.

Superseded cards are kept because messages sent from them are. Each card that comes has a revision, so that whoever was
away is sent what changed and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from protocol.card import Card, check_newer
from protocol.errors import TooManyCards
from protocol.ids import PeerId

CARD: Final = 700
"""What a card costs beside its bytes, roughly."""
SUPERSEDED: Final = 6
"""A member's superseded cards kept at most; honest ones rotate twice in the time that a card is kept."""


def cost(card: Card) -> int:
    """Return the bytes that holding a card costs."""
    return len(card.raw) + CARD


class Roster:
    """See the module's text; ``life`` (ms) is how long a superseded card is kept."""

    __slots__ = ("_life", "_newest", "_superseded", "revision", "size")

    def __init__(self, life: int) -> None:
        self._life = life
        self.revision = 0
        self.size = 0
        """The bytes that all cards cost."""
        self._newest: dict[PeerId, tuple[int, Card]] = {}
        """Revision and card; the dict's order is that of the revisions."""
        self._superseded: dict[PeerId, deque[tuple[int, Card]]] = {}
        """Until when (ms), and which."""

    def publish(self, card: Card, now: int, *, more: bool = True) -> bool:
        """Take a verified card; say False if it is the one held. Raise ``OlderCard`` or ``CardConflict``.

        Without ``more`` memory it takes the place of the one before, which is not kept then, or is refused with
        ``TooManyCards``.
        """
        held = self._newest.get(card.owner)
        if not check_newer(card, held[1] if held else None):
            return False
        if more:
            self.withdraw(card.owner, now)
        elif held:
            self.size -= cost(self._newest.pop(card.owner)[1])
        else:
            raise TooManyCards
        self.revision += 1
        self._newest[card.owner] = (self.revision, card)
        self.size += cost(card)
        return True

    def withdraw(self, owner: PeerId, now: int) -> None:
        """Count the newest card of ``owner`` among the superseded: there is a newer one, or it left."""
        held = self._newest.pop(owner, None)
        if held:
            old = self._superseded.setdefault(owner, deque())
            if len(old) == SUPERSEDED:
                self.size -= cost(old.popleft()[1])
            old.append((now + self._life, held[1]))

    def find(self, owner: PeerId, generation: int) -> Card | None:
        """Return the card of that generation (0: the newest)."""
        held = self._newest.get(owner)
        if held and generation in (0, held[1].generation):
            return held[1]
        old = self._superseded.get(owner, ())
        return next((card for _, card in old if card.generation == generation), None)

    def after(self, revision: int) -> Iterator[tuple[int, bytes]]:
        """Yield the newest cards that came after ``revision``, oldest first, each with its own revision."""
        if revision < self.revision:
            for at, card in self._newest.values():
                if at > revision:
                    yield at, card.raw

    def __len__(self) -> int:
        return len(self._newest) + sum(map(len, self._superseded.values()))

    def expire(self, now: int) -> None:
        """Drop superseded cards whose time has come."""
        for owner, old in tuple(self._superseded.items()):
            while old and old[0][0] <= now:
                self.size -= cost(old.popleft()[1])
            if not old:
                del self._superseded[owner]
