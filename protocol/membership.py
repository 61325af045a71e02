"""The fold: from a room's log of statements to who belongs, with what role, by which invites, and under which head.

Relay and peers run this same code: the relay to keep invalid statements out, every peer to notice when it did not.
There is no clock here (the relay checks an invite's expiry when the ADMIT is submitted) and no I/O. The head is a
running hash of the log, so two peers with the same head have the same members. The fold protects against members that
a relay invents, against old statements shown again, and against re-entry after a removal; it cannot protect against a
relay that withholds the newest statements from everybody alike.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol import errors, limits
from protocol import statement as st
from protocol.ids import Anchor, Head, InviteId, PeerId, RoomId
from protocol.primitives import Label, blake2b

START: Final = Head(bytes(32))  # the head of an empty log


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


def next_head(head: Head, raw: bytes) -> Head:
    """Return the head after appending the statement ``raw`` to a log with ``head``."""
    return Head(blake2b(Label.HEAD, head + raw))


class Membership:
    """One room's log, folded. ``apply`` is the only way forward; a statement that it refuses changes nothing."""

    def __init__(self, found_raw: bytes) -> None:
        """Open the room with its FOUND; raise ``Malformed``, ``TooLarge``, ``BadSignature`` or ``BadStatement``."""
        found = st.decode(found_raw)
        if not isinstance(found, st.Found):
            raise errors.BadStatement("a log begins with FOUND")
        self.found = found
        self.room: RoomId = st.room_id(found_raw)
        self.founder: PeerId = found.signer
        self.closed = False
        self.index = 1  # how many statements are folded
        self.head = next_head(START, found_raw)  # the running hash of them
        self.log: list[bytes] = [found_raw]
        self.heads: list[Head] = [START, self.head]
        self.members: dict[PeerId, Member] = {found.signer: Member(Role.FOUNDER, 1)}
        self.banned: set[PeerId] = set()
        self.left: dict[PeerId, int] = {}  # the index of each identity's latest LEAVE or REMOVE
        self.departures: list[int] = []  # the indices at which somebody ceased to be a member
        self.last_departure = 0  # the latest of them
        self._stays: dict[PeerId, list[int]] = {found.signer: [1]}  # the indices at which each came, went, came, ...
        self._demoted: dict[PeerId, int] = {}  # the index at which each last lost the right to invite by a ROLE
        self._grants: dict[InviteId, tuple[int, st.Grant] | None] = {}  # all ever made, and where; None once revoked
        self._granted: Counter[PeerId] = Counter()  # how many grants each has made
        self._admitted: Counter[InviteId] = Counter()  # how many each invite let in
        self._latest: Counter[type[st.Statement]] = Counter({st.Found: 1})  # the index of the latest of each kind
        self._known = {st.statement_id(found_raw)}

    @classmethod
    def fold(cls, log: Iterable[bytes]) -> Membership:
        """Fold a whole log; raise what its first invalid statement raises."""
        statements = iter(log)
        membership = cls(next(statements, b""))
        for raw in statements:
            membership.apply(raw)
        return membership

    @property
    def anchor(self) -> Anchor:
        """The place of the log after everything folded."""
        return Anchor(self.index, self.head)

    def departure_before(self, index: int) -> int:
        """Return the index of the latest departure at or before ``index``, or 0."""
        place = bisect_right(self.departures, index)
        return self.departures[place - 1] if place else 0

    def was_member(self, peer: PeerId, index: int) -> bool:
        """Say whether ``peer`` belonged to the room when the log had ``index`` statements."""
        return bisect_right(self._stays.get(peer, []), index) % 2 == 1

    def end_of(self, peer: PeerId) -> int | None:
        """Return the index of what ended the latest membership of ``peer``; None if it goes on or never was."""
        stays = self._stays.get(peer)
        return stays[-1] if stays and len(stays) % 2 == 0 else None

    def agrees(self, anchor: Anchor) -> bool | None:
        """Say whether ``anchor`` is a place of this log; None if it lies ahead of what is folded."""
        return self.heads[anchor.index] == anchor.head if anchor.index <= self.index else None

    def knows(self, raw: bytes) -> bool:
        """Say whether the log holds what ``raw`` says, whatever its signatures; raise ``Malformed``."""
        return st.statement_id(raw) in self._known

    def grant(self, invite: InviteId) -> st.Grant | None:
        """Return what makes ``invite`` live. A REVOKE ends it, any REMOVE, its granter's LEAVE or loss of the right."""
        made = self._grants.get(invite)
        if made is None:
            return None
        index, grant = made
        ended = max(self._latest[st.Remove], self.left.get(grant.signer, 0), self._demoted.get(grant.signer, 0))
        return grant if index > ended else None

    @property
    def grants(self) -> dict[InviteId, st.Grant]:
        """The grants of all live invites."""
        return {invite: grant for invite in self._grants if (grant := self.grant(invite))}

    def check(self, raw: bytes) -> st.Anchored:
        """Verify ``raw``, hold it against the rules and change nothing; raise for each rule its own ``Refused``."""
        said = st.decode(raw)
        if self.knows(raw):
            raise errors.AlreadyStated
        if self.closed:
            raise errors.RoomClosed
        if not isinstance(said, st.Anchored):
            raise errors.BadStatement("a second FOUND")
        if said.room != self.room:
            raise errors.BadStatement("another room's")
        self._check_rules(said)
        return said

    def _check_rules(self, said: st.Anchored) -> None:
        rights_changed = max(self._latest[kind] for kind in (st.Found, st.Role, st.Remove, st.Revoke))
        match said:
            case st.Admit():
                self._check_entry(said)
            case st.Grant():
                self._need(said.signer, Role.MEMBER if self.found.members_invite else Role.ADMIN)
                self._check_anchor(said, rights_changed)
                if said.invite in self._grants:  # or whoever held its word would hold a live one again
                    raise errors.BadStatement("an invite key is granted once")
                if said.signer != self.founder and self._granted[said.signer] >= limits.GRANTS_PER_SIGNER:
                    raise errors.TooManyStatements
            case st.Role():
                self._need(said.signer, Role.FOUNDER, about=said.subject)
                if said.admin:
                    self._check_anchor(said, rights_changed)
                    self._need(said.subject, Role.MEMBER)
            case st.Remove():
                subject = self.members.get(said.subject)
                admin = subject is not None and subject.role is Role.ADMIN
                self._need(said.signer, Role.FOUNDER if admin else Role.ADMIN, about=said.subject)
            case st.Revoke():
                grant = self.grant(said.invite)
                own = grant is not None and grant.signer == said.signer
                self._need(said.signer, Role.MEMBER if own else Role.ADMIN)
            case st.Leave():
                self._need(said.signer, Role.MEMBER, about=said.signer)
            case st.Close():
                self._need(said.signer, Role.FOUNDER)

    def _check_entry(self, admit: st.Admit) -> None:
        if admit.signer in self.banned:
            raise errors.Banned
        if admit.signer in self.members:
            raise errors.AlreadyMember
        grant = self.grant(admit.invite)
        if grant is None:
            raise errors.InviteEnded
        if grant.uses and self._admitted[admit.invite] >= grant.uses:
            raise errors.InviteSpent
        if self._admitted[admit.invite] >= limits.ADMITS_PER_INVITE:
            raise errors.TooManyStatements
        if len(self.members) >= limits.MEMBERS:
            raise errors.TooManyMembers
        self._check_anchor(admit, self.left.get(admit.signer, 0))

    def _need(self, peer: PeerId, role: Role, about: PeerId | None = None) -> None:
        member = self.members.get(peer)
        if member is None:
            raise errors.Banned if peer in self.banned else errors.NotMember
        if member.role < role:
            raise errors.NotAllowed
        if about == self.founder:
            raise errors.FounderStays

    def _check_anchor(self, said: st.Anchored, since: int) -> None:
        if said.anchor.index < since or not self.agrees(said.anchor):
            raise errors.StaleAnchor

    def apply(self, raw: bytes) -> st.Statement:
        """Append ``raw`` and carry it out; raise what ``check`` raises and change nothing then."""
        said = self.check(raw)
        self.index += 1
        self.head = next_head(self.head, raw)
        self.log.append(raw)
        self.heads.append(self.head)
        self._known.add(st.statement_id(raw))
        self._latest[type(said)] = self.index
        match said:
            case st.Grant():
                self._grants[said.invite] = (self.index, said)
                self._granted[said.signer] += 1
            case st.Admit():
                self._admitted[said.invite] += 1
                self.members[said.signer] = Member(Role.MEMBER, self.index)
                self._stays.setdefault(said.signer, []).append(self.index)
            case st.Role():
                if member := self.members.get(said.subject):
                    member.role = Role.ADMIN if said.admin else Role.MEMBER
                if not said.admin and not self.found.members_invite:
                    self._demoted[said.subject] = self.index
            case st.Remove():
                self._depart(said.subject)
                if said.ban:
                    self.banned.add(said.subject)
            case st.Revoke():
                if said.invite in self._grants:
                    self._grants[said.invite] = None
            case st.Leave():
                self._depart(said.signer)
            case st.Close():
                self.closed = True
        return said

    def _depart(self, peer: PeerId) -> None:
        self.left[peer] = self.index
        if self.members.pop(peer, None):
            self.last_departure = self.index
            self.departures.append(self.index)
            self._stays[peer].append(self.index)
