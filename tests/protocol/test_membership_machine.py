"""Anybody says anything, in any order: the fold against the rules of the room written down a second time, slowly.

``Rules`` looks through the whole log for every answer and keeps nothing; the fold keeps everything and looks at nothing
twice. What one of them takes the other must take.
"""

from __future__ import annotations

import random as chance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol import statement as st
from protocol.errors import BackchannelError
from protocol.identity import Identity, SigningKey
from protocol.ids import Anchor, Head, PeerId
from protocol.membership import Membership, Role, next_head
from tests.protocol.builders import ALICE, BOB, CHUCK, DAVE, EVE, FRED, Room, briefly_and_for_long, invite, state

PEOPLE = [ALICE, BOB, CHUCK, DAVE, EVE]
KEYS = [SigningKey(bytes([n]) * 32) for n in range(1, 16)]


class Rules:
    """The rules of a room, over a list of statements, each place counted from 1."""

    def __init__(self, log: list[st.Statement], heads: list[Head]) -> None:
        self.heads = heads
        self.placed = list(enumerate(log, start=1))
        self.found = log[0]
        self.founder = log[0].signer
        assert isinstance(self.found, st.Found)

    def roles(self, index: int | None = None) -> dict[PeerId, Role]:
        """Return who belonged after ``index`` statements (now), and with what role."""
        roles = {}
        for place, said in self.placed:
            if index is not None and place > index:
                break
            match said:
                case st.Found():
                    roles[said.signer] = Role.FOUNDER
                case st.Admit():
                    roles[said.signer] = Role.MEMBER
                case st.Role() if said.subject in roles:
                    roles[said.subject] = Role.ADMIN if said.admin else Role.MEMBER
                case st.Remove():
                    roles.pop(said.subject, None)
                case st.Leave():
                    roles.pop(said.signer)
        return roles

    def banned(self) -> set[PeerId]:
        return {said.subject for _, said in self.placed if isinstance(said, st.Remove) and said.ban}

    def granted(self) -> set[bytes]:
        return {said.invite for _, said in self.placed if isinstance(said, st.Grant)}

    def grant_of(self, key: bytes) -> st.Grant | None:
        """Return the grant that makes an invite live."""
        grants = [(p, said) for p, said in self.placed if isinstance(said, st.Grant) and said.invite == key]
        if not grants:
            return None
        granted, grant = grants[-1]
        for _, said in self.placed[granted:]:
            match said:
                case st.Remove():
                    return None
                case st.Revoke() if said.invite == key:
                    return None
                case st.Leave() if said.signer == grant.signer:
                    return None
                case st.Role() if said.subject == grant.signer and not said.admin and not self.found.members_invite:
                    return None
        return grant

    def uses_left(self, key: bytes, grant: st.Grant) -> bool:
        granted = max(place for place, said in self.placed if said == grant)
        used = sum(isinstance(said, st.Admit) and said.invite == key for _, said in self.placed[granted:])
        return not grant.uses or used < grant.uses

    def latest(self, *kinds: type[st.Statement], of: PeerId | None = None) -> int:
        """Return the place of the latest statement of ``kinds``, by or about ``of`` if that is given; 0 if none."""
        return max(
            (
                place
                for place, said in self.placed
                if isinstance(said, kinds) and (of is None or of == (getattr(said, "subject", said.signer)))
            ),
            default=0,
        )

    def stands(self, said: st.Anchored, after: int) -> bool:
        return after <= said.anchor.index < len(self.heads) and self.heads[said.anchor.index] == said.anchor.head

    def allow(self, said: st.Statement) -> bool:
        """Say whether ``said`` may come next."""
        if isinstance(said, st.Found) or any(
            isinstance(before, st.Close) or before == said for _, before in self.placed
        ):
            return False
        roles = self.roles()
        role = roles.get(said.signer, -1)
        match said:
            case st.Grant():
                may = role >= (Role.MEMBER if self.found.members_invite else Role.ADMIN)
                seen = self.stands(said, max(1, self.latest(st.Role, st.Remove, st.Revoke)))
                return may and seen and said.invite not in self.granted()
            case st.Admit():
                grant = self.grant_of(said.invite)
                outside = role < 0 and said.signer not in self.banned()
                seen = self.stands(said, self.latest(st.Leave, st.Remove, of=said.signer))
                return outside and seen and grant is not None and self.uses_left(said.invite, grant)
            case st.Role():
                seen = self.stands(said, max(1, self.latest(st.Role, st.Remove, st.Revoke)))
                fits = not said.admin or (said.subject in roles and seen)
                return role == Role.FOUNDER and said.subject != self.founder and fits
            case st.Remove():
                theirs = roles.get(said.subject, Role.MEMBER)
                return role > theirs
            case st.Revoke():
                grant = self.grant_of(said.invite)
                return role >= Role.ADMIN or (role >= 0 and grant is not None and grant.signer == said.signer)
            case st.Leave():
                return role in (Role.MEMBER, Role.ADMIN)
        return role == Role.FOUNDER


