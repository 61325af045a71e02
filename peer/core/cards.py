"""The cards of one room's members: verified, the newest of each kept apart from the older ones.

Only the newest is sealed to; an older one opens what was sent with it, for as long as that may be retained.
"""

from __future__ import annotations

from peer.store import Room, Store
from protocol import limits
from protocol.card import Card, check_newer
from protocol.errors import CardConflict, OlderCard
from protocol.ids import PeerId

_ANY_TIME = 1 << 47


class Cards:
    """The cards that a profile holds of a room."""

    def __init__(self, store: Store, room: Room) -> None:
        """Keep them in ``store``."""
        self._store, self._room = store, room
        self._newest: dict[PeerId, Card | None] = {}

    def newest(self, peer: PeerId) -> Card | None:
        """Return the newest card of ``peer``, or None."""
        if peer not in self._newest:
            row = self._store.row(
                "SELECT card FROM cards WHERE room = ? AND owner = ? ORDER BY generation DESC LIMIT 1",
                *(self._room.id, peer),
            )
            self._newest[peer] = self.decode(row["card"]) if row else None
        return self._newest[peer]

    def of(self, peer: PeerId, generation: int) -> Card | None:
        """Return the card of ``peer`` of that generation, if it is held."""
        newest = self.newest(peer)
        if newest and newest.generation == generation:
            return newest
        row = self._store.row(
            "SELECT card FROM cards WHERE room = ? AND owner = ? AND generation = ?", self._room.id, peer, generation
        )
        return self.decode(row["card"]) if row else None

    def decode(self, raw: bytes) -> Card:
        """Verify a card, whenever it is from: how far ahead it may be is checked where it comes in.

        Raises what ``Card.decode`` raises.
        """
        return Card.decode(raw, room=self._room.id, now=_ANY_TIME)

    def keep(self, card: Card, now: int) -> bool:
        """Keep a card; say whether it is the newest of its owner. Raise ``CardConflict``: the first one stands."""
        try:
            newer = check_newer(card, self.newest(card.owner))
        except OlderCard:
            newer = False
            same = self.of(card.owner, card.generation)
            if same and same.raw != card.raw:
                raise CardConflict from None
        self._store.write(
            "INSERT OR IGNORE INTO cards (room, owner, generation, card, seen_at) VALUES (?, ?, ?, ?, ?)",
            *(self._room.id, card.owner, card.generation, card.raw, now),
        )
        self._store.write(
            "DELETE FROM cards WHERE room = ? AND owner = ? AND generation <= (SELECT generation FROM cards "
            "WHERE room = ? AND owner = ? ORDER BY generation DESC LIMIT 1 OFFSET ?)",
            *(self._room.id, card.owner, self._room.id, card.owner, limits.CARDS),
        )
        if newer:
            self._newest[card.owner] = card
        return newer
