"""The invite: one word that lets its holder into a room, and tells which relay, which room and which log to expect.

It carries the relay's key and addresses, the room id (hence the founder), the seed of the invite key that the GRANT
named, the room secret that opens nicks and title, and the anchor just after the GRANT: a joiner refuses a log without
it. A checksum catches damage in copying. It does not expire by itself: the GRANT says when and how often it admits.
Whoever holds the word can enter as long as the GRANT lives, so it travels like a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol import limits, wire
from protocol.address import HostPort
from protocol.base32 import base32, from_base32
from protocol.errors import BackchannelError, BadInvite
from protocol.identity import SigningKey
from protocol.ids import Anchor, Head, InviteId, RelayKey, RoomId, RoomSecret
from protocol.primitives import Label, blake2b
from protocol.wire import exactly, number, several, text

_PREFIX: Final = "bc1"
_CHECK: Final = 5
_ADDRESSES: Final = 8
_MOST: Final = 4_096
_CHECKS: Final = (
    exactly(32),
    exactly(32),
    exactly(32),
    exactly(32),
    number(limits.COUNTER, 2),
    exactly(32),
    several(text(300), _ADDRESSES),
)


def is_word(word: str) -> bool:
    """Say whether ``word`` begins as an invite does, and as no id can."""
    return word.strip().lower().startswith(_PREFIX)


@dataclass(frozen=True, slots=True)
class Invite:
    """All that is needed to enter a room. The seed and the secret never show in a repr."""

    relay: RelayKey
    room: RoomId
    seed: bytes = field(repr=False)
    secret: RoomSecret = field(repr=False)
    anchor: Anchor
    addresses: tuple[HostPort, ...]

    @property
    def key(self) -> SigningKey:
        """The invite key, which signs an ADMIT together with the joiner."""
        return SigningKey(self.seed)

    @property
    def id(self) -> InviteId:
        """The public half of the invite key."""
        return InviteId(self.key.public)

    def encode(self) -> str:
        """Return the word: ``bc1`` and base32."""
        packed = wire.pack(
            self.relay,
            self.room,
            self.seed,
            self.secret,
            *self.anchor,
            [str(address) for address in self.addresses[:_ADDRESSES]],
        )
        return _PREFIX + base32(packed + _checksum(packed))

    @classmethod
    def decode(cls, word: str) -> Invite:
        """Read a word, whatever white space or capitals it went through on its way; raise ``BadInvite``."""
        word = "".join(word[: 2 * _MOST].split()).lower()
        if not is_word(word) or len(word) > _MOST:
            raise BadInvite
        try:
            data = from_base32(word.removeprefix(_PREFIX))
            packed, check = data[:-_CHECK], data[-_CHECK:]
            if check != _checksum(packed):
                raise BadInvite
            relay, room, seed, secret, index, head, addresses = wire.fields(wire.unpack(packed, _MOST), _CHECKS)
            where = tuple(HostPort.parse(address) for address in addresses)  # type: ignore[attr-defined]
            if not all(address.port for address in where):
                raise BadInvite
        except (ValueError, BackchannelError):
            raise BadInvite from None
        if not where:
            raise BadInvite
        anchor = Anchor(index, Head(head))  # type: ignore[arg-type]  # checked
        return cls(relay, room, seed, secret, anchor, where)  # type: ignore[arg-type]  # checked


def _checksum(packed: bytes) -> bytes:
    return blake2b(Label.INVITE_CHECK, packed, size=_CHECK)
