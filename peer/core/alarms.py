"""Alarms: what honest relays and members do not do.

They are kept until the user answers; until then nothing is sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from peer.store import Store
from protocol import limits
from protocol.ids import PeerId, RoomId


class AlarmKind(enum.StrEnum):
    """What was seen, and who could have done it."""

    LOG = "log"
    """The relay showed a statement that is invalid, or another one at a place that was filled already."""
    TWO_VIEWS = "two-views"
    """A member folded another log than this one: the relay shows two rooms, or the member lies."""
    UNKNOWN_HEAD = "unknown-head"
    """A member names statements that the relay did not show within 30 s."""
    CARD = "card"
    """Two different cards of one generation, or a card that is not validly signed."""
    WITHHELD = "withheld"
    """The log lacks a restriction that an earlier one had, and the relay did not take it within 30 s."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: ``subject`` is the member it names beside the relay, empty if it names the relay alone."""

    kind: AlarmKind
    subject: bytes
    what: str
    raised_at: int


_KNOWN_FOR: Final = 24 * limits.HOUR


class Alarms:
    """The alarms of one room."""

    def __init__(self, store: Store, room: RoomId) -> None:
        """Keep them in ``store``."""
        self._store, self._room = store, room

    def sound(self, kind: AlarmKind, subject: PeerId | bytes, what: str, now: int) -> bool:
        """Raise an alarm; say whether it is new (the same one stands only once)."""
        if any(alarm.kind == kind and alarm.subject == subject for alarm in self.standing()):
            return False
        self._store.write(
            "INSERT INTO alarms (room, kind, subject, what, raised_at) VALUES (?, ?, ?, ?, ?)",
            *(self._room, kind.value, subject, what, now),
        )
        return True

    def is_known(self, kind: AlarmKind, subject: PeerId | bytes, now: int) -> bool:
        """Say whether the user has answered just this about a member within a day: it then stops nothing again.

        What only a relay can do is never known, nor that somebody is back whose removal a restart lost once more.
        """
        sql = "SELECT max(answered_at) FROM alarms WHERE room = ? AND kind = ? AND subject = ?"
        if not subject or kind is AlarmKind.WITHHELD:
            return False
        row = self._store.row(sql, self._room, kind.value, subject)
        return row is not None and row[0] is not None and 0 <= now - row[0] < _KNOWN_FOR

    def standing(self) -> list[Alarm]:
        """Return the alarms that were not answered yet, oldest first."""
        rows = self._store.rows(
            "SELECT kind, subject, what, raised_at FROM alarms WHERE room = ? AND answered_at IS NULL ORDER BY id",
            self._room,
        )
        return [Alarm(AlarmKind(kind), subject, what, raised_at) for kind, subject, what, raised_at in rows]

    def answer(self, subject: PeerId | bytes, now: int) -> int:
        """Note that the user read and accepted the alarms about ``subject``; return how many there were."""
        return self._store.write(
            "UPDATE alarms SET answered_at = ? WHERE room = ? AND subject = ? AND answered_at IS NULL",
            *(now, self._room, subject),
        )
