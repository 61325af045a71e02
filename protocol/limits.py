"""Every bound, named once. Sizes are in bytes, times in milliseconds unless the name says otherwise.

Bounds under *wire* and *room* are part of the protocol: both sides and every member must agree on them. Those under
*lifetimes* are each peer's own business and are never taken from a relay. ``RelayLimits`` is what an operator may set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

# -- wire -------------------------------------------------------------------------------------------------------------
TEXT: Final = 64 * 1024
"""A text, in UTF-8."""
ENVELOPE: Final = 96 * 1024
"""One envelope, whole."""
FRAME: Final = 256 * 1024
"""One ZeroMQ message: one or more envelopes."""
FRAME_ENVELOPES: Final = 4_096
"""Envelopes in one frame."""
BODY: Final = ENVELOPE - 512
"""The sealed or encrypted part of a post."""
STATEMENT: Final = 1_024
CARD: Final = 512
NICK: Final = 32
"""A nick, in UTF-8."""
TITLE: Final = 64
"""A room's title, in UTF-8."""
DEPTH: Final = 4
"""Arrays within arrays in anything that is unpacked."""
RESTORED: Final = 256
"""Statements in one RESTORE."""
PRESENT: Final = 1_024
"""Peer ids in one PRESENCE."""
ACCEPTED: Final = 4_096
"""Ids in one ACCEPTED."""
CODE: Final = 32
"""A refusal code."""
CLOCK_SKEW: Final = 5 * MINUTE
"""Clocks of a peer and a relay further apart than this are an error of their own."""

# -- room -------------------------------------------------------------------------------------------------------------
MEMBERS: Final = 4_096
"""Members of a room at one time."""
GRANTS_PER_SIGNER: Final = 1_024
ADMITS_PER_INVITE: Final = 16_384
INVITE_USES: Final = 1_000_000
TIME: Final = 1 << 48
"""Times and generations in ms since 1970 stay below this (the year 10889)."""
COUNTER: Final = 1 << 53
"""Counters, stream numbers and roster indices stay below this."""

# -- lifetimes --------------------------------------------------------------------------------------------------------
CARD_ROTATION: Final = 10 * MINUTE
CARD_LIFE: Final = 24 * HOUR
"""Not-after of a card, from its generation. It limits sealing to the card, not sending from it."""
CARD_AHEAD: Final = 11 * MINUTE
"""Generations further ahead of one's own clock than this are refused."""
CARDS: Final = 32
"""Cards of one member that a peer keeps: more than it needs to open what may be retained."""
CHAINS: Final = 4_096
"""Chains of one sender that a peer keeps: each one-shot ``send`` to the room makes one."""
CHAIN_LIFE: Final = 10 * MINUTE
CHAIN_MESSAGES: Final = 1_000
RETENTION: Final = 10 * MINUTE
"""How long a relay keeps ciphertext unless told otherwise."""
RETENTION_CAP: Final = HOUR
"""The longest retention a peer keeps keys for, whatever the relay says."""
KEY_MARGIN: Final = MINUTE
"""How much longer than retention a superseded sealing key lives."""
UNRESOLVED: Final = 30 * SECOND
"""A head that stays unknown for this long of unbroken attachment is an alarm."""
UNRESOLVED_IN_ALL: Final = 2 * MINUTE
"""So is what was owed for this long in all, over any number of attachments."""
SETTLED: Final = 10 * MINUTE
"""After this long of attachment everybody knows a statement: who speaks from before it is kept behind, or lies."""
UNSENT: Final = 60 * SECOND
"""How long a post that could not be sent stays in memory."""
SKIPPED: Final = 64
"""Counters given up that one aside can name."""

# -- relay start ------------------------------------------------------------------------------------------------------
REVIVAL: Final = 3 * SECOND
"""After its start a relay collects the logs of rooms that come back for this long."""
BACKOFF_MOST: Final = 2 * SECOND
"""A peer's longest wait between two attempts to connect; below REVIVAL so that nobody misses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """What an operator may set. Refusals name the limit by their code; defaults suit a LAN of a few hundred people."""

    retention_s: int = 600
    idle_close_s: int = 6 * 3600
    connections: int = 1_024
    connections_per_identity: int = 16
    connections_per_address: int = 256
    rooms_per_connection: int = 128
    """Rooms that one connection is attached to."""
    rooms: int = 1_024
    rooms_per_founder: int = 64
    members: int = 2_048
    statements: int = 32_768
    """Of a room's log; restrictions fit up to twice, and what the founder says up to three times as many."""
    bytes_of_rooms: int = 512 * 1024 * 1024
    """Logs, cards and what else makes up the rooms. Half of it is shared out evenly, half is for who comes first."""
    bytes_gathered: int = 128 * 1024 * 1024
    """Of logs that are brought back and have not opened their rooms yet."""
    bytes_per_sender: int = 8 * 1024 * 1024
    """Room posts retained for one sender in one room."""
    bytes_per_room: int = 64 * 1024 * 1024
    """Room posts retained in one room, if that is its share."""
    bytes_of_posts: int = 512 * 1024 * 1024
    """Room posts retained in all, shared out by rooms and members."""
    bytes_per_pair: int = 2 * 1024 * 1024
    """Asides retained from one sender to one recipient in one room; chain keys have as much again, apart."""
    bytes_of_asides: int = 512 * 1024 * 1024
    """Asides and chain keys retained in all, shared out likewise."""
    posts_per_s: int = 100
    posts_burst: int = 4_096
    bytes_per_s: int = 4 * 1024 * 1024
    bytes_burst: int = 16 * 1024 * 1024
    slow_cut_s: int = 60
    """A connection whose pipe stays full for this long is cut; it can come back and resume."""
