"""Which messages could not be read and were told so: once, by each process that was there when they came.

Nothing of such a message is proven, its sender neither. So what is remembered of them is bounded, for each sender and
in all. What is forgotten early is told once more if it comes again: never is one left untold.
"""

from __future__ import annotations

from typing import Final

from peer.store import Room, Store
from protocol import limits

UNREAD: Final = b"missed"
"""With the message's id, the stream of what could not be opened: it stands for nothing."""
OF_A_SENDER: Final = 1_024
IN_ALL: Final = 16_384
_LOOKED: Final = 64
"""After so many new ones it is looked whether there are too many."""
_BEYOND: Final = b"missee"
_KNOWN: Final = (
    f"SELECT stream FROM seen WHERE room = ? AND stream >= x'{UNREAD.hex()}' AND stream < x'{_BEYOND.hex()}' "  # noqa: S608
    "AND length(stream) < 32"  # a chain's id has so many bytes
)


class Unread:
    """Those of one room."""

    def __init__(self, store: Store, room: Room) -> None:
        """Remember them in ``store``, for all processes of the profile, and in memory for this one."""
        self._store, self._room = store, room
        self._told: dict[tuple[bytes, bytes], int] = {}
        """When this process told each."""
        self._new = 0

    def note(self, sender: bytes, message: bytes, now: int, started: int) -> bool:
        """Note that a message can't be read; say whether a process that began at ``started`` has to tell."""
        stream = UNREAD + message
        new = self._store.write(
            "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, 0, 0, ?, 1)", self._room.id, sender, message, stream, now
        )
        sql = "SELECT 1 FROM seen WHERE room = ? AND sender = ? AND message = ? AND stream = ? AND seen_at >= ?"
        known = self._store.row(sql, self._room.id, sender, message, stream, started) is not None
        first = (sender, message) not in self._told
        self._told[sender, message] = now
        if len(self._told) > IN_ALL:
            del self._told[next(iter(self._told))]
        if new:
            self._bound(sender)
        return bool(new) or (known and first)

    def _bound(self, sender: bytes) -> None:
        self._new += 1
        if self._new % _LOOKED == 1:
            newest = "ORDER BY seen_at DESC LIMIT -1 OFFSET ?"
            self._store.write(
                f"DELETE FROM seen WHERE room = ? AND sender = ? AND stream IN ({_KNOWN} AND sender = ? {newest})",  # noqa: S608
                *(self._room.id, sender, self._room.id, sender, OF_A_SENDER),
            )
            self._store.write(
                f"DELETE FROM seen WHERE room = ? AND stream IN ({_KNOWN} {newest})",  # noqa: S608
                *(self._room.id, self._room.id, IN_ALL),
            )

    def forget(self, now: int) -> None:
        """Forget what was told long ago."""
        self._told = {key: at for key, at in self._told.items() if now - at < 2 * limits.RETENTION_CAP}
