"""The counters of one's own asides, one rising number a recipient, shared by all processes of a profile.

A counter is taken once, in the transaction in which it is used. It is accepted by the relay, or given up; the next
asides to the same recipient name which were given up, so that it can tell a refusal from a loss.
"""

from __future__ import annotations

from peer.store import Room, Store
from protocol import limits
from protocol.ids import PeerId


class Counters:
    """The counters of one room."""

    def __init__(self, store: Store, room: Room) -> None:
        """Keep them in ``store``."""
        self._store, self._room = store, room

    def take(self, to: PeerId, now: int) -> int:
        """Return the next counter of the asides to ``to``, which nobody is given again."""
        row = self._store.row(
            "INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
            *(self._room.id, to),
        )
        counter: int = row["last"] if row else 0
        self._store.write(
            "DELETE FROM unsettled WHERE room = ? AND recipient = ? AND counter < ?",
            *(self._room.id, to, counter - limits.SKIPPED),
        )
        self._store.write(
            "INSERT INTO unsettled (room, recipient, counter, taken_at) VALUES (?, ?, ?, ?)",
            *(self._room.id, to, counter, now),
        )
        return counter

    def settle(self, to: PeerId, counter: int) -> None:
        """Note that the relay has the aside with that counter."""
        self._store.write(
            "DELETE FROM unsettled WHERE room = ? AND recipient = ? AND counter = ?", self._room.id, to, counter
        )

    def give_up(self, to: PeerId, counter: int) -> None:
        """Note that no aside with that counter will come."""
        self._store.write(
            "UPDATE unsettled SET given_up = 1 WHERE room = ? AND recipient = ? AND counter = ?",
            *(self._room.id, to, counter),
        )

    def given_up(self, to: PeerId, counter: int, now: int) -> int:
        """Return, as bits, which counters before ``counter`` were given up, or left behind by a killed process."""
        rows = self._store.rows(
            "SELECT counter FROM unsettled WHERE room = ? AND recipient = ? AND counter < ? AND counter >= ? "
            "AND (given_up OR taken_at < ?)",
            *(self._room.id, to, counter, counter - limits.SKIPPED, now - 2 * limits.UNSENT),
        )
        return sum(1 << (counter - 1 - row["counter"]) for row in rows)
