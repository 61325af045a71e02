"""Nicks and room titles: sealed with keys from the room secret that every invite carries, so that a relay sees ids
alone.

Whoever ever held an invite can read them; that is said in the threat model. A nick is what a member calls itself, so it
proves nothing: ``peer.core.roster`` tells two of the same name apart, and ``peer.text`` makes them safe to show.
"""

from __future__ import annotations

from typing import Final

from protocol import limits, wire
from protocol.errors import CannotOpen, Malformed, UsageError
from protocol.identity import looks_like_id
from protocol.ids import PeerId, RoomId, RoomSecret
from protocol.primitives import Label, aead_decrypt, aead_encrypt, derive

_NICK_PADDED: Final = limits.NICK + 4
_TITLE_PADDED: Final = limits.TITLE + 4


def check_nick(nick: str) -> str:
    """Return ``nick`` if it may be chosen; raise ``UsageError`` saying why not.

    At most 32 bytes of printable text without spaces, ``~`` (it begins the suffix that tells namesakes apart), a
    leading ``/`` or ``-``, and not of the shape of an id or fingerprint.
    """
    if not nick:
        raise UsageError("a nick can't be empty")
    if not nick.isprintable() or any(c.isspace() for c in nick):
        raise UsageError("a nick is printable text without spaces")
    if len(nick.encode()) > limits.NICK:
        raise UsageError(f"a nick has at most {limits.NICK} bytes")
    if "~" in nick or nick[0] in "/-":
        raise UsageError("a nick has no ~ and does not begin with / or -")
    if looks_like_id(nick):
        raise UsageError("a nick can't look like an id")
    return nick


def check_title(title: str) -> str:
    """Return ``title`` if a room may be called so (1 to 64 bytes, printable); raise ``UsageError`` saying why not."""
    if not title.strip() or not title.isprintable():
        raise UsageError("a room's name is printable text")
    if len(title.encode()) > limits.TITLE:
        raise UsageError(f"a room's name has at most {limits.TITLE} bytes")
    return title


def seal_nick(secret: RoomSecret, room: RoomId, owner: PeerId, nick: str) -> bytes:
    """Seal a nick for the room's members: always the same size, bound to room and owner."""
    return _seal(derive(secret, Label.NICKS), nick, _NICK_PADDED, room + owner)


def open_nick(secret: RoomSecret, room: RoomId, owner: PeerId, sealed: bytes) -> str:
    """Undo ``seal_nick``; raise ``CannotOpen``. The nick is a stranger's text, not yet safe to show."""
    return _open(derive(secret, Label.NICKS), sealed, limits.NICK, room + owner)


def seal_title(secret: RoomSecret, founder: PeerId, salt: bytes, title: str) -> bytes:
    """Seal a room's title for its FOUND, bound to founder and salt (the room id is not known yet)."""
    return _seal(derive(secret, Label.TITLE), title, _TITLE_PADDED, founder + salt)


def open_title(secret: RoomSecret, founder: PeerId, salt: bytes, sealed: bytes) -> str:
    """Undo ``seal_title``; raise ``CannotOpen``."""
    return _open(derive(secret, Label.TITLE), sealed, limits.TITLE, founder + salt)


def _seal(key: bytes, name: str, size: int, aad: bytes) -> bytes:
    packed = wire.pack(name)
    return aead_encrypt(key, packed.ljust(size, b"\0"), aad)


def _open(key: bytes, sealed: bytes, most: int, aad: bytes) -> str:
    padded = aead_decrypt(key, sealed, aad)
    try:
        (name,) = wire.fields(wire.unpack(padded.rstrip(b"\0"), len(padded)), (wire.text(most),))
    except Malformed:
        raise CannotOpen("name") from None
    assert isinstance(name, str)
    return name
