"""Claim 4: the relay cannot show two rooms unnoticed.

Two peers shown different memberships notice with the first message that crosses between them, and a victim cut out of
one view is told too. What carries it: every message names its sender's place in the log, inside what is authenticated
(and, on a room message, also where somebody without the chain can read it), and ``Inbox._hold_against_log`` compares.

What cannot be noticed, because nothing crosses: that others talk in a room of which one is shown nothing. What is no
alarm at once: a message from a place that the receiver has passed, for honest people are behind now and then. It is
marked as late if a removal came between, and its sender learns the truth from whatever the receiver's program sends.
Whoever is still behind after ten minutes is held there (``Settled``), and a relay that restarts before 30 s are over
has two minutes in all (``Patience``).
"""

from __future__ import annotations

import pytest

from peer.core.events import EventKind, Reading
from protocol import limits
from protocol import statement as st
from protocol.errors import AlarmRaised
from tests.claims import hostile_relay as lies
from tests.claims.conftest import Company
from tests.peer.world import STEP, Person

TELLS = 30 * limits.SECOND


def split(c: Company, *groups: list[Person]) -> lies.TwoRooms:
    return c.world.lies(lies.TwoRooms(*([person.id for person in group] for group in groups)))


def stops_sending(person: Person) -> None:
    with pytest.raises(AlarmRaised) as refusal:
        person.says("hi")
    assert refusal.value.exit_code == 7


@pytest.mark.parametrize("form", ["room message", "aside"])
def test_two_who_are_shown_different_logs_notice_with_the_first_message(company: Company, form: str):
    """Alice has removed Chuck in one room; in the other Bob, an admin, has granted an invite at the same place."""
    c = company
    c.alice.promotes("bob")
    split(c, [c.alice], [c.bob, c.chuck])
    c.alice.kicks("chuck")
    c.bob.invites()
    assert c.alice.membership.index == c.bob.membership.index
    assert c.alice.membership.head != c.bob.membership.head
    for person in c.people:
        person.forgets()
    if form == "aside":
        c.alice.whispers("bob", "chuck is gone")
    else:
        c.alice.says("chuck is gone")
    assert c.bob.hears() == []
    assert c.world.alarmed(c.bob) == ["two-views alice"]
    stops_sending(c.bob)
    if form == "room message":
        # Chuck, whom Alice has cut out, never gets her chain: the place stands in clear for him
        assert c.chuck.hears() == []
        assert c.world.alarmed(c.chuck) == ["two-views alice"]
        stops_sending(c.chuck)

    c.world.accepts(c.bob)
    if form == "aside":
        c.bob.whispers("alice", "no, he is here")
    else:
        c.bob.says("no, he is here")
    assert c.alice.hears() == []
    assert c.world.alarmed(c.alice) == ["two-views bob"]
    stops_sending(c.alice)


@pytest.mark.parametrize("removed", [True, False], ids=["from its subject", "from everybody else"])
def test_a_withheld_removal_is_noticed_with_the_first_message(company: Company, removed: bool):
    """The other log is only shorter: whoever lacks the statement waits for 30 s, displays nothing, and alarms."""
    c = company
    if removed:
        split(c, [c.alice, c.bob], [c.chuck])
    else:
        split(c, [c.alice], [c.bob, c.chuck])
    c.alice.kicks("chuck")
    for person in c.people:
        person.forgets()
    victims = [c.chuck] if removed else [c.bob, c.chuck]
    c.alice.says("chuck is gone")
    c.world.passes(TELLS - STEP)
    for victim in victims:
        assert victim.hears() == []
    c.world.passes(4 * STEP)
    for victim in victims:
        assert victim.hears() == []
        assert c.world.alarmed(victim) == ["unknown-head alice"]
        stops_sending(victim)


def test_whoever_is_kept_behind_learns_it_from_what_a_program_answers(company: Company):
    """Bob is shown no removal and speaks first: Alice sees him as one who is behind, and her receipt tells him."""
    c = company
    split(c, [c.alice], [c.bob, c.chuck])
    c.alice.kicks("chuck")
    c.alice.forgets()
    c.bob.says("is chuck still here?")
    assert c.alice.hears() == ["bob: is chuck still here? (late)"]
    assert c.world.alarmed(c.alice) == []
    c.bob.whispers("alice", "is he?")
    assert c.alice.hears() == ["bob whispers: is he?"]
    c.world.passes(TELLS + 4 * STEP)
    assert c.world.alarmed(c.bob) == ["unknown-head alice"]


