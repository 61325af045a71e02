"""Cards: a member's signed entry in the roster, with the sealing key of the day.

A card is ``owner 32 | signature 64 | body``, the body an array of room, generation, sealing key, not-after and sealed
nick. The generation is a time in ms that only rises, so a relay that shows an older card again is noticed, and a key
can only be replaced by its owner. A card protects the sealing key against substitution; it does not prove to be the
*newest*: whoever holds a newer one notices, and a withheld rotation ends at not-after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import nacl.bindings
import nacl.exceptions

from protocol import limits, wire
from protocol.errors import BadCard, CardConflict, OlderCard, TooLarge
from protocol.identity import Identity, verify
from protocol.ids import PeerId, RoomId, SealingKey, SealingSecret
from protocol.primitives import Label, random
from protocol.wire import exactly, number, upto

_CHECKS: Final = (exactly(32), number(limits.TIME), exactly(32), number(limits.TIME), upto(128))
_PROBE: Final = bytes(32)
"""Any scalar does (libsodium sets the bits that all have): with a low-order point it gives zero, which is refused."""


@dataclass(frozen=True, slots=True)
class Card:
    """A verified card."""

    owner: PeerId
    room: RoomId
    generation: int
    sealing_key: SealingKey
    not_after: int
    nick: bytes  # sealed: ``protocol.names`` opens it
    raw: bytes

    @classmethod
    def decode(cls, raw: bytes, *, room: RoomId, now: int) -> Card:
        """Verify a card of at most 512 bytes for ``room`` at ``now`` (ms). An expired one opens what its owner sent.

        Raises ``TooLarge``, ``BadSignature``, ``Malformed``; ``BadCard`` if it is another room's, its generation lies
        over 11 minutes ahead, it claims to live longer than 24 h, or its key is of low order.
        """
        if len(raw) > limits.CARD:
            raise TooLarge
        owner, signature, body = raw[:32], raw[32:96], raw[96:]
        verify(owner, Label.CARD, owner + body, signature)
        its_room, generation, key, not_after, nick = wire.fields(wire.unpack(body, limits.CARD), _CHECKS)
        card = cls(PeerId(owner), its_room, generation, key, not_after, nick, raw)  # type: ignore[arg-type]  # checked
        if card.room != room:
            raise BadCard("another room's")
        if card.generation > now + limits.CARD_AHEAD:
            raise BadCard("from the future")
        if not card.generation < card.not_after <= card.generation + limits.CARD_LIFE:
            raise BadCard("lives too long")
        if is_low_order(card.sealing_key):
            raise BadCard("low-order key")
        return card

    def expired(self, now: int) -> bool:
        """Say whether nothing may be sealed to this card any more."""
        return now >= self.not_after


def check_newer(new: Card, held: Card | None) -> bool:
    """Say whether ``new`` replaces ``held`` (False: it is the very same); raise ``OlderCard``, ``CardConflict``."""
    if held is None or new.generation > held.generation:
        return True
    if new.generation < held.generation:
        raise OlderCard  # no alarm: a relay may be late
    if new.raw != held.raw:
        raise CardConflict  # an alarm: its owner made two, or somebody has its key
    return False


def is_low_order(key: SealingKey) -> bool:
    """Say whether an exchange with ``key`` would give zero whatever the other side's key is (RFC 7748, section 6.1)."""
    try:
        nacl.bindings.crypto_scalarmult(_PROBE, key)
    except nacl.exceptions.CryptoError:
        return True
    return False


def new_sealing_secret() -> SealingSecret:
    """Return a fresh X25519 private key."""
    return SealingSecret(random(32))


def sealing_key(secret: SealingSecret) -> SealingKey:
    """Return the public half of an X25519 private key."""
    return SealingKey(nacl.bindings.crypto_scalarmult_base(secret))


def make(owner: Identity, room: RoomId, generation: int, key: SealingKey, nick: bytes) -> bytes:
    """Sign a card that lives for 24 h from its ``generation`` (ms); ``nick`` is sealed."""
    body = wire.pack(room, generation, key, generation + limits.CARD_LIFE, nick)
    return owner.public + owner.sign(Label.CARD, owner.public + body) + body
