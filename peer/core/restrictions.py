"""The restrictions of a log that a restart of the relay lost: kept until a log holds them again.

Whoever knows a removal that the relay's log lacks submits it once more, and seals nothing to whom it made go until it
is in the log, or the user has accepted that it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from peer.store import Room, Store
from protocol import statement as st
from protocol.errors import AlreadyStated, BackchannelError
from protocol.ids import PeerId
from protocol.membership import Membership


class Restrictions:
    """Those of one room."""

    def __init__(self, store: Store, room: Room, membership: Callable[[], Membership | None]) -> None:
        """Keep them in ``store``; ``membership()`` is the log that the room has now."""
        self._store, self._room, self._membership = store, room, membership

    def keep(self, log: Iterable[bytes]) -> None:
        """Keep those of a log that another takes the place of."""
        self._store.write_many(
            "INSERT OR IGNORE INTO restrictions (room, statement) VALUES (?, ?)",
            [(self._room.id, raw) for raw in log if st.is_restriction(st.decode(raw))],
        )

    def lacking(self) -> list[bytes]:
        """Return the restrictions that were in an earlier log and that this one does not hold, but has to take.

        One whose signer lost the right to it with the earlier log binds nobody; but who was removed by it is not let
        in again for that (``gone``).
        """
        return [raw for raw, goes, fits in self._kept() if fits or self._is_back(goes)]

    def gone(self) -> set[PeerId]:
        """Return the members of this log whose removal or leaving was in an earlier one, which a restart lost.

        Nothing is sealed for them until that is in the log again, or the user has accepted that the relay forgot it.
        """
        return {goes for _, goes, _ in self._kept() if goes is not None and self._is_back(goes)}

    def _is_back(self, goes: PeerId | None) -> bool:
        membership = self._membership()
        return goes is not None and membership is not None and goes in membership.members

    def _kept(self) -> list[tuple[bytes, PeerId | None, bool]]:
        """Return them, each with the member whom it has made go, and whether the log admits it now.

        One that fits no log now is kept: a relay that claims another restart may show one in which it matters again.
        """
        membership, found = self._membership(), []
        for (raw,) in self._store.rows("SELECT statement FROM restrictions WHERE room = ?", self._room.id):
            statement = st.decode(raw)
            goes: PeerId | None = None
            if isinstance(statement, st.Remove | st.Leave):
                goes = statement.subject if isinstance(statement, st.Remove) else statement.signer
            try:
                if membership is not None:
                    membership.check(raw)
            except AlreadyStated:
                self._store.write("DELETE FROM restrictions WHERE room = ? AND statement = ?", self._room.id, raw)
            except BackchannelError:
                found.append((raw, goes, False))
            else:
                found.append((raw, goes, True))
        return found

    def taken(self, raw: bytes, incarnation: bytes) -> None:
        """Note that the relay said that it took this restriction."""
        sql = "UPDATE restrictions SET taken_by = ? WHERE room = ? AND statement = ?"
        self._store.write(sql, incarnation, self._room.id, raw)

    def was_taken(self, raw: bytes, incarnation: bytes) -> bool:
        """Say whether the relay said so, to any process, since it was started."""
        sql = "SELECT 1 FROM restrictions WHERE room = ? AND statement = ? AND taken_by = ?"
        return self._store.row(sql, self._room.id, raw, incarnation) is not None
