"""What a peer tells its user: messages, events, members. Plain frozen values, safe to keep and to compare.

Each text of a stranger is here twice: exact (``text``, ``nick``: for programs, which escape it) and made safe for a
terminal (``shown``, ``label``), so that nobody downstream has to remember to do it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from protocol.ids import InviteId, MessageId, PeerId
from protocol.membership import Role


@dataclass(frozen=True, slots=True)
class Person:
    """A member, as this profile sees it.

    ``label`` is the nick made safe, with ``~k3f9`` where it would be ambiguous.
    """

    id: PeerId
    nick: str
    label: str


@dataclass(frozen=True, slots=True)
class Message:
    """A text or action that was opened and checked. Times are ms since 1970; ``to`` is None for the room."""

    room: str
    id: MessageId
    sender: Person
    to: Person | None
    text: str
    shown: str
    action: bool
    sent_at: int
    received_at: int
    """By the relay's clock."""
    late: bool = False
    """Sent before a removal, arrived after it: whoever was removed may have read it."""

    @property
    def direct(self) -> bool:
        """Whether it is an aside; known from what opened it, never from the envelope."""
        return self.to is not None


class EventKind(enum.StrEnum):
    """What happened in a room, beside messages."""

    JOINED = "joined"
    LEFT = "left"
    KICKED = "kicked"
    BANNED = "banned"
    ROLE = "role"
    CLOSED = "closed"
    GAP = "gap"
    MISSED = "missed"
    DUPLICATE = "duplicate"
    REORDERED = "reordered"
    ALARM = "alarm"
    KEY_CHANGED = "key-changed"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: ``what`` is a sentence for a person, safe to show; the rest is for programs."""

    room: str
    kind: EventKind
    what: str
    who: Person | None = None
    by: Person | None = None
    count: int | None = None
    """Of a gap or of missed messages."""
    reason: str | None = None
    """Of an alarm or of a missed message: a word that names it."""


class State(enum.StrEnum):
    """How far a message got."""

    SENT = "sent"
    """Handed over; nothing is known."""
    RELAYED = "relayed"
    """The relay accepted it."""
    DELIVERED = "delivered"
    """The recipient's program opened it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message to one recipient, or (None) to the room."""

    id: MessageId
    to: Person | None
    state: State


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member of the room.

    ``reachable``: asides can be sealed for it; ``verified``: its safety number was compared.
    """

    person: Person
    role: Role
    online: bool
    reachable: bool
    verified: bool
    self: bool


@dataclass(frozen=True, slots=True)
class RoomInfo:
    """A room of this profile.

    ``relay`` is the address HOST:PORT/KEY, ``role`` None for a room one no longer belongs to.
    """

    name: str
    title: str
    relay: str
    role: Role | None


@dataclass(frozen=True, slots=True)
class InviteInfo:
    """A fresh invite: ``uses`` 0 is without bound, ``expires_at`` (ms) None is never."""

    room: str
    word: str
    id: InviteId
    uses: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class IdentityInfo:
    """Who this profile is; ``home`` is where it lies, or None for one in memory."""

    nick: str
    id: PeerId
    home: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The safety number that one has in common with ``person``: 60 digits in groups of five."""

    room: str
    person: Person
    number: str
    verified: bool


class Reading(enum.Enum):
    """What a process wants of a room's messages."""

    NOTHING = enum.auto()
    """Only the receipts it waits for: ``send``, ``who``, ``invite``."""
    LIVE = enum.auto()
    """What arrives from now on."""
    BACKLOG = enum.auto()
    """What is retained, then what arrives."""
    UNSHOWN = enum.auto()
    """What is retained and no process of this profile has shown: ``poll``."""
    CONTINUED = enum.auto()
    """What is retained and no process of this profile has shown, then all that arrives: ``chat``."""
