"""What is inside a message once it is opened: text, action, receipt, chain key, ask.

Which kind may come which way is part of the format: a room message is a text or an action; an aside may be any. A kind
in the wrong channel does not decode (ATTACK: protocol confusion). Nothing here is encrypted or authenticated: ``seal``
and ``chain`` do that around these bytes.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import ClassVar, Final

from protocol import limits, wire
from protocol.errors import CannotOpen, Malformed, TooLarge, UsageError
from protocol.ids import Anchor, ChainId, Head, MessageId
from protocol.wire import Check, exactly, number

_INNER: Final = 5 * 16_384


class Kind(enum.IntEnum):
    """The first field of a content."""

    TEXT = 1
    ACTION = 2
    RECEIPT = 3
    CHAIN_KEY = 4
    ASK = 5


@dataclass(frozen=True, slots=True)
class Content:
    """Any of the kinds below."""

    KIND: ClassVar[Kind]
    CHECKS: ClassVar[tuple[Check[object], ...]]


@dataclass(frozen=True, slots=True)
class Words(Content):
    """What a person wrote: at most 64 KiB of UTF-8. Longer ones raise ``TooLarge``, what is no text ``UsageError``."""

    text: str

    CHECKS = (wire.text(limits.TEXT),)

    def __post_init__(self) -> None:
        """Refuse what no receiver would take, before it is encrypted."""
        try:
            size = len(self.text.encode())
        except UnicodeEncodeError:  # lone surrogates: how Python hands over an argument that is not UTF-8
            raise UsageError("the text is not valid Unicode") from None
        if size > limits.TEXT:
            raise TooLarge


@dataclass(frozen=True, slots=True)
class Text(Words):
    """Words."""

    KIND = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Action(Words):
    """What the sender does (``/me``)."""

    KIND = Kind.ACTION


@dataclass(frozen=True, slots=True)
class Receipt(Content):
    """The sender's program opened this message."""

    message: MessageId

    KIND = Kind.RECEIPT
    CHECKS = (exactly(16),)


@dataclass(frozen=True, slots=True)
class ChainKey(Content):
    """A sending chain as it stands: key (32 bytes), next counter, verification key (32), and what came before it.

    ``made_at`` is the index of the log at which the chain was made; ``previous`` is the sender's chain before (32 zero
    bytes: none) and ``previous_count`` how many messages were sent on it, so that a lost tail shows.
    """

    key: bytes = dataclasses.field(repr=False)
    counter: int
    verify_key: bytes
    made_at: int
    previous: ChainId
    previous_count: int

    KIND = Kind.CHAIN_KEY
    CHECKS = (
        exactly(32),
        number(limits.CHAIN_MESSAGES + 1),
        exactly(32),
        number(limits.COUNTER),
        exactly(32),
        number(limits.CHAIN_MESSAGES + 1),
    )


@dataclass(frozen=True, slots=True)
class Ask(Content):
    """The sender lacks this chain of the receiver's."""

    chain: ChainId

    KIND = Kind.ASK
    CHECKS = (exactly(32),)


_ASIDES: Final[dict[int, type[Content]]] = {c.KIND: c for c in (Text, Action, Receipt, ChainKey, Ask)}
_ROOM: Final[dict[int, type[Content]]] = {c.KIND: c for c in (Text, Action)}


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """The inside of a room message: when its sender's clock says it was sent (ms), and what."""

    sent_at: int
    content: Content


@dataclass(frozen=True, slots=True)
class Aside:
    """The inside of an aside.

    ``counter`` rises by one with each aside of this sender to this recipient; bit ``i`` of ``given_up`` says that
    counter - 1 - ``i`` was refused or given up, so that its absence is no loss.
    """

    anchor: Anchor
    counter: int
    given_up: int
    sent_at: int
    content: Content


def _fields(content: Content) -> tuple[object, ...]:
    return (int(content.KIND), *(getattr(content, field.name) for field in dataclasses.fields(content)))


_ROOM_CHECKS: Final = (number(limits.TIME), number(16))
_ASIDE_CHECKS: Final = (
    exactly(32),
    number(limits.COUNTER),
    exactly(32),
    number(limits.COUNTER),
    number(1 << limits.SKIPPED),
    number(limits.TIME),
    number(16),
)


def encode_room(message: RoomMessage) -> bytes:
    """Return the plaintext of a room message, not padded."""
    return wire.pack(message.sent_at, *_fields(message.content))


def decode_room(plaintext: bytes) -> RoomMessage:
    """Undo ``encode_room``; raise ``CannotOpen``."""
    head, content = _decode(plaintext, _ROOM_CHECKS, _ROOM)
    return RoomMessage(head[0], content)  # type: ignore[arg-type]  # checked


def encode_aside(context: bytes, aside: Aside) -> bytes:
    """Return the plaintext of an aside, not padded, with the 32-byte hash of its context before it."""
    return wire.pack(context, *aside.anchor, aside.counter, aside.given_up, aside.sent_at, *_fields(aside.content))


def decode_aside(plaintext: bytes) -> tuple[bytes, Aside]:
    """Return the context hash and the aside; raise ``CannotOpen``."""
    head, content = _decode(plaintext, _ASIDE_CHECKS, _ASIDES)
    context, index, anchor_head, counter, given_up, sent_at, _ = head
    anchor = Anchor(index, Head(anchor_head))  # type: ignore[arg-type]  # checked
    return context, Aside(anchor, counter, given_up, sent_at, content)  # type: ignore[return-value,arg-type]


def _decode(
    plaintext: bytes, checks: tuple[Check[object], ...], kinds: dict[int, type[Content]]
) -> tuple[tuple[object, ...], Content]:
    try:
        values = wire.unpack(plaintext, _INNER)
        head = wire.fields(values[: len(checks)], checks)
        kind = kinds[head[-1]]  # type: ignore[index]  # the last check is a number
        return head, kind(*wire.fields(values[len(checks) :], kind.CHECKS))
    except (Malformed, TooLarge, KeyError):
        raise CannotOpen("content") from None
