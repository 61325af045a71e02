"""A room as one process holds it: entering, attaching, and coming back after the relay was restarted with nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peer.core.events import EventKind, Reading, State
from peer.core.roster import Roster
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.content import Text
from protocol.errors import (
    AlarmRaised,
    BadInvite,
    Banned,
    ClockSkewed,
    Gone,
    NotAllowed,
    NotMember,
    RoomClosed,
    StaleAnchor,
    TimedOut,
    UnknownRoom,
    WrongVersion,
)
from protocol.membership import Role
from protocol.primitives import new_message_id
from tests.peer.world import Person, World

MINUTE = limits.MINUTE


# -- beginning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-6 * MINUTE, 6 * MINUTE])
def test_a_clock_more_than_five_minutes_off_is_an_error_of_its_own(skew):
    with pytest.raises(ClockSkewed):
        World().create("alice", skew=skew)


def test_a_clock_a_little_off_is_none():
    world = World()
    alice = world.create("alice", skew=4 * MINUTE)
    world.person("bob", skew=-4 * MINUTE)
    (bob,) = world.join("bob")
    alice.says("hi")
    alice.whispers("bob", "psst")
    bob.says("hello")
    assert bob.hears() == ["alice: hi", "alice whispers: psst"]
    assert alice.hears() == ["bob: hello"]
    assert world.alarms() == {}


@pytest.mark.parametrize("step", [-limits.HOUR, -6 * MINUTE, 6 * MINUTE, limits.HOUR])
def test_a_clock_that_is_set_while_attached_is_said_to_be_wrong_and_forgiven_when_it_is_right(company, step):
    c = company
    c.world.backoff = 2_000
    c.alice.says("before")
    generation = c.bob.core.keys.newest().generation
    c.bob.skew = step
    waits = c.bob.says("too late")
    c.world.passes(5_000)
    assert isinstance(c.bob.state(waits), ClockSkewed)
    assert isinstance(c.bob.core.waiting_for, ClockSkewed)
    with pytest.raises(ClockSkewed):
        c.bob.whispers("alice", "psst")
    assert c.bob.process.ended is None
    c.alice.says("meanwhile")
    c.alice.whispers("bob", "psst")
    c.bob.skew = 0
    c.world.passes(5_000)
    assert c.bob.core.attached
    assert c.bob.core.keys.newest().generation == generation
    assert "alice whispers: psst" in c.bob.hears()
    for n in range(40):
        c.alice.says(str(n))
        c.world.passes(1_000)
    c.bob.says("here again")
    c.alice.says("and you?")
    assert c.bob.hears()[-1:] == ["alice: and you?"]
    assert c.alice.hears() == ["bob: here again"]
    assert c.world.alarms() == {}


@pytest.mark.parametrize("step", [-3 * MINUTE, 3 * MINUTE])
def test_a_clock_that_is_set_by_minutes_lets_nothing_wait_for_ever_or_end_at_once(company, step):
    c = company
    c.world.backoff = 1_000
    c.alice.says("one")
    c.world.tamper = lambda process, d: (
        [] if process.person is c.bob and isinstance(d, ev.Message) and not d.direct else [d]
    )
    c.alice.says("lost")
    c.world.tamper = None
    c.alice.says("three")
    c.bob.store.write("DELETE FROM chains")
    c.alice.says("waits for its chain")
    c.bob.skew = step
    c.bob.forgets()
    c.world.passes(1_000)
    assert c.bob.process.notes() == []
    c.world.passes(2 * limits.UNRESOLVED)
    assert sorted(c.bob.notes()) == ["gap alice 1", "missed alice 1 no-key"]


def test_what_waits_to_be_sent_when_the_clock_is_set_back_is_sent(company):
    c = company
    c.bob.process.cuts()
    message = c.bob.says("hello")
    c.bob.skew = -3 * MINUTE
    c.world.passes(1_000)
    c.bob.process.reconnects()
    assert c.bob.state(message) is State.RELAYED
    c.bob.process.cuts()
    late = c.bob.says("never")
    c.world.passes(limits.UNSENT + 1_000)
    assert isinstance(c.bob.state(late), TimedOut)


def test_a_lid_that_was_closed_over_the_answer_to_hello_sets_no_clock_wrong(company):
    """The relay told its time before the machine slept; it is read after that."""
    c = company
    c.bob.process.cuts()
    c.bob.process.connects()
    c.bob.process.holds_in = True
    c.world.runs()
    c.world.leaps(limits.HOUR)
    c.bob.process.holds_in = False
    c.world.runs()
    assert c.bob.process.ended is None
    c.world.passes(limits.MINUTE)
    c.alice.says("good morning")
    assert c.bob.hears() == ["alice: good morning"]


def test_another_version_is_an_error_of_its_own(world):
    world.tamper = lambda process, d: [replace(d, version=99)] if isinstance(d, ev.Welcome) else [d]
    with pytest.raises(WrongVersion):
        world.create("alice")


def test_an_invite_whose_relay_shows_another_history_is_refused(company):
    c = company
    invite = c.alice.invites()
    other = replace(invite, anchor=replace(invite.anchor, head=bytes(32)))
    with pytest.raises(BadInvite):
        c.world.person("dave").enters(other, anchor=invite.anchor)


def test_who_enters_waits_for_a_room_that_the_relay_has_forgotten(company):
    c = company
    invite = c.alice.invites()
    c.world.restart(back=False)
    dave = c.world.person("dave")
    with pytest.raises(AssertionError):
        dave.enters(invite)
    process = dave.processes[0]
    assert isinstance(process.core.waiting_for, UnknownRoom)
    c.bob.process.connects()
    c.world.passes(limits.REVIVAL + 2_000)
    assert process.core.waiting_for is None
    assert process.ready
    assert process.core.keys.accepted()


def test_who_was_admitted_but_not_told_so_is_in(company):
    """The connection was cut between the ADMIT and its answer: it is submitted again."""
    c = company
    dave = c.world.person("dave")
    invite = c.alice.invites()
    dave._adds_room(invite.room, invite.secret)
    admit = st.admit(dave.identity, invite.room, invite.anchor, invite.key)
    process = dave.starts(Reading.NOTHING, publishes=True, opening=admit, expected=invite.anchor, connect=False)
    process.connects()
    c.world.moves()
    process.holds_in = True
    c.world.runs()
    process.holds_in = False
    for _ in range(3):
        c.world.moves()
        process.cuts()
        process.connects()
    c.world.runs()
    assert process.ready
    assert dave.id in c.alice.membership.members


def test_an_admission_that_is_refused_ends_the_attempt(company):
    c = company
    invite = c.alice.invites()
    wrong = replace(invite.anchor, head=bytes(32))
    with pytest.raises(StaleAnchor):
        c.world.person("dave").enters(invite, anchor=wrong)


def test_a_room_may_let_members_invite():
    world = World()
    world.create("alice", members_invite=True)
    (bob,) = world.join("bob")
    (chuck,) = world.join("chuck", invite=bob.invites())
    bob.says("welcome")
    assert chuck.hears() == ["bob: welcome"]
    raw = st.remove(bob.identity, world.room, bob.membership.anchor, chuck.id, False)
    assert isinstance(bob.states(raw), NotAllowed)


# -- attaching --------------------------------------------------------------------------------------------------------


def test_what_was_said_while_cut_off_comes_after_it_and_nothing_else(company):
    c = company
    c.alice.says("one")
    with c.bob.process.away():
        c.alice.says("two")
        c.alice.whispers("bob", "three")
    assert c.bob.hears() == ["alice: one", "alice whispers: three", "alice: two"]
    last = [d for d in c.bob.process.delivered if isinstance(d, ev.Message)]
    assert len({(m.direct, m.number) for m in last}) == len(last)


def test_a_process_ends_when_it_is_cut_in_the_middle_of_catching_up_and_loses_nothing(company):
    c = company
    c.bob.process.cuts()
    for n in range(5):
        c.alice.says(str(n))
    c.bob.process.connects()
    for _ in range(4):
        c.world.moves()
        c.bob.process.cuts()
        c.bob.process.connects()
    c.world.runs()
    assert c.bob.hears() == [f"alice: {n}" for n in range(5)]
    assert c.bob.notes() == []


def test_what_is_submitted_on_a_connection_that_ends_is_answered_so(company):
    c = company
    c.alice.process.holds_out = True
    request = c.alice.core.submit(b"?" * 200)
    c.alice.process.sends()
    c.alice.process.cuts()
    assert isinstance(c.alice.process.answers[request], Gone)


def test_being_detached_by_the_relay_without_reason_is_followed_by_attaching_again(company):
    c = company
    c.bob.process.takes(ev.Closed(c.world.room, "unknown-room"))
    c.world.runs()
    c.alice.says("hi")
    assert c.bob.hears() == ["alice: hi"]
    assert c.bob.process.ended is None


def test_who_was_removed_while_away_is_told_so(company):
    c = company
    with c.bob.process.away():
        c.alice.kicks("bob")
    assert isinstance(c.bob.process.ended, NotMember)
    with c.chuck.process.away():
        c.alice.kicks("chuck", ban=True)
    assert isinstance(c.chuck.process.ended, Banned)


def test_a_closed_room_is_closed_for_who_comes_later(company):
    c = company
    with c.bob.process.away():
        c.alice.closes()
    assert isinstance(c.bob.process.ended, RoomClosed)


def test_what_concerns_another_room_or_nobody_is_ignored(company):
    c = company
    other = b"o" * 32
    process = c.bob.process
    process.takes(
        ev.Statement(other, 1, b"x"),
        ev.Card(other, b"x"),
        ev.Presence(other, True, (), ()),
        ev.Closed(other, "banned"),
        ev.Attached(new_message_id(), c.world.room, 0, bytes(32), 0, 0),
        ev.Accepted((new_message_id(),)),
        ev.Refused(bytes(16), "malformed"),
        ev.Refused(new_message_id(), "a code of the future"),
        ev.GoingAway(),
    )
    c.alice.says("hi")
    assert c.bob.hears() == ["alice: hi"]
    assert c.world.alarms() == {}


def test_attaching_needs_a_welcome(world):
    alice = world.create("alice", reads=False)
    process = alice.starts(Reading.LIVE, connect=False)
    process.core._attaching = b"a" * 16
    process.core.receive([ev.Attached(b"a" * 16, world.room, 1, bytes(32), 0, 0)], alice.now)
    assert not process.core.attached


# -- removals -------------------------------------------------------------------------------------------------------


def test_a_removed_member_reads_nothing_that_is_said_afterwards(company):
    """Claim 6, attack 22: with all its keys and every byte that the relay delivers."""
    c = company
    c.alice.says("before")
    c.bob.says("before, too")
    c.chuck.forgets()
    c.alice.kicks("chuck")
    c.alice.says("after")
    c.bob.says("after, too")
    c.alice.whispers("bob", "psst")
    spy = c.chuck.starts(Reading.LIVE, connect=False)
    spy.core._attached_since = c.world.now
    spy.takes(*c.bob.process.messages_delivered(direct=False), *c.bob.process.messages_delivered(direct=True))
    assert not [text for text in spy.hears() if "after" in text or "psst" in text]
    assert c.bob.hears()[-2:] == ["alice: after", "alice whispers: psst"]


def test_a_message_from_before_a_removal_that_arrives_after_it_is_marked(company):
    c = company
    c.alice.says("one")
    held = []

    def hold(process, d):
        if process.person is c.bob and isinstance(d, ev.Message):
            held.append(d)
            return []
        return [d]

    c.world.tamper = hold
    c.alice.says("two")
    c.world.tamper = None
    c.alice.kicks("chuck")
    c.bob.process.takes(*held)
    assert c.bob.hears() == ["alice: one", "alice: two (late)"]


def test_a_message_made_after_a_removal_on_a_chain_from_before_it_is_refused(company, monkeypatch):
    """The sender's program does not make a new chain, and the relay does not mind."""
    c = company
    c.alice.says("one")
    c.alice.kicks("chuck")
    outbox = c.alice.core.outbox
    monkeypatch.setattr(outbox, "_current_chain", lambda now: outbox._chain)
    c.alice.says("two")
    assert c.bob.hears() == ["alice: one"]
    assert c.bob.notes() == ["missed alice 1 cannot-open"]


