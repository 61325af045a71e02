"""What goes out: in order, once, under counters that are never used again, and to nobody who should not have it."""

from __future__ import annotations

import pytest

from peer.core.alarms import AlarmKind
from peer.core.events import Reading, State
from peer.store import Store
from protocol import envelope as ev
from protocol import limits
from protocol.content import Ask, Receipt, Text
from protocol.errors import (
    AlarmRaised,
    BadProfile,
    Expired,
    IdentityChanged,
    NoKey,
    RateLimited,
    TimedOut,
    TooLarge,
    UnknownPeer,
)
from protocol.ids import ChainId
from tests.peer.test_inbox import drop
from tests.peer.world import World


def posts(process, kind=ev.Post):
    return [request for request in process.posted if isinstance(request, kind)]


def room_posts(process):
    return [post for post in posts(process) if post.to is None]


def chain_keys(process, to=None):
    return [post for post in posts(process) if post.flags and to in (None, post.to)]


# -- how far a message gets -------------------------------------------------------------------------------------------


def test_a_message_is_relayed_then_delivered(company):
    c = company
    message = c.alice.whispers("bob", "psst")
    assert c.alice.state(message) is State.RELAYED
    c.world.passes(1_000)
    assert c.alice.state(message) is State.DELIVERED


def test_a_room_message_is_relayed_and_gets_no_receipt(company):
    c = company
    message = c.alice.says("hi")
    c.world.passes(1_000)
    assert c.alice.state(message) is State.RELAYED
    assert [post for post in posts(c.bob.process) if post.to == c.alice.id] == []


def test_receipts_can_be_off(company):
    c = company
    c.bob.sleeps()
    c.bob.starts(Reading.LIVE, receipts=False)
    message = c.alice.whispers("bob", "psst")
    c.world.passes(2_000)
    assert c.alice.state(message) is State.RELAYED


def test_a_receipt_counts_only_from_whom_the_aside_was_sealed_for(company):
    c = company
    message = c.alice.whispers("bob", "psst")
    c.alice.process.states.clear()
    chuck = c.chuck.core.outbox
    chuck.receipt(message, c.alice.id, c.alice.core.keys.accepted().generation, c.world.now, c.world.now)
    chuck.flush(c.world.now)
    c.chuck.process.sends()
    c.alice.core.outbox._awaited[message] = c.bob.id
    c.world.runs()
    assert c.alice.state(message) is None


def test_only_what_was_opened_gets_a_receipt_and_no_receipt_gets_one(company):
    """Attack 21: nothing but a text or action that was opened is answered."""
    c = company
    outbox = c.alice.core.outbox
    for content in (Receipt(b"m" * 16), Ask(ChainId(b"c" * 32))):
        outbox.post(content, c.bob.id, c.world.now)
    c.alice.process.sends()
    c.world.runs()
    before = len(posts(c.bob.process))
    c.world.passes(5_000)
    assert len(posts(c.bob.process)) == before


def test_a_receipt_has_the_size_of_a_text(company):
    """Attack 20."""
    c = company
    c.alice.whispers("bob", "psst")
    c.world.passes(1_000)
    (text,) = [p for p in posts(c.alice.process) if p.to == c.bob.id and not p.flags]
    (receipt,) = [p for p in posts(c.bob.process) if p.to == c.alice.id and not p.flags]
    assert len(text.body) == len(receipt.body)


def test_a_receipt_is_sealed_to_the_generation_its_aside_came_from(company):
    c = company
    first = c.alice.core.keys.accepted().generation
    c.bob.process.holds_in = True
    c.alice.whispers("bob", "psst")
    c.world.passes(limits.CARD_ROTATION + 5_000)
    assert c.alice.core.keys.accepted().generation > first
    c.bob.process.holds_in = False
    c.world.runs()
    c.world.passes(1_000)
    (receipt,) = [p for p in posts(c.bob.process) if p.to == c.alice.id and not p.flags]
    assert int.from_bytes(receipt.body[:8]) == first


