"""What comes in: stories of honest people first, then of a relay that repeats, forges and withholds."""

from __future__ import annotations

import time
from dataclasses import replace

import nacl.bindings
import pytest

from peer.core.events import Reading, State
from protocol import envelope as ev
from protocol import limits, seal
from protocol.content import Text
from protocol.primitives import new_message_id, random
from tests.peer.world import STEP

# -- what is shown ----------------------------------------------------------------------------------------------------


def test_the_room_hears_what_is_said_and_only_the_addressee_what_is_whispered(company):
    c = company
    c.alice.says("hi")
    c.alice.whispers("bob", "psst")
    c.alice.says("waves", action=True)
    assert c.bob.hears() == ["alice: hi", "alice whispers: psst", "alice: waves"]
    assert c.chuck.hears() == ["alice: hi", "alice: waves"]
    assert c.alice.hears() == []


def test_a_message_says_who_sent_it_when_and_how(company):
    c = company
    c.world.passes(1_234)
    identifier = c.alice.says("waves\x1b[2J", action=True)
    (message,) = c.bob.process.messages
    assert (message.id, message.sender.id, message.to, message.direct) == (identifier, c.alice.id, None, False)
    assert (message.action, message.text, message.shown) == (True, "waves\x1b[2J", "waves\u241b[2J")
    assert message.sent_at == message.received_at == c.world.now
    assert not message.late


def test_who_sent_it_and_whether_it_is_an_aside_is_what_opened_it(company):
    """The relay swaps the sender, or says that an aside is none: it is not shown as what it is not."""
    c = company
    lies = {
        "sender": lambda d: replace(d, sender=c.chuck.id),
        "direct": lambda d: replace(d, direct=not d.direct),
        "id": lambda d: replace(d, id=new_message_id()),
    }
    for lie in lies.values():
        c.world.tamper = lambda process, d, lie=lie: [lie(d) if isinstance(d, ev.Message) else d]
        c.alice.whispers("bob", "psst")
        c.alice.says("hi")
    c.world.tamper = None
    c.world.passes(limits.UNRESOLVED + 1_000)
    assert c.bob.hears() == []
    assert {note.split(" ", 1)[0] for note in c.bob.notes()} == {"missed"}
    assert c.bob.alarms() == []


def test_an_aside_of_one_room_is_nothing_in_another(company):
    c = company
    c.alice.whispers("bob", "psst")
    (message,) = c.bob.process.messages_delivered(direct=True)[-1:]
    c.bob.forgets()
    c.bob.process.takes(replace(message, room=b"o" * 32, id=new_message_id()))
    assert c.bob.notes() == []


# -- what was there before ----------------------------------------------------------------------------------------


def test_poll_shows_what_is_retained_and_not_shown_yet(company):
    c = company
    c.bob.sleeps()
    c.alice.says("one")
    c.alice.whispers("bob", "two")
    assert sorted(c.bob.polls()) == ["alice whispers: two", "alice: one"]
    assert c.bob.polls() == []
    c.alice.says("three")
    assert c.bob.polls() == ["alice: three"]
    c.alice.says("four")
    c.world.passes(limits.RETENTION + 1_000)
    assert c.bob.polls() == []


def test_listen_begins_with_what_arrives_and_backlog_with_what_is_retained(company):
    c = company
    c.bob.sleeps()
    c.alice.says("before")
    live = c.bob.starts(Reading.LIVE)
    backlog = c.bob.starts(Reading.BACKLOG)
    c.alice.says("after")
    assert live.hears() == ["alice: after"]
    assert backlog.hears() == ["alice: before", "alice: after"]
    live.stops()
    backlog.stops()
    assert c.bob.polls() == []


def test_what_listen_only_took_in_is_still_there_for_poll(company):
    c = company
    c.bob.sleeps()
    c.alice.says("before")
    live = c.bob.starts(Reading.LIVE)
    live.stops()
    assert c.bob.polls() == ["alice: before"]