def test_asides_of_a_former_member_are_compared_and_not_shown(company):
    c = company
    held = []

    def hold(process, d):
        if process.person is c.bob and isinstance(d, ev.Message) and d.direct:
            held.append(d)
            return []
        return [d]

    c.world.tamper = hold
    c.chuck.whispers("bob", "psst")
    c.world.tamper = None
    c.alice.kicks("chuck")
    c.bob.process.takes(*held)
    assert c.bob.hears() == []
    assert c.bob.alarms() == []


def test_a_message_of_somebody_who_did_not_belong_when_it_was_made_is_refused(company, monkeypatch):
    """Chuck comes back, and what he anchors between his two memberships counts for nothing."""
    c = company
    c.alice.kicks("chuck")
    between = c.alice.membership.anchor
    c.chuck.processes.clear()
    c.chuck.enters(c.alice.invites())
    c.chuck.starts(Reading.LIVE)
    c.bob.forgets()
    with monkeypatch.context() as lie:
        lie.setattr(Roster, "anchor", property(lambda roster: between))
        c.chuck.whispers("bob", "psst")
    assert c.bob.hears() == []
    assert c.bob.notes() == ["missed chuck 1 cannot-open"]


def test_what_is_anchored_before_ones_own_admission_is_ignored(company):
    c = company
    c.alice.says("before")
    (message,) = c.bob.process.messages_delivered(direct=False)
    keys = c.bob.store.rows("SELECT * FROM chains")
    (dave,) = c.world.join("dave")
    row = keys[0]
    dave.store.write(f"INSERT INTO chains VALUES ({', '.join('?' * len(row))})", *row)
    dave.process.takes(message)
    assert dave.hears() == []
    assert dave.alarms() == []


