"""The restrictions of a log that a restart of the relay lost: kept until a log holds them again.

Whoever knows a removal that the relay's log lacks submits it once more, and seals nothing to whom it made go until it
is in the log, or the user has accepted that it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from peer.store import Room, Store
from protocol import statement as st
from protocol.errors import AlreadyStated, BackchannelError
from protocol.ids import PeerId
from protocol.membership import Membership


@dataclass(frozen=True, slots=True)
class Kept:
    """One of them: who signed it, whom it made go, whether that one is a member now, and whether the log admits it."""

    raw: bytes
    signer: PeerId
    goes: PeerId | None
    is_back: bool
    fits: bool


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

    def lacking(self) -> list[Kept]:
        """Return the restrictions that were in an earlier log and that this one does not hold, but has to take.

        One whose signer lost the right to it with the earlier log binds nobody; but who was removed by it is not let
        in again for that (``gone``).
        """
        return [kept for kept in self._kept() if kept.fits or kept.is_back]

    def gone(self) -> dict[PeerId, Kept]:
        """Return the members of this log whose removal or leaving was in an earlier one, which a restart lost.

        Nothing is sealed for them until that is in the log again, or the user has accepted that the relay forgot it:
        nothing in a log proves that whoever let them in again knew of the removal.
        """
        return {kept.goes: kept for kept in self._kept() if kept.goes is not None and kept.is_back}

    def _kept(self) -> list[Kept]:
        """Return them all, but for those that the log holds again.

        One that fits no log now is kept: a relay that claims another restart may show one in which it matters again.
        """
        membership, found = self._membership(), []
        for (raw,) in self._store.rows("SELECT statement FROM restrictions WHERE room = ?", self._room.id):
            statement = st.decode(raw)
            goes: PeerId | None = None
            if isinstance(statement, st.Remove | st.Leave):
                goes = statement.subject if isinstance(statement, st.Remove) else statement.signer
            is_back = goes is not None and membership is not None and goes in membership.members
            try:
                if membership is not None:
                    membership.check(raw)
            except AlreadyStated:
                self._forget(raw)
            except BackchannelError:
                found.append(Kept(raw, statement.signer, goes, is_back, fits=False))
            else:
                found.append(Kept(raw, statement.signer, goes, is_back, fits=True))
        return found

    def accept(self, peer: PeerId | None) -> int:
        """Forget those that keep ``peer`` out, or (None) those that the relay does not take; return how many it were.

        One that keeps nobody out and fits no log now was in no alarm, and is kept.
        """
        accepted = [
            kept
            for kept in self._kept()
            if (kept.is_back and kept.goes == peer if peer else kept.fits and not kept.is_back)
        ]
        for kept in accepted:
            self._forget(kept.raw)
        return len(accepted)

    def _forget(self, raw: bytes) -> None:
        self._store.write("DELETE FROM restrictions WHERE room = ? AND statement = ?", self._room.id, raw)

    def taken(self, raw: bytes, incarnation: bytes) -> None:
        """Note that the relay said that it took this restriction."""
        sql = "UPDATE restrictions SET taken_by = ? WHERE room = ? AND statement = ?"
        self._store.write(sql, incarnation, self._room.id, raw)

    def was_taken(self, raw: bytes, incarnation: bytes) -> bool:
        """Say whether the relay said so, to any process, since it was started."""
        sql = "SELECT 1 FROM restrictions WHERE room = ? AND statement = ? AND taken_by = ?"
        return self._store.row(sql, self._room.id, raw, incarnation) is not None