def test_every_process_shows_what_arrives_while_it_is_attached(on_disk):
    c = on_disk
    first, second = c.bob.process, c.bob.starts(Reading.LIVE)
    c.alice.says("hi")
    c.alice.whispers("bob", "psst")
    assert first.hears() == second.hears() == ["alice: hi", "alice whispers: psst"]
    assert c.bob.polls() == []


def test_one_process_of_a_profile_sends_the_receipt_and_each_gets_the_receipts_it_waits_for(on_disk):
    """A bot that listens takes in the receipt first; the chat beside it waits for it."""
    c = on_disk
    chat = c.alice.starts(Reading.LIVE)
    (message,) = chat.core.send(Text("psst"), [c.bob.id], c.world.now)
    chat.sends()
    c.world.runs()
    c.world.passes(1_000)
    assert chat.states[message] is State.DELIVERED
    from_bob = [m for m in c.alice.process.messages_delivered(direct=True) if m.sender == c.bob.id]
    assert len({m.id for m in from_bob}) == 1


def test_the_process_that_owns_a_chain_answers_who_asks_for_it(on_disk):
    """All processes of a profile get the question; one that does not own the chain must not swallow it."""
    c = on_disk
    chat = c.alice.starts(Reading.LIVE)
    c.world.tamper = lambda process, d: (
        [] if process.person is c.bob and isinstance(d, ev.Message) and d.direct else [d]
    )
    chat.core.send(Text("hi"), [], c.world.now)
    chat.sends()
    c.world.runs()
    c.world.tamper = None
    assert c.bob.hears() == []
    chat.posts(Text("again"))
    c.world.passes(5_000)
    assert chat.core.outbox._answered


# -- nothing twice ------------------------------------------------------------------------------------------------


def test_a_replay_is_told_and_not_shown(company):
    c = company
    c.alice.whispers("bob", "psst")
    c.alice.says("hi")
    messages = c.bob.process.messages_delivered(direct=True)[-1:] + c.bob.process.messages_delivered(direct=False)
    c.bob.forgets()
    for message in messages:
        c.bob.process.takes(replace(message, number=message.number + 10))
    assert c.bob.hears() == []
    assert c.bob.notes() == ["duplicate alice"] * 2


@pytest.mark.parametrize("reading", [Reading.LIVE, Reading.BACKLOG, Reading.UNSHOWN, Reading.CONTINUED])
def test_a_replay_after_the_receiver_restarts_is_not_shown_again(company, reading):
    """Attack 9: what was shown to a process that is no more comes again, long after it left the relay."""
    c = company
    c.alice.whispers("bob", "psst")
    c.alice.says("hi")
    messages = c.bob.process.messages_delivered(direct=True) + c.bob.process.messages_delivered(direct=False)
    c.bob.forgets()
    c.bob.sleeps()
    c.world.passes(limits.RETENTION + 1_000)
    process = c.bob.starts(reading)
    process.hears()
    for message in messages:
        process.takes(message)
    c.world.passes(limits.UNRESOLVED + 5_000)
    assert process.hears() == []


def test_two_copies_that_waited_for_the_same_card_are_one_message(company):
    c = company
    c.world.tamper = lambda process, d: (
        [] if isinstance(d, ev.Card) and process.person is c.bob else [d, d] if isinstance(d, ev.Message) else [d]
    )
    c.world.passes(limits.CARD_ROTATION + 1_000)
    c.bob.process.holds_out = True
    c.alice.whispers("bob", "psst")
    c.world.passes(1_000)
    assert c.bob.hears() == []
    c.world.tamper = None
    c.bob.process.takes(ev.Card(c.world.room, c.alice.core.keys.newest().card))
    assert c.bob.hears() == ["alice whispers: psst"]


def test_garbage_under_an_id_does_not_keep_the_message_of_that_id_out(company):
    c = company
    c.world.tamper = lambda process, d: (
        [replace(d, body=random(400)), d] if isinstance(d, ev.Message) and process.person is c.bob else [d]
    )
    c.alice.whispers("bob", "one")
    c.alice.whispers("bob", "two")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice whispers: one", "alice whispers: two"]
    assert [note for note in c.bob.notes() if note.startswith("gap")] == []
    c.bob.sleeps()
    c.alice.whispers("bob", "three")
    assert c.bob.polls() == ["alice whispers: three"]