# -- revival ----------------------------------------------------------------------------------------------------------


def test_a_relay_that_lost_everything_gets_it_back_from_whoever_comes(company):
    c = company
    c.alice.promotes("bob")
    before = c.alice.membership.anchor
    c.world.restart()
    for person in (c.alice, c.bob, c.chuck):
        assert person.membership.anchor == before
    assert c.alice.membership.members[c.bob.id].role is Role.ADMIN
    c.alice.whispers("bob", "psst")
    c.bob.says("hi")
    assert c.bob.hears() == ["alice whispers: psst"]
    assert c.chuck.hears() == ["bob: hi"]
    assert c.world.alarms() == {}


def test_a_one_shot_command_brings_a_room_back(company):
    c = company
    for person in (c.alice, c.bob, c.chuck):
        person.sleeps()
    c.world.restart(back=False)
    c.world.passes(limits.REVIVAL + 1_000)
    send = c.bob.starts(Reading.NOTHING)
    c.world.runs()
    assert send.ready
    message = send.posts(Text("hi"))
    assert send.states[message] is State.RELAYED
    send.stops()
    assert c.alice.polls() == ["bob: hi"]


def test_a_room_with_more_statements_than_fit_into_one_piece_comes_back(monkeypatch):
    world = World()
    alice = world.create("alice")
    (bob,) = world.join("bob")
    monkeypatch.setattr(limits, "RESTORED", 3)
    for _ in range(8):
        alice.invites()
    world.restart()
    bob.says("hi")
    assert alice.hears() == ["bob: hi"]
    assert len([r for r in alice.process.posted if isinstance(r, ev.Restore)]) >= 4


