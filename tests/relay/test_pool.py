"""Who loses what when the memory for what is retained is used up: the largest, and nobody who keeps little."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from protocol import limits
from protocol.ids import PeerId
from protocol.limits import RelayLimits
from relay.core.counts import Counts
from relay.core.pool import STEP, Pool, Tally
from relay.core.shares import LEAST, Quota, Shares
from relay.core.stream import LANE, OVERHEAD, Stream

KIB = 1024


class Shop:
    """A shelf with a lane for each name, and messages that say how large they are."""

    def __init__(self, most: int, lane: int = 1 << 30) -> None:
        self.counts, self.tally, self.quota = Counts(), Tally(), Quota(most, lane)
        self.pool = Pool("shelf", self.quota, self.counts, self.tally)
        self.stream = Stream((100, self.pool))
        self._names = iter(range(1 << 30))

    def keep(self, name: str, size: int, now: int = 0) -> None:
        """Let somebody add a message of ``size`` bytes, all told."""
        peer = PeerId(name.encode().ljust(32))
        message = next(self._names).to_bytes(16)
        self.stream.add((now, 1, peer, message, bytes(size - OVERHEAD)), self.stream.lane(peer)[0])

    def kept(self, name: str) -> int:
        """Return how many messages of somebody are left."""
        return len(self.stream.lane(PeerId(name.encode().ljust(32)))[0].numbers)

    def held(self) -> int:
        """Return what all lanes cost now."""
        return sum(lane.size for shelf in self.stream._shelves for lane in shelf.lanes.values())


def test_a_flood_drowns_itself_and_whoever_keeps_little_loses_nothing():
    shop = Shop(256 * KIB)
    for number in range(20):
        shop.keep(f"small {number}", KIB)
    for _ in range(1_000):
        shop.keep("flood", KIB)
    assert all(shop.kept(f"small {number}") == 1 for number in range(20))
    assert 100 < shop.kept("flood") < 256
    assert shop.counts.evicted == {"shelf": 1_000 - shop.kept("flood")}
    assert shop.counts.evicted_bytes == {"shelf": shop.counts.evicted["shelf"] * KIB}
    assert shop.held() <= shop.pool.size == shop.tally.size <= 256 * KIB


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


def test_a_lane_has_a_bound_of_its_own():
    shop = Shop(1 << 30, lane=LANE + 10 * KIB)
    for _ in range(20):
        shop.keep("flood", KIB)
    assert shop.kept("flood") == 10
    assert shop.counts.evicted == {"sender": 10}


def test_a_message_that_just_came_is_worth_older_ones_of_others_but_not_more_than_the_shelf_has():
    shop = Shop(100 * KIB)
    for number in range(10):
        shop.keep(f"{number}", 90 * KIB)
        assert shop.kept(f"{number}") == 1
    assert len(shop.stream) == 1
    shop.keep("too large for all", 120 * KIB)
    assert shop.kept("too large for all") == 0
    assert shop.pool.size <= 100 * KIB
    shop.keep("another", KIB)
    assert shop.kept("another") == 1


def test_a_quota_that_becomes_less_takes_from_each_lane_what_is_over_its_own_and_then_from_the_largest():
    shop = Shop(1 << 30)
    for name, count in (("small", 5), ("flood", 100), ("other", 80)):
        for _ in range(count):
            shop.keep(name, KIB)
    shop.quota.become(1 << 30, LANE + 50 * KIB)
    for _ in shop.stream.shrink():
        pass
    assert [shop.kept(name) for name in ("small", "flood", "other")] == [5, 50, 50]
    shop.quota.become(90 * KIB, LANE + 50 * KIB)
    for _ in range(5):
        shop.keep("small", KIB)
    assert shop.kept("small") == 10
    assert shop.held() <= shop.pool.size <= 90 * KIB
    assert shop.kept("flood") > 20 < shop.kept("other")
    shop.quota.become(1 << 30, 0)
    for _ in shop.stream.shrink():
        pass
    assert (len(shop.stream), shop.pool.size, shop.tally.size) == (0, 0, 0)


def test_what_expires_is_given_back():
    shop = Shop(1 << 30)
    for number in range(10):
        for _ in range(100):
            shop.keep(f"{number}", KIB)
    shop.stream.expire(100)
    assert shop.pool.size == 0
    assert shop.counts.expired == 1_000
    shop.keep("0", KIB)
    assert shop.pool.size == STEP


def test_what_expires_in_part_is_given_back_in_part():
    shop = Shop(1 << 30)
    for now in range(100):
        shop.keep("x", KIB, now)
    full = shop.pool.size
    shop.stream.expire(100 + 89)
    assert shop.kept("x") == 10
    assert shop.held() <= shop.pool.size < full // 4


def test_a_stream_that_is_cleared_gives_back_everything():
    shop = Shop(1 << 30)
    for number in range(10):
        shop.keep(f"{number}", KIB)
    assert len(list(shop.stream.clear())) == 10
    assert (len(shop.stream), shop.pool.size, shop.counts.expired) == (0, 0, 10)


MESSAGES = some.lists(some.tuples(some.sampled_from("abcde"), some.integers(OVERHEAD, 20 * KIB)), max_size=200)


@settings(deadline=None)
@given(MESSAGES, some.integers(32 * KIB, 128 * KIB))
def test_whatever_comes_the_pool_holds_what_it_may_and_small_lanes_lose_nothing(messages, most):
    shop = Shop(most)
    came: dict[str, list[int]] = {}
    for name, size in messages:
        shop.keep(name, size)
        came.setdefault(name, []).append(size)
    assert shop.held() <= shop.pool.size <= most
    fair = most // max(1, len(came)) // 4
    for name, sizes in came.items():
        if LANE + sum(sizes) + STEP <= fair:
            assert shop.kept(name) == len(sizes)


@settings(deadline=None)
@given(MESSAGES)
def test_where_all_lanes_together_fit_what_one_keeps_depends_on_nobody_else(messages):
    """Claim 1 rests on this: a lane loses by its own messages alone."""
    lane = 40 * KIB
    shop, alone = Shop(5 * lane, lane), Shop(5 * lane, lane)
    for name, size in messages:
        shop.keep(name, size)
        if name == "a":
            alone.keep(name, size)
    assert shop.kept("a") == alone.kept("a")


# -- shares -----------------------------------------------------------------------------------------------------------


@given(some.lists(some.integers(1, 300), min_size=1, max_size=100))
def test_shares_are_together_no_more_than_there_is_and_no_less_than_a_quarter(rooms):
    bounds = RelayLimits(bytes_per_room=1 << 40, bytes_of_posts=1 << 29, bytes_of_asides=1 << 29)
    shares, posts, asides = Shares(bounds), 0, 0
    shares.count(rooms=len(rooms), members=sum(rooms))
    for members in rooms:
        quota = Quota()
        shares.posts(quota, members)
        posts += quota.shelf
        shares.asides(quota, members)
        asides += 2 * members * quota.shelf
    assert 1 << 27 <= posts <= 1 << 29
    assert 1 << 25 <= asides <= 1 << 29


@pytest.mark.parametrize(("rooms", "members"), [(1, 2), (1, 64), (4, 32), (16, 16), (64, 8)])
def test_in_ordinary_company_all_lanes_of_an_inbox_fit(rooms, members):
    shares, quota = Shares(RelayLimits()), Quota()
    shares.count(rooms=rooms, members=rooms * members)
    shares.asides(quota, members)
    assert LEAST <= quota.lane * (members - 1) <= quota.shelf


# -- between people -------------------------------------------------------------------------------------------------


def later(person, room):
    """What somebody who comes now is told of the past."""
    again = person.stage.connection(person.identity)
    again.attaches(room)
    return again.reads()


@pytest.mark.parametrize("bounds", [{}, {"bytes_of_asides": 4 * 1024 * KIB}])
def test_what_alice_and_bob_whisper_within_their_bounds_changes_nothing_that_chuck_can_fetch(make_company, bounds):
    """Even where they fill what is theirs: each pair, and each room's messages, have memory of their own."""
    c = make_company(posts_burst=100_000, bytes_burst=1 << 30, **bounds)
    c.alice.whispers(c.room, c.chuck, "for chuck")
    c.bob.says(c.room, "for all")
    numbers = random.Random(1)
    for _ in range(200):
        for one, other in ((c.alice, c.bob), (c.bob, c.alice)):
            one.sends(*(one.post(c.room, "x" * numbers.randrange(60_000), other, index=4) for _ in range(2)))
        c.stage.turns()
    assert c.stage.core.counts.evicted["sender"] > 0
    assert later(c.chuck, c.room) == ["(for chuck)", "for all"]