def test_a_state_never_goes_back(company):
    """The receipt comes with the backlog of a new connection, before the relay answers the post that is sent again."""
    c = company
    c.alice.process.holds_in = True
    message = c.alice.whispers("bob", "psst")
    c.world.passes(1_000)
    c.alice.process.cuts()
    c.alice.process.reconnects()
    c.world.passes(1_000)
    assert c.alice.state(message) is State.DELIVERED


def test_a_refusal_is_the_end_of_a_message():
    world = World(posts_per_s=1, posts_burst=20)
    alice = world.create("alice")
    (bob,) = world.join("bob")
    messages = [alice.says(str(n)) for n in range(40)]
    states = [alice.state(m) for m in messages]
    assert any(isinstance(s, RateLimited) for s in states)
    heard = bob.hears()
    assert len(heard) == sum(s is State.RELAYED for s in states)


def test_a_text_that_is_too_long_is_refused_before_it_is_sent(company):
    with pytest.raises(TooLarge):
        Text("x" * (limits.TEXT + 1))
    c = company
    message = c.alice.says("x" * limits.TEXT)
    assert c.alice.state(message) is State.RELAYED
    assert len(c.bob.hears()[0]) > limits.TEXT


def test_what_could_not_be_sent_for_a_minute_is_forgotten(company):
    c = company
    c.alice.process.cuts()
    message = c.alice.says("hi")
    aside = c.alice.whispers("bob", "psst")
    c.world.passes(limits.UNSENT)
    assert c.alice.state(message) is None
    c.world.passes(2_000)
    assert isinstance(c.alice.state(message), TimedOut)
    assert isinstance(c.alice.state(aside), TimedOut)
    assert c.alice.core.outbox.idle
    c.alice.process.reconnects()
    assert c.bob.hears() == []


def test_whoever_has_no_valid_card_cannot_be_whispered_to_and_is_said_so(company):
    """Attack 23: withheld rotations end at not-after. Room messages go on, without it."""
    c = company
    c.bob.sleeps()
    c.world.passes(limits.CARD_LIFE + limits.MINUTE, step=5 * limits.MINUTE)
    c.world.passes(limits.MINUTE)
    message = c.alice.whispers("bob", "psst")
    assert isinstance(c.alice.state(message), Expired)
    assert c.alice.state(c.alice.says("hi")) is State.RELAYED
    (info,) = [m for m in c.alice.core.roster.members(c.alice.now) if m.person.id == c.bob.id]
    assert not info.reachable
    assert c.chuck.hears() == ["alice: hi"]
    assert chain_keys(c.alice.process, c.bob.id) == []


def test_nobody_who_left_is_whispered_to(company):
    c = company
    c.bob.leaves()
    assert isinstance(c.alice.state(c.alice.whispers("bob", "psst")), UnknownPeer)


def test_without_an_accepted_card_nothing_is_sealed(company):
    c = company
    c.alice.store.write("UPDATE sealing_keys SET accepted = 0")
    assert isinstance(c.alice.state(c.alice.whispers("bob", "psst")), NoKey)


# -- order and repetition -----------------------------------------------------------------------------------------


def test_what_is_sent_again_after_a_cut_keeps_its_order_and_comes_once(company):
    """Attack 11. The relay took some of it, and its answers were lost."""
    c = company
    c.alice.process.holds_in = True
    c.alice.says("one")
    c.alice.whispers("bob", "two")
    c.alice.process.holds_out = True
    c.alice.says("three")
    c.alice.whispers("bob", "four")
    c.alice.process.cuts()
    c.alice.says("five")
    before = len(posts(c.alice.process))
    c.alice.process.reconnects()
    c.world.passes(5_000)
    assert c.bob.hears() == [
        *("alice: one", "alice whispers: two", "alice whispers: four", "alice: three", "alice: five"),
    ]
    assert c.bob.notes() == []
    again = [post for post in posts(c.alice.process)[before:] if not post.flags and post.to is None]
    assert [post.id for post in again] == [post.id for post in room_posts(c.alice.process)[:2]] + [again[-1].id]


