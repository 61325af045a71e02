"""Claim 3: the relay cannot swap keys or add a ghost.

A relay, alone or with a member who holds no invite seed, that replaces a card, invents a member, re-admits a removed
one or replays an old statement is refused by every peer, with a visible alarm.

What carries it: ``verify`` in ``Card.decode`` and ``statement.decode``, the rules of ``Membership.check``, and that
``Roster`` sounds an alarm wherever one of them refuses. Each test says which line it stands on, and fails without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from peer.core.events import EventKind, Reading, State
from protocol import card as cards
from protocol import envelope as ev
from protocol import limits, names
from protocol import statement as st
from protocol.content import Text
from protocol.errors import AlarmRaised, BadInvite, Expired, IdentityChanged, InviteEnded
from protocol.identity import Identity, SigningKey
from protocol.ids import InviteId, PeerId, SealingKey
from protocol.primitives import random
from tests.claims import hostile_relay as lies
from tests.claims.conftest import Company
from tests.claims.hostile_relay import Lie
from tests.peer.world import Person

# -- what every peer does about each lie ------------------------------------------------------------------------------


@dataclass
class Told:
    """A lie, the alarms that it must raise, and whom nobody may seal to because of it."""

    lie: Lie
    alarms: list[str]
    ghost: PeerId | None = None

    @property
    def reasons(self) -> list[str]:
        return [alarm.split()[0] for alarm in self.alarms]


def swapped_card(c: Company) -> Told:
    """Another key under Bob's name: ``Card.decode`` verifies the owner's signature."""
    return Told(lies.SwapsCard(c.bob.id), ["card"])


def invented_member(c: Company) -> Told:
    """An ADMIT by an invite that nobody granted: ``Membership._check_admit`` knows no such invite."""
    lie = lies.InventsMember()
    return Told(lie, ["card", "log"], lie.ghost.id)


def invented_with_a_member(c: Company) -> Told:
    """Chuck, a plain member, grants the ghost's invite: ``Membership._check_grant`` wants an admin."""
    lie = lies.InventsMember(by=c.chuck.identity)
    return Told(lie, ["card", "log"], lie.ghost.id)


def stranger(c: Company) -> Told:
    """A card and a presence without any statement (attack 5): ``Roster.take_card`` wants a member's."""
    lie = lies.ShowsStranger()
    return Told(lie, ["card"], lie.ghost.id)


def replayed_grant(c: Company) -> Told:
    """The GRANT by which all came in, once more: ``Membership.check`` knows its id."""
    return Told(lies.AddsStatement(lambda relay: relay.room.membership.log[1]), ["log"])


def replayed_removal(c: Company) -> Told:
    """Bob was removed once and came back; his old REMOVE needs no anchor: only ``Membership.check`` knows its id."""
    c.alice.kicks("bob")
    removal = c.alice.membership.log[-1]
    c.bob.processes.clear()
    c.bob.enters(c.alice.invites())
    c.bob.starts(Reading.BACKLOG)
    c.world.passes(limits.SECOND)
    return Told(lies.AddsStatement(lambda relay: removal), ["log"])


def ended_invite(c: Company) -> Told:
    """A ghost who enters by an invite that was revoked, with its real seed: it is live no more."""
    invite = c.alice.invites()
    c.alice.revokes(invite)
    ghost = Identity.generate()
    admit = st.admit(ghost, c.world.room, c.alice.membership.anchor, invite.key)
    return Told(lies.AddsStatement(lambda relay: admit), ["log"], ghost.id)


def promoted(c: Company) -> Told:
    """Chuck makes himself an admin: only the founder may."""
    role = st.role(c.chuck.identity, c.world.room, c.alice.membership.anchor, c.chuck.id, True)
    return Told(lies.AddsStatement(lambda relay: role), ["log"])