def test_the_alarm_is_told_again_after_a_restart_and_names_its_suspects(company: Company):
    c = company
    c.alice.promotes("bob")
    split(c, [c.alice], [c.bob, c.chuck])
    c.alice.kicks("chuck")
    c.bob.invites()
    c.alice.says("chuck is gone")
    c.bob.sleeps()
    process = c.bob.starts(Reading.LIVE)
    (event,) = [event for event in process.told if event.kind is EventKind.ALARM]
    assert event.who is not None
    assert event.who.id == c.alice.id
    assert "relay" in event.what
    stops_sending(c.bob)


def test_who_only_polls_is_told_as_well(company: Company):
    """``poll`` never stays for 30 s; but what is retained was sent by somebody whom the relay showed more than it has
    shown by the end of the attachment: ``Inbox.attached`` needs no waiting.
    """
    c = company
    c.bob.sleeps()
    split(c, [c.alice], [c.bob, c.chuck])
    c.alice.kicks("chuck")
    c.alice.says("chuck is gone")
    assert c.bob.polls() == []
    assert c.world.alarmed(c.bob) == ["unknown-head alice"]


def test_two_logs_after_a_restart_are_noticed_too(company: Company):
    """A relay that is started again may show any log that was once true: to each another."""
    c = company
    lie = split(c, [c.alice], [c.bob, c.chuck])
    c.alice.says("one")
    c.alice.invites()
    c.alice.invites()
    before = c.alice.membership.log[:-2]
    lie.restarts = lambda relay: relay.opens(before)  # type: ignore[method-assign]
    c.world.restart()
    assert (c.alice.membership.index, c.bob.membership.index) == (len(before) + 2, len(before))
    c.bob.forgets()
    c.alice.says("two")
    c.world.passes(TELLS + 4 * STEP)
    assert c.bob.hears() == []
    assert c.world.alarmed(c.bob) == ["unknown-head alice"]


def test_one_who_is_let_into_one_room_only_is_noticed_by_the_other(company: Company):
    """The relay hides from Bob that Dave came in: Dave's first word tells Bob."""
    c = company
    invite = c.alice.invites()
    split(c, [c.alice, c.chuck], [c.bob])
    (dave,) = c.world.join("dave", invite=invite)
    assert c.alice.membership.members.keys() - c.bob.membership.members.keys() == {dave.id}
    dave.says("hello")
    assert c.alice.hears() == ["dave: hello"]
    c.world.passes(TELLS + 4 * STEP)
    assert c.bob.hears() == []
    assert c.world.alarmed(c.bob) == ["card", "unknown-head dave"]  # his card told already


def test_a_relay_that_names_another_place_than_it_showed_is_noticed_at_once(company: Company):
    """ATTACHED names the place of the log: ``RoomCore._attached`` compares it with what was folded."""
    c = company
    lie = split(c, [c.alice, c.chuck], [c.bob])
    grant = st.grant(c.alice.identity, c.world.room, c.alice.membership.anchor, c.world.room, 0, 0)  # type: ignore[arg-type]
    lie.logs[1].apply(grant)
    with c.bob.process.away():
        lie.tells = lambda relay, peer, d: (d,)  # type: ignore[method-assign]
        lie.tells = _names_another_place(lie)  # type: ignore[method-assign]
    assert c.world.alarmed(c.bob) == ["log"]


def _names_another_place(lie: lies.TwoRooms):
    from dataclasses import replace

    from protocol import envelope as ev

    def tells(relay, peer, delivery):
        if isinstance(delivery, ev.Attached):
            return (replace(delivery, index=lie.logs[1].index, head=lie.logs[1].head),)
        return (delivery,)

    return tells


def test_a_member_who_lies_about_its_place_is_named(company: Company):
    """The relay may be honest: a member can name any place, and is the other suspect."""
    from protocol.ids import Anchor
    from protocol.primitives import random

    c = company
    mallory = c.world.mallory()
    c.bob.forgets()
    mallory.whispers(c.bob.id, "from nowhere", anchor=Anchor(2, random(32)))  # type: ignore[arg-type]
    assert c.bob.hears() == []
    assert c.world.alarmed(c.bob) == ["two-views mallory"]
    stops_sending(c.bob)
    c.world.accepts(c.bob)
    c.bob.says("never mind mallory")
    assert c.alice.hears() == ["bob: never mind mallory"]


# -- a relay that gains time ------------------------------------------------------------------------------------------

BOUNCE = 23 * limits.SECOND
"""A relay that is up for no longer never gives anybody 30 s of unbroken attachment."""