def test_chain_keys_go_before_the_messages_that_need_them_also_when_sent_again(company):
    c = company
    c.alice.process.holds_out = True
    c.alice.says("one")
    c.alice.process.cuts()
    before = len(posts(c.alice.process))
    c.alice.process.reconnects()
    assert [bool(post.flags) for post in posts(c.alice.process)[before:]] == [True, True, False]


def test_what_the_relay_had_when_it_was_killed_is_sent_again_and_shown_once(company):
    c = company
    c.alice.process.holds_in = True
    c.alice.says("one")
    c.alice.whispers("bob", "two")
    assert c.bob.hears() == ["alice: one", "alice whispers: two"]
    c.world.restart()
    c.alice.says("three")
    c.alice.whispers("bob", "four")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: three", "alice whispers: four"]
    assert c.bob.notes() == []


def test_what_the_relay_never_had_arrives_after_its_restart(company):
    c = company
    c.alice.process.holds_out = True
    one, two = c.alice.says("one"), c.alice.whispers("bob", "two")
    c.world.restart()
    assert sorted(c.bob.hears()) == ["alice whispers: two", "alice: one"]
    assert [c.alice.state(m) for m in (one, two)] == [State.RELAYED, State.DELIVERED]


def test_a_post_made_before_a_removal_is_encrypted_again_on_another_chain_under_its_id(company):
    c = company
    c.alice.says("zero")
    c.alice.process.holds_out = True
    message = c.alice.says("one")
    c.alice.process.holds_in = True
    c.chuck.leaves()
    c.alice.process.holds_out = False
    c.alice.process.holds_in = False
    c.world.runs()
    c.world.passes(2_000)
    tries = [post for post in room_posts(c.alice.process) if post.id == message]
    assert len(tries) == 2
    assert tries[0].body[:32] != tries[1].body[:32]
    assert c.bob.hears() == ["alice: zero", "alice: one"]
    c.world.passes(20_000)
    assert c.bob.notes() == []


def test_what_is_said_after_somebody_left_does_not_overtake_what_the_relay_is_about_to_refuse_for_that(company):
    c = company
    c.alice.says("zero")
    c.alice.process.holds_out = True
    c.alice.says("one")
    c.chuck.leaves()
    c.alice.says("two")
    c.alice.whispers("bob", "psst")
    c.alice.process.holds_out = False
    c.world.runs()
    c.world.passes(2_000)
    assert c.bob.hears() == ["alice: zero", "alice whispers: psst", "alice: one", "alice: two"]
    c.world.passes(20_000)
    assert c.bob.notes() == []


def test_an_aside_whose_card_was_superseded_before_it_left_is_sealed_to_the_new_one(company):
    c = company
    with c.alice.process.away():
        message = c.alice.whispers("bob", "psst")
        c.bob.store.write("UPDATE sealing_keys SET made_at = 0")
        c.world.passes(1_000)
    (post,) = [post for post in posts(c.alice.process) if post.id == message]
    assert int.from_bytes(post.body[:8]) == c.bob.core.keys.newest().generation
    assert c.bob.hears() == ["alice whispers: psst"]


# -- counters -----------------------------------------------------------------------------------------------------


def counters(c, person=None):
    return [row[0] for row in c.bob.store.rows("SELECT counter FROM seen WHERE stream = x'' ORDER BY counter")]


def test_two_processes_never_use_a_counter_twice(on_disk):
    c = on_disk
    other = c.alice.starts(Reading.LIVE)
    for n in range(5):
        c.alice.whispers("bob", f"first {n}")
        other.posts(Text(f"second {n}"), "bob")
    c.world.passes(10_000)
    assert len(c.bob.hears()) == 10
    assert c.bob.notes() == []


