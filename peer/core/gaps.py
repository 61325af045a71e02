"""What is missing: the counters of each sender's streams, and which of them did not come.

A counter that is skipped is told after a while as a *gap*; as *missed* if the profile was away for longer than the
relay retains, or the relay was restarted, since the stream was last heard of. Counters that their sender says it gave
up are no loss. What one process of a profile got is not missing to the others. What is missing is told by every process
that was there when it was noticed, and else by the next one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Final

from peer.core.commands import Emit, Show
from peer.core.events import Event, EventKind
from peer.core.roster import Roster
from peer.store import Room, Store
from protocol import limits
from protocol.ids import PeerId

ASIDES: Final = b""
"""The stream of a sender's asides; a chain's id is the stream of its room messages."""
GRACE: Final = 5 * limits.SECOND
"""Two processes of a sender may post in another order than they took their counters."""
_JUMP: Final = limits.CHAIN_MESSAGES
"""More than this many at once are one row, and never looked for; all of a chain may still be on its way."""
_MISSING: Final = 1_024
"""Of a sender with more than this many missing, further ones are one row: a liar makes nobody search for more."""
_KEPT: Final = limits.RETENTION_CAP
"""How long what was told is kept for processes that were away when it was."""
_Key = tuple[bytes, bytes, int]


class Gaps:
    """The streams of one room."""

    def __init__(self, store: Store, room: Room, roster: Roster, emit: Emit) -> None:
        """Keep them in ``store``."""
        self._store, self._room, self._roster, self._emit = store, room, roster, emit
        self._away = False
        self._since: int | None = None
        self._told: set[_Key] = set()
        """What this process has told, as long as it is kept."""

    def connected(self, now: int, *, away: bool) -> None:
        """Note whether the profile was ``away``, so that what is missing before the next message was *missed*."""
        if self._since is None:
            self._since = now
        self._away = away
        if away:
            self._store.write("UPDATE streams SET away = 1 WHERE room = ?", self._room.id)

    def attached(self, now: int) -> None:
        """Note that whatever was retained has come: of whom nothing was heard yet, something may have been missed."""
        if self._away:
            self._store.write_many(
                "INSERT OR IGNORE INTO streams VALUES (?, ?, ?, 1, 1, ?)",
                [(self._room.id, peer, ASIDES, now) for peer in self._roster.others()],
            )
        self._away = False

    def follow(self, sender: PeerId, chain: bytes, counter: int, now: int) -> None:
        """Expect the messages of a chain from ``counter`` on."""
        self._store.write(
            "INSERT OR IGNORE INTO streams VALUES (?, ?, ?, ?, 0, ?)", self._room.id, sender, chain, counter, now
        )

    def ended(self, sender: PeerId, chain: bytes, count: int, now: int) -> None:
        """Note that ``count`` messages were sent on a chain that has ended, if it was followed."""
        if self._note_missing(sender, chain, count, (), now, known=True):
            self._store.write(
                "UPDATE streams SET next = max(next, ?) WHERE room = ? AND sender = ? AND stream = ?",
                *(count, self._room.id, sender, chain),
            )

    def count(self, sender: PeerId, stream: bytes, counter: int, given_up: Collection[int], now: int) -> bool:
        """Note that the message with ``counter`` came, and that its sender gave up the counters ``given_up``.

        Say whether this process has told that it is missing.
        """
        row = self._store.row(
            "SELECT next FROM streams WHERE room = ? AND sender = ? AND stream = ?", self._room.id, sender, stream
        )
        late = self._found(sender, stream, [*given_up, counter])
        if late:
            return (sender, stream, counter) in self._told
        self._note_missing(sender, stream, counter, given_up, now, known=False)
        self._store.write(
            "INSERT INTO streams VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE "
            "SET next = max(next, excluded.next), away = 0, heard_at = excluded.heard_at",
            *(self._room.id, sender, stream, counter + 1, now),
        )
        return row is not None and counter < row["next"]

    def _found(self, sender: PeerId, stream: bytes, counters: Collection[int]) -> bool:
        """Miss these no longer; say whether the last of them was."""
        return [
            self._store.write(
                "DELETE FROM missing WHERE room = ? AND sender = ? AND stream = ? AND counter = ?",
                *(self._room.id, sender, stream, counter),
            )
            for counter in counters
        ][-1] > 0

    def _note_missing(
        self, sender: PeerId, stream: bytes, upto: int, given_up: Collection[int], now: int, *, known: bool
    ) -> bool:
        """Note which counters before ``upto`` did not come; with ``known``, only of a stream that is followed."""
        row = self._store.row(
            "SELECT next, away FROM streams WHERE room = ? AND sender = ? AND stream = ?", self._room.id, sender, stream
        )
        if row is None and known:
            return False
        first = row["next"] if row else int(stream == ASIDES)
        away = self._away or bool(row and row["away"])
        if upto <= first:
            return True
        if upto - first > _JUMP or self._missing(sender) > _MISSING:
            missing = [(first, upto - first)]
        else:
            missing = [(counter, 1) for counter in range(first, upto) if counter not in given_up]
        self._store.write_many(
            "INSERT OR IGNORE INTO missing (room, sender, stream, counter, count, noticed_at, away) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(self._room.id, sender, stream, counter, count, now, int(away)) for counter, count in missing],
        )
        return True

    def _missing(self, sender: PeerId) -> int:
        row = self._store.row("SELECT count(*) FROM missing WHERE room = ? AND sender = ?", self._room.id, sender)
        return row[0] if row else 0

    def tell(self, now: int, waiting: Collection[bytes]) -> None:
        """Tell what is missing for ``GRACE``; not of those whose messages are ``waiting`` to be opened."""
        rows = self._store.rows(
            "SELECT * FROM missing WHERE room = ? AND (noticed_at <= ? OR noticed_at > ?)",
            *(self._room.id, now - GRACE, now),  # noticed later than now: the clock was set back
        )
        self._told &= {_key(row) for row in rows}
        due: dict[tuple[PeerId, int], list[sqlite3.Row]] = {}
        for row in rows:
            others = row["told"] and row["noticed_at"] < (self._since or 0)
            if not others and _key(row) not in self._told and row["sender"] not in waiting:
                due.setdefault((PeerId(row["sender"]), row["away"]), []).append(row)
        for (sender, away), missing in due.items():
            self._told.update(map(_key, missing))
            self._store.write_many(
                "UPDATE missing SET told = 1 WHERE room = ? AND sender = ? AND stream = ? AND counter = ?",
                [(self._room.id, *_key(row)) for row in missing],
            )
            self._tell(sender, sum(row["count"] for row in missing), away=bool(away))
        if any(row["told"] and row["noticed_at"] <= now - _KEPT for row in rows):
            self._store.write(
                "DELETE FROM missing WHERE room = ? AND told AND noticed_at <= ?", self._room.id, now - _KEPT
            )

    def _tell(self, sender: PeerId, count: int, *, away: bool) -> None:
        who = self._roster.person(sender)
        messages = "one message" if count == 1 else f"{count} messages"
        if away:
            what = f"{messages} of {who.label} came and went while you were away"
            event = Event(self._room.name, EventKind.MISSED, what, who=who, count=count, reason="away")
        else:
            what = f"{messages} of {who.label} did not arrive"
            event = Event(self._room.name, EventKind.GAP, what, who=who, count=count)
        self._emit(Show(event))


def _key(row: sqlite3.Row) -> _Key:
    return (row["sender"], row["stream"], row["counter"])