people, keys = hs.sampled_from(PEOPLE), hs.sampled_from(KEYS)
trusted = hs.sampled_from([ALICE, ALICE, BOB, CHUCK, EVE])
places = hs.sampled_from([None] * 6 + [-1]) | hs.none() | hs.integers(0, 60)
"""Where a statement is anchored: mostly where the log stands, or anywhere, or off the log."""


class AnybodySaysAnything(RuleBasedStateMachine):
    @initialize(members_invite=hs.booleans(), peopled=hs.booleans())
    def founded(self, members_invite: bool, peopled: bool) -> None:
        self.room = Room(members_invite=members_invite)
        self.said: list[bytes] = []
        self.log: list[st.Statement] = []
        if peopled:
            self.room.promotes(BOB)
            self.room.admits(CHUCK)
        self.was = {place: set(self.slowly().roles(place)) for place in range(self.room.anchor.index + 1)}

    def slowly(self) -> Rules:
        membership = self.room.membership
        self.log += [st.decode(raw) for raw in membership.log[len(self.log) :]]
        return Rules(self.log, membership.heads)

    def at(self, place: int | None) -> Anchor:
        if place is None:
            return self.room.anchor
        if 0 <= place < self.room.anchor.index:
            return self.room.at(place)
        return Anchor(self.room.anchor.index + place, Head(b"x" * 32))

    def tries(self, raw: bytes) -> None:
        self.said.append(raw)
        if self.slowly().allow(st.decode(raw)):
            self.room.membership.apply(raw)
            self.was[self.room.anchor.index] = set(self.room.membership.members)
            return
        before = state(self.room.membership)
        with pytest.raises(BackchannelError):
            self.room.membership.apply(raw)
        assert state(self.room.membership) == before

    @rule(who=people, key=keys)
    def is_let_in(self, who: Identity, key: SigningKey) -> None:
        """Without such help hardly anybody would ever get in, and nothing would happen."""
        self.tries(self.room.signed(st.grant, ALICE, invite(key), 0, 0))
        self.tries(self.room.signed(st.admit, who, key))

    @rule(who=people, key=keys)
    def becomes_an_admin_who_invites(self, who: Identity, key: SigningKey) -> None:
        self.tries(self.room.signed(st.role, ALICE, who.id, True))
        self.tries(self.room.signed(st.grant, who, invite(key), 1, 0))

    @rule(who=trusted, key=keys, uses=hs.integers(0, 2), place=places)
    def grants(self, who: Identity, key: SigningKey, uses: int, place: int | None) -> None:
        self.tries(self.room.signed(st.grant, who, invite(key), uses, 0, at=self.at(place)))

    @rule(who=people, key=keys, place=places)
    def enters(self, who: Identity, key: SigningKey, place: int | None) -> None:
        self.tries(self.room.signed(st.admit, who, key, at=self.at(place)))

    @rule(who=trusted, subject=people, admin=hs.booleans(), place=places)
    def gives_a_role(self, who: Identity, subject: Identity, admin: bool, place: int | None) -> None:
        self.tries(self.room.signed(st.role, who, subject.id, admin, at=self.at(place)))

    @rule(who=trusted, subject=people, ban=hs.sampled_from([False] * 5 + [True]), place=places)
    def removes(self, who: Identity, subject: Identity, ban: bool, place: int | None) -> None:
        self.tries(self.room.signed(st.remove, who, subject.id, ban, at=self.at(place)))

    @rule(who=trusted, key=keys, place=places)
    def revokes(self, who: Identity, key: SigningKey, place: int | None) -> None:
        self.tries(self.room.signed(st.revoke, who, invite(key), at=self.at(place)))

    @rule(who=people, place=places)
    def leaves(self, who: Identity, place: int | None) -> None:
        self.tries(self.room.signed(st.leave, who, at=self.at(place)))

    @rule(who=people, sure=hs.integers(0, 9))
    def closes(self, who: Identity, sure: int) -> None:
        if sure == 9:
            self.tries(self.room.signed(st.close, who))

    @precondition(lambda self: self.said)
    @rule(which=hs.integers(0, 200))
    def says_it_again(self, which: int) -> None:
        self.tries(self.said[which % len(self.said)])

    @invariant()
    def the_founder_is_always_the_founder_and_nobody_else(self) -> None:
        founders = [who for who, member in self.room.membership.members.items() if member.role is Role.FOUNDER]
        assert founders == [ALICE.id]

    @invariant()
    def members_are_those_of_the_rules_and_no_banned_among_them(self) -> None:
        membership, rules = self.room.membership, self.slowly()
        assert {who: member.role for who, member in membership.members.items()} == rules.roles()
        assert membership.banned == rules.banned()
        assert membership.banned.isdisjoint(membership.members)
        for key in [*map(invite, KEYS), *rules.granted()]:
            grant, live = rules.grant_of(key), membership.grant(key)
            assert (grant and grant.signer) == (live and live.signer)
            assert (key in membership.grants) == (live is not None)

    @invariant()
    def the_head_is_that_of_the_whole_log(self) -> None:
        membership = self.room.membership
        assert membership.index == len(membership.log) == len(membership.heads) - 1
        assert membership.head == next_head(membership.heads[-2], membership.log[-1])

    @invariant()
    def it_remembers_who_belonged_when(self) -> None:
        membership = self.room.membership
        for place, members in self.was.items():
            assert {who.id for who in PEOPLE if membership.was_member(who.id, place)} == members
        fewer = [place for place in range(1, membership.index + 1) if self.was[place - 1] - self.was[place]]
        assert membership.departures == fewer
        for place in range(membership.index + 2):
            assert membership.departure_before(place) == max([p for p in fewer if p <= place], default=0)

    def teardown(self) -> None:
        if hasattr(self, "room"):
            membership = self.room.membership
            assert vars(Membership.fold(membership.log)) == vars(membership), "a fold is what was applied one by one"