def test_a_killed_process_leaves_no_counter_to_be_used_again(on_disk):
    c = on_disk
    c.alice.process.holds_out = True
    c.alice.whispers("bob", "never leaves")
    c.alice.process.dies()
    c.world.passes(2 * limits.UNSENT + 1_000)
    c.alice.starts(Reading.LIVE)
    c.alice.whispers("bob", "arrives")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice whispers: arrives"]
    assert c.bob.notes() == []
    assert counters(c) == [2]


def test_what_was_given_up_is_no_gap(company):
    c = company
    c.alice.whispers("bob", "one")
    c.alice.process.cuts()
    message = c.alice.whispers("bob", "two")
    c.alice.core.outbox.give_up(message)
    c.alice.process.reconnects()
    c.alice.process.holds_out = True
    message = c.alice.whispers("bob", "three")
    c.alice.core.outbox.give_up(message)
    c.alice.process.cuts()
    c.alice.process.reconnects()
    c.alice.whispers("bob", "four")
    c.world.passes(20_000)
    assert c.bob.hears() == ["alice whispers: one", "alice whispers: four"]
    assert c.bob.notes() == []


def test_what_was_given_up_after_a_later_aside_was_sealed_is_named_by_the_next(company):
    """The relay refuses a large aside while a small one that was sealed after it is on its way."""
    c = company
    c.alice.whispers("bob", "zero")
    c.alice.process.holds_out = True
    first = c.alice.whispers("bob", "one")
    second = c.alice.whispers("bob", "two")
    c.alice.process.outgoing.popleft()
    c.alice.process.holds_out = False
    c.alice.core.outbox.refused(first, RateLimited(), c.world.now)
    c.world.runs()
    assert c.alice.state(second) is State.RELAYED
    c.alice.whispers("bob", "three")
    c.world.passes(20_000)
    assert c.bob.hears() == ["alice whispers: zero", "alice whispers: two", "alice whispers: three"]
    assert c.bob.notes() == []


def test_unsettled_counters_do_not_gather_for_ever(company):
    c = company
    for n in range(200):
        c.alice.core.outbox.post(Text(str(n)), c.bob.id, c.world.now)
        for message in list(c.alice.core.outbox._pending):
            c.alice.core.outbox.give_up(message)
    c.alice.process.outgoing.clear()
    c.alice.core.take()
    c.alice.whispers("bob", "hi")
    assert c.alice.store.row("SELECT count(*) FROM unsettled")[0] <= limits.SKIPPED + 1


def test_a_profile_that_cannot_be_written_uses_no_counter_twice(company, monkeypatch):
    """The disk fills up while the chain key for the second of two members is sealed: the first was not sent either."""
    c = company
    counters = c.alice.core.outbox._counters
    taken = []
    original = counters.take

    def fails(to, now):
        if taken:
            raise BadProfile("no space")
        taken.append(to)
        return original(to, now)

    monkeypatch.setattr(counters, "take", fails)
    message = c.alice.says("hi")
    monkeypatch.undo()
    assert not isinstance(c.alice.state(message), State)
    assert chain_keys(c.alice.process) == []
    c.alice.says("again")
    c.world.passes(20_000)
    assert c.bob.hears() == ["alice: again"]
    assert c.bob.notes() == []
    assert c.chuck.hears() == ["alice: again"]


# -- chains -------------------------------------------------------------------------------------------------------


def test_a_chain_ends_after_ten_minutes_and_after_a_thousand_messages(company):
    c = company
    c.alice.says("one")
    first = c.alice.core.outbox._chain.id
    c.world.passes(limits.CHAIN_LIFE - 5_000)
    c.alice.says("two")
    assert c.alice.core.outbox._chain.id == first
    c.world.passes(10_000)
    assert c.alice.core.outbox._chain is None
    c.alice.says("three")
    second = c.alice.core.outbox._chain.id
    assert second != first
    c.alice.core.outbox._chain.counter = limits.CHAIN_MESSAGES - 1
    c.alice.says("last")
    c.alice.says("first of the next")
    assert c.alice.core.outbox._chain.id not in (first, second)


