"""Alarms: raised by lies alone, told once, kept until they are answered, and answered one by one."""

from __future__ import annotations

import pytest

from peer.core.alarms import AlarmKind, Alarms
from peer.core.events import EventKind, Reading
from peer.store import Store
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.errors import AlarmRaised
from protocol.identity import Identity
from tests.peer.test_store import add_room
from tests.peer.world import NOON, World

BOB, CHUCK = (Identity.generate().id for _ in range(2))


@pytest.fixture
def store():
    return Store.in_memory("alice")


@pytest.fixture
def alarms(store):
    return Alarms(store, add_room(store).id)


def test_the_same_alarm_stands_once(alarms):
    assert alarms.sound(AlarmKind.TWO_VIEWS, BOB, "first", NOON)
    assert not alarms.sound(AlarmKind.TWO_VIEWS, BOB, "again", NOON + 1)
    assert alarms.sound(AlarmKind.TWO_VIEWS, CHUCK, "another subject", NOON + 2)
    assert alarms.sound(AlarmKind.CARD, BOB, "another kind", NOON + 3)
    assert [alarm.what for alarm in alarms.standing()] == ["first", "another subject", "another kind"]
    assert alarms.standing()[0].raised_at == NOON


def test_an_answer_is_about_one_subject(alarms):
    alarms.sound(AlarmKind.TWO_VIEWS, BOB, "", NOON)
    alarms.sound(AlarmKind.CARD, BOB, "", NOON)
    alarms.sound(AlarmKind.LOG, b"", "", NOON)
    assert alarms.answer(BOB, NOON) == 2
    assert [alarm.kind for alarm in alarms.standing()] == [AlarmKind.LOG]
    assert alarms.answer(BOB, NOON) == 0
    assert alarms.answer(b"", NOON) == 1
    assert alarms.standing() == []


def test_what_was_answered_can_be_raised_again(alarms):
    alarms.sound(AlarmKind.LOG, b"", "", NOON)
    alarms.answer(b"", NOON)
    assert alarms.sound(AlarmKind.LOG, b"", "", NOON)


def test_alarms_belong_to_a_room(store, alarms):
    other = Alarms(store, add_room(store, "o").id)
    alarms.sound(AlarmKind.LOG, b"", "", NOON)
    assert other.standing() == []


# -- in the room ------------------------------------------------------------------------------------------------------


def lie(c, victim):
    """Have the relay show a statement that no honest log holds."""
    victim.process.takes(ev.Statement(c.world.room, victim.membership.index + 1, b"\3" + bytes(300)))


def alarm_events(process):
    return [event for event in process.told if event.kind is EventKind.ALARM]


def test_an_alarm_is_told_once_stops_sending_and_lets_reading_go_on(company):
    c = company
    lie(c, c.bob)
    lie(c, c.bob)
    assert [(e.reason, e.who) for e in alarm_events(c.bob.process)] == [("log", None)]
    for send in (lambda: c.bob.says("hi"), lambda: c.bob.whispers("alice", "hi")):
        with pytest.raises(AlarmRaised):
            send()
    c.alice.says("can you read?")
    assert c.bob.hears() == ["alice: can you read?"]


def test_an_alarm_survives_a_restart_and_stands_for_every_process(on_disk):
    c = on_disk
    lie(c, c.bob)
    c.bob.sleeps()
    for reading in (Reading.NOTHING, Reading.LIVE):
        process = c.bob.starts(reading)
        with pytest.raises(AlarmRaised):
            process.core.check_sendable([])
        process.stops()
    c.bob.starts(Reading.LIVE)
    c.bob.core.roster.answer(b"", c.bob.now)
    c.bob.says("hi")
    assert c.alice.hears() == ["bob: hi"]


def test_two_views_are_noticed_with_the_first_message_that_crosses_and_by_both(company):
    """Claim 4: the relay tells bob nothing of chuck's removal, and passes messages on."""
    c = company
    c.world.tamper = lambda process, d: [] if isinstance(d, ev.Statement) and process.person is c.bob else [d]
    c.alice.kicks("chuck")
    c.alice.says("between us")
    assert c.bob.hears() == []
    c.world.passes(limits.UNRESOLVED + 1_000)
    assert c.bob.alarmed() == ["unknown-head alice"]


