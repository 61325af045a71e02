"""Sealing keys: rotated on schedule, shared by processes, dead on time, and gone from every byte of the profile."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.events import Reading
from peer.keys import Keys, bury, next_generation
from peer.store import Store
from protocol import card as cards
from protocol import envelope as ev
from protocol import limits, names
from protocol.content import Text
from tests.peer.test_inbox import drop
from tests.peer.test_store import add_room
from tests.peer.world import NOON, STEP, World

MINUTE, HOUR = limits.MINUTE, limits.HOUR


@pytest.fixture
def store():
    return Store.in_memory("alice")


@pytest.fixture
def keys(store):
    return Keys(store, add_room(store), store.identity())


def living(store, now):
    bury(store, now)
    return [row[0] for row in store.rows("SELECT generation FROM sealing_keys ORDER BY generation")]


# -- rotation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "last", "generation"),
    [
        (NOON, 0, NOON),
        (NOON, NOON - 1, NOON),
        (NOON, NOON, NOON + 1),
        (NOON, NOON + 1, NOON + 2),
        (NOON, NOON + limits.CARD_AHEAD - 1, NOON + limits.CARD_AHEAD),
        (NOON, NOON + limits.CARD_AHEAD + 1, NOON),
        (NOON, NOON + 10 * limits.CARD_LIFE, NOON),
    ],
)
def test_generations_follow_the_clock_and_rise(now, last, generation) -> None:
    assert next_generation(now, last) == generation


@given(st.integers(1, limits.TIME - 1), st.integers(0, limits.TIME - 1))
def test_a_generation_rises_unless_the_last_one_came_from_a_wrong_clock(now, last) -> None:
    generation = next_generation(now, last)
    assert generation >= now
    assert generation > last or last > now + limits.CARD_AHEAD


def test_a_key_serves_for_ten_minutes(keys):
    first = keys.rotate(NOON)
    assert first.generation == NOON
    assert not first.accepted
    assert keys.rotate(NOON + limits.CARD_ROTATION - 1).generation == first.generation
    second = keys.rotate(NOON + limits.CARD_ROTATION)
    assert second.generation == NOON + limits.CARD_ROTATION
    assert second.secret != first.secret


def test_a_card_is_what_others_can_verify(keys, store):
    pair = keys.rotate(NOON)
    room = store.room("team")
    card = cards.Card.decode(pair.card, room=room.id, now=NOON)
    assert (card.owner, card.generation) == (store.identity().id, NOON)
    assert card.sealing_key == cards.sealing_key(pair.secret)
    assert card.not_after == NOON + limits.CARD_LIFE
    assert names.open_nick(room.secret, room.id, card.owner, card.nick) == "alice"
    assert len(pair.card) <= limits.CARD


def test_a_private_key_does_not_show_itself(keys):
    pair = keys.rotate(NOON)
    assert repr(pair.secret) not in repr(pair)


def test_generations_rise_though_the_clock_is_set_back_a_little(keys):
    first = keys.rotate(NOON)
    second = keys.rotate(NOON - 1)
    assert second.generation == first.generation + 1
    assert keys.newest().generation == second.generation


def test_a_generation_far_ahead_came_from_a_wrong_clock_and_is_discarded(keys, store):
    keys.rotate(NOON + HOUR)
    assert keys.rotate(NOON).generation == NOON
    assert living(store, NOON) == [NOON]


def test_processes_of_a_profile_rotate_once(tmp_path):
    one, other = Store.open(tmp_path, "alice"), Store.open(tmp_path, "alice")
    room = add_room(one)
    keys = [Keys(store, room, store.identity()) for store in (one, other)]
    pairs = [k.rotate(NOON + n) for n, k in enumerate(keys * 3)]
    assert len({pair.generation for pair in pairs}) == 1
    later = [k.rotate(NOON + limits.CARD_ROTATION + n) for n, k in enumerate(keys)]
    assert len({pair.secret for pair in later}) == 1
    one.close()
    other.close()


def test_who_finds_it_rotated_while_waiting_for_the_lock_uses_that(keys, monkeypatch):
    """The other process was first between the look and the lock."""
    answers = [None, keys.rotate(NOON)]
    monkeypatch.setattr(keys, "newest", lambda: answers.pop(0))
    assert keys.rotate(NOON + 1).generation == NOON


def test_sending_uses_the_newest_that_a_relay_accepted(keys):
    assert keys.accepted() is None
    first = keys.rotate(NOON)
    keys.was_accepted(first.generation, 10 * MINUTE, NOON)
    second = keys.rotate(NOON + limits.CARD_ROTATION)
    assert keys.accepted().generation == first.generation
    keys.was_accepted(second.generation, 10 * MINUTE, NOON + limits.CARD_ROTATION)
    assert keys.accepted().generation == second.generation


# -- death --------------------------------------------------------------------------------------------------------


def test_a_key_dies_when_nothing_sealed_to_it_can_be_retained_any_more(keys, store):
    first = keys.rotate(NOON)
    keys.was_accepted(first.generation, 10 * MINUTE, NOON)
    now = NOON + limits.CARD_ROTATION
    second = keys.rotate(now)
    keys.was_accepted(second.generation, 10 * MINUTE, now + 1_000)
    dies_at = now + 1_000 + 10 * MINUTE + limits.KEY_MARGIN
    assert living(store, dies_at - 1) == [first.generation, second.generation]
    assert living(store, dies_at) == [second.generation]
    assert keys.generation(first.generation) is None


def test_a_key_dies_an_hour_after_rotation_though_no_relay_acknowledges(keys, store):
    first = keys.rotate(NOON)
    now = NOON + limits.CARD_ROTATION
    second = keys.rotate(now)
    dies_at = now + limits.RETENTION_CAP + limits.KEY_MARGIN
    assert living(store, dies_at - 1) == [first.generation, second.generation]
    assert living(store, dies_at) == [second.generation]


def test_a_relay_that_claims_to_retain_for_ever_keeps_no_key_alive(keys, store):
    keys.rotate(NOON)
    now = NOON + limits.CARD_ROTATION
    second = keys.rotate(now)
    keys.was_accepted(second.generation, 1 << 40, now)
    assert living(store, now + limits.RETENTION_CAP + limits.KEY_MARGIN) == [second.generation]


def test_being_accepted_again_later_prolongs_nothing(keys, store):
    first = keys.rotate(NOON)
    now = NOON + limits.CARD_ROTATION
    second = keys.rotate(now)
    keys.was_accepted(second.generation, 10 * MINUTE, now)
    keys.was_accepted(second.generation, 10 * MINUTE, now + 5 * MINUTE)
    keys.was_accepted(first.generation, 10 * MINUTE, now + 5 * MINUTE)
    assert living(store, now + 11 * MINUTE) == [second.generation]


def test_a_clock_set_back_lets_no_key_live_longer_than_its_cap(keys, store):
    keys.rotate(NOON)
    keys.rotate(NOON + limits.CARD_ROTATION)
    assert len(living(store, NOON - HOUR)) == 1


def test_nothing_overdue_is_no_work(store, keys):
    keys.rotate(NOON)
    assert not bury(store, NOON + 1)


# -- in the room ------------------------------------------------------------------------------------------------------


def test_rotation_keeps_to_its_schedule_whatever_the_traffic(company):
    c = company
    made = []
    for _ in range(62):
        c.alice.whispers("bob", "psst")
        c.world.passes(30_000, step=5_000)
        made.append(c.bob.core.keys.newest().generation)
    distinct = sorted(set(made))
    assert len(distinct) == 4
    assert all(5_000 >= later - former - limits.CARD_ROTATION >= 0 for former, later in itertools.pairwise(distinct))


def test_two_processes_of_a_profile_publish_one_card_a_rotation(on_disk):
    c = on_disk
    c.bob.starts(Reading.LIVE)
    c.world.passes(2 * limits.CARD_ROTATION + MINUTE)
    rows = c.alice.store.rows("SELECT generation FROM cards WHERE owner = ?", c.bob.id)
    assert len(rows) == 3
    assert c.world.alarms() == {}


def test_poll_rotates_when_due_and_send_never_publishes(company):
    c = company
    first = c.bob.core.keys.newest().generation
    c.bob.sleeps()
    c.world.passes(limits.CARD_ROTATION)
    send = c.bob.starts(Reading.NOTHING)
    send.posts(Text("hi"))
    c.world.passes(MINUTE)
    assert send.core.keys.newest().generation == first
    send.stops()
    c.bob.polls()
    process = c.bob.starts(Reading.LIVE)
    assert process.core.keys.newest().generation > first


def test_a_card_that_was_not_accepted_is_published_by_any_reader(company):
    c = company
    c.bob.process.holds_out = True
    c.world.passes(limits.CARD_ROTATION + 1_000)
    unaccepted = c.bob.core.keys.newest()
    assert not unaccepted.accepted
    c.bob.process.dies()
    other = c.bob.starts(Reading.LIVE)
    assert other.core.keys.accepted().generation == unaccepted.generation
    assert c.alice.core.roster.cards.newest(c.bob.id).generation == unaccepted.generation


def test_no_key_overstays_in_the_bytes_of_an_online_profile(tmp_path):
    """Claim 5 on disk: after two rotations and one retention nothing earlier is left, in any file."""
    world = World(tmp_path)
    alice = world.create("alice")
    (bob,) = world.join("bob")
    alice.says("hi")
    alice.whispers("bob", "psst")
    secrets = [row[0] for row in bob.store.rows("SELECT secret FROM sealing_keys")]
    chains = [row[0] for row in bob.store.rows("SELECT key FROM chains")]
    assert secrets
    assert chains
    assert all(secret in bob.profile for secret in secrets + chains)
    world.passes(2 * limits.CARD_ROTATION + limits.RETENTION + limits.KEY_MARGIN + MINUTE)
    assert [secret for secret in secrets + chains if secret in bob.profile] == []
    alice.whispers("bob", "still works")
    alice.says("and this")
    assert bob.hears() == ["alice: hi", "alice whispers: psst", "alice whispers: still works", "alice: and this"]


def test_overdue_keys_die_first_thing_at_start(tmp_path):
    world = World(tmp_path)
    world.create("alice")
    (bob,) = world.join("bob")
    world.passes(limits.CARD_ROTATION + 1_000)
    old = bob.store.row("SELECT secret FROM sealing_keys ORDER BY generation")[0]
    bob.sleeps()
    world.leaps(2 * HOUR)
    bob.starts(Reading.LIVE, connect=False)
    assert old not in bob.profile


def test_what_was_seen_is_remembered_as_long_as_a_key_could_open_it_again(company):
    c = company
    c.alice.whispers("bob", "psst")
    c.alice.says("hi")
    assert len(c.bob.store.rows("SELECT 1 FROM seen")) == 3
    c.world.passes(19 * MINUTE)
    assert len(c.bob.store.rows("SELECT 1 FROM seen")) == 3
    c.world.passes(60 * MINUTE)
    assert c.bob.store.rows("SELECT 1 FROM seen") == []
    assert c.bob.store.rows("SELECT 1 FROM chains") == []


def test_a_chain_whose_key_comes_once_more_after_its_death_shows_nothing_twice(company):
    """The relay kept back a second copy of the chain's key until the chain had died, and then repeats the messages."""
    c = company
    drop(c.world, c.bob, lambda d: isinstance(d, ev.Message) and d.direct)
    c.alice.says("one")
    c.world.tamper = None
    key = c.world.core._rooms._rooms[c.world.room]._asides[c.bob.id]
    (first,) = [kept[4] for _, kept in key.after(0, key.number)]
    c.world.passes(5_000)
    c.alice.says("two")
    c.world.passes(5_000)
    c.alice.says("three")
    messages = c.bob.process.messages_delivered(direct=False)
    assert c.bob.hears() == ["alice: two", "alice: three"]
    c.bob.sleeps()
    c.world.passes(21 * MINUTE)
    c.bob.starts(Reading.LIVE)
    assert c.bob.store.rows("SELECT 1 FROM chains") == []
    c.bob.process.takes(*ev.decode_deliveries(first), *messages)
    c.world.passes(STEP)
    assert c.bob.hears() == ["alice: one"]  # which the key that was kept back opens for the first time


def test_superseded_cards_are_forgotten_and_the_newest_never(company):
    c = company
    c.world.passes(3 * HOUR, step=MINUTE // 2)
    rows = c.alice.store.rows("SELECT generation FROM cards WHERE owner = ? ORDER BY generation", c.bob.id)
    assert rows[-1][0] == c.bob.core.keys.newest().generation
    assert len(rows) <= 10
