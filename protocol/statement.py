"""Signed facts about a room: who founded it, who may enter, who must go.

A statement is a fixed header and a signed body, and nothing is unpacked before its signatures verify::

    kind 1 | signer 32 | signature 64 | body                              every kind but ADMIT
    kind 1 | signer 32 | invite 32 | signature 64 | signature 64 | body   ADMIT: by the identity, by the invite key

Signatures cover the label of the kind, then the header's keys and the body. This module protects against forged or
altered statements and against one kind passing as another. It does not protect against replay in another place of the
log, and does not know what a statement is allowed to say: both are the business of ``protocol.membership``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from protocol import limits, wire
from protocol.errors import Malformed, TooLarge
from protocol.identity import Identity, SigningKey, verify
from protocol.ids import Anchor, InviteId, PeerId, RoomId
from protocol.primitives import Label, blake2b
from protocol.wire import Check, boolean, exactly, number, upto

Kind = enum.IntEnum("Kind", "FOUND GRANT ADMIT ROLE REMOVE REVOKE LEAVE CLOSE")
"""The first byte of a statement, from 1. Its name is that of the label under which the kind is signed."""


@dataclass(frozen=True, slots=True)
class Found:
    """Opens a room. The room's id is the hash of these bytes, so it names its founder and settings."""

    signer: PeerId
    salt: bytes  # 16, random
    created_at: int
    members_invite: bool
    title: bytes  # sealed with the room secret for salt and founder (``protocol.names``)


@dataclass(frozen=True, slots=True)
class Anchored:
    """What all others have: who signed it, its room, and the place of the log up to which the signer had folded it."""

    signer: PeerId
    room: RoomId
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Grant(Anchored):
    """An invite key may admit plain members, ``uses`` times (0: no bound), until ``expires_at`` (ms; 0: for ever)."""

    invite: InviteId
    uses: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Admit(Anchored):
    """The signer enters through this invite, whose key signed too."""

    invite: InviteId


@dataclass(frozen=True, slots=True)
class Role(Anchored):
    """The subject becomes an admin, or a plain member."""

    subject: PeerId
    admin: bool


@dataclass(frozen=True, slots=True)
class Remove(Anchored):
    """The subject must go; with ``ban`` for ever."""

    subject: PeerId
    ban: bool


@dataclass(frozen=True, slots=True)
class Revoke(Anchored):
    """The invite admits no one any more."""

    invite: InviteId


@dataclass(frozen=True, slots=True)
class Leave(Anchored):
    """The signer leaves."""


@dataclass(frozen=True, slots=True)
class Close(Anchored):
    """The room ends for good."""


Statement = Found | Anchored


def is_restriction(statement: Statement) -> bool:
    """Say whether ``statement`` only takes away: such a one is valid at any place of the log."""
    demotes = isinstance(statement, Role) and not statement.admin
    return demotes or isinstance(statement, (Remove, Revoke, Leave, Close))


_ID: Final = exactly(32)
_PLACE: Final[tuple[Check[object], ...]] = (_ID, number(limits.COUNTER), _ID)
_FORMS: Final[dict[Kind, tuple[type[Statement], tuple[Check[object], ...]]]] = {
    Kind.FOUND: (Found, (exactly(16), number(limits.TIME), boolean, upto(160))),
    Kind.GRANT: (Grant, (*_PLACE, _ID, number(limits.INVITE_USES + 1), number(limits.TIME))),
    Kind.ADMIT: (Admit, _PLACE),
    Kind.ROLE: (Role, (*_PLACE, _ID, boolean)),
    Kind.REMOVE: (Remove, (*_PLACE, _ID, boolean)),
    Kind.REVOKE: (Revoke, (*_PLACE, _ID)),
    Kind.LEAVE: (Leave, _PLACE),
    Kind.CLOSE: (Close, _PLACE),
}
"""The body of each kind, value by value: the fields above without the signer, and without ADMIT's invite."""


