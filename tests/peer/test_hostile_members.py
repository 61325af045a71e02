"""Members who flood and lie within the rules of the wire: they stall, silence and fill nobody."""

from __future__ import annotations

import time

import pytest

from peer.core import unread, waiting
from peer.core.events import EventKind
from protocol import card as cards
from protocol import envelope as ev
from protocol import limits, names, seal
from protocol.content import Aside, ChainKey, Content, Text
from protocol.errors import AlarmRaised
from protocol.ids import ChainId
from protocol.primitives import new_message_id, random
from tests.peer.world import Person, World


@pytest.fixture
def room():
    world = World()
    alice = world.create("alice")
    bob, chuck = world.join("bob", "chuck")
    alice.forgets()
    return world, alice, bob, chuck


def aside(sender: Person, to: Person, content: Content, counter: int) -> ev.Message:
    """Make what the relay would deliver of an aside with a counter of the sender's choice."""
    pair, card, message = sender.core.keys.accepted(), sender.core.roster.cards.newest(to.id), new_message_id()
    route = seal.Route(
        room=sender.room_id,
        message=message,
        sender=sender.id,
        sender_generation=pair.generation,
        recipient=to.id,
        recipient_generation=card.generation,
    )
    inside = Aside(sender.membership.anchor, counter, 0, sender.now, content)
    body = seal.seal(inside, route, pair.secret, card.sealing_key)
    return ev.Message(sender.room_id, sender.id, True, counter, sender.now, message, body)


def rows(person: Person, table: str) -> int:
    return person.store.row(f"SELECT count(*) FROM {table}")[0]


def test_jumping_counters_make_nobody_search_for_what_never_was(room):
    """400 asides, each of which skips 250 counters, would be 100,000 rows to look through twice a second."""
    world, alice, bob, chuck = room
    lies = [aside(chuck, alice, Text("x"), 250 * n) for n in range(1, 401)]
    alice.core.receive(lies, alice.now)
    assert rows(alice, "missing") <= 2_048
    began = time.process_time()
    world.passes(10_000)
    assert time.process_time() - began < 10
    bob.whispers("alice", "careful with chuck")
    assert any("careful" in heard for heard in alice.hears())


def test_a_member_who_claims_another_view_stops_nobody_twice(room):
    world, alice, bob, chuck = room
    post = ev.Post(new_message_id(), world.room, None, chuck.membership.index, 0, bogus(chuck))
    chuck.process.outgoing.append(post.encode())
    world.runs()
    assert alice.alarmed() == ["two-views chuck"]
    with pytest.raises(AlarmRaised):
        alice.says("stopped")
    alice.core.roster.answer(chuck.id, alice.now)
    again = ev.Post(new_message_id(), world.room, None, chuck.membership.index, 0, bogus(chuck))
    chuck.process.outgoing.append(again.encode())
    world.runs()
    assert alice.alarmed() == []
    assert EventKind.ALARM in {event.kind for event in alice.process.events}
    bob.forgets()
    alice.whispers("bob", "careful with chuck")
    assert any("careful" in heard for heard in bob.hears())


def bogus(sender: Person) -> bytes:
    """Return a room message's body on a chain that nobody has, anchored in a log that never was."""
    index = sender.membership.index
    return random(32) + bytes(2) + index.to_bytes(8) + random(32) + bytes(32 + 64) + bytes(296)


def test_a_member_fills_no_profile_with_cards(room):
    world, alice, _, chuck = room
    nick = names.seal_nick(chuck.room.secret, world.room, chuck.id, "chuck")
    for n in range(1, 200):
        key = cards.sealing_key(cards.new_sealing_secret())
        alice.core.roster.take_card(cards.make(chuck.identity, world.room, world.now + n, key, nick), alice.now)
    assert rows(alice, "cards") <= limits.CARDS + 2
    assert alice.core.roster.cards.newest(chuck.id).generation == world.now + 199


