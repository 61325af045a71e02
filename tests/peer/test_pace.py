"""What the relay refuses for now is asked again after a rest: nothing is lost, nobody is ended, and nothing floods."""

from __future__ import annotations

import pytest

from peer.core.events import Reading, State
from peer.core.pace import FIRST, MOST, Pace
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.content import Receipt, Text
from protocol.errors import RateLimited, TooManyCards, TooManyRooms
from relay.core.budget import Buckets, Rate
from relay.core.room import Room
from tests.peer.world import World


def drains(world: World, kind: str, key: bytes, left: int = 0) -> None:
    """Let the relay take ``left`` more of ``key`` now; it refills."""
    buckets: Buckets = getattr(world.core._rooms._budgets, kind)
    buckets.open(key, world.now).count = left * 1_000


def asked(process, kind):
    return [request for request in process.posted if isinstance(request, kind)]


# -- the rest itself --------------------------------------------------------------------------------------------------


def test_each_rest_is_longer_than_the_one_before_up_to_a_bound():
    pace, now, rests = Pace(), 0, []
    for _ in range(6):
        began = now
        pace.refused(now)
        while pace.rests(now):
            now += 1
        rests.append(now - began)
    assert rests == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, 8 * FIRST, 8 * FIRST]
    assert rests[-1] == MOST


def test_a_burst_is_refused_once_and_an_acceptance_begins_anew():
    pace = Pace()
    for _ in range(100):
        pace.refused(0)
    assert pace.rests(FIRST - 1)
    assert not pace.rests(FIRST)
    pace.accepted()
    pace.refused(FIRST)
    assert not pace.rests(2 * FIRST)


@pytest.mark.parametrize("step", [limits.HOUR, -limits.HOUR])
def test_a_clock_that_was_set_lets_nothing_rest(step):
    pace = Pace()
    pace.refused(2 * limits.HOUR)
    assert not pace.rests(2 * limits.HOUR + step)


# -- entering ---------------------------------------------------------------------------------------------------------


def test_an_attachment_that_was_too_much_is_tried_again():
    world = World(posts_per_s=1, posts_burst=40)
    alice = world.create("alice")
    (bob,) = world.join("bob")
    with bob.process.away():
        alice.says("hello")
        drains(world, "questions", bob.id)
    assert isinstance(bob.core.waiting_for, RateLimited)
    assert not bob.core.attached
    before = len(asked(bob.process, ev.Attach))
    world.passes(3_000)
    assert bob.process.ended is None
    assert bob.core.attached
    assert bob.core.waiting_for is None
    assert bob.hears() == ["alice: hello"]
    assert len(asked(bob.process, ev.Attach)) - before <= 2


def test_an_attachment_that_is_refused_again_and_again_is_tried_ever_less_often(company):
    c = company
    c.bob.process.cuts()
    before = len(asked(c.bob.process, ev.Attach))
    c.world.tamper = lambda process, d: (
        [ev.Refused(d.id, RateLimited.code)] if process.person is c.bob and isinstance(d, ev.Attached) else [d]
    )
    c.bob.process.reconnects()
    c.world.passes(30_000)
    assert 5 <= len(asked(c.bob.process, ev.Attach)) - before <= 12
    c.world.tamper = None
    c.world.passes(2 * MOST)
    assert c.bob.core.attached


def test_an_admission_that_was_too_much_is_tried_again():
    world = World(posts_per_s=1, posts_burst=40)
    alice = world.create("alice")
    invite = alice.invites()
    bob = world.person("bob")
    bob._adds_room(invite.room, invite.secret)
    admit = st.admit(bob.identity, invite.room, invite.anchor, invite.key)
    drains(world, "talk", bob.id)
    process = bob.starts(Reading.NOTHING, publishes=True, opening=admit, expected=invite.anchor)
    assert isinstance(process.core.waiting_for, RateLimited)
    world.passes(5_000)
    assert process.ended is None
    assert process.core.attached


