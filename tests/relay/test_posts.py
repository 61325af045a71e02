"""Stories about posts: idempotence, retention, budgets, rates and refusals."""

from __future__ import annotations

import pytest

from protocol import envelope, limits
from protocol.envelope import Accepted, Flag, Message
from protocol.ids import PeerId
from relay.core import budget, chores, room
from relay.core.budget import Buckets, Rate
from relay.core.counts import Counts
from relay.core.pool import Pool, Tally
from relay.core.shares import Quota
from relay.core.stream import LANE, OVERHEAD, Stream


def later(c, person, room=None):
    """What somebody who comes now is told of the past."""
    again = c.stage.connection(person.identity)
    again.attaches(c.room)
    return again.reads()


def test_a_message_says_who_when_and_what(company):
    c = company
    c.stage.core.set_clock(1_234_567, c.stage.now)
    post = c.alice.post(c.room, "hi")
    c.alice.sends(post)
    for person in (c.alice, c.bob, c.chuck):
        assert person.sees(Message) == [Message(c.room, c.alice.id, False, 1, 1_234_567, post.id, b"hi")]
    aside = c.alice.post(c.room, "psst", c.bob)
    c.alice.sends(aside)
    assert c.bob.sees() == [Message(c.room, c.alice.id, True, 1, 1_234_567, aside.id, b"psst")]


def test_all_that_one_sender_sent_in_a_turn_is_accepted_in_one_envelope(company):
    c = company
    requests = [c.alice.post(c.room, "hi", index=4) for _ in range(3)] + [envelope.Ping(c.alice.request())]
    c.alice.sends(*requests)
    assert c.alice.sees(Accepted) == [Accepted(tuple(r.id for r in requests))]


def test_more_ids_than_an_envelope_holds(company):
    c = company
    pings = [envelope.Ping(c.alice.request()) for _ in range(4_000)]
    c.alice.sends(*pings)
    c.alice.sends(*(envelope.Ping(c.alice.request()) for _ in range(90)))
    c.alice.sends(*[c.alice.post(c.room, "", index=4) for _ in range(10)])
    assert [len(d.ids) for d in c.alice.sees(Accepted)] == [limits.ACCEPTED, 4]


def test_a_post_sent_again_is_accepted_and_delivered_once(company):
    c = company
    post, aside = c.alice.post(c.room, "hi"), c.alice.post(c.room, "psst", c.bob)
    again = c.stage.connection(c.alice.identity)
    for person in (c.alice, c.alice, again):
        person.sends(post, aside)
        c.stage.turns()
    assert again.answer(post.id) == again.answer(aside.id) == "accepted"
    assert c.bob.reads() == ["(psst)", "hi"]
    assert c.alice.says(c.room, "afresh", again=post.id) == "accepted"
    assert c.bob.reads() == []


def test_an_id_is_its_senders_own(company):
    c = company
    post = c.alice.post(c.room, "hi")
    c.alice.sends(post)
    assert c.chuck.says(c.room, "me too", again=post.id) == "accepted"
    assert c.bob.reads() == ["hi", "me too"]


def test_an_accepted_post_stays_accepted_after_a_departure(company):
    """Resent because the answer was lost: it was delivered, so it need not be made again."""
    c = company
    post = c.bob.post(c.room, "hi")
    c.bob.sends(post)
    c.alice.removes(c.room, c.chuck)
    again = c.stage.connection(c.bob.identity)
    assert again.asks(post) == "accepted"


def test_an_id_is_forgotten_with_its_message(company):
    c = company
    post = c.alice.post(c.room, "hi")
    c.alice.sends(post)
    c.stage.passes(c.stage.bounds.retention_s * limits.SECOND)
    c.alice.sends(post)
    assert c.bob.reads() == ["hi", "hi"]


def test_both_streams_expire_at_the_same_time_and_chain_keys_later(company):
    c = company
    c.alice.says(c.room, "room")
    c.alice.whispers(c.room, c.bob, "aside")
    c.alice.whispers(c.room, c.bob, "key", flags=Flag.CHAIN_KEY)
    retention = c.stage.bounds.retention_s * limits.SECOND
    c.stage.passes(retention - 1)
    assert later(c, c.bob) == ["(aside)", "(key)", "room"]
    c.stage.now += 1  # to the millisecond, whether or not anything was swept meanwhile
    assert later(c, c.bob) == ["(key)"]
    c.stage.passes(limits.CHAIN_LIFE - 1)
    assert later(c, c.bob) == ["(key)"]
    c.stage.passes(1)
    assert later(c, c.bob) == []


def test_numbers_go_on_when_messages_are_forgotten(company):
    c = company
    for _ in range(2):
        c.alice.says(c.room, "room")
        c.alice.whispers(c.room, c.bob, "aside")
        c.stage.passes(limits.HOUR)
    assert [(d.direct, d.number) for d in c.bob.sees(Message)] == [(False, 1), (True, 1), (False, 2), (True, 2)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"index": 5}, "malformed"),
        ({"flags": Flag.CHAIN_KEY}, "malformed"),
    ],
)
def test_room_posts_that_are_refused(company, change, code):
    c = company
    assert c.alice.says(c.room, "hi", **change) == code
    assert c.bob.sees() == []