def test_a_chain_ends_with_every_departure_and_only_when_there_is_something_to_say(company):
    c = company
    c.alice.says("one")
    first = c.alice.core.outbox._chain.id
    c.chuck.leaves()
    c.world.passes(2_000)
    assert c.alice.core.outbox._chain.id == first
    before = len(chain_keys(c.alice.process))
    c.alice.says("two")
    assert c.alice.core.outbox._chain.id != first
    assert [post.to for post in chain_keys(c.alice.process)[before:]] == [c.bob.id]


def test_a_chain_does_not_survive_the_relay(company):
    c = company
    c.alice.says("one")
    first = c.alice.core.outbox._chain.id
    c.world.restart()
    c.alice.says("two")
    assert c.alice.core.outbox._chain.id != first
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: one", "alice: two"]
    assert c.bob.notes() == []


@pytest.mark.parametrize("early", [False, True], ids=["found out late", "found out early"])
def test_what_was_on_its_way_when_its_chain_ended_of_age_is_no_gap_if_the_connection_was_lost(company, early):
    """The chain after it says that it was sent, so it is sent again as it was made."""
    c = company
    c.alice.says("one")
    c.world.passes(limits.CHAIN_LIFE - 5_000)
    c.alice.process.holds_out = True
    c.alice.says("two")
    c.alice.says("three")
    c.world.passes(10_000)
    if early:
        c.alice.process.cuts()
    c.alice.says("four")
    c.alice.process.cuts()
    c.alice.process.reconnects()
    c.world.passes(20_000)
    for person in (c.bob, c.chuck):
        assert person.hears() == ["alice: one", "alice: two", "alice: three", "alice: four"]
        assert person.notes() == []


def test_what_was_on_its_way_when_its_chain_ended_of_age_is_encrypted_again_once_somebody_has_left(company):
    c = company
    c.alice.says("one")
    c.world.passes(limits.CHAIN_LIFE - 5_000)
    c.alice.process.holds_out = True
    message = c.alice.says("two")
    c.world.passes(10_000)
    c.alice.process.cuts()
    c.chuck.leaves()
    c.alice.process.reconnects()
    c.world.passes(2_000)
    tries = [post for post in room_posts(c.alice.process) if post.id == message]
    assert len(tries) == 2
    assert tries[0].body[:32] != tries[1].body[:32]
    assert c.bob.hears() == ["alice: one", "alice: two"]


def test_a_chain_that_never_left_hides_no_loss_of_the_one_before(company):
    """It named the one before it, to nobody: the next does."""
    c = company
    c.alice.says("one")
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Message))
    c.alice.says("two")
    c.world.tamper = None
    c.world.passes(limits.CHAIN_LIFE + 1_000)
    c.alice.process.holds_out = True
    c.alice.says("never leaves")
    c.alice.process.cuts()
    c.world.passes(limits.CHAIN_LIFE + 1_000)
    c.alice.process.reconnects()
    c.alice.says("three")
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: one", "alice: three"]
    assert [note.split(" ")[:2] for note in c.bob.notes()] == [["gap", "alice"]]


def test_who_comes_later_gets_the_chain_as_it_stands_and_cannot_read_what_was_before(company):
    c = company
    c.alice.says("before")
    dave, eve = c.world.join("dave", "eve")
    c.alice.says("after")
    assert dave.hears() == eve.hears() == ["alice: after"]
    (row,) = dave.store.rows("SELECT counter FROM chains")
    assert row["counter"] == 1


