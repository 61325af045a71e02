"""The messages of the wire: requests of peers, deliveries of the relay, and how they are joined into frames.

An envelope is one msgpack array, its kind first; a frame is one or more of them back to back. Each class below
validates what it is decoded from, so an envelope that exists is well-formed: what it claims is for others to verify.
This module knows no cryptography: bodies, statements and cards are byte strings here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Self, TypeVar

from protocol import limits, wire
from protocol.errors import Malformed, TooLarge
from protocol.ids import PeerId, RoomId
from protocol.wire import Check, boolean, exactly, optional, several, upto

_ID: Final = exactly(32)
_REQUEST: Final = exactly(16)
_TIME: Final = wire.number(limits.TIME)
_COUNTER: Final = wire.number(limits.COUNTER)


class Kind(enum.IntEnum):
    """The first field of every envelope."""

    HELLO = 1
    SUBMIT = 2
    RESTORE = 3
    PUBLISH = 4
    ATTACH = 5
    POST = 6
    FETCH = 7
    PING = 8

    WELCOME = 33
    ACCEPTED = 34
    REFUSED = 35
    ATTACHED = 36
    STATEMENT = 37
    CARD = 38
    PRESENCE = 39
    MESSAGE = 40
    CLOSED = 41
    GOING_AWAY = 42


class Flag(enum.IntFlag):
    """What a post tells the relay beyond its addressee."""

    NONE = 0
    CHAIN_KEY = 1
    """An aside that brings a chain key: retained longer, budgeted apart."""


_FLAGS: Final = 2


class Envelope:
    """One message of the wire: a dataclass whose fields stand in the array in their order, after the kind."""

    __slots__ = ()
    KIND: ClassVar[Kind]
    CHECKS: ClassVar[tuple[Check[object], ...]]
    __match_args__: ClassVar[tuple[str, ...]]

    def encode(self) -> bytes:
        """Return the msgpack array."""
        return wire.pack(self.KIND, *(getattr(self, name) for name in self.__match_args__))

    @classmethod
    def decode(cls, values: tuple[object, ...]) -> Self:
        """Make the envelope of an array that begins with its kind; raise ``Malformed``."""
        return cls(*wire.fields(values[1:], cls.CHECKS))


class Request(Envelope):
    """From a peer. ``id`` (16 bytes) is named by the ACCEPTED or REFUSED that answers it."""

    __slots__ = ()
    id: bytes


class Delivery(Envelope):
    """From the relay."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Hello(Request):
    """Who is connecting: the signature is the identity's over the relay's key and this connection's (32 + 32 bytes)."""

    id: bytes
    version: int
    identity: bytes
    signature: bytes

    KIND = Kind.HELLO
    CHECKS = (_REQUEST, wire.number(1 << 16), _ID, exactly(64))


@dataclass(frozen=True, slots=True)
class Submit(Request):
    """Append one statement to the room's log; a FOUND opens the room."""

    id: bytes
    room: bytes
    statement: bytes

    KIND = Kind.SUBMIT
    CHECKS = (_REQUEST, _ID, upto(limits.STATEMENT))


@dataclass(frozen=True, slots=True)
class Restore(Request):
    """Bring back the log of a room that the relay has forgotten, in order, in one piece or several up to ``last``.

    For a room that is open, the relay takes from it the restrictions that its own log lacks, and nothing else.
    """

    id: bytes
    room: bytes
    last: bool
    statements: tuple[bytes, ...]

    KIND = Kind.RESTORE
    CHECKS = (_REQUEST, _ID, boolean, several(upto(limits.STATEMENT), limits.RESTORED))


@dataclass(frozen=True, slots=True)
class Publish(Request):
    """Put a card into the roster: one's own, or the newest that one holds of another member, after a revival."""

    id: bytes
    room: bytes
    card: bytes

    KIND = Kind.PUBLISH
    CHECKS = (_REQUEST, _ID, upto(limits.CARD))