# -- gaps -----------------------------------------------------------------------------------------------------------


def drop(world, person, wanted):
    """Have the relay withhold from somebody the deliveries that are wanted."""
    world.tamper = lambda process, d: [] if process.person is person and wanted(d) else [d]


def test_messages_that_do_not_arrive_are_a_gap(company):
    c = company
    c.alice.says("one")
    c.alice.whispers("bob", "one")
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Message))
    c.alice.says("two")
    c.alice.says("three")
    c.alice.whispers("bob", "two")
    c.world.tamper = None
    c.alice.says("four")
    c.alice.whispers("bob", "three")
    c.world.passes(6_000)
    assert c.bob.notes() == ["gap alice 3"]
    c.world.passes(60_000)
    assert c.bob.notes() == []


def test_what_arrives_in_another_order_is_told_and_no_gap(company):
    c = company
    c.alice.says("one")
    held = []

    def reorder(process, d):
        if process.person is c.bob and isinstance(d, ev.Message):
            held.append(d)
            return []
        return [d]

    c.world.tamper = reorder
    for word in ("two", "three"):
        c.alice.says(word)
        c.alice.whispers("bob", word)
    c.world.tamper = None
    c.bob.process.takes(*reversed(held))
    c.world.passes(20_000)
    assert sorted(c.bob.hears()) == [
        *("alice whispers: three", "alice whispers: two", "alice: one", "alice: three", "alice: two"),
    ]
    assert c.bob.notes() == ["reordered alice"] * 2


def test_the_loss_of_a_chains_last_messages_shows_with_the_next_chain(company):
    c = company
    c.alice.says("one")
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Message) and not d.direct)
    c.alice.says("two")
    c.alice.says("three")
    c.world.tamper = None
    c.world.passes(limits.CHAIN_LIFE)
    assert c.bob.notes() == []
    c.alice.says("four")
    c.world.passes(6_000)
    assert c.bob.notes() == ["gap alice 2"]


def test_a_long_chain_that_ended_while_one_was_away_is_no_gap(company):
    """The next chain's key, an aside, comes before all that was said on the chain before it."""
    c = company
    c.alice.says("one")
    with c.bob.process.away():
        said = [f"{number}" for number in range(400)]
        for text in said:
            c.alice.says(text)
        c.alice.kicks("chuck")
        c.alice.says("the end")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: one", *(f"alice: {text} (late)" for text in said), "alice: the end"]
    assert c.bob.notes() == []


def test_what_came_and_went_while_one_was_away_is_missed_and_not_a_gap(company):
    """Also when the first message after it comes only later."""
    c = company
    c.alice.says("zero")
    c.alice.whispers("bob", "zero")
    c.bob.forgets()
    c.bob.sleeps()
    c.alice.says("one")
    c.alice.whispers("bob", "one")
    c.world.passes(limits.HOUR)
    c.bob.starts(Reading.BACKLOG)
    c.world.passes(30_000)
    assert c.bob.hears() == []
    c.alice.whispers("bob", "two")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice whispers: two"]
    assert [note.rsplit(" ", 2)[0] for note in c.bob.notes()] == ["missed alice"]


def test_who_never_heard_of_somebody_before_it_was_away_missed_it_too(company):
    c = company
    (dave,) = c.world.join("dave", reads=False)
    c.alice.whispers("dave", "one")
    c.world.passes(limits.HOUR)
    dave.starts(Reading.BACKLOG)
    c.world.passes(10_000)
    c.alice.whispers("dave", "two")
    c.world.passes(10_000)
    assert dave.hears() == ["alice whispers: two"]
    assert dave.notes() == ["missed alice 1 away"]


