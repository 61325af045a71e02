"""The fold: from a room's log of statements to who belongs, with what role, by which invites, and under which head.

Relay and peers run this same code: the relay to keep invalid statements out, every peer to notice when it did not.
There is no clock here (the relay checks an invite's expiry when the ADMIT is submitted) and no I/O. The head is a
running hash of the log, so two peers with the same head have the same members. The fold protects against members that
a relay invents, against old statements shown again, and against re-entry after a removal; it cannot protect against a
relay that withholds the newest statements from everybody alike.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol import statement as st
from protocol.errors import (
    AlreadyMember,
    AlreadyStated,
    BadStatement,
    Banned,
    FounderStays,
    InviteEnded,
    InviteSpent,
    NotAllowed,
    NotMember,
    RoomClosed,
    StaleAnchor,
    TooManyMembers,
    TooManyStatements,
)
from protocol.ids import Anchor, Head, InviteId, PeerId, RoomId
from protocol.primitives import Label, blake2b

START: Final = Head(bytes(32))
"""The head of an empty log."""


class Role(enum.IntEnum):
    """What a member may do; each may do what the ones below it may."""

    MEMBER = 0
    ADMIN = 1
    FOUNDER = 2


@dataclass(slots=True)
class Member:
    """A current member, since the log had ``since`` statements."""

    role: Role
    since: int


@dataclass(slots=True)
class Grant:
    """A live invite."""

    granter: PeerId
    uses: int
    used: int
    expires_at: int


def next_head(head: Head, raw: bytes) -> Head:
    """Return the head after appending the statement ``raw`` to a log with ``head``."""
    return Head(blake2b(Label.HEAD, head + raw))


class Membership:
    """One room's log, folded. ``apply`` is the only way forward; a statement that it refuses changes nothing."""

    def __init__(self, found_raw: bytes) -> None:
        """Open the room with its FOUND; raise ``Malformed``, ``TooLarge``, ``BadSignature`` or ``BadStatement``."""
        found = st.decode(found_raw)
        if not isinstance(found, st.Found):
            raise BadStatement("a log begins with FOUND")
        self.found = found
        self.room: RoomId = st.room_id(found_raw)
        self.founder: PeerId = found.signer
        self.closed = False
        self.log: list[bytes] = [found_raw]
        self.heads: list[Head] = [START, next_head(START, found_raw)]
        self.members: dict[PeerId, Member] = {found.signer: Member(Role.FOUNDER, 1)}
        self.banned: set[PeerId] = set()
        self.left: dict[PeerId, int] = {}
        """The index of each identity's latest LEAVE or REMOVE."""
        self.grants: dict[InviteId, Grant] = {}
        self.departures: list[int] = []
        """The indices of all statements by which somebody ceased to be a member."""
        self._restricted = 1
        """The index of the latest ROLE, REMOVE or REVOKE: grants and promotions must have seen it."""
        self._spans: dict[PeerId, list[list[int]]] = {found.signer: [[1]]}
        self._known: set[bytes] = {st.statement_id(found_raw)}
        self._granted: dict[PeerId, int] = {}
        """How many invites each has granted."""
        self._invites: set[InviteId] = set()
        """Every invite key that was ever granted."""
        self._live: dict[PeerId, set[InviteId]] = {}
        """The live invites of each granter, so that churn costs nobody a search through everybody's."""

    @classmethod
    def fold(cls, log: Iterable[bytes]) -> Membership:
        """Fold a whole log; raise what its first invalid statement raises."""
        statements = iter(log)
        membership = cls(next(statements, b""))
        for raw in statements:
            membership.apply(raw)
        return membership

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def index(self) -> int:
        """How many statements are folded."""
        return len(self.log)

    @property
    def head(self) -> Head:
        """The running hash of the log."""
        return self.heads[-1]

    @property
    def anchor(self) -> Anchor:
        """The place of the log after everything folded."""
        return Anchor(self.index, self.head)

    @property
    def last_departure(self) -> int:
        """The index of the latest statement by which somebody ceased to be a member; 0 if there is none."""
        return self.departures[-1] if self.departures else 0

    def departure_before(self, index: int) -> int:
        """Return the index of the latest departure at or before ``index``, or 0."""
        place = bisect.bisect_right(self.departures, index)
        return self.departures[place - 1] if place else 0

    def knows(self, raw: bytes) -> bool:
        """Say whether the log holds what ``raw`` says, whatever its signatures; raise ``Malformed``."""
        return st.statement_id(raw) in self._known

    def agrees(self, anchor: Anchor) -> bool | None:
        """Say whether ``anchor`` is a place of this log; None if it lies ahead of what is folded."""
        if anchor.index >= len(self.heads):
            return None
        return self.heads[anchor.index] == anchor.head

    def was_member(self, peer: PeerId, index: int) -> bool:
        """Say whether ``peer`` belonged to the room when the log had ``index`` statements."""
        spans = self._spans.get(peer, [])
        place = bisect.bisect_right(spans, index, key=lambda span: span[0])
        return place > 0 and (len(spans[place - 1]) == 1 or index < spans[place - 1][1])

    def end_of(self, peer: PeerId) -> int | None:
        """Return the index of what ended the latest membership of ``peer``; None if it goes on or never was."""
        spans = self._spans.get(peer)
        return spans[-1][1] if spans and len(spans[-1]) > 1 else None

    # -- the way forward ----------------------------------------------------------------------------------------------

    def apply(self, raw: bytes) -> st.Statement:
        """Verify ``raw``, check it against the rules, append it and return it; raise and change nothing otherwise.

        Raises ``Malformed``, ``TooLarge``, ``BadSignature``, ``RoomClosed``, ``NotMember``, ``Banned``, ``NotAllowed``,
        ``FounderStays``, ``TooManyMembers``, ``TooManyStatements``, or ``BadStatement`` and what is below it:
        ``AlreadyStated``, ``AlreadyMember``, ``StaleAnchor``, ``InviteEnded``, ``InviteSpent``.
        """
        statement = self.check(raw)
        self.log.append(raw)
        self.heads.append(next_head(self.head, raw))
        self._known.add(st.statement_id(raw))
        self._carry_out(statement)
        return statement

    def check(self, raw: bytes) -> st.Anchored:
        """Verify ``raw`` and check it against the rules as ``apply`` does, and change nothing."""
        statement = st.decode(raw)
        if self.knows(raw):
            raise AlreadyStated
        if self.closed:
            raise RoomClosed
        if not isinstance(statement, st.Anchored):
            raise BadStatement("a second FOUND")
        if statement.room != self.room:
            raise BadStatement("another room's")
        self._check_rules(statement)
        return statement

    def _check_rules(self, statement: st.Anchored) -> None:
        match statement:
            case st.Grant():
                self._check_grant(statement)
            case st.Admit():
                self._check_admit(statement)
            case st.Role():
                self._check_role(statement)
            case st.Remove():
                self._need(statement.signer, Role.ADMIN)
                if statement.subject == self.founder:
                    raise FounderStays
                subject = self.members.get(statement.subject)
                if subject and subject.role >= Role.ADMIN:
                    self._need(statement.signer, Role.FOUNDER)
            case st.Revoke():
                grant = self.grants.get(statement.invite)
                granter = grant is not None and grant.granter == statement.signer
                self._need(statement.signer, Role.MEMBER if granter else Role.ADMIN)
            case st.Leave():
                self._need(statement.signer, Role.MEMBER)
                if statement.signer == self.founder:
                    raise FounderStays
            case st.Close():
                self._need(statement.signer, Role.FOUNDER)

    def _need(self, peer: PeerId, role: Role) -> None:
        member = self.members.get(peer)
        if member is None:
            raise Banned if peer in self.banned else NotMember
        if member.role < role:
            raise NotAllowed

    def _anchored(self, statement: st.Anchored, after: int) -> None:
        if statement.index < after or not self.agrees(statement.anchor):
            raise StaleAnchor

    def _check_grant(self, grant: st.Grant) -> None:
        self._need(grant.signer, Role.MEMBER if self.found.members_invite else Role.ADMIN)
        self._anchored(grant, self._restricted)
        if grant.invite in self._invites:
            raise BadStatement("an invite key is granted once: whoever held its word would hold a live one again")
        if grant.signer != self.founder and self._granted.get(grant.signer, 0) >= limits.GRANTS_PER_SIGNER:
            raise TooManyStatements

    def _check_admit(self, admit: st.Admit) -> None:
        if admit.signer in self.banned:
            raise Banned
        if admit.signer in self.members:
            raise AlreadyMember
        grant = self.grants.get(admit.invite)
        if grant is None:
            raise InviteEnded
        if grant.uses and grant.used >= grant.uses:
            raise InviteSpent
        if grant.used >= limits.ADMITS_PER_INVITE:
            raise TooManyStatements
        if len(self.members) >= limits.MEMBERS:
            raise TooManyMembers
        self._anchored(admit, self.left.get(admit.signer, 0))

    def _check_role(self, role: st.Role) -> None:
        self._need(role.signer, Role.FOUNDER)
        if role.subject == self.founder:
            raise FounderStays
        if role.admin:
            self._anchored(role, self._restricted)
            self._need(role.subject, Role.MEMBER)

    def _carry_out(self, statement: st.Anchored) -> None:
        match statement:
            case st.Grant():
                self.grants[statement.invite] = Grant(statement.signer, statement.uses, 0, statement.expires_at)
                self._granted[statement.signer] = self._granted.get(statement.signer, 0) + 1
                self._live.setdefault(statement.signer, set()).add(statement.invite)
                self._invites.add(statement.invite)
            case st.Admit():
                self.grants[statement.invite].used += 1
                self.members[statement.signer] = Member(Role.MEMBER, self.index)
                self._spans.setdefault(statement.signer, []).append([self.index])
            case st.Role():
                self._restricted = self.index
                member = self.members.get(statement.subject)
                if member:
                    member.role = Role.ADMIN if statement.admin else Role.MEMBER
                    if not statement.admin and not self.found.members_invite:
                        self._end_grants(statement.subject)
            case st.Remove():
                self._restricted = self.index
                self._depart(statement.subject)
                self.grants.clear()
                self._live.clear()
                if statement.ban:
                    self.banned.add(statement.subject)
            case st.Revoke():
                self._restricted = self.index
                grant = self.grants.pop(statement.invite, None)
                if grant:
                    self._live[grant.granter].discard(statement.invite)
            case st.Leave():
                self._depart(statement.signer)
                self._end_grants(statement.signer)
            case st.Close():
                self.closed = True

    def _depart(self, peer: PeerId) -> None:
        self.left[peer] = self.index
        if self.members.pop(peer, None):
            self.departures.append(self.index)
            self._spans[peer][-1].append(self.index)

    def _end_grants(self, granter: PeerId) -> None:
        for invite in self._live.pop(granter, ()):
            del self.grants[invite]