def test_cards_of_who_is_away_come_back_with_a_member(company):
    """Alice can whisper to bob, who has not been seen since the relay was restarted, and a newcomer can, too."""
    c = company
    c.bob.process.cuts()
    c.world.restart(back=False)
    c.alice.process.connects()
    c.world.passes(limits.REVIVAL + 1_000)
    (dave,) = c.world.join("dave")
    assert dave.core.roster.cards.newest(c.bob.id) is not None
    dave.whispers("bob", "we have not met")
    c.alice.whispers("bob", "psst")
    c.bob.process.reconnects()
    assert sorted(c.bob.hears()) == ["alice whispers: psst", "dave whispers: we have not met"]


def test_the_longest_log_wins_and_who_was_admitted_on_the_lost_part_joins_again(company):
    c = company
    with c.bob.process.away():
        (dave,) = c.world.join("dave")
        c.world.restart(back=False)
    c.world.passes(limits.REVIVAL + 1_000)
    dave.process.connects()
    c.alice.process.connects()
    c.chuck.process.connects()
    c.world.runs()
    assert isinstance(dave.process.ended, NotMember)
    assert dave.id not in c.alice.membership.members
    dave.processes.clear()
    c.world.processes[:] = [p for p in c.world.processes if p.person is not dave]
    dave.enters(c.alice.invites())
    dave.starts(Reading.LIVE)
    c.alice.says("welcome back")
    assert dave.hears() == ["alice: welcome back"]
    c.world.passes(60_000)
    assert c.world.alarms() == {}


