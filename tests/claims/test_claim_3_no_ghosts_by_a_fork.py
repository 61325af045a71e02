"""Claims 3 and 6, when a relay is restarted, or says so: nobody comes in by what had ended before.

Every restriction is valid at any place of a log. So a log that was forked before the removal of Chuck may let a ghost
in by an invite that the removal ended, and hold the removal after that: it folds, and nothing in it is missing. What
keeps the ghost out is ``peer/core/ghosts``: what was over, and who belonged, is written down before a log is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from protocol import card as cards
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.errors import AlarmRaised
from protocol.identity import Identity, SigningKey
from protocol.ids import InviteId, PeerId
from protocol.membership import Membership
from protocol.primitives import random
from tests.claims import hostile_relay as lies
from tests.claims.conftest import Company
from tests.claims.world import LyingWorld
from tests.peer.world import Person

WAYS = [
    "an invite that a ban ended",
    "an invite that was revoked",
    "an invite that had no use left",
    "a grant of an admin who was removed",
    "a grant of an admin who was made a plain member",
]


@dataclass
class Forks(lies.Lie):
    """Has ``log`` after a restart; ``later`` goes on with it before any restriction of the members is taken."""

    log: list[bytes]
    later: list[bytes]
    ghost: Identity
    shown: set[PeerId] = field(default_factory=set)

    def restarts(self, relay: lies.Liar) -> None:
        relay.opens(self.log)

    def takes(self, relay: lies.Liar, peer: bytes, request: ev.Request) -> Iterable[ev.Request]:
        if isinstance(request, ev.Submit):
            self.goes_on(relay)
        return (request,)

    def goes_on(self, relay: lies.Liar) -> None:
        """Let the ghost in, if it is not in, and show its card: whoever sealed for it would have all it needs."""
        for raw in self.later:
            relay.room.append(raw, relay.now)
        self.later = []
        if self.ghost.id not in self.shown:
            self.shown.add(self.ghost.id)
            key = cards.sealing_key(cards.new_sealing_secret())
            raw = cards.make(self.ghost, relay.room.id, relay.clock, key, random(60))
            card = cards.Card.decode(raw, room=relay.room.id, now=relay.clock)
            relay.room.publish(card, relay.now, more=True)


def restarts(world: LyingWorld, log: list[bytes], ghost: Identity, later: Iterable[bytes] = ()) -> None:
    """Start the relay again with ``log``, and let the ghost in, in it or ``later``."""
    world.lies(Forks(log, list(later), ghost))
    world.restart()
    world.lie.goes_on(world.core)
    world.runs()


@dataclass
class Fork:
    """The log as Chuck makes it go on, and how many of its statements are everybody's."""

    log: list[bytes]
    common: int
    ghost: Identity


def forked(c: Company, way: str) -> Fork:
    """Let Chuck keep the log as it is and let a ghost into it; then let happen what ends his right to that."""
    ghost = Identity.generate()
    if "admin" in way:
        c.alice.promotes("chuck")
    invite = c.alice.invites(uses=int("no use" in way))
    key, anchor = invite.key, invite.anchor
    fork = Membership.fold(c.alice.membership.log)
    common = fork.index
    if "admin" in way:
        key = SigningKey.generate()
        fork.apply(st.grant(c.chuck.identity, fork.room, fork.anchor, InviteId(key.public), 0, 0))
        anchor = fork.anchor
    fork.apply(st.admit(ghost, fork.room, anchor, key))
    if "no use" in way:
        c.world.join("dave", invite=invite)
    elif "revoked" in way:
        c.alice.revokes(invite)
    elif "plain" in way:
        c.alice.promotes("chuck", admin=False)
    else:
        c.alice.kicks("chuck", ban=True)
    c.world.people_called[ghost.id] = "ghost"
    return Fork(fork.log, common, ghost)