def test_asides_that_are_refused(company):
    c = company
    stranger = c.stage.connection()
    assert c.alice.whispers(c.room, c.bob, "psst", index=5) == "malformed"
    assert c.alice.whispers(c.room, c.alice, "to myself") == "malformed"
    assert c.alice.whispers(c.room, stranger, "psst") == "unknown-peer"
    assert stranger.whispers(c.room, c.bob, "psst") == "not-member"
    assert stranger.says(c.room, "hi") == "not-member"
    assert c.alice.says(bytes(32), "hi", index=0) == "unknown-room"
    assert c.bob.sees() == []


def test_an_aside_to_somebody_who_is_away_waits(company):
    c = company
    c.bob.leaves_the_net()
    assert c.alice.whispers(c.room, c.bob, "psst") == "accepted"
    assert later(c, c.bob) == ["(psst)"]


# -- budgets --------------------------------------------------------------------------------------------------------


def test_a_senders_oldest_room_messages_go_first_and_nobody_elses(make_company):
    c = make_company(bytes_per_sender=10_000)
    c.bob.says(c.room, "from bob")
    for number in range(4):
        c.alice.says(c.room, f"{number}" * 3_000)
    assert [text[0] for text in later(c, c.chuck)] == ["f", "2", "3"]


def test_what_is_larger_than_its_sender_may_keep_is_delivered_and_not_kept(make_company):
    c = make_company(bytes_per_sender=1, bytes_per_pair=1)
    for number in range(3):
        c.alice.says(c.room, f"{number}")
        c.alice.whispers(c.room, c.bob, f"{number}")
    assert sorted(c.bob.reads()) == ["(0)", "(1)", "(2)", "0", "1", "2"]
    assert later(c, c.bob) == []


def test_asides_are_budgeted_by_pair_and_chain_keys_apart(make_company):
    c = make_company(bytes_per_pair=10_000)
    c.chuck.whispers(c.room, c.bob, "chuck's")
    c.alice.whispers(c.room, c.bob, "key", flags=Flag.CHAIN_KEY)
    for number in range(4):
        c.alice.whispers(c.room, c.bob, f"{number}" * 3_000)
        c.alice.whispers(c.room, c.chuck, f"{number}" * 1_000)
    assert [text[1] for text in later(c, c.bob)] == ["c", "k", "2", "3"]
    assert [text[1] for text in later(c, c.chuck)] == ["0", "1", "2", "3"]


def test_a_live_recipient_loses_nothing_to_a_budget(make_company):
    c = make_company(bytes_per_pair=10_000, bytes_per_sender=10_000)
    for number in range(10):
        c.alice.sends(c.alice.post(c.room, f"{number}" * 3_000, index=4))
        c.alice.sends(c.alice.post(c.room, f"{number}" * 3_000, c.bob, index=4))
    assert [text.strip("(")[0] for text in c.bob.reads()] == [str(n) for n in (*range(10), *range(10))]


def test_too_much_at_once_is_refused_and_time_heals_it(make_company):
    c = make_company(posts_per_s=10, posts_burst=20)
    c.stage.passes(limits.MINUTE)
    assert [c.alice.says(c.room, "hi") for _ in range(21)] == ["accepted"] * 20 + ["rate"]
    c.stage.passes(100)
    assert [c.alice.says(c.room, "hi") for _ in range(2)] == ["accepted", "rate"]


def test_too_many_bytes_at_once_are_refused(make_company):
    c = make_company(bytes_per_s=1_000, bytes_burst=5_000)
    c.stage.passes(limits.MINUTE)
    assert c.alice.says(c.room, "x" * 4_000) == "accepted"
    assert c.alice.says(c.room, "x" * 4_000) == "rate"
    assert c.alice.says(c.room, "x" * 1_000) == "accepted"
    assert c.alice.whispers(c.room, c.bob, "x" * 5_000) == "accepted"
    assert c.alice.whispers(c.room, c.bob, "x") == "rate"


def test_what_is_refused_for_one_kind_of_request_is_not_for_another(make_company):
    """Each kind has a bucket of its own: asides to one can empty no other (claim 1)."""
    c = make_company(posts_per_s=1, posts_burst=10)
    c.stage.passes(limits.MINUTE)
    while c.alice.whispers(c.room, c.bob, "psst") == "accepted":
        pass
    assert c.alice.whispers(c.room, c.bob, "psst") == "rate"
    assert c.alice.whispers(c.room, c.bob, "key", flags=Flag.CHAIN_KEY) == "accepted"
    assert c.alice.whispers(c.room, c.chuck, "psst") == "accepted"
    assert c.bob.whispers(c.room, c.alice, "psst") == "accepted"
    assert c.alice.says(c.room, "hi") == "accepted"
    assert c.alice.asks(envelope.Ping(c.alice.request())) == "accepted"
    while c.alice.says(c.room, "hi") == "accepted":
        pass
    assert c.alice.publishes(c.room) == "rate"
    assert c.alice.removes(c.room, c.chuck) == "rate"
    assert c.alice.asks(envelope.Ping(c.alice.request())) == "accepted"
    while c.alice.asks(envelope.Ping(c.alice.request())) == "accepted":
        pass
    assert c.alice.attaches(c.room) == "rate"
    assert c.alice.asks(envelope.Fetch(c.alice.request(), c.room, None, 0)) == "rate"
    assert c.alice.asks(envelope.Restore(c.alice.request(), c.room, True, ())) == "rate"
    assert c.bob.says(c.room, "hi") == "accepted"