def two_cards_of_one_generation(c: Company) -> Told:
    """Chuck signs a second card of the same generation (attack 7): the first stands; ``check_newer`` tells."""
    newest = c.chuck.core.keys.newest()
    nick = names.seal_nick(c.chuck.room.secret, c.world.room, c.chuck.id, "chuck")
    key = cards.sealing_key(cards.new_sealing_secret())
    second = cards.make(c.chuck.identity, c.world.room, newest.generation, key, nick)
    return Told(lies.ShowsCards([second]), ["card chuck"])


def low_order_key(c: Company) -> Told:
    """Chuck's key gives zero with everybody's (attack 14): ``is_low_order`` refuses it before anybody seals to it."""
    nick = names.seal_nick(c.chuck.room.secret, c.world.room, c.chuck.id, "chuck")
    card = cards.make(c.chuck.identity, c.world.room, c.world.now + 1, SealingKey(bytes(32)), nick)
    return Told(lies.ShowsCards([card]), ["card chuck"])


def introduced(c: Company) -> Told:
    """Chuck hands on a card for Bob that he made himself (attack 19)."""
    card = lies.forged_card(c.bob.core.keys.newest().card, c.world.room, c.chuck.identity)
    return Told(lies.ShowsCards([card]), ["card"])


def card_of_another_room(c: Company) -> Told:
    """Bob's own card for another room (attack 18): ``Card.decode`` compares the room."""
    other = c.world.room[::-1]
    key = cards.sealing_key(cards.new_sealing_secret())
    return Told(lies.ShowsCards([cards.make(c.bob.identity, other, c.world.now + 1, key, random(60))]), ["card bob"])


def statement_of_another_room(c: Company) -> Told:
    """A GRANT that Alice signed for another room of hers (attack 18): ``Membership.check`` compares the room."""
    other = c.world.room[::-1]
    grant = st.grant(c.alice.identity, other, c.alice.membership.anchor, InviteId(SigningKey.generate().public), 0, 0)
    return Told(lies.AddsStatement(lambda relay: grant), ["log"])


EVERY_LIE = [
    *(
        swapped_card,
        invented_member,
        invented_with_a_member,
        stranger,
        replayed_grant,
        replayed_removal,
        ended_invite,
        promoted,
    ),
    *(two_cards_of_one_generation, low_order_key, introduced, card_of_another_room, statement_of_another_room),
]


@pytest.mark.parametrize("tell", EVERY_LIE)
def test_every_peer_refuses_with_an_alarm_that_stands_until_it_is_answered(
    company: Company, tell: Callable[[Company], Told]
):
    c = company
    told = tell(c)
    log = list(c.alice.membership.log)
    for person in c.people:
        person.forgets()
    c.world.lies(told.lie)
    for person in c.people:
        if told.alarms[0].endswith(person.name):
            continue
        assert c.world.alarmed(person) == told.alarms
        assert sorted(event.reason for event in alarms(person)) == told.reasons
        assert person.membership.log == log
        refuses_to_send(person)
    c.world.is_honest()

    c.bob.sleeps()
    c.bob.starts(Reading.LIVE)
    assert sorted(event.reason for event in alarms(c.bob)) == told.reasons
    refuses_to_send(c.bob)

    c.world.accepts(c.bob)
    message = c.bob.whispers("alice", "the relay lies")
    c.bob.says("to all")
    assert c.bob.state(message) in {State.RELAYED, State.DELIVERED}
    assert c.alice.hears() == ["bob whispers: the relay lies", "bob: to all"]
    if told.ghost:
        assert c.world.sealed_to(told.ghost) == []


def alarms(person: Person):
    return [event for event in person.process.told if event.kind is EventKind.ALARM]


def refuses_to_send(person: Person) -> None:
    for to in (None, "bob" if person.name != "bob" else "alice"):
        with pytest.raises(AlarmRaised) as refusal:
            person.whispers(to, "psst") if to else person.says("hi")
        assert refusal.value.exit_code == 7


