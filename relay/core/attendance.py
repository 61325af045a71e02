"""Who is present in a room: members with at least one attachment that says so.

Changes gather for a turn, so that whoever comes back at once never left. Asides are nowhere near this: presence comes
from connections and attachments alone (claim 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from protocol import envelope, limits
from protocol.ids import PeerId, RoomId


class Attendance:
    """See the module's text."""

    __slots__ = ("_announced", "_attached", "_changed", "_snapshot", "revision")

    def __init__(self) -> None:
        self._attached: dict[PeerId, int] = {}
        """How many attachments make each member present."""
        self._announced: dict[PeerId, None] = {}
        """Whom the room has been told to be present, in a dict for its order."""
        self._changed: dict[PeerId, None] = {}
        self._snapshot = b""
        """Everybody present, said in ``revision``; empty if nobody has asked since."""
        self.revision = 0

    def come(self, peer: PeerId) -> None:
        self._attached[peer] = self._attached.get(peer, 0) + 1
        self._changed[peer] = None

    def go(self, peer: PeerId) -> None:
        left = self._attached.pop(peer) - 1
        if left:
            self._attached[peer] = left
        self._changed[peer] = None

    def __len__(self) -> int:
        return len(self._attached)

    def changes(self) -> tuple[list[PeerId], list[PeerId]]:
        """Return who came and who went since the last time, and begin a new revision if anybody did."""
        came = [peer for peer in self._changed if peer in self._attached and peer not in self._announced]
        went = [peer for peer in self._changed if peer not in self._attached and peer in self._announced]
        self._changed.clear()
        for peer in came:
            self._announced[peer] = None
        for peer in went:
            del self._announced[peer]
        if came or went:
            self.revision += 1
            self._snapshot = b""
        return came, went

    def snapshot(self, room: RoomId) -> bytes:
        """Return everybody present, as PRESENCE envelopes joined: parts of it would be wrong alone."""
        if not self._snapshot:
            everybody = iter(self._announced)
            first = envelope.Presence(room, True, tuple(islice(everybody, limits.PRESENT)), ())
            self._snapshot = first.encode() + b"".join(presence_changes(room, list(everybody), []))
        return self._snapshot


def presence_changes(room: RoomId, came: list[PeerId], went: list[PeerId]) -> Iterator[bytes]:
    """Yield the PRESENCE envelopes that say who came and who went."""
    for start in range(0, max(len(came), len(went)), limits.PRESENT):
        part = slice(start, start + limits.PRESENT)
        yield envelope.Presence(room, False, tuple(came[part]), tuple(went[part])).encode()