class TestAnybodySaysAnything(AnybodySaysAnything.TestCase):
    settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.fuzz
class TestAnybodySaysAnythingForLong(AnybodySaysAnything.TestCase):
    pass


# -- restrictions -----------------------------------------------------------------------------------------------------

forms = hs.one_of(
    hs.tuples(hs.just(st.remove), hs.sampled_from([BOB.id, CHUCK.id, DAVE.id, FRED.id]), hs.booleans()),
    hs.tuples(hs.just(st.role), hs.sampled_from([BOB.id, CHUCK.id, DAVE.id]), hs.just(False)),
    hs.tuples(hs.just(st.revoke), hs.sampled_from([invite(key) for key in KEYS])),
)


@briefly_and_for_long
@given(restrictions=hs.lists(forms, max_size=10), order=hs.randoms(use_true_random=False), closed=hs.booleans())
def test_what_the_founder_takes_away_is_taken_in_any_order(drawn, restrictions, order: chance.Random, closed) -> None:
    """After a relay's restart it gets whatever it lacks from whoever comes back, in whatever order."""
    outcomes = []
    for _ in range(2):
        room = Room()
        room.promotes(BOB)
        room.admits(CHUCK)
        for key in KEYS[:2]:
            room.says(st.grant, ALICE, invite(key), 0, 0)
        lost = [
            room.signed(form, ALICE, *said, at=Anchor(place, Head(b"of a lost log".ljust(32))))
            for place, (form, *said) in enumerate(restrictions)
        ]
        order.shuffle(lost)
        if closed:
            lost.append(room.signed(st.close, ALICE))
        for raw in lost:
            room.membership.apply(raw)
        after = room.membership
        outcomes.append(
            ({who: m.role for who, m in after.members.items()}, after.banned, set(after.grants), after.closed)
        )
    assert outcomes[0] == outcomes[1]
    removed = {said[0] for form, *said in restrictions if form is st.remove}
    assert removed.isdisjoint(outcomes[0][0])
