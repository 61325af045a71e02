"""Insists that the relay's log hold again what restricts: submits it, and sounds an alarm if that does not help.

An honest relay takes a restriction within a round trip. What it lacks after 30 s of attachment, or two minutes in all,
or says that it took and then lacks under the same incarnation, it does not want to take, or no relay can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.core.alarms import AlarmKind
from peer.core.pace import Pace
from peer.core.patience import Patience
from peer.core.restrictions import Kept
from peer.core.roster import Roster
from peer.store import Room
from protocol import envelope as ev
from protocol import limits
from protocol.errors import BackchannelError, Limit
from protocol.primitives import new_message_id

_AT_ONCE: Final = 32


class Insistence:
    """What one process insists on in one room."""

    def __init__(self, room: Room, roster: Roster, request: Callable[[ev.Request], bytes]) -> None:
        """Submit by ``request`` what ``roster`` keeps."""
        self._room, self._roster, self._request = room, roster, request
        self._since: dict[bytes, int] = {}
        """The restrictions that the relay's log lacks, and since when they have been submitted to it."""
        self._patience: Patience[bytes] = Patience()
        self._submitted: dict[bytes, bytes] = {}
        """Requests, and which restriction each submits."""
        self._again: list[bytes] = []
        """Restrictions that were more than the relay takes at once."""
        self._pace = Pace()

    def attached(self, incarnation: bytes, now: int) -> None:
        """Submit what the log of an attachment that has caught up lacks."""
        for kept in self._roster.restrictions.lacking():
            self._since.setdefault(kept.raw, now)
            if self._roster.restrictions.was_taken(kept.raw, incarnation):
                self._sound(kept, now)
            self._submit(kept.raw)

    def _submit(self, raw: bytes) -> None:
        self._submitted[self._request(ev.Submit(new_message_id(), self._room.id, raw))] = raw

    def disconnected(self) -> None:
        """Forget what was asked on a connection that has ended."""
        self._submitted.clear()
        self._again.clear()

    def accepted(self, request: bytes, incarnation: bytes) -> bool:
        """Take an ACCEPTED; say whether it was for a restriction."""
        raw = self._submitted.pop(request, None)
        if raw is None:
            return False
        self._pace.accepted()
        self._roster.restrictions.taken(raw, incarnation)
        return True

    def refused(self, request: bytes, error: BackchannelError, now: int) -> None:
        """Take a REFUSED: time tells what it means, but what was too much at once is submitted again after a rest."""
        raw = self._submitted.pop(request, None)
        if raw is not None and isinstance(error, Limit):
            self._pace.refused(now)
            self._again.append(raw)

    def tick(self, now: int, attached_since: int, attached: int) -> None:
        """Sound an alarm about every restriction that has not been taken for too long.

        ``attached``: for how many ms since the last tick the room was attached.
        """
        lacking = {kept.raw: kept for kept in self._roster.restrictions.lacking()} if self._since else {}
        self._since = {raw: min(since, now) for raw, since in self._since.items() if raw in lacking}
        if self._again and not self._pace.rests(now):
            again, self._again = self._again[:_AT_ONCE], self._again[_AT_ONCE:]
            for raw in again:
                if raw in lacking:
                    self._submit(raw)
        over = self._patience.passes(attached, self._since)
        for raw, since in list(self._since.items()):
            if raw in over or now - max(since, attached_since) >= limits.UNRESOLVED:
                del self._since[raw]
                self._sound(lacking[raw], now)

    def _sound(self, kept: Kept, now: int) -> None:
        subject = kept.goes if kept.goes is not None and kept.is_back else b""
        self._roster.sound(AlarmKind.WITHHELD, subject, self._roster.why_gone(kept), now)