def test_what_a_relay_lost_when_it_was_killed_is_missed_and_not_a_gap(company):
    c = company
    c.alice.says("zero")
    c.alice.whispers("bob", "zero")
    c.bob.process.holds_in = True
    c.alice.says("one")
    c.alice.whispers("bob", "one")
    c.world.restart()
    c.alice.says("two")
    c.alice.whispers("bob", "two")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: zero", "alice whispers: zero", "alice: two", "alice whispers: two"]
    assert c.bob.notes() == ["missed alice 2 away"]


def withheld_from_bob(c):
    """Let the relay withhold a room message and an aside from every process of Bob's, for good."""
    c.alice.says("one")
    c.alice.whispers("bob", "one")
    before = c.bob.core._cursors
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Message) and d.number == before[d.direct] + 1)
    c.alice.says("two")
    c.alice.whispers("bob", "two")
    c.alice.says("three")
    c.alice.whispers("bob", "three")


def test_every_process_that_was_there_tells_what_is_missing_and_none_that_came_later(on_disk):
    c = on_disk
    second = c.bob.starts(Reading.LIVE)
    withheld_from_bob(c)
    c.world.passes(10_000)
    assert c.bob.notes() == second.notes() == ["gap alice 2"]
    for reading in (Reading.LIVE, Reading.BACKLOG, Reading.UNSHOWN, Reading.CONTINUED):
        later = c.bob.starts(reading)
        c.world.passes(10_000)
        assert later.notes() == []
    c.world.passes(2 * limits.RETENTION_CAP)
    assert c.bob.notes() == second.notes() == later.notes() == []
    assert c.bob.store.rows("SELECT * FROM missing") == []


@pytest.mark.parametrize("reading", [Reading.UNSHOWN, Reading.LIVE])
def test_what_no_process_was_there_to_tell_the_next_one_tells(on_disk, reading):
    """A ``poll``, too, which ends before a gap is old enough to be told."""
    c = on_disk
    withheld_from_bob(c)
    c.bob.process.dies()
    c.world.passes(10_000)
    process = c.bob.starts(reading)
    if reading is Reading.LIVE:
        c.world.passes(10_000)
    assert process.notes() == ["gap alice 2"]


def test_each_chat_of_a_profile_shows_all_that_arrives_and_begins_with_what_none_has_shown(on_disk):
    c = on_disk
    c.bob.sleeps()
    c.alice.says("retained")
    chats = [c.bob.starts(Reading.CONTINUED)]
    assert chats[0].hears() == ["alice: retained"]
    shown = chats[0].messages_delivered(direct=False)[-1]
    c.bob.store.write("UPDATE seen SET shown = 1 WHERE message = ?", shown.id)
    chats.append(c.bob.starts(Reading.CONTINUED))
    assert chats[1].hears() == []
    c.alice.says("arrives")
    c.alice.whispers("bob", "psst")
    c.bob.store.write("UPDATE seen SET shown = 1")
    for chat in chats:
        assert chat.hears() == ["alice: arrives", "alice whispers: psst"]


def test_what_one_process_got_is_missing_to_none(on_disk):
    """The relay withholds from one connection what it delivers to the other: it is shown, and told by nobody."""
    c = on_disk
    second = c.bob.starts(Reading.LIVE)
    c.alice.says("one")
    c.world.tamper = lambda process, d: [] if process is second and isinstance(d, ev.Message) else [d]
    c.alice.says("two")
    c.world.tamper = None
    c.alice.says("three")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: one", "alice: two", "alice: three"]
    assert second.hears() == ["alice: one", "alice: three"]
    assert c.bob.notes() == second.notes() == []


def test_every_process_tells_what_it_cannot_read(on_disk):
    c = on_disk
    second = c.bob.starts(Reading.LIVE)
    c.alice.says("one")
    c.world.tamper = lambda process, d: (
        [replace(d, body=d.body[:-1])] if process.person is c.bob and isinstance(d, ev.Message) else [d]
    )
    c.alice.says("two")
    c.world.tamper = None
    assert c.bob.notes() == second.notes() == ["missed alice 1 cannot-open"]
    third = c.bob.starts(Reading.LIVE)
    c.world.passes(10_000)
    assert third.notes() == []