def test_an_old_copy_brought_by_who_was_banned_wins_nothing(company):
    c = company
    c.chuck.process.cuts()
    c.alice.kicks("chuck", ban=True)
    c.world.restart(back=False)
    c.chuck.process.connects()
    c.world.passes(limits.REVIVAL + 1_000)
    assert c.chuck.process.core.attached
    c.bob.process.connects()
    c.world.passes(1_000)
    assert isinstance(c.chuck.process.ended, Banned)
    c.alice.process.connects()
    c.alice.says("gone again")
    assert c.bob.hears() == ["alice: gone again"]
    c.world.passes(60_000)
    assert c.world.alarms() == {}


def test_who_was_removed_by_an_admin_of_a_lost_log_is_back_but_nothing_is_sealed_for_it_and_that_is_said(company):
    """Dave was an admin only on the lost part: his removal of chuck fits no log any more. The founder's ban does."""
    c = company
    (dave,) = c.world.join("dave")
    c.bob.process.cuts()
    c.chuck.process.cuts()
    c.alice.promotes("dave")
    dave.kicks("chuck")
    c.alice.kicks("bob", ban=True)
    c.world.restart(back=False)
    c.chuck.process.connects()
    c.world.passes(limits.REVIVAL + 1_000)
    c.alice.process.connects()
    dave.process.connects()
    c.world.passes(60_000)
    assert c.bob.id in c.alice.membership.banned
    assert c.chuck.id in c.alice.membership.members
    assert c.alice.membership.members[dave.id].role is Role.MEMBER
    assert (c.alice.alarmed(), dave.alarmed()) == (["withheld chuck"], ["withheld chuck"])
    c.alice.core.roster.answer(c.chuck.id, c.alice.now)
    c.alice.says("chuck is in again")
    assert c.chuck.hears() == ["alice: chuck is in again"]


def let_in_again(world: World) -> tuple[Person, Person, Person, Person]:
    """Chuck is removed by Dave, an admin; a restart loses that and Dave's promotion; then Chuck leaves and Bob, who
    knows of nothing, lets him in again.
    """
    alice = world.create("alice", members_invite=True)
    bob, chuck, dave = world.join("bob", "chuck", "dave")
    bob.process.cuts()
    chuck.process.cuts()
    alice.promotes("dave")
    dave.kicks("chuck")
    world.restart(back=False)
    bob.process.connects()
    chuck.process.connects()
    world.passes(limits.REVIVAL + 1_000)
    chuck.leaves()
    chuck.sleeps()
    chuck.enters(bob.invites())
    chuck.starts(Reading.BACKLOG)
    for person in (alice, dave):
        person.process.connects()
    world.passes(5_000)
    return alice, bob, chuck, dave


def test_who_was_let_in_again_is_doubtful_to_whoever_knows_of_a_removal_that_no_relay_can_take_and_is_named(world):
    """Nothing in a log proves that whoever let Chuck in knew of the removal: Alice is asked, and told whom about."""
    alice, bob, chuck, dave = let_in_again(world)
    assert alice.alarms() == []
    (warning,) = alice.core.roster.doubtful()
    assert (warning.who.label, warning.reason) == ("chuck", "withheld")
    assert "dave removed chuck" in warning.what
    with pytest.raises(AlarmRaised, match="dave removed chuck"):
        alice.whispers("chuck", "welcome back")
    bob.says("hello again")
    assert chuck.hears() == ["bob: hello again"]
    world.passes(limits.UNRESOLVED)
    assert (alice.alarmed(), dave.alarmed()) == (["withheld chuck"], ["withheld chuck"])
    assert alice.core.roster.doubtful() == []
    assert alice.core.roster.answer(chuck.id, alice.now) == 1
    alice.whispers("chuck", "welcome back")
    alice.says("chuck is in again")
    assert chuck.hears() == ["alice whispers: welcome back", "alice: chuck is in again"]
    world.restart()
    world.passes(60_000)
    assert alice.alarms() == []


def test_who_was_let_in_again_can_be_accepted_before_the_alarm_and_for_nobody_else(world):
    alice, bob, chuck, dave = let_in_again(world)
    assert alice.core.roster.answer(bob.id, alice.now) == 0
    assert alice.core.roster.answer(b"", alice.now) == 0
    assert alice.core.roster.answer(chuck.id, alice.now) == 1
    world.passes(60_000)
    assert (alice.alarmed(), dave.alarmed()) == ([], ["withheld chuck"])