@dataclass(frozen=True, slots=True)
class Attach(Request):
    """Receive a room: what its log holds after (index, head), and messages after the two cursors; nil is "from now"."""

    id: bytes
    room: bytes
    present: bool
    index: int
    head: bytes
    room_cursor: int | None
    aside_cursor: int | None

    KIND = Kind.ATTACH
    CHECKS = (_REQUEST, _ID, boolean, _COUNTER, _ID, optional(_COUNTER), optional(_COUNTER))


@dataclass(slots=True)
class Post(Request):
    """A message for the room (``to`` nil: the default) or for one member; idempotent by (identity, id).

    A relay reads one for every message that anybody sends. So it is not frozen, which would take five times as long to
    make, and has a check of its own.
    """

    id: bytes
    room: RoomId
    to: PeerId | None
    index: int
    flags: int
    body: bytes

    KIND = Kind.POST
    CHECKS = (_REQUEST, _ID, optional(_ID), _COUNTER, wire.number(_FLAGS), upto(limits.BODY))

    @classmethod
    def decode(cls, values: tuple[object, ...]) -> Post:
        """Do what ``Envelope.decode`` does, without a call for each field."""
        try:
            _, name, room, to, index, flags, body = values
        except ValueError:
            raise Malformed("fields") from None
        if (
            type(name) is bytes
            and len(name) == 16
            and type(room) is bytes
            and len(room) == 32
            and (to is None or (type(to) is bytes and len(to) == 32))
            and type(index) is int
            and 0 <= index < limits.COUNTER
            and type(flags) is int
            and 0 <= flags < _FLAGS
            and type(body) is bytes
            and len(body) <= limits.BODY
        ):
            return cls(name, room, to, index, flags, body)  # type: ignore[arg-type]  # of these sizes, ids
        raise Malformed("a post")


@dataclass(frozen=True, slots=True)
class Fetch(Request):
    """Ask for the card of ``subject`` with generation ``number`` (0: the newest), or the log after index ``number``."""

    id: bytes
    room: bytes
    subject: bytes | None
    number: int

    KIND = Kind.FETCH
    CHECKS = (_REQUEST, _ID, optional(_ID), wire.number(limits.COUNTER))


@dataclass(frozen=True, slots=True)
class Ping(Request):
    """Ask for an ACCEPTED."""

    id: bytes

    KIND = Kind.PING
    CHECKS = (_REQUEST,)


@dataclass(frozen=True, slots=True)
class Welcome(Delivery):
    """Answer to HELLO. The incarnation (16 bytes) is new at every start of the relay; the clock is its, in ms."""

    version: int
    incarnation: bytes
    clock: int
    retention_s: int

    KIND = Kind.WELCOME
    CHECKS = (wire.number(1 << 16), exactly(16), _TIME, wire.number(1 << 31))


@dataclass(frozen=True, slots=True)
class Accepted(Delivery):
    """These requests were carried out."""

    ids: tuple[bytes, ...]

    KIND = Kind.ACCEPTED
    CHECKS = (several(_REQUEST, limits.ACCEPTED),)


@dataclass(frozen=True, slots=True)
class Refused(Delivery):
    """This request was not, for the reason that ``code`` names in ``protocol.errors``."""

    id: bytes
    reason: str

    KIND = Kind.REFUSED
    CHECKS = (_REQUEST, wire.text(limits.CODE))


@dataclass(frozen=True, slots=True)
class Attached(Delivery):
    """Answer to ATTACH, after all that it asked for: the log's place, and the numbers of both streams then."""

    id: bytes
    room: bytes
    index: int
    head: bytes
    room_number: int
    aside_number: int

    KIND = Kind.ATTACHED
    CHECKS = (_REQUEST, _ID, _COUNTER, _ID, _COUNTER, _COUNTER)