def test_no_gap_is_told_while_a_message_waits_for_something(company):
    c = company
    c.alice.whispers("bob", "zero")
    held = []

    def hold(process, d):
        if process.person is c.bob and isinstance(d, ev.Statement):
            held.append(d)
            return []
        return [d]

    c.alice.process.holds_out = True
    waits = c.alice.whispers("bob", "one")
    c.alice.process.holds_out = False
    c.world.tamper = hold
    c.alice.invites()
    c.world.tamper = None
    del waits
    c.alice.whispers("bob", "two")
    c.world.passes(20_000)
    c.bob.process.takes(*held)
    c.world.passes(20_000)
    assert c.bob.notes() == []


def test_no_gap_is_told_while_disconnected(on_disk):
    """Two processes of a sender post in another order than they took their counters; the receiver is cut between."""
    c = on_disk
    other = c.alice.starts(Reading.LIVE)
    other.holds_out = True
    c.bob.forgets()

    other.core.send(Text("first taken"), [c.bob.id], c.world.now)
    other.sends()
    c.alice.whispers("bob", "second taken")
    c.bob.process.cuts()
    other.holds_out = False
    c.world.runs()
    c.world.passes(20_000)
    c.bob.process.reconnects()
    c.world.passes(10_000)
    assert sorted(c.bob.hears()) == ["alice whispers: first taken", "alice whispers: second taken"]
    assert c.bob.notes() == ["reordered alice"]


def test_counters_far_ahead_are_told_as_one_and_cost_nothing(company):
    """Attack 13."""
    c = company
    c.alice.whispers("bob", "one")
    c.alice.store.write("UPDATE counters SET last = ?", (1 << 53) - 10)
    before = time.process_time()
    c.alice.whispers("bob", "hi")
    assert time.process_time() - before < 0.5
    assert c.bob.hears() == ["alice whispers: one", "alice whispers: hi"]
    c.world.passes(6_000)
    assert c.bob.notes() == [f"gap alice {(1 << 53) - 11}"]


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_message_waits_for_the_head_that_it_names(company):
    c = company
    held = []

    def hold(process, d):
        if process.person is c.bob and isinstance(d, ev.Statement):
            held.append(d)
            return []
        return [d]

    c.world.tamper = hold
    c.alice.invites()
    c.alice.whispers("bob", "psst")
    c.alice.says("hi")
    assert c.bob.hears() == []
    c.world.passes(10_000)
    c.world.tamper = None
    c.bob.process.takes(*held)
    assert c.bob.hears() == ["alice whispers: psst", "alice: hi"]
    c.world.passes(60_000)
    assert c.bob.alarms() == []


def test_an_unknown_head_is_an_alarm_that_names_the_sender(company):
    c = company
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Statement))
    c.alice.invites()
    c.alice.says("hi")
    c.world.passes(limits.UNRESOLVED - STEP)
    assert c.bob.alarmed() == []
    c.world.passes(2 * STEP)
    assert c.bob.alarmed() == ["unknown-head alice"]
    assert c.bob.hears() == []
    assert c.bob.notes() == ["alarm alice unknown-head"] + ["missed alice 1 no-key"] * 2  # its chain key is one


def test_a_laptop_that_slept_gives_the_relay_time_before_it_alarms(company):
    """An aside leaves the relay before the statement that it names; between the two, the lid is shut for an hour."""
    c = company
    held = []

    def hold(process, d):
        if process.person is c.bob and isinstance(d, ev.Statement):
            held.append(d)
            return []
        return [d]

    c.world.tamper = hold
    c.alice.invites()
    c.alice.whispers("bob", "psst")
    c.world.tamper = None
    c.world.leaps(limits.HOUR)
    c.bob.core.tick(c.bob.now)
    c.bob.process.takes(*held)
    assert c.bob.alarms() == []
    assert c.bob.hears() == ["alice whispers: psst"]


