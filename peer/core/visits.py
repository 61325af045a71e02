"""When the profile last read the room, and under which incarnation of the relay: what it cannot have heard since then.

A process that only sends remembers nothing here: it is no reader, and would hide from the next one that it was away.
"""

from __future__ import annotations

from peer.store import Room, Store


class Visits:
    """Of one room, as one process knows them."""

    def __init__(self, store: Store, room: Room, *, reads: bool) -> None:
        """Go on from what the profile has; with ``reads`` the process is a reader."""
        self._store, self._room, self._reads = store, room, reads
        self._read_under = room.read_under
        self.noted = 0
        """When this process noted it last (ms); 0: never."""

    def away(self, incarnation: bytes, retention: int, now: int) -> bool:
        """Say whether the profile was away for longer than ``retention`` (ms), or the relay was restarted between."""
        last = self.noted or self._room.attached_at
        return last > 0 and (incarnation != self._read_under or now - last > retention)

    def note(self, incarnation: bytes, now: int) -> None:
        """Remember that the room is attached now."""
        self.noted = now
        if self._reads:
            self._read_under = incarnation
            self._store.write(
                "UPDATE rooms SET attached_at = ?, read_under = ? WHERE id = ?", now, incarnation, self._room.id
            )