@dataclass(frozen=True, slots=True)
class Statement(Delivery):
    """The statement at place ``index`` (from 1) of the room's log."""

    room: bytes
    index: int
    statement: bytes

    KIND = Kind.STATEMENT
    CHECKS = (_ID, _COUNTER, upto(limits.STATEMENT))


@dataclass(frozen=True, slots=True)
class Card(Delivery):
    """A member's card."""

    room: bytes
    card: bytes

    KIND = Kind.CARD
    CHECKS = (_ID, upto(limits.CARD))


@dataclass(frozen=True, slots=True)
class Presence(Delivery):
    """Who is present: everybody (``whole``: forget what was said before), or who came and who went."""

    room: bytes
    whole: bool
    online: tuple[bytes, ...]
    offline: tuple[bytes, ...]

    KIND = Kind.PRESENCE
    CHECKS = (_ID, boolean, several(_ID, limits.PRESENT), several(_ID, limits.PRESENT))


@dataclass(frozen=True, slots=True)
class Message(Delivery):
    """A post, delivered. ``number`` counts the room's stream, or (``direct``) the receiver's own asides."""

    room: bytes
    sender: bytes
    direct: bool
    number: int
    time: int
    id: bytes
    body: bytes

    KIND = Kind.MESSAGE
    CHECKS = (_ID, _ID, boolean, _COUNTER, _TIME, _REQUEST, upto(limits.BODY))


@dataclass(frozen=True, slots=True)
class Closed(Delivery):
    """The room delivers nothing more to this connection, for the reason that ``code`` names."""

    room: bytes
    reason: str

    KIND = Kind.CLOSED
    CHECKS = (_ID, wire.text(limits.CODE))


@dataclass(frozen=True, slots=True)
class GoingAway(Delivery):
    """The relay is stopping."""

    KIND = Kind.GOING_AWAY
    CHECKS = ()


E = TypeVar("E", bound=Envelope)

REQUESTS: Final[dict[int, type[Request]]] = {
    c.KIND: c for c in (Hello, Submit, Restore, Publish, Attach, Post, Fetch, Ping)
}
DELIVERIES: Final[dict[int, type[Delivery]]] = {
    c.KIND: c for c in (Welcome, Accepted, Refused, Attached, Statement, Card, Presence, Message, Closed, GoingAway)
}


def decode_requests(frame: bytes) -> Iterator[Request]:
    """Yield the requests of a frame of at most 256 KiB.

    Raise ``Malformed`` or ``TooLarge`` at the first that is not one, after having yielded what stood before it.
    """
    return _decode(frame, REQUESTS)


def decode_deliveries(frame: bytes) -> Iterator[Delivery]:
    """Yield the deliveries of a frame, as ``decode_requests`` does requests."""
    return _decode(frame, DELIVERIES)


def _decode(frame: bytes, kinds: Mapping[int, type[E]]) -> Iterator[E]:
    if len(frame) > limits.FRAME:
        raise TooLarge
    if not frame:
        raise Malformed("an empty frame")
    left = limits.FRAME_ENVELOPES
    for values in wire.unpack_all(frame, limits.FRAME, limits.ENVELOPE):
        if not left:
            raise TooLarge
        left -= 1
        envelope = kinds.get(values[0]) if values and type(values[0]) is int else None
        if envelope is None:
            raise Malformed("unknown kind")
        yield envelope.decode(values)


def join(envelopes: Iterable[bytes], most: int = limits.FRAME) -> Iterator[bytes]:
    """Join encoded envelopes, in order, into as few frames as hold them.

    A frame has at most ``most`` bytes and FRAME_ENVELOPES envelopes; an envelope over ENVELOPE raises ``TooLarge``.
    """
    parts: list[bytes] = []
    size = 0
    for envelope in envelopes:
        if len(envelope) > limits.ENVELOPE:
            raise TooLarge
        if parts and (size + len(envelope) > most or len(parts) == limits.FRAME_ENVELOPES):
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(envelope)
        size += len(envelope)
    if parts:
        yield b"".join(parts)