def _split(raw: bytes) -> tuple[Kind, bytes, bytes, bytes]:
    """Return kind, keys (signer, then the invite of an ADMIT), signatures (64 bytes a key) and body of ``raw``."""
    if len(raw) > limits.STATEMENT:
        raise TooLarge
    if not raw or raw[0] not in _FORMS:
        raise Malformed("statement kind")
    kind = Kind(raw[0])
    keys = 64 if kind is Kind.ADMIT else 32
    body = 1 + 3 * keys
    if len(raw) <= body:
        raise Malformed("statement length")
    return kind, raw[1 : 1 + keys], raw[1 + keys : body], raw[body:]


def decode(raw: bytes) -> Statement:
    """Verify and unpack a statement of at most 1 KiB; raise ``Malformed``, ``TooLarge`` or ``BadSignature``."""
    kind, keys, signatures, body = _split(raw)
    for place in range(0, len(keys), 32):
        verify(keys[place : place + 32], Label[kind.name], keys + body, signatures[2 * place : 2 * place + 64])
    form, checks = _FORMS[kind]
    said = wire.fields(wire.unpack(body, limits.STATEMENT), checks)
    if form is not Found:
        room, index, head, *more = said
        said = (room, Anchor(index, head), *more, *([keys[32:]] if form is Admit else []))  # type: ignore[arg-type]
    return form(PeerId(keys[:32]), *said)  # type: ignore[arg-type]  # checked


def _encode(kind: Kind, signers: list[SigningKey], *said: object) -> bytes:
    body = wire.pack(*said)
    keys = b"".join(key.public for key in signers)
    signatures = b"".join(key.sign(Label[kind.name], keys + body) for key in signers)
    return bytes([kind]) + keys + signatures + body


def statement_id(raw: bytes) -> bytes:
    """Return the hash of what ``raw`` says, without its signatures: another signature is no new statement."""
    kind, keys, _, body = _split(raw)
    return blake2b(Label.STATEMENT_ID, bytes([kind]) + keys + body)


def room_id(found_raw: bytes) -> RoomId:
    """Return the id of the room that these FOUND bytes open."""
    return RoomId(blake2b(Label.ROOM_ID, found_raw))


def found(founder: Identity, salt: bytes, created_at: int, members_invite: bool, title: bytes) -> bytes:
    """Sign a FOUND. ``salt`` is 16 random bytes, ``title`` sealed for ``salt`` and the founder."""
    return _encode(Kind.FOUND, [founder], salt, created_at, members_invite, title)


def grant(signer: Identity, room: RoomId, anchor: Anchor, invite: InviteId, uses: int, expires_at: int) -> bytes:
    """Sign a GRANT for an invite key: ``uses`` 0 is without bound, ``expires_at`` (ms) 0 is never."""
    return _encode(Kind.GRANT, [signer], room, *anchor, invite, uses, expires_at)


def admit(joiner: Identity, room: RoomId, anchor: Anchor, invite: SigningKey) -> bytes:
    """Sign an ADMIT with the identity that enters and with the invite's key."""
    return _encode(Kind.ADMIT, [joiner, invite], room, *anchor)


def role(founder: Identity, room: RoomId, anchor: Anchor, subject: PeerId, admin: bool) -> bytes:
    """Sign a ROLE."""
    return _encode(Kind.ROLE, [founder], room, *anchor, subject, admin)


def remove(signer: Identity, room: RoomId, anchor: Anchor, subject: PeerId, ban: bool) -> bytes:
    """Sign a REMOVE."""
    return _encode(Kind.REMOVE, [signer], room, *anchor, subject, ban)


def revoke(signer: Identity, room: RoomId, anchor: Anchor, invite: InviteId) -> bytes:
    """Sign a REVOKE."""
    return _encode(Kind.REVOKE, [signer], room, *anchor, invite)


def leave(member: Identity, room: RoomId, anchor: Anchor) -> bytes:
    """Sign a LEAVE."""
    return _encode(Kind.LEAVE, [member], room, *anchor)


def close(founder: Identity, room: RoomId, anchor: Anchor) -> bytes:
    """Sign a CLOSE."""
    return _encode(Kind.CLOSE, [founder], room, *anchor)