def keeps_out(c: Company, ghost: Identity) -> None:
    """See that nothing is sealed for ``ghost`` before somebody has accepted it, and that an alarm asks for that."""
    for person in (c.alice, c.bob):
        assert "withheld ghost" in c.world.alarmed(person), person.name
        with pytest.raises(AlarmRaised):
            person.says("who is this?")
        for alarm in person.alarms():
            if alarm.subject != ghost.id:
                person.core.roster.answer(alarm.subject, person.now)
    c.world.passes(limits.MINUTE)
    assert ghost.id in c.alice.membership.members
    assert not c.world.sealed_to(ghost.id)
    for person in (c.alice, c.bob):
        assert person.core.roster.answer(ghost.id, person.now)
        c.world.accepts(person)
    c.alice.says("you may stay")
    assert "alice: you may stay" in c.bob.hears()
    assert c.world.sealed_to(ghost.id)


@pytest.mark.parametrize("way", WAYS)
def test_a_log_forked_before_the_end_of_an_invite_lets_nobody_in(company: Company, way: str):
    """``Ghosts.compare``: by the invites that were over (``_note``), and by who had lost the right to grant one."""
    c = company
    fork = forked(c, way)
    restarts(c.world, fork.log, fork.ghost)
    keeps_out(c, fork.ghost)


@pytest.mark.parametrize("way", WAYS)
def test_nor_does_one_that_holds_the_restriction_too_but_later(company: Company, way: str):
    """Nothing is missing in that log, so there is nothing to insist on: only its order is another."""
    c = company
    fork = forked(c, way)
    log = Membership.fold(fork.log)
    for raw in c.alice.membership.log[fork.common :]:
        if st.is_restriction(st.decode(raw)):
            log.apply(raw)
    restarts(c.world, log.log, fork.ghost)
    keeps_out(c, fork.ghost)


@pytest.mark.parametrize("way", WAYS)
def test_nor_does_a_ghost_come_in_between_the_old_log_and_what_is_brought_back(company: Company, way: str):
    """``Ghosts.is_let_in``: what was over is held against every ADMIT, not only against those of a log adopted."""
    c = company
    fork = forked(c, way)
    restarts(c.world, fork.log[: fork.common], fork.ghost, later=fork.log[fork.common :])
    keeps_out(c, fork.ghost)


def test_nor_by_two_restarts_of_which_the_first_loses_what_was_known(company: Company):
    """What was over stays written down, however often the log is replaced."""
    c = company
    fork = forked(c, WAYS[0])
    c.world.lies(Forks(fork.log[: fork.common], [], fork.ghost))
    c.world.restart()
    restarts(c.world, fork.log, fork.ghost)
    keeps_out(c, fork.ghost)


def test_whoever_belonged_to_the_lost_log_comes_in_again_without_an_alarm(company: Company):
    """Dave came in by an invite with one use, and a restart loses that: his way back is that invite."""
    c = company
    invite = c.alice.invites(uses=1)
    length = c.alice.membership.index
    (dave,) = c.world.join("dave", invite=invite)
    dave.sleeps()
    c.world.lies(Forks(c.alice.membership.log[:length], [], dave.identity, {dave.id}))
    c.world.restart()
    assert dave.id not in c.alice.membership.members
    dave.enters(invite)
    assert dave.id in c.alice.membership.members
    before = len(c.world.sealed_to(dave.id))
    c.alice.says("welcome back")
    assert len(c.world.sealed_to(dave.id)) > before
    assert not any(c.world.alarms().values())


# -- where every member may invite ------------------------------------------------------------------------------------


def gathered() -> tuple[LyingWorld, Person, Person]:
    """A room of alice and bob in which every member may invite, and the invite that chuck has."""
    world = LyingWorld()
    alice = world.create("alice", members_invite=True)
    (bob,) = world.join("bob")
    return world, alice, bob


def guest(fork: Membership, host: Identity) -> Identity:
    """Let ``host`` grant an invite in ``fork``, and a ghost come in by it."""
    key, ghost = SigningKey.generate(), Identity.generate()
    fork.apply(st.grant(host, fork.room, fork.anchor, InviteId(key.public), 0, 0))
    fork.apply(st.admit(ghost, fork.room, fork.anchor, key))
    return ghost