@pytest.mark.parametrize("piece", [0, 2, -1])
def test_a_log_of_which_the_relay_took_only_a_part_is_brought_again(monkeypatch, piece):
    """What it took of the first attempt must not be put before the second: that would be a log of no room."""
    monkeypatch.setattr(limits, "RESTORED", 1)
    world = World()
    alice = world.create("alice")
    (bob,) = world.join("bob")
    world.restart(back=False)
    world.passes(limits.REVIVAL)
    count = alice.membership.index
    left = 1 + (count - 1 if piece < 0 else piece)
    drains(world, "questions", alice.id, left)
    alice.process.reconnects()
    assert isinstance(alice.core.waiting_for, RateLimited)
    world.passes(10_000)
    assert alice.process.ended is None
    assert alice.core.attached
    bob.process.reconnects()
    alice.says("back")
    assert bob.hears()[-1:] == ["alice: back"]
    assert world.alarms() == {}


def test_a_room_that_the_relay_has_no_place_for_is_brought_again_when_it_has():
    world = World(rooms=1)
    alice = world.create("alice")
    (bob,) = world.join("bob")
    world.restart(back=False)
    world.passes(limits.REVIVAL)
    room, world.room = world.room, None
    world.create("olga", reads=False)
    world.room = room
    alice.process.reconnects()
    assert isinstance(alice.core.waiting_for, TooManyRooms)
    assert alice.process.ended is None
    world.restart()
    alice.says("back")
    assert bob.hears()[-1:] == ["alice: back"]


# -- cards and restrictions -------------------------------------------------------------------------------------------


def test_a_card_that_was_too_much_is_published_again_and_no_faster_than_that(company, monkeypatch):
    c = company
    before = len(asked(c.bob.process, ev.Publish))
    c.world.passes(limits.CARD_ROTATION - limits.MINUTE)
    assert len(asked(c.bob.process, ev.Publish)) - before <= 1

    publish = Room.publish

    def full(self, card, now, *, more):
        if card.owner == c.bob.id:
            raise TooManyCards
        return publish(self, card, now, more=more)

    monkeypatch.setattr(Room, "publish", full)
    before = len(asked(c.bob.process, ev.Publish))
    c.world.passes(2 * limits.MINUTE, step=500)
    assert 10 < len(asked(c.bob.process, ev.Publish)) - before < 40
    monkeypatch.undo()
    c.world.passes(2 * MOST)
    newest = c.bob.core.keys.newest()
    assert newest is not None
    assert newest.accepted


def test_a_card_that_was_asked_for_too_fast_is_not_missed(company):
    c = company
    c.bob.store.write("DELETE FROM cards WHERE owner = ?", c.alice.id)
    c.bob.core.roster.cards.__init__(c.bob.store, c.bob.room)  # type: ignore[misc]
    drains(c.world, "questions", c.bob.id)
    c.world.core._rooms._budgets.questions._rate = Rate(1, 1, 1, 1 << 20)
    c.alice.whispers("bob", "psst")
    assert c.bob.hears() == []
    assert not c.bob.core.settled
    c.world.passes(5_000)
    assert c.bob.hears() == ["alice whispers: psst"]
    assert c.bob.notes() == []


def test_cards_of_who_is_away_come_back_though_they_were_too_much_at_once():
    world = World(posts_per_s=1, posts_burst=200)
    alice = world.create("alice")
    names = [f"p{n}" for n in range(20)]
    world.join(*names, reads=False)
    world.passes(1_000)
    world.restart(back=False)
    world.passes(limits.REVIVAL)
    drains(world, "talk", alice.id, 5)
    alice.process.reconnects()
    world.passes(30_000)
    alice.sleeps()
    late = world.people["p0"].starts(Reading.NOTHING)
    late.posts(Text("hi"), "p19")
    assert list(late.states.values()) == [State.RELAYED]