@pytest.mark.parametrize("whisper", [False, True])
def test_nobody_sees_by_what_he_loses_in_a_room_of_his_own_whether_others_whisper(make_company, whisper):
    """Chuck fills what many identities of his may keep, to the brim, and watches each of them for what goes next."""
    c = make_company(posts_burst=100_000, bytes_burst=1 << 30, bytes_of_asides=8 * 1024 * KIB)
    own = [c.stage.connection() for _ in range(16)]
    room = own[0].founds()
    invite = own[0].invites(room)
    for person in own[1:]:
        person.enters(invite)
    index = own[0].log(room).index
    for one in own:
        for other in own:
            if one is not other:
                one.sends(*(one.post(room, "x" * size, other, index=index) for size in (30_000, 9_000, 4_000, 100)))
        c.stage.turns()
    c.stage.passes(limits.SECOND)
    kept = [len(later(person, room)) for person in own]
    evicted = c.stage.core.counts.evicted.total()
    assert evicted > 0
    if whisper:
        for number in range(40):
            c.alice.whispers(c.room, c.bob, "x" * 10_000 + str(number))
            c.bob.whispers(c.room, c.alice, "y" * 10_000)
            c.alice.says(c.room, "z" * 10_000)
        assert c.stage.core.counts.evicted.total() > evicted
    c.stage.passes(limits.SECOND)
    assert [len(later(person, room)) for person in own] == kept


def test_a_room_that_is_founded_takes_its_share_from_the_others_and_who_goes_leaves_his(make_company):
    c = make_company(posts_burst=100_000, bytes_burst=1 << 30, bytes_of_posts=2048 * KIB, bytes_of_asides=2048 * KIB)
    for _ in range(40):
        c.alice.says(c.room, "x" * 50_000)
        c.alice.whispers(c.room, c.bob, "x" * 10_000)
    before = c.stage.core.gauges().retained_bytes
    for _ in range(3):
        c.chuck.founds()
    c.stage.passes(limits.SECOND)
    after = c.stage.core.gauges().retained_bytes
    assert after < before
    c.alice.removes(c.room, c.bob)
    c.stage.passes(limits.SECOND)
    assert c.stage.core.gauges().retained_bytes < after
    assert len(c.stage.core._rooms._rooms[c.room].asides_of(c.bob.id)) == 0


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