def seals_nothing(world: LyingWorld, alice: Person, fork: Membership, ghost: Identity) -> None:
    world.people_called[ghost.id] = "ghost"
    restarts(world, fork.log, ghost)
    assert ghost.id in alice.membership.members
    assert "withheld ghost" in world.alarmed(alice)
    with pytest.raises(AlarmRaised):
        alice.says("who is this?")
    world.passes(limits.MINUTE)
    assert not world.sealed_to(ghost.id)


def test_an_older_restriction_of_chuck_does_not_stand_for_the_later_one():
    """He was made a plain member, and then banned: his grant between the two is one of somebody who has no right."""
    world, alice, _ = gathered()
    (chuck,) = world.join("chuck")
    alice.promotes("chuck")
    common = alice.membership.index
    fork = Membership.fold(alice.membership.log)
    alice.promotes("chuck", admin=False)
    alice.kicks("chuck", ban=True)
    demotion, ban = alice.membership.log[common:]
    fork.apply(st.grant(chuck.identity, fork.room, fork.anchor, InviteId(SigningKey.generate().public), 0, 0))
    fork.apply(demotion)
    ghost = guest(fork, chuck.identity)
    fork.apply(ban)
    seals_nothing(world, alice, fork, ghost)


def test_nor_does_one_that_he_made_himself():
    """He leaves, in his fork, and comes back by the invite that he had when a log was lost: he has no right to that."""
    world, alice, _ = gathered()
    invite = alice.invites()
    before = list(alice.membership.log)
    (chuck,) = world.join("chuck", invite=invite)
    chuck.sleeps()
    world.lies(Forks(before, [], chuck.identity, {chuck.id}))
    world.restart()
    chuck.enters(invite)
    common = alice.membership.index
    fork = Membership.fold(alice.membership.log)
    alice.kicks("chuck")
    (removal,) = alice.membership.log[common:]
    fork.apply(st.leave(chuck.identity, fork.room, fork.anchor))
    fork.apply(st.admit(chuck.identity, fork.room, fork.anchor, invite.key))
    ghost = guest(fork, chuck.identity)
    fork.apply(removal)
    seals_nothing(world, alice, fork, ghost)


class Drops(Forks):
    """Says of every statement that it was taken."""

    def takes(self, relay: lies.Liar, peer: bytes, request: ev.Request) -> Iterable[ev.Request]:
        if isinstance(request, ev.Submit):
            relay.accepts(request)
            return ()
        return (request,)


def test_who_accepts_an_alarm_about_the_relay_forgets_no_ban_that_it_did_not_name():
    """Bob's right to ban is lost with his promotion, so that nothing can be insisted on; the ban is known though."""
    world = LyingWorld()
    alice = world.create("alice")
    (bob,) = world.join("bob")
    invite = alice.invites()
    before = list(alice.membership.log)
    (chuck,) = world.join("chuck", invite=invite)
    chuck.sleeps()
    world.lies(Forks(before, [], chuck.identity, {chuck.id}))
    world.restart()
    chuck.enters(invite)
    with_chuck = list(alice.membership.log)
    alice.promotes("bob")
    alice.revokes(alice.invites())
    bob.kicks("chuck", ban=True)
    world.lies(Drops(before, [], chuck.identity, {chuck.id}))
    world.restart()
    world.passes(limits.MINUTE)
    assert world.alarmed(alice) == ["withheld"]
    assert alice.core.roster.answer(b"", alice.now)
    world.lies(Drops(with_chuck, [], chuck.identity, {chuck.id}))
    world.restart()
    world.passes(limits.MINUTE)
    assert chuck.id in alice.membership.members
    sealed = len(world.sealed_to(chuck.id))
    assert world.alarmed(alice)
    with pytest.raises(AlarmRaised):
        alice.says("chuck is a spy")
    assert len(world.sealed_to(chuck.id)) == sealed