def test_a_restriction_that_was_too_much_is_submitted_again_and_no_alarm(company):
    c = company
    c.world.join("dave")
    c.bob.process.cuts()
    c.chuck.process.cuts()
    c.world.people["dave"].process.cuts()
    c.alice.kicks("chuck")
    c.world.restart(back=False)
    c.bob.process.connects()
    c.world.passes(limits.REVIVAL + 1_000)
    drains(c.world, "talk", c.alice.id)  # and it refills slowly from here on
    c.world.core._rooms._budgets.talk._rate = Rate(1, 4, 1 << 20, 1 << 20)
    c.alice.process.reconnects()
    c.world.passes(limits.MINUTE)
    assert c.alice.core.roster.restrictions.lacking() == []
    assert c.world.alarms() == {}


# -- what is sent of its own accord -----------------------------------------------------------------------------------


def test_receipts_that_were_too_many_come_later_and_are_no_gap():
    world = World(posts_per_s=1, posts_burst=60)
    alice = world.create("alice")
    (bob,) = world.join("bob")
    world.passes(60_000)
    drains(world, "asides", bob.id + alice.id, 3)
    before = len(asked(bob.process, ev.Post))
    messages = [alice.whispers("bob", str(n)) for n in range(20)]
    world.passes(500)
    assert sum(alice.state(message) is State.DELIVERED for message in messages) == 3
    world.passes(25_000)
    assert all(alice.state(message) is State.DELIVERED for message in messages)
    assert len(bob.hears()) == 20
    assert alice.notes() == []
    assert len(asked(bob.process, ev.Post)) - before < 20 * 16


def test_receipts_to_one_member_wait_for_no_other(company):
    c = company
    drains(c.world, "asides", c.bob.id + c.chuck.id)
    c.world.core._rooms._budgets.asides._rate = Rate(0, 0, 0, 0)
    from_chuck, from_alice = c.chuck.whispers("bob", "now?"), c.alice.whispers("bob", "psst")
    c.world.passes(500)
    assert c.alice.state(from_alice) is State.DELIVERED
    assert c.chuck.state(from_chuck) is State.RELAYED


def test_receipts_that_are_refused_for_ever_are_few_on_the_wire_and_die_in_a_minute(company):
    c = company
    refused = 0

    def refuses(process, delivery):
        nonlocal refused
        if process.person is c.bob and isinstance(delivery, ev.Accepted):
            posts = {p.id: p for p in asked(process, ev.Post)}
            denied = [i for i in delivery.ids if i in posts and posts[i].to == c.chuck.id]
            refused += len(denied)
            rest = tuple(i for i in delivery.ids if i not in denied)
            return [ev.Refused(i, RateLimited.code) for i in denied] + ([ev.Accepted(rest)] if rest else [])
        return [delivery]

    c.world.tamper = refuses
    for _ in range(1_500):
        c.chuck.process.core.outbox.post(Text("x"), c.bob.id, c.world.now)
    c.chuck.process.sends()
    c.world.passes(20_000)
    assert any(isinstance(pending.content, Receipt) for pending in c.bob.core.outbox._pending.values())
    assert 0 < refused < 32 * 12
    c.world.passes(limits.UNSENT + 1_000)
    assert c.bob.core.outbox.idle


def test_a_chain_key_that_was_too_much_comes_later_and_nothing_is_missed():
    world = World(posts_per_s=1, posts_burst=60)
    alice = world.create("alice")
    bob, chuck = world.join("bob", "chuck")
    world.passes(60_000)
    drains(world, "chain_keys", alice.id + bob.id)
    before = [p for p in asked(alice.process, ev.Post) if p.flags]
    alice.says("one")
    alice.says("two")
    assert chuck.hears() == ["alice: one", "alice: two"]
    assert bob.hears() == []
    world.passes(6_000)
    assert bob.hears() == ["alice: one", "alice: two"]
    assert bob.notes() == []
    assert len([p for p in asked(alice.process, ev.Post) if p.flags]) - len(before) <= 5