def test_a_head_that_died_with_the_relay_is_no_alarm(company):
    """The relay is killed after it delivered an aside, before it delivered the statement that the aside names."""
    c = company
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Statement))
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Statement))
    c.alice.invites()
    c.alice.whispers("bob", "psst")
    c.world.tamper = None
    alice = c.alice.process
    for process in c.world.processes:
        process.loses_connection()
    c.world.restart(back=False)
    c.bob.process.connects()
    c.chuck.process.connects()
    c.world.passes(limits.REVIVAL + STEP)

    alice.connects()
    c.world.passes(60_000)
    assert c.world.alarms() == {}


def test_a_message_waits_for_a_card_that_the_relay_has_until_it_came(company):
    """The fetch is asked for again when the connection was cut before it was answered."""
    c = company
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Card))
    c.world.passes(limits.CARD_ROTATION + 1_000)
    c.bob.process.holds_out = True
    c.alice.whispers("bob", "psst")
    c.world.tamper = None
    c.bob.process.cuts()
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Card) and not c.bob.core._fetching)
    c.bob.process.reconnects()
    c.world.passes(limits.UNRESOLVED + 1_000)
    assert c.bob.hears() == ["alice whispers: psst"]
    assert c.bob.notes() == []


def test_who_lacks_a_chain_asks_and_gets_its_present_state(company):
    c = company
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Message) and d.direct)
    c.alice.says("one")
    c.world.tamper = None
    c.alice.says("two")
    assert c.bob.hears() == []
    c.world.passes(4_000)
    c.alice.says("three")
    c.world.passes(limits.UNRESOLVED)
    assert c.bob.hears() == ["alice: three"]
    assert len([n for n in c.bob.notes() if n.startswith("missed alice")]) == 2


def test_thousands_of_messages_on_chains_that_do_not_exist_cost_little(company):
    """Attack 26: a member floods the room; whoever listens must not stand still when they are given up."""
    c = company
    anchor = c.alice.core.roster.anchor
    c.bob.forgets()
    for _ in range(4_000):
        body = random(32) + bytes(2) + anchor.index.to_bytes(8) + anchor.head + random(300)
        post = ev.Post(new_message_id(), c.world.room, None, anchor.index, 0, body)
        c.alice.process.outgoing.append(post.encode())
    c.chuck.sleeps()
    before = time.process_time()
    c.world.passes(limits.UNRESOLVED + 1_000)
    assert time.process_time() - before < 15
    assert c.bob.hears() == []


# -- rubbish --------------------------------------------------------------------------------------------------------

JUNK = [bytes([fill]) * size for size in (0, 1, 8, 39, 64, 160, 161, 300, 4_096) for fill in (0, 0x7F, 0xFF)]


@pytest.mark.parametrize("direct", [True, False], ids=["aside", "room"])
def test_rubbish_in_a_body_is_missed_and_nothing_more(company, direct):
    """Attack 15: bodies of 0 to 64 bytes, and longer ones, from a member through an honest relay."""
    c = company
    for body in JUNK:
        to = c.bob.id if direct else None
        post = ev.Post(new_message_id(), c.world.room, to, c.alice.membership.index, 0, body)
        c.alice.process.outgoing.append(post.encode())
        c.world.runs()
    c.world.passes(limits.UNRESOLVED + 1_000)
    c.alice.says("still there?")
    assert c.bob.hears() == ["alice: still there?"]


def test_a_generation_that_nobody_can_have_does_not_cut_the_recipient_off(company):
    """The sender's generation is inside: a recipient that asked the relay for such a card would be cut for ever."""
    c = company
    card = c.alice.core.roster.cards.newest(c.bob.id)
    header = c.alice.id + ((1 << 64) - 1).to_bytes(8)
    body = card.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(header + random(300), card.sealing_key)
    assert len(body) >= seal.OVERHEAD
    c.alice.process.outgoing.append(
        ev.Post(new_message_id(), c.world.room, c.bob.id, c.alice.membership.index, 0, body).encode()
    )
    c.world.runs()
    assert c.bob.process.connection
    assert c.bob.notes() == ["missed alice 1 cannot-open"]
