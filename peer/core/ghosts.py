"""Ghosts: members whom a log lets in by what was over in an earlier one, which a restart of the relay lost.

A restriction is valid at any place of a log. So whoever was removed can, after a restart, bring the log as it was
before, let strangers into it by an invite that the removal ended, and have the removal follow: that log folds. Before a
log is replaced, what was over in it and who belonged to it are therefore written down; nothing is sealed for whoever
comes in against that, until the user has accepted it. Nothing of this is struck out when the log holds the restriction
again: its place is what the lie is about. Nor does it matter how often a relay claims to have been restarted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence

from peer.store import Room, Store
from protocol import statement as st
from protocol.ids import InviteId, PeerId
from protocol.membership import Membership, Role


class Ghosts:
    """Those of one room."""

    def __init__(self, store: Store, room: Room, me: PeerId, membership: Callable[[], Membership | None]) -> None:
        """Keep what is known of them in ``store``; ``membership()`` is the log that the room has now."""
        self._store, self._room, self._me, self._membership = store, room, me, membership

    def present(self) -> set[PeerId]:
        """Return the members whom the log lets in by what was over, and whom the user has not accepted."""
        membership = self._membership()
        if membership is None:
            return set()
        return {
            PeerId(peer)
            for peer, invite in self._store.rows("SELECT peer, invite FROM ghosts WHERE room = ?", self._room.id)
            if (member := membership.members.get(peer)) and _invite(membership.log[member.since - 1]) == invite
        }

    def accept(self, peer: PeerId) -> int:
        """Take ``peer`` for a member like any other; return how many of its ways in were doubtful."""
        return self._store.write("DELETE FROM ghosts WHERE room = ? AND peer = ?", self._room.id, peer)

    # -- the log grows ------------------------------------------------------------------------------------------------

    def is_let_in(self, statement: st.Statement) -> bool:
        """Hold the newest statement of the room's log against what was over before; say whether it lets a ghost in."""
        membership = self._membership()
        if membership is None or not isinstance(statement, st.Grant | st.Admit):
            return False
        return self._is_amiss(statement, self._lapsed(membership), self.present(), ())

    # -- the log is replaced ------------------------------------------------------------------------------------------

    def compare(self, old: Membership, new: Membership) -> set[PeerId]:
        """Note what was over in ``old``, before ``new`` takes its place; return the ghosts that ``new`` lets in."""
        same = common(old.log, new.log)
        ghosts = self.present()
        belonged = old.members.keys() - ghosts
        lost = old.log[same:]
        if lost:
            self._note(old, belonged - new.members.keys())
        recent, lapsed = set(lost), dict[PeerId, set[bytes]]()
        for raw in (*self._lacking(old), *lost):
            if (peer := _weakened(st.decode(raw))) is not None and not (raw in recent and _invites(old, peer)):
                lapsed.setdefault(peer, set()).add(st.statement_id(raw))
        found: set[PeerId] = set()
        for raw in new.log[same:]:
            statement = st.decode(raw)
            if self._is_amiss(statement, lapsed, ghosts | found, belonged):
                found.add(statement.signer)
            if (peer := _weakened(statement)) in lapsed:
                lapsed[peer].discard(st.statement_id(raw))
                if not lapsed[peer]:
                    del lapsed[
                        peer
                    ]  # all that is known has stood: what it says from here on, the fold holds against that
        return found & new.members.keys()

    def _note(self, old: Membership, lost: Iterable[PeerId]) -> None:
        used = Counter(_invite(raw) for raw in old.log if raw[0] == st.Kind.ADMIT)
        grants = [st.decode(raw) for raw in old.log if raw[0] == st.Kind.GRANT]
        over = [
            grant.invite
            for grant in grants
            if isinstance(grant, st.Grant)
            and (old.grant(grant.invite) is None or (grant.uses and used[grant.invite] >= grant.uses))
        ]
        self._end(over)
        self._store.write_many(
            "DELETE FROM lost WHERE room = ? AND peer = ?",
            [(self._room.id, peer) for peer in old.left if peer not in old.members],
        )
        self._store.write_many("INSERT OR IGNORE INTO lost VALUES (?, ?)", [(self._room.id, peer) for peer in lost])

    def _is_amiss(
        self, statement: st.Statement, lapsed: Container[PeerId], ghosts: Container[PeerId], belonged: Container[PeerId]
    ) -> bool:
        """Say whether ``statement`` is an ADMIT of a ghost; note what a GRANT makes that nobody had the right to make.

        ``lapsed``: who had lost the right, in a log that is gone; ``ghosts``: who never had it; ``belonged``: who was a
        member in the log before. They, and whoever was one when a log was lost, may come in again by the same invite.
        """
        match statement:
            case st.Grant() if statement.signer in lapsed or statement.signer in ghosts:
                self._end([statement.invite])
            case st.Admit() if statement.signer not in belonged and self._is_over(statement.invite):
                sql = "SELECT 1 FROM lost WHERE room = ? AND peer = ?"
                if statement.signer != self._me and self._store.row(sql, self._room.id, statement.signer) is None:
                    sql = "INSERT OR IGNORE INTO ghosts VALUES (?, ?, ?)"
                    self._store.write(sql, self._room.id, statement.signer, statement.invite)
                    return True
        return False

    def _lapsed(self, membership: Membership) -> set[PeerId]:
        """Return whom a restriction that is kept, and that ``membership`` lacks, takes the right to invite from."""
        return {peer for raw in self._lacking(membership) if (peer := _weakened(st.decode(raw))) is not None}

    def _lacking(self, membership: Membership) -> list[bytes]:
        rows = self._store.rows("SELECT statement FROM restrictions WHERE room = ?", self._room.id)
        return [raw for (raw,) in rows if not membership.knows(raw)]

    def _is_over(self, invite: InviteId) -> bool:
        return self._store.row("SELECT 1 FROM ended WHERE room = ? AND invite = ?", self._room.id, invite) is not None

    def _end(self, invites: Iterable[InviteId]) -> None:
        self._store.write_many(
            "INSERT OR IGNORE INTO ended VALUES (?, ?)", [(self._room.id, invite) for invite in invites]
        )


def common(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Return how many statements two logs begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _invite(admit: bytes) -> bytes:
    """Return the invite in the header of an ADMIT."""
    return admit[33:65]


def _weakened(statement: st.Statement) -> PeerId | None:
    """Return who has fewer rights by a restriction."""
    match statement:
        case st.Remove() | st.Role(admin=False):
            return statement.subject
        case st.Leave():
            return statement.signer
    return None


def _invites(membership: Membership, peer: PeerId) -> bool:
    """Say whether ``peer`` may grant invites."""
    member = membership.members.get(peer)
    return member is not None and (member.role >= Role.ADMIN or membership.found.members_invite)
