"""What the relay has done and what it holds, in numbers: for whoever watches it.

``Counts`` only ever rise, from the start of the relay on; ``Gauges`` are what is there at one moment. No number is told
apart by a room, a key or an address: an operator may learn how busy the relay is, never who is with whom.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """One instance a core. It is added to once a frame or a turn where that will do: it costs the hot path nothing."""

    frames_in: int = 0
    bytes_in: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    """By the name of the envelope's class, such as ``Post``."""
    posts: int = 0
    """Room posts taken; one that is known by its id is not taken again."""
    asides: int = 0
    """Asides taken, chain keys among them."""
    frames_out: int = 0
    """Frames that a pipe took, one for each connection; likewise ``bytes_out`` and ``deliveries``, their envelopes."""
    bytes_out: int = 0
    deliveries: int = 0
    stalls: int = 0
    """Frames that a pipe was too full for."""
    refused: Counter[str] = field(default_factory=Counter)
    """Requests refused, by code."""
    cut: Counter[str] = field(default_factory=Counter)
    """Connections that the relay ended: the code with which they were dismissed, or one of the reasons below."""
    expired: int = 0
    """Messages dropped at the end of their life, or with their room."""
    evicted: Counter[str] = field(default_factory=Counter)
    """Messages dropped before their time, for the sake of the bound on what one ``sender``, a ``room`` or ``all`` keep;
    asides are not told apart. Likewise ``evicted_bytes``."""
    evicted_bytes: Counter[str] = field(default_factory=Counter)
    rooms_founded: int = 0
    rooms_restored: int = 0
    rooms_forgotten: int = 0
    statements: int = 0
    """Statements appended to logs, those of logs that came back among them."""

    def took(self, frame: bytes, envelopes: int, connections: int) -> None:
        """Take note that so many connections took a frame of so many envelopes."""
        self.frames_out += connections
        self.bytes_out += len(frame) * connections
        self.deliveries += envelopes * connections


# Why a connection is cut, where no code says it: codes are for those who can still be told.
SLOW = "slow"
"""It has taken nothing for too long."""
UNREAD = "unread"
"""It leaves the answers to its own requests unread."""
SILENT = "silent"
"""It has not said who it is."""
PARTS = "parts"
"""It sent a message of several parts."""
FULL = "full"
"""There were too many connections, those that have not said who they are included."""
FAULT = "fault"
"""Its frame met a fault of the relay."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is there at one moment."""

    connections: int
    """Those that have said who they are."""
    strangers: int
    """Those that have not yet."""
    rooms: int
    attachments: int
    present: int
    """Members present, counted in each room."""
    retained_messages: int
    retained_bytes: int
    """What the memory granted for them amounts to: up to a quarter more than they need."""
    statements: int
    cards: int
    """Cards held, superseded ones among them."""