def test_a_removal_that_the_log_can_take_counts_again_and_a_new_invite_lets_its_subject_in(world):
    """Bob let Chuck in on a log that lacked Alice's removal: with Alice it is back, and told; then Chuck may come."""
    alice = world.create("alice", members_invite=True)
    bob, chuck = world.join("bob", "chuck")
    bob.process.cuts()
    chuck.process.cuts()
    alice.kicks("chuck")
    world.restart(back=False)
    bob.process.connects()
    chuck.process.connects()
    world.passes(limits.REVIVAL + 1_000)
    chuck.leaves()
    chuck.sleeps()
    chuck.enters(bob.invites())
    chuck.starts(Reading.BACKLOG)
    alice.process.connects()
    world.passes(5_000)
    assert isinstance(chuck.process.ended, NotMember)
    assert any(event.what == "alice removed chuck" for event in bob.process.events)
    chuck.sleeps()
    chuck.enters(bob.invites())
    chuck.starts(Reading.BACKLOG)
    alice.says("welcome back")
    assert chuck.hears() == ["alice: welcome back"]
    world.passes(60_000)
    assert world.alarms() == {}


def test_messages_that_waited_when_the_relay_died_name_a_log_that_died_with_it(company):
    """An aside came, the statement that it names did not, and the room comes back without it."""
    c = company
    dropped = []

    def hold(process, d):
        if process.person is not c.alice and isinstance(d, ev.Statement):
            dropped.append(d)
            return []
        return [d]

    c.world.tamper = hold
    c.alice.invites()
    c.alice.whispers("bob", "psst")
    c.world.tamper = None
    assert dropped
    c.world.restart(back=False)
    c.chuck.process.connects()
    c.world.passes(limits.REVIVAL + 1_000)
    c.bob.process.connects()
    c.alice.process.connects()
    c.world.runs()
    c.alice.says("hi")
    c.world.passes(60_000)
    assert c.world.alarms() == {}
    assert [text for text in c.bob.hears() if text.startswith("alice: ")] == ["alice: hi"]


def test_a_send_that_waits_through_a_restart_gets_its_receipt(company):
    """Its cursors are of a relay that is no more: receipts that came before it was back must not be skipped."""
    c = company
    c.alice.sleeps()
    for n in range(20):
        c.bob.whispers("alice", str(n))
    send = c.alice.starts(Reading.NOTHING)
    c.bob.process.holds_out = True
    message = send.posts(Text("psst"), "bob")
    c.world.restart(back=False)
    c.bob.process.connects()
    c.chuck.process.connects()
    c.world.passes(limits.REVIVAL + 1_000)
    send.connects()
    c.world.passes(2_000)
    assert send.states[message] is State.DELIVERED


@pytest.mark.parametrize("times", [1, 3])
def test_restarts_show_nothing_twice_and_lose_nothing_that_was_not_taken(company, times):
    c = company
    for n in range(times):
        c.alice.process.holds_in = True
        c.alice.says(f"taken {n}")
        c.alice.process.holds_out = True
        c.alice.says(f"not taken {n}")
        c.world.restart()
    c.world.passes(20_000)
    heard = c.bob.hears()
    assert sorted(heard) == sorted(f"alice: {what} {n}" for n in range(times) for what in ("taken", "not taken"))
    assert [note for note in c.bob.notes() if note.startswith(("duplicate", "alarm"))] == []


def test_events_of_a_room_go_to_the_process_that_shows_them(company):
    c = company
    kinds = {event.kind for event in c.bob.process.told}
    assert kinds == {EventKind.JOINED}


def test_a_forgotten_room_that_comes_back_with_an_older_log_is_no_lie():
    """Everybody sleeps for longer than a relay keeps a room, and who wakes first went to bed first."""
    world = World(idle_close_s=60)
    alice = world.create("alice")
    bob, _ = world.join("bob", "chuck")
    bob.process.cuts()
    alice.does(st.role, world.people["chuck"].id, True)
    for process in world.processes:
        process.cuts()
    world.passes(5 * limits.MINUTE, limits.MINUTE)
    for process in (bob.process, alice.process):
        process.connects()
        world.passes(1_000)
    world.passes(limits.UNRESOLVED + 10_000)
    assert alice.alarmed() == []
    assert bob.alarmed() == []
    alice.says("good morning")
    assert any("good morning" in heard for heard in bob.hears())
