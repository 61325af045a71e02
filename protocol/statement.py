"""Signed facts about a room: who founded it, who may enter, who must go.

A statement is a fixed header and a signed body, and nothing is unpacked before its signatures verify::

    kind 1 | signer 32 | signature 64 | body                              every kind but ADMIT
    kind 1 | signer 32 | invite 32 | signature 64 | signature 64 | body   ADMIT: by the identity, by the invite key

Signatures cover the label of the kind, then the header's keys and the body. What a statement is allowed to say is the
business of ``protocol.membership``; this module protects against forged or altered statements and against one kind
passing as another. It does not protect against replay in another place of the log: the fold does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar, Final

from protocol import limits, wire
from protocol.errors import Malformed, TooLarge
from protocol.identity import Identity, SigningKey, verify
from protocol.ids import Anchor, Head, InviteId, PeerId, RoomId
from protocol.primitives import Label, blake2b
from protocol.wire import Check, boolean, exactly, number, upto

_ID: Final = exactly(32)
_ANCHOR: Final[tuple[Check[object], ...]] = (_ID, number(limits.COUNTER), _ID)
_SALT: Final = 16
_SEALED_TITLE: Final = 160


class Kind(enum.IntEnum):
    """The first byte of a statement."""

    FOUND = 1
    GRANT = 2
    ADMIT = 3
    ROLE = 4
    REMOVE = 5
    REVOKE = 6
    LEAVE = 7
    CLOSE = 8


@dataclass(frozen=True, slots=True)
class Statement:
    """What every kind has: who signed it. ``CHECKS`` are those of the body's fields, in order."""

    signer: PeerId

    KIND: ClassVar[Kind]
    CHECKS: ClassVar[tuple[Check[object], ...]]


@dataclass(frozen=True, slots=True)
class Found(Statement):
    """Opens a room. The room's id is the hash of these bytes, so it names its founder and settings."""

    salt: bytes
    created_at: int
    members_invite: bool
    title: bytes
    """Sealed with the room secret (``protocol.names``)."""

    KIND = Kind.FOUND
    CHECKS = (exactly(_SALT), number(limits.TIME), boolean, upto(_SEALED_TITLE))


@dataclass(frozen=True, slots=True)
class Anchored(Statement):
    """Names its room and the place of the log up to which its signer had folded it."""

    room: RoomId
    index: int
    head: Head

    CHECKS = _ANCHOR

    @property
    def anchor(self) -> Anchor:
        """The place, as one value."""
        return Anchor(self.index, self.head)


@dataclass(frozen=True, slots=True)
class Grant(Anchored):
    """An invite key may admit plain members, ``uses`` times (0: no bound), until ``expires_at`` (0: for ever)."""

    invite: InviteId
    uses: int
    expires_at: int

    KIND = Kind.GRANT
    CHECKS = (*_ANCHOR, _ID, number(limits.INVITE_USES + 1), number(limits.TIME))


@dataclass(frozen=True, slots=True)
class Admit(Anchored):
    """The signer enters through this invite, whose key signed too."""

    invite: InviteId

    KIND = Kind.ADMIT
    CHECKS = _ANCHOR


@dataclass(frozen=True, slots=True)
class Role(Anchored):
    """The subject becomes an admin, or a plain member."""

    subject: PeerId
    admin: bool

    KIND = Kind.ROLE
    CHECKS = (*_ANCHOR, _ID, boolean)


@dataclass(frozen=True, slots=True)
class Remove(Anchored):
    """The subject must go; with ``ban`` for ever."""

    subject: PeerId
    ban: bool

    KIND = Kind.REMOVE
    CHECKS = (*_ANCHOR, _ID, boolean)


@dataclass(frozen=True, slots=True)
class Revoke(Anchored):
    """The invite admits no one any more."""

    invite: InviteId

    KIND = Kind.REVOKE
    CHECKS = (*_ANCHOR, _ID)


@dataclass(frozen=True, slots=True)
class Leave(Anchored):
    """The signer leaves."""

    KIND = Kind.LEAVE
    CHECKS = _ANCHOR


@dataclass(frozen=True, slots=True)
class Close(Anchored):
    """The room ends for good."""

    KIND = Kind.CLOSE
    CHECKS = _ANCHOR


_KINDS: Final[dict[int, type[Statement]]] = {
    c.KIND: c for c in (Found, Grant, Admit, Role, Remove, Revoke, Leave, Close)
}