def test_a_chain_key_is_asked_for_again_and_answered_now_and_then(company):
    c = company
    c.alice.says("one")
    chain = c.alice.core.outbox._chain.id
    before = len(chain_keys(c.alice.process, c.bob.id))
    for _ in range(3):
        c.bob.core.outbox.ask(chain, c.alice.id, c.world.now)
        c.bob.core.outbox.ask(ChainId(b"x" * 32), c.alice.id, c.world.now)
    c.bob.process.sends()
    c.world.runs()
    assert len(chain_keys(c.alice.process, c.bob.id)) == before + 1
    c.bob.store.write("DELETE FROM chains")
    c.alice.says("two")
    c.world.passes(20_000)
    assert len(chain_keys(c.alice.process, c.bob.id)) == before + 1
    c.world.passes(30_000)
    assert len(chain_keys(c.alice.process, c.bob.id)) == before + 1
    c.alice.says("three")
    c.world.passes(5_000)
    assert len(chain_keys(c.alice.process, c.bob.id)) == before + 2
    c.alice.says("four")
    assert c.bob.hears() == ["alice: one", "alice: four"]


def test_a_chain_that_was_lost_while_its_sender_talks_on_is_had_again_within_a_minute(company):
    """As by a clock that was set: an hour ahead the chain is overdue, and an hour back it was made too far ahead."""
    c = company
    c.alice.says("one")
    c.bob.core.outbox.ask(c.alice.core.outbox._chain.id, c.alice.id, c.world.now)  # and is answered, in vain
    c.world.runs()
    c.bob.store.write("DELETE FROM chains")
    c.bob.forgets()
    for n in range(60):
        c.alice.says(str(n))
        c.world.passes(1_000)
    c.bob.forgets()
    c.alice.says("and now?")
    assert c.bob.hears() == ["alice: and now?"]


def test_a_process_that_sends_one_message_answers_nobody_and_publishes_nothing(company):
    c = company
    c.alice.sleeps()
    send = c.alice.starts(Reading.NOTHING)
    send.posts(Text("hi"))
    c.bob.core.outbox.ask(send.core.outbox._chain.id, c.alice.id, c.world.now)
    c.bob.core.outbox.post(Text("psst"), c.alice.id, c.world.now)
    c.bob.process.sends()
    c.world.passes(limits.CARD_ROTATION + 5_000)
    assert len(chain_keys(send)) == 2
    assert posts(send, ev.Publish) == []
    assert [p for p in posts(send) if p.to and not p.flags] == []
    assert c.bob.hears() == ["alice: hi"]


def test_the_previous_count_counts_up_to_the_last_message_that_the_relay_took():
    """One that the relay refused is not among the missing, and hides none after it: "two" alone is lost."""
    world = World()
    alice = world.create("alice")
    (bob,) = world.join("bob")
    alice.says("zero")
    alice.process.holds_out = True
    refused = alice.says("one")
    alice.process.outgoing.pop()
    alice.process.holds_out = False
    alice.core.outbox.refused(refused, RateLimited(), world.now)
    world.tamper = lambda process, d: [] if isinstance(d, ev.Message) and process.person is bob else [d]
    alice.says("two")
    world.tamper = None
    alice.process.holds_out = True
    alice.core.outbox.refused(alice.says("never"), RateLimited(), world.now)
    alice.process.outgoing.pop()
    alice.process.holds_out = False
    world.passes(limits.CHAIN_LIFE + 1_000)
    assert bob.notes() == []
    alice.says("three")
    world.passes(10_000)
    assert bob.hears() == ["alice: zero", "alice: three"]
    assert bob.notes() == ["gap alice 1"]


def test_what_the_relay_refused_is_a_gap_to_nobody():
    """No message comes on a chain after one that was refused: the next chain says how many were taken."""
    world = World(posts_per_s=1, posts_burst=20)
    alice = world.create("alice")
    (bob,) = world.join("bob")
    taken = 0
    while not isinstance(alice.state(alice.says("hi")), RateLimited):
        taken += 1
    for _ in range(3):
        world.passes(5_000)
        assert alice.state(alice.says("hi again")) is State.RELAYED
        while not isinstance(alice.state(alice.says("and again")), RateLimited):
            taken += 1
    world.passes(60_000)
    assert len(bob.hears()) == taken + 3
    assert bob.notes() == []