def test_a_member_who_folded_another_log_is_named(company):
    """The relay shows bob another statement at a place than it shows the others."""
    c = company
    raw = st.leave(c.chuck.identity, c.world.room, c.chuck.membership.anchor)
    c.world.tamper = lambda process, d: (
        [ev.Statement(d.room, d.index, raw)] if isinstance(d, ev.Statement) and process.person is c.bob else [d]
    )
    c.alice.invites()
    c.world.tamper = None
    c.alice.says("do you see what I see?")
    c.alice.whispers("bob", "and this?")
    assert c.bob.alarmed() == ["two-views alice"]
    assert c.bob.hears() == []
    c.bob.core.roster.answer(c.alice.id, c.bob.now)
    c.bob.says("I am here")
    assert c.alice.alarmed() == ["two-views bob"]


def test_a_relay_that_does_not_take_a_restriction_is_told_after_30_s_of_attachment(company):
    """It was restarted, got an old copy, and refuses the removal that bob knows of."""
    c = company
    with c.chuck.process.away():
        c.alice.kicks("chuck", ban=True)
        c.world.restart(back=False)
    c.world.passes(limits.REVIVAL + 1_000)
    assert c.chuck.id in c.chuck.membership.members
    refuse = c.world.core._rooms.submit

    def withhold(peer, request, now):
        if isinstance(st.decode(request.statement), st.Remove):
            raise AlarmRaised
        refuse(peer, request, now)

    c.world.core._rooms.submit = withhold
    c.bob.process.connects()
    c.world.passes(limits.UNRESOLVED - 1_000)
    assert c.bob.alarmed() == []
    with c.bob.process.away():
        pass
    c.world.passes(limits.UNRESOLVED - 1_000)
    assert c.bob.alarmed() == []
    c.world.passes(2_000)
    assert c.bob.alarmed() == ["withheld chuck"]


def test_a_connection_lost_before_a_restriction_was_taken_is_no_alarm(company):
    """It is submitted again with the next one."""
    c = company
    with c.chuck.process.away():
        c.alice.kicks("chuck", ban=True)
        c.world.restart(back=False)
    c.world.passes(limits.REVIVAL + 1_000)
    c.bob.process.connects()
    for _ in range(40):
        c.world.moves()
        if any(isinstance(r, ev.Submit) for r in c.bob.process.posted):
            break
    c.bob.process.cuts()
    c.bob.process.reconnects()
    c.world.passes(60_000)
    assert c.bob.alarms() == []
    assert c.chuck.id in c.bob.membership.banned


def test_a_restriction_is_not_forgotten_when_the_program_that_knew_it_ends(on_disk):
    """Between folding the new log and the relay's answer, it is killed."""
    c = on_disk
    with c.chuck.process.away():
        c.alice.kicks("chuck", ban=True)
        c.world.restart(back=False)
    c.world.passes(limits.REVIVAL + 1_000)
    c.bob.process.connects()
    for _ in range(40):
        c.world.moves()
        if any(isinstance(r, ev.Submit) for r in c.bob.process.posted):
            break
    c.bob.process.dies()
    assert c.chuck.id not in c.chuck.membership.banned
    c.bob.starts(Reading.LIVE)
    c.world.passes(2_000)
    assert c.chuck.id in c.bob.membership.banned


def test_ordinary_life_raises_none():
    """Clocks four minutes off either way, an hour away, a laptop's lid, a join and a removal in flight, a restart."""
    world = World()
    alice = world.create("alice", skew=4 * limits.MINUTE)
    bob = world.person("bob", skew=-4 * limits.MINUTE)
    world.join("bob", "chuck")
    alice.says("one")
    bob.process.holds_in = True
    world.join("dave")
    alice.kicks("chuck")
    alice.whispers("bob", "two")
    bob.process.holds_in = False
    world.runs()
    bob.process.cuts()
    world.leaps(limits.HOUR)
    world.passes(2_000)
    bob.process.reconnects()
    world.restart()
    alice.says("three")
    bob.says("four")
    world.passes(60_000)
    assert world.alarms() == {}