def test_a_member_fills_no_profile_with_chains(room, monkeypatch):
    world, alice, _, chuck = room
    monkeypatch.setattr(limits, "CHAINS", 20)
    none = ChainId(bytes(32))
    for n in range(1, 60):
        world.now += 1
        key = ChainKey(random(32), 0, random(32), chuck.membership.index, none, 0)
        alice.core.receive([aside(chuck, alice, key, 100 + n)], alice.now)
    assert rows(alice, "chains") <= 22


def unreadable(world: World, sender: Person, size: int = 300) -> ev.Message:
    """Make what the relay would deliver of a room message on a chain that nobody has."""
    anchor = sender.membership.anchor
    body = random(32) + bytes(2) + anchor.index.to_bytes(8) + anchor.head + random(size)
    return ev.Message(sender.room_id, sender.id, False, 1, world.now, new_message_id(), body)


def test_a_member_fills_no_profile_with_what_nobody_can_read(room):
    """At the relay's 100 a second that were gigabytes a day; each is told all the same."""
    world, alice, bob, chuck = room
    before = rows(alice, "seen")
    for _ in range(60):
        rubbish = [
            ev.Message(chuck.room_id, chuck.id, False, 1, world.now, new_message_id(), random(50)) for _ in range(50)
        ]
        alice.core.receive(rubbish, alice.now)
    alice.process.sends()
    assert rows(alice, "seen") - before <= 1_100
    assert alice.notes() == ["missed chuck 1 cannot-open"] * 3_000
    bob.says("still there")
    assert alice.hears() == ["bob: still there"]


def test_what_cannot_be_read_of_one_member_leaves_what_is_known_of_others_alone(room):
    world, alice, bob, chuck = room
    (lost,) = [ev.Message(bob.room_id, bob.id, False, 1, world.now, new_message_id(), random(50))]
    alice.core.receive([lost], alice.now)
    for _ in range(30):
        rubbish = [
            ev.Message(chuck.room_id, chuck.id, False, 1, world.now, new_message_id(), random(50)) for _ in range(50)
        ]
        alice.core.receive(rubbish, alice.now)
    assert alice.store.row("SELECT 1 FROM seen WHERE sender = ? AND message = ?", bob.id, lost.id)
    alice.process.sends()
    alice.forgets()
    alice.core.receive([lost], alice.now)
    alice.process.sends()
    assert alice.notes() == []


def test_even_a_relay_that_invents_senders_fills_no_profile(room, monkeypatch):
    world, alice, *_ = room
    monkeypatch.setattr(unread, "IN_ALL", 200)
    for _ in range(20):
        rubbish = [
            ev.Message(alice.room_id, random(32), False, 1, world.now, new_message_id(), random(50)) for _ in range(50)
        ]
        alice.core.receive(rubbish, alice.now)
    assert rows(alice, "seen") <= 300


def test_what_waits_is_bounded_in_bytes_and_a_flood_pushes_out_none_but_its_own(room, monkeypatch):
    world, alice, bob, chuck = room
    monkeypatch.setattr(waiting, "MOST", 1 << 20)
    bob.says("one")
    alice.hears()
    alice.store.write("DELETE FROM chains")
    bob.says("waits")
    for _ in range(10):
        alice.core.receive([unreadable(world, chuck, size=60_000) for _ in range(5)], alice.now)
    alice.process.sends()
    held = [arrival.message for arrival in alice.core.inbox._waiting]
    assert sum(len(message.body) for message in held) <= 1 << 20
    assert [message.sender for message in held].count(bob.id) == 1
    dropped = [note for note in alice.notes() if note == "missed chuck 1 too-many"]
    assert len(dropped) + len(held) == 51


def test_thousands_of_small_ones_push_out_no_large_one(room):
    world, alice, bob, chuck = room
    alice.core.receive([unreadable(world, bob, size=90_000)], alice.now)
    for _ in range(90):
        alice.core.receive([unreadable(world, chuck, size=200) for _ in range(50)], alice.now)
    alice.process.sends()
    held = [arrival.message.sender for arrival in alice.core.inbox._waiting]
    assert held.count(bob.id) == 1
    assert 3_000 < len(held) <= 4_096
    assert set(alice.notes()) == {"missed chuck 1 too-many"}
