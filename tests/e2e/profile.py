"""What a thief of a profile would find in it: read straight from the file, not through the program."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from protocol.card import Card
from protocol.chain import ReceivedChain
from protocol.content import ChainKey
from protocol.identity import Identity
from protocol.ids import PeerId, RoomId, RoomSecret, SealingSecret
from protocol.membership import Membership


class Profile:
    """The one room of a profile, and all keys."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.identity = Identity(self._rows("SELECT seed FROM profile")[0][0])
        room, secret, nick = self._rows("SELECT id, secret, nick FROM rooms")[0]
        self.room, self.secret, self.nick = RoomId(room), RoomSecret(secret), nick
        self.sealing: dict[int, SealingSecret] = dict(self._rows("SELECT generation, secret FROM sealing_keys"))
        self.cards = [Card.decode(raw, room=self.room, now=1 << 47) for (raw,) in self._rows("SELECT card FROM cards")]
        self.chains = [
            ReceivedChain(self.room, PeerId(sender), ChainKey(*state))
            for sender, *state in self._rows(
                "SELECT sender, key, counter, verify_key, made_at, previous, previous_count FROM chains"
            )
        ]
        self.membership = Membership.fold(row[0] for row in self._rows("SELECT statement FROM log ORDER BY place"))

    def _rows(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self.home / 'profile.db'}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    def card_of(self, owner: PeerId) -> Card:
        """Return the newest card of a member."""
        return max((card for card in self.cards if card.owner == owner), key=lambda card: card.generation)