@pytest.mark.parametrize("form", ["room message", "aside"])
def test_a_relay_that_restarts_before_it_is_asked_about_a_head_is_noticed_all_the_same(company: Company, form: str):
    c = company
    split(c, [c.alice, c.bob], [c.chuck])
    c.alice.invites()
    bounces = 0
    while not c.world.alarmed(c.chuck):
        assert bounces < 8, "it gains time for ever"
        bounces += 1
        c.world.restart()
        c.alice.says("hi") if form == "room message" else c.alice.whispers("chuck", "hi")
        c.world.passes(BOUNCE - limits.REVIVAL)
        assert c.chuck.hears() == []
    assert bounces > 3
    assert c.world.alarmed(c.chuck) == ["unknown-head alice"]
    assert c.world.alarmed(c.alice) == c.world.alarmed(c.bob) == []
    stops_sending(c.chuck)


@pytest.mark.parametrize("accepts", [True, False], ids=["lies about taking it", "refuses by silence"])
def test_a_relay_that_restarts_without_a_removal_again_and_again_is_noticed(company: Company, accepts: bool):
    c = company
    c.alice.kicks("chuck", ban=True)
    c.world.lies(lies.ReplaysOldLog(c.alice.membership.index - 1, accepts=accepts))
    bounces = 0
    while not c.world.alarmed(c.alice):
        assert bounces < 8, "it gains time for ever"
        bounces += 1
        c.world.restart()
        c.world.passes(BOUNCE - limits.REVIVAL)
    assert bounces > 3
    assert c.world.alarmed(c.alice) == c.world.alarmed(c.bob) == ["withheld chuck"]
    stops_sending(c.bob)


def test_an_honest_relay_that_restarts_again_and_again_is_none(company: Company):
    """A crash loop, with a removal, joins and talk in it, is bad luck: whatever is owed is paid within a moment."""
    c = company
    with c.chuck.process.away():
        c.alice.kicks("chuck")
    for bounce in range(12):
        for person in (c.bob, c.alice)[bounce % 2 :]:
            person.process.cuts()  # who comes back first brings the log
        c.world.restart(back=False)
        for person in (c.alice, c.bob):
            person.process.connects()
        c.world.passes(limits.REVIVAL + STEP)
        c.alice.invites()
        c.bob.says(f"bounce {bounce}")
        c.world.passes(BOUNCE - limits.REVIVAL)
    assert len(c.alice.hears()) == 12
    assert c.world.alarms() == {}


@pytest.mark.parametrize("form", ["room message", "aside"])
def test_a_member_who_is_held_behind_and_only_talks_is_noticed_by_who_hears_it(company: Company, form: str):
    """The relay takes from Bob what it should refuse, and lets nothing reach him that would tell him."""
    c = company
    c.world.lies(lies.HoldsBehind(c.bob.id))
    c.alice.kicks("chuck")
    assert c.chuck.id in c.bob.membership.members

    def bob_talks() -> None:
        c.bob.says("hi all") if form == "room message" else c.bob.whispers("alice", "hi")

    bob_talks()
    late = "bob: hi all (late)" if form == "room message" else "bob whispers: hi"
    assert c.alice.hears() == [late]
    c.world.passes(limits.SETTLED - limits.MINUTE)
    bob_talks()
    assert c.alice.hears() == [late]
    assert c.world.alarmed(c.alice) == []
    c.world.passes(2 * limits.MINUTE)
    bob_talks()
    assert c.world.alarmed(c.alice) == ["two-views bob"]
    assert c.alice.hears() == []
    stops_sending(c.alice)
    assert c.world.alarmed(c.bob) == []


def test_a_removed_member_whose_old_view_is_served_on_is_noticed(company: Company):
    """It may go on speaking from before its removal, and no longer than everybody else who is behind."""
    c = company
    c.world.lies(lies.HoldsBehind(c.chuck.id))
    c.alice.kicks("chuck")
    c.chuck.says("still here")
    assert c.bob.hears() == ["chuck: still here (late)"]
    c.world.passes(limits.SETTLED + limits.MINUTE)
    c.chuck.says("and still")
    assert c.bob.hears() == []
    assert [alarm.split()[0] for alarm in c.world.alarmed(c.bob)] == ["two-views"]


def test_who_slept_or_was_away_takes_what_waited_for_it_for_none(company: Company):
    """Ten minutes of attachment: a lid that was closed for longer, with a message from before on the wire, is none."""
    c = company
    c.world.passes(limits.SETTLED + limits.MINUTE)
    c.bob.process.holds_out = True
    c.bob.says("before")
    c.bob.whispers("alice", "before, too")
    c.alice.invites()
    c.world.passes(STEP)
    c.alice.process.holds_in = True
    c.bob.process.holds_out = False
    c.world.runs()
    c.world.leaps(limits.SETTLED + 2 * limits.MINUTE)
    c.alice.process.holds_in = False
    c.world.passes(limits.MINUTE)
    assert set(c.alice.hears()) == {"bob: before", "bob whispers: before, too"}
    c.alice.sleeps()
    c.world.leaps(limits.MINUTE)
    c.alice.starts(Reading.BACKLOG)
    c.world.passes(limits.MINUTE)
    assert c.world.alarms() == {}