def is_restriction(statement: Statement) -> bool:
    """Say whether ``statement`` only takes away: such a one is valid at any place of the log."""
    return isinstance(statement, (Remove, Revoke, Leave, Close)) or (
        isinstance(statement, Role) and not statement.admin
    )


# -- bytes ------------------------------------------------------------------------------------------------------------


def _label(kind: Kind) -> Label:
    return Label[kind.name]


def _split(raw: bytes) -> tuple[Kind, bytes, bytes, bytes]:
    """Return kind, keys (signer, then the invite of an ADMIT), signatures (64 bytes a key) and body of ``raw``."""
    if len(raw) > limits.STATEMENT:
        raise TooLarge
    try:
        kind = Kind(raw[0])
    except (IndexError, ValueError):
        raise Malformed("statement kind") from None
    keys = 64 if kind is Kind.ADMIT else 32
    body = 1 + keys * 3
    if len(raw) <= body:
        raise Malformed("statement length")
    return kind, raw[1 : 1 + keys], raw[1 + keys : body], raw[body:]


def statement_id(raw: bytes) -> bytes:
    """Return the hash (32 bytes) of what ``raw`` says, without its signatures.

    Another signature is no new statement.
    """
    kind, keys, _, body = _split(raw)
    return blake2b(Label.STATEMENT_ID, bytes([kind]) + keys + body)


def decode(raw: bytes) -> Statement:
    """Verify and unpack a statement of at most 1 KiB; raise ``Malformed``, ``TooLarge`` or ``BadSignature``."""
    kind, keys, signatures, body = _split(raw)
    for place in range(0, len(keys), 32):
        verify(keys[place : place + 32], _label(kind), keys + body, signatures[place * 2 : place * 2 + 64])
    form = _KINDS[kind]
    values = wire.fields(wire.unpack(body, limits.STATEMENT), form.CHECKS)
    if form is Admit:
        values = (*values, keys[32:])
    return form(PeerId(keys[:32]), *values)


def _sign(kind: Kind, identity: Identity, *values: object, invite: SigningKey | None = None) -> bytes:
    body = wire.pack(*values)
    keys = identity.public + (invite.public if invite else b"")
    signers: list[SigningKey] = [identity, invite] if invite else [identity]
    signatures = b"".join(key.sign(_label(kind), keys + body) for key in signers)
    return bytes([kind]) + keys + signatures + body


def found(founder: Identity, salt: bytes, created_at: int, members_invite: bool, title: bytes) -> bytes:
    """Sign a FOUND. ``salt`` is 16 random bytes, ``title`` sealed for ``salt`` and the founder."""
    return _sign(Kind.FOUND, founder, salt, created_at, members_invite, title)


def grant(signer: Identity, room: RoomId, anchor: Anchor, invite: InviteId, uses: int, expires_at: int) -> bytes:
    """Sign a GRANT for an invite key: ``uses`` 0 is without bound, ``expires_at`` (ms) 0 is never."""
    return _sign(Kind.GRANT, signer, room, *anchor, invite, uses, expires_at)


def admit(joiner: Identity, room: RoomId, anchor: Anchor, invite: SigningKey) -> bytes:
    """Sign an ADMIT with the identity that enters and with the invite's key."""
    return _sign(Kind.ADMIT, joiner, room, *anchor, invite=invite)


def role(founder: Identity, room: RoomId, anchor: Anchor, subject: PeerId, admin: bool) -> bytes:
    """Sign a ROLE."""
    return _sign(Kind.ROLE, founder, room, *anchor, subject, admin)


def remove(signer: Identity, room: RoomId, anchor: Anchor, subject: PeerId, ban: bool) -> bytes:
    """Sign a REMOVE."""
    return _sign(Kind.REMOVE, signer, room, *anchor, subject, ban)


def revoke(signer: Identity, room: RoomId, anchor: Anchor, invite: InviteId) -> bytes:
    """Sign a REVOKE."""
    return _sign(Kind.REVOKE, signer, room, *anchor, invite)


def leave(member: Identity, room: RoomId, anchor: Anchor) -> bytes:
    """Sign a LEAVE."""
    return _sign(Kind.LEAVE, member, room, *anchor)


def close(founder: Identity, room: RoomId, anchor: Anchor) -> bytes:
    """Sign a CLOSE."""
    return _sign(Kind.CLOSE, founder, room, *anchor)


def room_id(found_raw: bytes) -> RoomId:
    """Return the id of the room that these FOUND bytes open."""
    return RoomId(blake2b(Label.ROOM_ID, found_raw))
