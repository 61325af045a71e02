"""What the relay counts is what happened."""

from __future__ import annotations

from protocol import envelope, limits
from protocol import statement as st
from protocol.envelope import Flag
from relay.core.core import HELLO_WAIT
from relay.core.counts import Gauges
from relay.core.pool import STEP


def test_a_chat_in_numbers(company):
    c = company
    counts = c.stage.core.counts
    before = (counts.frames_in, counts.bytes_in, counts.frames_out, counts.bytes_out, counts.deliveries)
    post, aside = c.alice.post(c.room, "hi"), c.alice.post(c.room, "psst", c.bob)
    key = c.alice.post(c.room, "key", c.bob, flags=Flag.CHAIN_KEY)
    c.alice.sends(post, aside, key, post)
    c.stage.turns()
    assert (counts.posts, counts.asides) == (1, 2)
    assert counts.requests == {
        "Hello": 3,
        "Submit": 4,
        "Attach": 3,
        "Publish": 3,
        "Post": 4,
    }
    frames = c.alice.frames + c.bob.frames + c.chuck.frames
    assert len(frames) == 5, "all three got the room's, and Alice and Bob one each"
    now = (counts.frames_in, counts.bytes_in, counts.frames_out, counts.bytes_out, counts.deliveries)
    sent = sum(len(request.encode()) for request in (post, aside, key, post))
    assert [b - a for a, b in zip(before, now, strict=True)] == [1, sent, 5, sum(map(len, frames)), 3 + 1 + 2]
    assert counts.statements == 4
    assert (counts.rooms_founded, counts.rooms_restored, counts.rooms_forgotten) == (1, 0, 0)


def test_what_there_is(company):
    c = company
    c.stage.connection(hello=False)
    quiet = c.stage.connection(c.alice.identity)
    quiet.attaches(c.room, present=False)
    c.bob.publishes(c.room)
    c.alice.says(c.room, "hi")
    c.alice.whispers(c.room, c.bob, "psst")
    gauges = c.stage.core.gauges()
    assert gauges == Gauges(
        connections=4,
        strangers=1,
        rooms=1,
        attachments=4,
        present=3,
        retained_messages=2,
        retained_bytes=2 * STEP,
        statements=4,
        cards=4,
    )
    c.stage.passes(limits.HOUR)
    assert c.stage.core.gauges().retained_bytes == 0


def test_refusals_and_ends(company):
    c = company
    counts = c.stage.core.counts
    c.alice.asks(envelope.Submit(c.alice.request(), c.room, b"rubbish"))
    c.alice.attaches(bytes(32))
    c.bob.sends(b"\xc1")
    c.stage.connection(hello=False)
    c.stage.turns()
    c.stage.passes(HELLO_WAIT)
    assert counts.refused == {"malformed": 2, "unknown-room": 1}
    assert counts.cut == {"malformed": 1, "silent": 1}


def test_whoever_takes_nothing(company):
    c = company
    counts = c.stage.core.counts
    c.stage.full.add(c.chuck.connection)
    before = counts.deliveries
    c.alice.says(c.room, "hi")
    assert (counts.stalls, counts.deliveries - before) == (1, 3), "Alice's, Bob's and the answer"
    c.stage.passes(c.stage.bounds.slow_cut_s * limits.SECOND)
    assert counts.cut == {"slow": 1}


def test_rooms_that_go_and_come_back(company):
    c = company
    counts = c.stage.core.counts
    log = tuple(c.alice.log(c.room).log)
    for person in (c.alice, c.bob, c.chuck):
        person.leaves_the_net()
    c.stage.passes(c.stage.bounds.idle_close_s * limits.SECOND)
    again = c.stage.connection(c.alice.identity)
    again.asks(envelope.Restore(again.request(), c.room, True, log))
    removal = st.remove(c.alice.identity, c.room, again.log(c.room).anchor, c.chuck.id, False)
    again.asks(envelope.Restore(again.request(), c.room, True, (*log, removal)))
    assert (counts.rooms_founded, counts.rooms_restored, counts.rooms_forgotten) == (1, 1, 1)
    assert counts.statements == 4 + 4 + 1