def test_what_its_sender_waited_for_no_longer_is_a_gap_to_nobody(company):
    """A line of a chat that timed out while the wire was dead, and the next one when it is back."""
    c = company
    c.alice.says("one")
    c.alice.process.holds_out = True
    message = c.alice.says("two")
    c.alice.core.outbox.give_up(message)
    c.alice.says("three")
    with c.alice.process.away():
        pass
    c.world.passes(10_000)
    assert c.bob.hears() == ["alice: one", "alice: three"]
    assert c.bob.notes() == []


def test_a_send_that_waits_for_the_receipt_gets_it_though_the_log_grew(company):
    """The receipt names a statement that its frame comes before: a process that reads nothing waits for it too."""
    c = company
    c.alice.sleeps()
    send = c.alice.starts(Reading.NOTHING)
    held = []

    def hold(process, d):
        if process is send and isinstance(d, ev.Statement):
            held.append(d)
            return []
        return [d]

    c.bob.process.holds_in = True
    message = send.posts(Text("psst"), "bob")
    c.bob.process.holds_in = False
    c.world.tamper = hold
    c.chuck.leaves()
    c.world.passes(2_000)
    c.world.tamper = None
    send.takes(*held)
    assert send.states[message] is State.DELIVERED


# -- what stops sending ---------------------------------------------------------------------------------------------


def test_an_alarm_stops_sending_until_it_is_answered(company):
    c = company
    c.alice.core.roster.sound(AlarmKind.LOG, b"", "?", c.world.now)
    with pytest.raises(AlarmRaised):
        c.alice.says("hi")
    assert c.alice.core.roster.answer(b"", c.world.now) == 1
    c.alice.says("hi")
    assert c.bob.hears() == ["alice: hi"]


def test_asides_to_a_nick_that_was_anothers_stop_until_it_is_accepted(company):
    """Attack 16."""
    c = company
    c.bob.leaves()
    impostor = c.world.person("bob2")
    invite = c.alice.invites()
    impostor.name = "bob"
    impostor.enters(invite)
    impostor.starts(Reading.BACKLOG)
    with pytest.raises(IdentityChanged):
        c.alice.whispers("bob2", "psst")
    c.alice.says("hi")
    assert impostor.hears() == ["alice: hi"]
    c.alice.core.roster.people.accept(impostor.id)
    c.alice.whispers("bob2", "psst")
    assert impostor.hears() == ["alice whispers: psst"]


def test_who_leaves_and_comes_back_goes_on_counting(company):
    """Others remember the counters of asides, chain keys among them: a second aside 1 would be a replay."""
    c = company
    c.bob.whispers("alice", "one")
    c.bob.says("to all")
    assert c.alice.hears() == ["bob whispers: one", "bob: to all"]
    c.bob.leaves()
    c.bob.sleeps()
    c.bob.store.leave_room(c.world.room)
    c.world.passes(limits.MINUTE)
    c.bob.enters(c.alice.invites())
    c.bob.starts(Reading.BACKLOG)
    c.alice.forgets()
    c.bob.whispers("alice", "two")
    c.bob.says("to all again")
    c.world.passes(limits.MINUTE)
    assert c.alice.hears() == ["bob whispers: two", "bob: to all again"]
    assert c.alice.notes() == []


def test_a_store_in_memory_is_a_profile_too():
    store = Store.in_memory("alice")
    assert store.nick == "alice"


def test_asides_go_again_in_the_order_of_their_numbers(company):
    """A chain key that overtook the receipts before it would, if the next connection broke too, make a gap of them."""
    c = company
    bob = c.bob.process
    for number in range(3):
        c.alice.whispers("bob", str(number))
    bob.holds_out = True
    c.world.runs()
    c.bob.says("hello")
    c.world.runs()
    posts = [post.id for post in bob.posted if isinstance(post, ev.Post) and post.to == c.alice.id]
    first = len(posts)
    assert first >= 4
    bob.loses_connection()
    bob.reconnects()
    c.world.runs()
    posts = [post.id for post in bob.posted if isinstance(post, ev.Post) and post.to == c.alice.id]
    assert posts[first : 2 * first] == posts[:first]