def test_whoever_is_held_behind_is_noticed_even_if_the_relay_claims_restart_after_restart(company: Company):
    """A restart excuses who speaks before it has the whole log, but not under one incarnation after the other."""
    c = company
    c.world.lies(lies.HoldsBehindAndBounces(c.bob.id))
    c.alice.kicks("chuck")
    for times in range(5):
        c.world.passes(limits.SETTLED - limits.MINUTE)
        c.alice.process.cuts()
        c.alice.process.reconnects()
        c.bob.says(f"who is here? {times}")
    assert c.world.alarmed(c.alice) == ["two-views bob"]


def test_whoever_comes_first_after_a_restart_may_be_behind(company: Company):
    """It brings the log that it has, and speaks; the others bring what it lacks."""
    c = company
    for times in range(5):
        with c.bob.process.away(), c.alice.process.away():
            c.world.restart(back=False)
            c.bob.process.connects()
            c.world.passes(limits.REVIVAL + STEP)
            c.bob.says(f"first {times}")
        c.alice.invites()
        c.world.passes(limits.SETTLED + limits.MINUTE)
    assert c.world.alarms() == {}


def test_nor_is_who_comes_first_with_less_again_and_again_and_then_has_it_all(company: Company):
    """Each time Bob lacks what was stated while he was away, speaks, and is shown it before he speaks again."""
    c = company
    for times in range(4):
        invite = c.alice.invites()
        c.world.passes(limits.MINUTE)
        c.bob.process.cuts()
        c.alice.revokes(invite)
        c.world.passes(limits.SETTLED + limits.MINUTE)
        c.chuck.process.cuts()
        c.alice.process.cuts()
        c.world.restart(back=False)
        c.bob.process.connects()
        c.world.passes(limits.REVIVAL + STEP)
        c.bob.says(f"first {times}")
        c.chuck.process.reconnects()
        c.world.passes(5 * limits.SECOND)
        c.alice.process.reconnects()
        c.world.passes(limits.MINUTE)
        c.bob.says("later")
    assert c.world.alarms() == {}


@pytest.mark.parametrize("notices", [True, False], ids=["after a tick", "before any tick"])
@pytest.mark.parametrize("form", ["room message", "aside"])
def test_who_wakes_and_speaks_over_a_dead_connection_is_held_behind_by_nobody(
    company: Company, form: str, notices: bool
):
    """What it says is sent again on the next connection: from where the log is by then (``RoomCore._wake``)."""
    c = company
    c.world.backoff = limits.SECOND
    c.bob.process.falls_asleep()
    c.alice.invites()
    c.world.passes(limits.SETTLED + 2 * limits.MINUTE)
    c.bob.process.asleep = False
    if notices:
        c.bob.process.wakes()
    c.bob.says("awake") if form == "room message" else c.bob.whispers("alice", "awake")
    if c.bob.process.connection not in c.world.core._sessions:
        c.bob.process.loses_connection()
    c.world.passes(5 * limits.SECOND)
    assert c.alice.hears() == ["bob: awake" if form == "room message" else "bob whispers: awake"]
    assert c.world.alarms() == {}


def test_who_was_stopped_while_its_connection_lived_answers_nothing_from_long_ago(company: Company):
    """A program that was not scheduled: the relay's frames wait for it, and a question is among the first."""
    c = company
    bob = c.bob.process
    bob.asleep = True
    chain = c.bob.core.outbox._chain
    assert chain is not None
    c.alice.core.outbox.ask(chain.id, c.bob.id, c.alice.now)
    c.alice.process.sends()
    c.world.runs()
    c.alice.invites()
    c.world.passes(limits.SETTLED + 2 * limits.MINUTE)
    bob.asleep = False
    c.world.runs()
    c.world.passes(5 * limits.SECOND)
    c.bob.says("here")
    assert c.alice.hears() == ["bob: here"]
    assert c.world.alarms() == {}


def test_a_room_that_comes_back_with_a_shorter_log_holds_nobody_behind(company: Company):
    """What everybody knew is known of the former log: the relay that was restarted has another."""
    c = company
    with c.chuck.process.away():
        for _ in range(3):
            c.alice.invites()
        c.world.passes(limits.SETTLED + limits.MINUTE)
        c.world.restart(back=False)
        c.chuck.process.connects()
        c.world.passes(limits.REVIVAL + STEP)
    for person in (c.alice, c.bob):
        person.process.reconnects()
    c.world.passes(limits.MINUTE)
    c.bob.says("here we are")
    c.bob.whispers("alice", "and you?")
    assert set(c.alice.hears()) == {"bob: here we are", "bob whispers: and you?"}
    assert c.world.alarms() == {}
