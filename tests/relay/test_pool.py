"""Who loses what when the memory for what is retained is used up: the largest, and nobody who keeps little."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from protocol import limits
from protocol.ids import PeerId
from relay.core.counts import Counts
from relay.core.pool import STEP, Pool
from relay.core.stream import LANE, OVERHEAD, Stream

KIB = 1024


class Shop:
    """A pool with a stream for each name, and messages that say how large they are."""

    def __init__(self, most: int, lane: int = 1 << 30, room: int = 1 << 30) -> None:
        self.counts = Counts()
        self.pool = Pool("all", most, self.counts)
        self.streams: dict[str, Stream] = {}
        self._lane, self._room = lane, room
        self._names = iter(range(1 << 30))

    def keep(self, name: str, size: int, sender: str = "") -> None:
        """Let ``sender`` add a message of ``size`` bytes, all told, to the stream ``name``."""
        stream = self.streams.get(name)
        if stream is None:
            pool = Pool("room", self._room, self.counts, self.pool)
            stream = self.streams[name] = Stream((100,), "lane", self._lane, pool)
        peer = PeerId(sender.encode().ljust(32))
        message = next(self._names).to_bytes(16)
        stream.add((0, 1, peer, message, bytes(size - OVERHEAD)), stream.lane(peer)[0])

    def kept(self, name: str) -> int:
        """Return how many messages of a stream are left."""
        return len(self.streams[name])

    def held(self) -> int:
        """Return what all lanes cost now."""
        shelves = [shelf for stream in self.streams.values() for shelf in stream._shelves]
        return sum(lane.size for shelf in shelves for lane in shelf.lanes.values())


def test_a_flood_drowns_itself_and_whoever_keeps_little_loses_nothing():
    shop = Shop(256 * KIB)
    for number in range(20):
        shop.keep(f"small {number}", KIB)
    for _ in range(1_000):
        shop.keep("flood", KIB)
    assert all(shop.kept(f"small {number}") == 1 for number in range(20))
    assert 100 < shop.kept("flood") < 256
    assert shop.counts.evicted == {"all": 1_000 - shop.kept("flood")}
    assert shop.counts.evicted_bytes == {"all": shop.counts.evicted["all"] * KIB}
    assert shop.held() <= shop.pool.size <= 256 * KIB


def test_whoever_comes_later_takes_it_from_the_largest():
    shop = Shop(256 * KIB)
    for _ in range(300):
        shop.keep("first", KIB)
    alone = shop.kept("first")
    for _ in range(300):
        shop.keep("second", KIB)
    assert shop.kept("second") > alone // 3
    assert shop.kept("first") >= alone // 4, "it lost no more than it must: the two are alike up to a factor of two"


def test_those_that_are_alike_lose_alike():
    shop = Shop(512 * KIB)
    for _ in range(200):
        for number in range(8):
            shop.keep(f"{number}", KIB)
    kept = [shop.kept(f"{number}") for number in range(8)]
    assert max(kept) <= 2 * min(kept)
    assert sum(kept) > 512 // 2


def test_a_lane_has_a_bound_of_its_own_and_a_room_too():
    shop = Shop(1 << 30, lane=LANE + 10 * KIB, room=64 * KIB)
    for _ in range(20):
        shop.keep("room", KIB, "flood")
    assert shop.kept("room") == 10
    assert shop.counts.evicted == {"lane": 10}
    for number in range(20):
        for _ in range(10):
            shop.keep("room", KIB, f"{number}")
    assert shop.kept("room") <= 64
    assert shop.counts.evicted["room"] > 100
    shop.keep("another room", KIB)
    assert shop.kept("another room") == 1


def test_a_message_that_just_came_is_kept_whatever_it_takes():
    shop = Shop(100 * KIB)
    for number in range(10):
        shop.keep(f"{number}", 90 * KIB)
        assert shop.kept(f"{number}") == 1
    assert sum(shop.kept(f"{number}") for number in range(10)) == 1
    for _ in range(5):
        shop.keep("too large for all", 120 * KIB)
        assert shop.kept("too large for all") == 1


def test_what_expires_is_given_back():
    shop = Shop(1 << 30)
    for number in range(10):
        for _ in range(100):
            shop.keep(f"{number}", KIB)
    for stream in shop.streams.values():
        stream.expire(100)
    assert shop.pool.size == 0
    assert shop.counts.expired == 1_000
    shop.keep("0", KIB)
    assert shop.pool.size == STEP


def test_what_expires_in_part_is_given_back_in_part():
    shop = Shop(1 << 30)
    for now in range(100):
        stream = shop.streams.get("x")
        shop.keep("x", KIB)
        stream = shop.streams["x"]
        number = stream.number
        kept = stream._shelves[0].kept
        kept[number] = (now, *kept[number][1:])
    full = shop.pool.size
    stream.expire(100 + 89)
    assert shop.kept("x") == 10
    assert shop.held() <= shop.pool.size < full // 4


def test_a_stream_that_is_cleared_gives_back_everything():
    shop = Shop(1 << 30)
    for number in range(10):
        shop.keep("x", KIB, f"{number}")
    assert len(list(shop.streams["x"].clear())) == 10
    assert shop.pool.size == 0
    assert shop.counts.expired == 10


@settings(deadline=None)
@given(
    some.lists(
        some.tuples(some.sampled_from("abcde"), some.sampled_from("xyz"), some.integers(OVERHEAD, 20 * KIB)),
        max_size=200,
    ),
    some.integers(32 * KIB, 128 * KIB),
)
def test_whatever_comes_the_pool_holds_what_it_may_and_small_lanes_lose_nothing(messages, most):
    shop = Shop(most)
    came: dict[tuple[str, str], list[int]] = {}
    for name, sender, size in messages:
        shop.keep(name, size, sender)
        came.setdefault((name, sender), []).append(size)
    assert shop.held() <= shop.pool.size <= most
    fair = most // max(1, len(came)) // 4
    for (name, sender), sizes in came.items():
        if LANE + sum(sizes) + STEP <= fair:
            lane, _ = shop.streams[name].lane(PeerId(sender.encode().ljust(32)))
            assert len(lane.numbers) == len(sizes)


# -- between people -------------------------------------------------------------------------------------------------


def later(person, room):
    """What somebody who comes now is told of the past."""
    again = person.stage.connection(person.identity)
    again.attaches(room)
    return again.reads()


@pytest.mark.parametrize("bounds", [{}, {"bytes_of_asides": 4 * 1024 * KIB}])
def test_what_alice_and_bob_whisper_within_their_bounds_changes_nothing_that_chuck_can_fetch(make_company, bounds):
    """Even where the pool of asides is used up by it: Chuck's are few, and room messages are in another pool."""
    c = make_company(posts_burst=100_000, bytes_burst=1 << 30, **bounds)
    c.alice.whispers(c.room, c.chuck, "for chuck")
    c.bob.says(c.room, "for all")
    numbers = random.Random(1)
    for _ in range(200):
        for one, other in ((c.alice, c.bob), (c.bob, c.alice)):
            one.sends(*(one.post(c.room, "x" * numbers.randrange(60_000), other, index=4) for _ in range(2)))
        c.stage.turns()
    assert c.stage.core.counts.evicted["sender"] > 0
    assert bool(c.stage.core.counts.evicted["all"]) == bool(bounds)
    assert later(c.chuck, c.room) == ["(for chuck)", "for all"]


def test_a_flood_of_room_messages_costs_nobody_else_any(make_company):
    c = make_company(posts_burst=100_000, bytes_burst=1 << 30, bytes_of_posts=1024 * KIB)
    c.bob.says(c.room, "bob's")
    c.alice.whispers(c.room, c.bob, "alice's")
    for _ in range(100):
        c.alice.says(c.room, "x" * 50_000)
    c.alice.says(c.room, "the newest")
    seen = later(c.bob, c.room)
    assert seen[:2] == ["(alice's)", "bob's"]
    assert seen[-1] == "the newest"
    assert len(seen) < 25


def test_a_room_that_is_forgotten_gives_back_what_it_kept(make_company):
    c = make_company(idle_close_s=60)
    c.alice.says(c.room, "hi")
    c.alice.whispers(c.room, c.bob, "psst")
    for person in (c.alice, c.bob, c.chuck):
        person.leaves_the_net()
    c.stage.passes(limits.MINUTE)
    gauges = c.stage.core.gauges()
    assert (gauges.rooms, gauges.retained_messages, gauges.retained_bytes) == (0, 0, 0)