@pytest.mark.parametrize("tell", [swapped_card, invented_member, replayed_grant])
def test_a_command_that_ends_at_once_refuses_to_send_too(company: Company, tell: Callable[[Company], Told]):
    """``send`` attaches, sends and ends: it must see the lie before it sends."""
    c = company
    c.bob.sleeps()
    told = tell(c)
    c.world.lie = told.lie
    process = c.bob.starts(Reading.NOTHING, present=False, connect=False)
    process.connects()
    process.sends()
    process.uploads()
    told.lie.begins(c.world.core)
    c.world.runs()
    assert c.world.alarmed(c.bob) == told.alarms
    refuses_to_send(c.bob)


# -- members who were removed -----------------------------------------------------------------------------------------


def without_chuck(c: Company):
    """Let Alice remove Chuck, and Alice and Bob talk; return the invite by which he came."""
    invite = c.alice.invites()
    (dave,) = c.world.join("dave", invite=invite)
    c.alice.kicks("dave")
    c.alice.says("dave is gone")
    c.bob.says("good")
    for person in (*c.people, dave):
        person.forgets()
    return dave, invite


@pytest.mark.parametrize("how", ["his old ADMIT", "a new ADMIT by the invite that he had"])
def test_a_removed_member_whom_the_relay_lets_in_again_is_refused(company: Company, how: str):
    """Attack 6. ``Membership.check`` knows the old ADMIT; a REMOVE ends every invite (``_carry_out``)."""
    c = company
    dave, invite = without_chuck(c)
    anew = st.admit(dave.identity, c.world.room, c.alice.membership.anchor, invite.key)
    lie = lies.AddsStatement(lies.old_admit(dave.id) if how == "his old ADMIT" else lambda relay: anew)
    before = len(c.world.sealed_to(dave.id))
    c.world.lies(lie)
    for person in c.people:
        assert c.world.alarmed(person) == ["log"]
        refuses_to_send(person)
        assert dave.id not in person.membership.members
        c.world.accepts(person)
    c.alice.says("still just us")
    assert c.bob.hears() == ["alice: still just us"]
    assert len(c.world.sealed_to(dave.id)) == before


@pytest.mark.parametrize("accepts", [True, False], ids=["lies about taking it", "refuses by silence"])
def test_an_old_log_after_a_restart_lets_nobody_in_again(company: Company, accepts: bool):
    """Attack 6. A relay that is started again may have lost the REMOVE; who knows it brings it back, seals nothing to
    who was removed meanwhile, and alarms after 30 s: ``RoomCore.tick`` sounds it, ``Roster.gone`` keeps Dave out.
    """
    c = company
    dave, _ = without_chuck(c)
    before = len(c.world.sealed_to(dave.id))
    c.world.lies(lies.ReplaysOldLog(c.alice.membership.index - 1, accepts=accepts))
    c.world.restart()
    c.alice.says("is dave here?")
    assert c.bob.hears() == ["alice: is dave here?"]
    c.world.passes(lies.LONG)
    for person in c.people:
        assert c.world.alarmed(person) == ["withheld dave"]
        refuses_to_send(person)
    assert len(c.world.sealed_to(dave.id)) == before


def test_who_comes_for_a_moment_only_knows_of_the_removal_the_next_time_too(company: Company):
    """``send`` from cron never stays for 30 s: what the new log lacks is in the profile (``restrictions``)."""
    c = company
    dave, _ = without_chuck(c)
    for person in (*c.people, dave):
        person.sleeps()
    before = len(c.world.sealed_to(dave.id))
    c.world.lies(lies.ReplaysOldLog(c.world.core.room.membership.index - 1))
    c.world.restart(back=False)
    c.world.passes(limits.REVIVAL)
    first = c.alice.starts(Reading.NOTHING, present=False)
    first.posts(Text("is dave here?"))
    first.stops()
    c.alice.starts(Reading.NOTHING, present=False)
    assert len(c.world.sealed_to(dave.id)) == before
    assert c.world.alarmed(c.alice) == ["withheld dave"]
    refuses_to_send(c.alice)


# -- who enters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_a_joiner_is_not_let_in_to_a_rewritten_room(company: Company, index: int):
    """One bit of one statement, anywhere: the signature, the room id or the invite's anchor does not fit."""
    c = company
    invite = c.alice.invites()
    c.world.lies(lies.Rewrites(index))
    dave = c.world.person("dave")
    with pytest.raises(BadInvite):
        dave.enters(invite)


