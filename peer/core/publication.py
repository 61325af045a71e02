"""The cards that the relay has, and those that it lacks: one's own rotations, and after a restart everybody's newest.

A reader rotates when due, and sees to it that the relay has its newest card. A one-shot ``send`` never rotates; but
where the relay has forgotten the card, nobody who came since could open what it sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.core.pace import Pace
from peer.core.roster import Roster
from peer.keys import Keys
from peer.store import Room
from protocol import envelope as ev
from protocol.card import Card
from protocol.errors import BackchannelError, Limit
from protocol.primitives import new_message_id

_AT_ONCE: Final = 32


class Publication:
    """What one process publishes in one room."""

    def __init__(
        self, room: Room, keys: Keys, roster: Roster, request: Callable[[ev.Request], bytes], *, rotates: bool
    ) -> None:
        """Publish by ``request``; ``rotates``: make new cards when they are due."""
        self._room, self._keys, self._roster, self._request, self._rotates = room, keys, roster, request, rotates
        self._shown: dict[bytes, int] = {}
        """Generations of the cards that the relay showed on this attachment."""
        self._published: dict[bytes, int] = {}
        """Requests that publish one's own card, with its generation."""
        self._brought: dict[bytes, bytes] = {}
        """Requests that bring back cards, with the card."""
        self._again: list[bytes] = []
        """Cards to bring back that the relay did not want just then."""
        self._pace = Pace()

    def attaching(self) -> None:
        """Begin an attachment: what the relay has is still to be seen."""
        self._shown.clear()

    def disconnected(self) -> None:
        """Forget what was asked on a connection that has ended."""
        self._published.clear()
        self._brought.clear()
        self._again.clear()

    def shown(self, card: Card) -> None:
        """Note that the relay has a card."""
        self._shown[card.owner] = max(card.generation, self._shown.get(card.owner, 0))

    def publish(self, now: int) -> None:
        """Rotate if that is due, and publish one's newest card if the relay lacks it, and what it refused before."""
        pair = self._keys.rotate(now) if self._rotates else self._keys.accepted()
        if self._pace.rests(now):
            return
        if pair is not None and self._lacks(self._roster.me, pair.generation):
            self._publish(pair.card, pair.generation)
        for raw in self._again[:_AT_ONCE]:
            self._publish(raw, None)
        del self._again[:_AT_ONCE]

    def bring_back(self, now: int) -> None:
        """After the relay forgot the room, submit the newest cards that it lacks."""
        for card in self._roster.newest_cards():
            if not card.expired(now) and self._lacks(card.owner, card.generation):
                own = card.owner == self._roster.me
                self._publish(card.raw, card.generation if own else None)

    def _lacks(self, owner: bytes, generation: int) -> bool:
        on_its_way = owner == self._roster.me and generation in self._published.values()
        return self._shown.get(owner, 0) < generation and not on_its_way

    def _publish(self, raw: bytes, generation: int | None) -> None:
        identifier = self._request(ev.Publish(new_message_id(), self._room.id, raw))
        if generation is None:
            self._brought[identifier] = raw
        else:
            self._published[identifier] = generation

    def accepted(self, request: bytes) -> int | None:
        """Take an ACCEPTED; return the generation of one's own that the relay has now, if that is what it answers."""
        generation = self._published.pop(request, None)
        self._brought.pop(request, None)
        if generation is not None:
            self._pace.accepted()
            self._shown[self._roster.me] = max(generation, self._shown.get(self._roster.me, 0))
        return generation

    def refused(self, request: bytes, error: BackchannelError, now: int) -> None:
        """Take a REFUSED; the card is published again after a rest, if it is one's own or the relay had no room."""
        own, raw = self._published.pop(request, None) is not None, self._brought.pop(request, None)
        if raw is not None and isinstance(error, Limit):
            self._again.append(raw)
        if own or isinstance(error, Limit):
            self._pace.refused(now)
