"""The log of a room in the profile, as all processes of the profile share it.

Each folds for itself what the relay shows it, and writes it down here. Beside it stand the head after it, by which the
others see at a glance that they are behind, and the incarnation of the relay that showed it.
"""

from __future__ import annotations

from typing import NamedTuple

from peer.store import Room, Store
from protocol.errors import BackchannelError, BadProfile
from protocol.ids import Head
from protocol.membership import START, Membership


class Mark(NamedTuple):
    """What is written down: the head after it (empty if an earlier program wrote it), and under which incarnation."""

    head: Head
    incarnation: bytes


class Logbook:
    """That of one room."""

    def __init__(self, store: Store, room: Room) -> None:
        """Keep it in ``store``."""
        self._store, self._room = store, room

    def mark(self) -> Mark:
        """Say what is written down."""
        row = self._store.row("SELECT head, incarnation FROM rooms WHERE id = ?", self._room.id)
        return Mark(Head(row["head"]), row["incarnation"]) if row else Mark(START, b"")

    def log(self) -> list[bytes]:
        """Return all statements."""
        sql = "SELECT statement FROM log WHERE room = ? ORDER BY place"
        return [row["statement"] for row in self._store.rows(sql, self._room.id)]

    def fold(self) -> Membership | None:
        """Return the room that they tell of, or None if there are none; raise ``BadProfile`` if they are damaged."""
        if not (log := self.log()):
            return None
        try:
            membership = Membership.fold(log)
        except BackchannelError as error:
            raise BadProfile(f"the log of {self._room.name} is damaged ({error.code})") from None
        if not self.mark().head:  # whoever goes on meanwhile writes down the head too
            self._store.write("UPDATE rooms SET head = ? WHERE id = ? AND head = x''", membership.head, self._room.id)
        return membership

    def append(self, membership: Membership) -> None:
        """Write down the last statement of ``membership``; all before it are there."""
        with self._store.transaction():
            sql = "INSERT INTO log VALUES (?, ?, ?)"
            self._store.write(sql, self._room.id, membership.index, membership.log[-1])
            self._store.write("UPDATE rooms SET head = ? WHERE id = ?", membership.head, self._room.id)

    def replace(self, membership: Membership, incarnation: bytes) -> None:
        """Write down another log in place of the one that is there."""
        with self._store.transaction():
            self._store.write("DELETE FROM log WHERE room = ?", self._room.id)
            rows = [(self._room.id, place, raw) for place, raw in enumerate(membership.log, 1)]
            self._store.write_many("INSERT INTO log VALUES (?, ?, ?)", rows)
            sql = "UPDATE rooms SET head = ?, incarnation = ? WHERE id = ?"
            self._store.write(sql, membership.head, incarnation, self._room.id)

    @property
    def told(self) -> int:
        """How many of the statements were told to whoever reads; 0: nobody has read yet, and all is old."""
        row = self._store.row("SELECT told FROM rooms WHERE id = ?", self._room.id)
        return row["told"] if row else 0

    @told.setter
    def told(self, index: int) -> None:
        self._store.write("UPDATE rooms SET told = ? WHERE id = ?", index, self._room.id)

    def label(self, incarnation: bytes) -> None:
        """Note that the relay of this incarnation has the log as it is written down."""
        self._store.write("UPDATE rooms SET incarnation = ? WHERE id = ?", incarnation, self._room.id)