def test_a_post_sent_again_costs_nothing(make_company):
    c = make_company(posts_per_s=1, posts_burst=10)
    c.stage.passes(limits.MINUTE)
    post = c.alice.post(c.room, "hi")
    assert [c.alice.asks(post) for _ in range(50)] == ["accepted"] * 50


def test_buckets_that_are_full_are_forgotten():
    buckets = Buckets(Rate(10, 10, 1_000, 1_000))
    assert buckets.take(b"key", 500, 0)
    assert not list(buckets.forget_full(lambda: 499))
    assert len(buckets) == 1
    assert not list(buckets.forget_full(lambda: 500))
    assert len(buckets) == 0


# -- the stream alone -----------------------------------------------------------------------------------------------


def fill(stream, sizes, shelf=0, sender=b"s", now=0):
    for size in sizes:
        number = stream.number + 1
        lane, _ = stream.lane(PeerId(sender), shelf)
        stream.add((now, 0, PeerId(sender), number.to_bytes(16), bytes(size)), lane)


def knows(stream, sender, number):
    lane, others = stream.lane(PeerId(sender))
    return number.to_bytes(16) in lane.ids or number.to_bytes(16) in others


def numbers(stream, cursor=0):
    return [number for number, _ in stream.after(cursor, stream.number)]


def pool(lane):
    """What keeps so many bytes a lane."""
    return Pool("shelf", Quota(1 << 30, lane), Counts(), Tally())


def test_a_stream_forgets_by_time_around_what_was_evicted():
    stream = Stream((100, pool(LANE + 4 * (OVERHEAD + 10))))
    fill(stream, [10] * 2, sender=b"a", now=0)
    fill(stream, [10] * 6, sender=b"b", now=10)
    fill(stream, [10] * 1, sender=b"a", now=20)
    assert numbers(stream) == [1, 2, 5, 6, 7, 8, 9]
    assert [knows(stream, b"b", number) for number in (3, 4, 5)] == [False, False, True]
    stream.expire(99)
    assert len(stream) == 7
    stream.expire(100)
    assert numbers(stream) == [5, 6, 7, 8, 9]
    stream.expire(110)
    assert numbers(stream) == [9]
    assert not knows(stream, b"b", 8)
    assert knows(stream, b"a", 9)
    stream.expire(120)
    assert len(stream) == 0
    assert numbers(stream) == []
    fill(stream, [10], now=200)
    assert numbers(stream) == [10]


def test_two_shelves_are_read_as_one_stream():
    stream = Stream((100, pool(1_000_000)), (200, pool(1_000_000)))
    for number in range(6):
        fill(stream, [1], shelf=number % 2)
    assert numbers(stream) == [1, 2, 3, 4, 5, 6]
    assert numbers(stream, 3) == [4, 5, 6]
    assert [knows(stream, b"s", number) for number in range(8)] == [False, *[True] * 6, False]
    stream.expire(100)
    assert numbers(stream) == [2, 4, 6]
    stream.expire(200)
    assert numbers(stream) == []


def test_what_has_been_kept_for_its_life_is_dropped_over_many_turns(make_company, monkeypatch):
    """A relay that holds much must not stand still for it once a second."""
    monkeypatch.setattr(chores, "PIECES", 1)
    c = make_company(bytes_per_sender=1 << 30, posts_burst=10_000)
    for number in range(10):
        c.alice.sends(*(c.alice.post(c.room, f"{number}", index=4) for _ in range(room.LOOKS)))
        c.alice.sends(*(c.alice.post(c.room, f"{number}", c.bob, index=4) for _ in range(room.LOOKS)))
    c.stage.now += limits.HOUR
    kept = c.stage.core.gauges().retained_messages
    assert kept == 20 * room.LOOKS
    while kept:
        c.stage.core.tick(c.stage.now)
        left = c.stage.core.gauges().retained_messages
        assert kept - left <= 2 * room.LOOKS
        assert not left or c.stage.core.rest(c.stage.now) == 0
        kept = left
    c.stage.turns()
    assert c.stage.core.rest(c.stage.now) > 0


def test_buckets_are_looked_at_over_many_turns():
    buckets = Buckets(Rate(1, 10, 1, 10))
    for number in range(3 * budget.SWEPT):
        buckets.take(b"%d" % number, 1, 0)
    assert sum(1 for _ in buckets.forget_full(lambda: 10_000)) == 3
    assert len(buckets) == 0