def test_a_joiner_is_not_let_in_to_the_room_as_it_was_before_the_invite(company: Company):
    """An invite names the place of its GRANT: ``RoomCore._attached`` holds the log against ``expected``.

    The relay shows Dave a log in which an older invite lives, and Chuck, who was removed since, belongs; a thief of
    that invite's seed would let Dave in. Dave's own invite is newer.
    """
    c = company
    old = c.alice.invites()
    before = list(c.alice.membership.log)
    c.alice.kicks("chuck")
    fresh = c.alice.invites()
    c.world.lies(lies.ReplaysOldLog(len(before)))
    c.world.restart(back=False)
    c.world.passes(limits.REVIVAL)
    with pytest.raises(InviteEnded):
        c.world.person("dave").enters(fresh)
    eve = c.world.person("eve")
    with pytest.raises(BadInvite):
        eve.enters(replace(fresh, key=old.key), anchor=old.anchor)
    assert eve.store.rooms() == []


# -- keys that do not come, and names that come twice -----------------------------------------------------------------


def test_a_sender_whose_relay_withholds_the_rotations_stops_at_not_after_and_says_so(company: Company):
    """Attack 23. ``Outbox._recipient`` seals nothing to a card that has expired."""
    c = company
    c.world.lies(lies.WithholdsCards(c.bob.id))
    c.bob.sleeps()
    c.world.passes(limits.CARD_LIFE - limits.HOUR, step=limits.CARD_ROTATION)
    c.world.passes(limits.MINUTE)
    assert c.alice.state(c.alice.whispers("bob", "are you there?")) is State.RELAYED
    c.world.passes(limits.HOUR, step=limits.CARD_ROTATION)
    c.world.passes(limits.MINUTE)
    assert isinstance(c.alice.state(c.alice.whispers("bob", "are you?")), Expired)
    (bob,) = [info for info in c.alice.core.roster.members(c.alice.now) if info.person.id == c.bob.id]
    assert not bob.reachable
    before = len(c.world.sealed_to(c.bob.id))
    assert c.alice.state(c.alice.says("where is bob?")) is State.RELAYED
    assert len(c.world.sealed_to(c.bob.id)) == before


def test_a_nick_that_was_anothers_gets_no_asides_until_it_is_accepted(company: Company):
    """Attacks 4 and 16. Mallory calls herself bob: nobody's ``--to bob`` finds her alone (``Roster.is_impostor``)."""
    c = company
    mallory = c.world.mallory("bob")
    person = c.alice.core.roster.person(mallory.id)
    assert person.label.startswith("bob~")
    changed = [event for event in c.alice.process.told if event.kind is EventKind.KEY_CHANGED]
    assert [event.who.id for event in changed] == [mallory.id]
    with pytest.raises(IdentityChanged):
        c.alice.core.check_sendable([mallory.id])
    c.alice.whispers("bob", "to the real one")
    assert c.bob.hears() == ["alice whispers: to the real one"]


def test_an_older_card_is_no_alarm_and_nobody_seals_to_it(company: Company):
    """A relay may show what was once true; ``check_newer`` keeps the highest generation ever seen."""
    c = company
    old = c.world.tape.cards(c.bob.id)[0]
    c.world.passes(limits.CARD_ROTATION + limits.SECOND)
    c.world.lies(lies.ShowsCards([old]))
    c.alice.whispers("bob", "psst")
    assert c.world.alarmed(c.alice) == []
    (post,) = [p for p in c.world.sealed_to(c.bob.id) if p.index][-1:]
    assert int.from_bytes(post.body[:8]) == c.bob.core.keys.newest().generation
    c.alice.sleeps()
    c.alice.starts(Reading.LIVE)
    c.world.core.says(c.alice.id, ev.Card(c.world.room, old))
    c.world.runs()
    assert c.alice.core.roster.cards.newest(c.bob.id).generation == c.bob.core.keys.newest().generation
