"""Stories about connections: HELLO, limits, rubbish, presence and goodbye."""

from __future__ import annotations

import pytest

from protocol import envelope, limits, wire
from protocol.envelope import GoingAway, Kind, Message, Presence, Refused, Welcome
from relay.core.core import HELLO_WAIT, NO_REQUEST, RETRY


def test_whoever_says_hello_is_welcome(stage):
    alice = stage.connection(hello=False)
    stage.core.set_clock(1_234_567, stage.now)
    alice.hello()
    assert alice.sees() == [Welcome(1, bytes(16), 1_234_567, 600)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, "version"),
        ({"signature": bytes(64)}, "bad-hello"),
        ({"identity": bytes(32)}, "bad-hello"),
    ],
)
def test_a_hello_that_is_not_believed_ends_the_connection(stage, change, code):
    eve = stage.connection(hello=False)
    eve.hello(**change)
    (refused,) = eve.sees()
    assert refused.reason == code
    assert stage.cut == [eve.connection]


def test_a_hello_of_another_connection_is_not_believed(stage):
    alice, eve = stage.connection(hello=False), stage.connection(hello=False)
    alice.hello()
    signature = envelope.Hello(bytes(16), 1, alice.id, alice.identity.sign(*hello_parts(alice)))
    eve.sends(signature)
    assert [d.reason for d in eve.sees()] == ["bad-hello"]


def hello_parts(person):
    from protocol.identity import hello_content
    from protocol.ids import RelayKey
    from protocol.primitives import Label

    return Label.HELLO, hello_content(RelayKey(bytes(range(32))), person.connection.ljust(32))


def test_there_is_one_hello_a_connection(stage):
    alice = stage.connection()
    alice.hello()
    assert alice.sees() == [Refused(NO_REQUEST, "malformed")]
    assert stage.cut == [alice.connection]


def test_nothing_is_taken_before_hello(stage):
    eve = stage.connection(hello=False)
    eve.sends(envelope.Ping(eve.request()))
    assert eve.sees() == [Refused(NO_REQUEST, "malformed")]
    assert stage.cut == [eve.connection]


def test_nothing_is_taken_after_what_ends_a_connection(company):
    c = company
    c.bob.sends(b"\xc1")
    c.bob.sends(c.bob.post(c.room, "after"))
    assert c.bob.sees() == [Refused(NO_REQUEST, "malformed")]
    assert c.alice.reads() == []
    c.bob.sends(c.bob.post(c.room, "long after"))
    assert c.alice.reads() == []


def test_what_stands_before_the_rubbish_in_a_frame_is_carried_out(company):
    c = company
    c.bob.sends(c.bob.post(c.room, "before"), b"\xc1")
    assert c.alice.reads() == ["before"]
    assert c.stage.cut == [c.bob.connection]


def test_a_hello_that_is_refused_takes_the_rest_of_the_frame_with_it(stage):
    eve = stage.connection(hello=False)
    hello = envelope.Hello(eve.request(), 9, eve.id, bytes(64))
    eve.sends(hello, envelope.Ping(eve.request()))
    assert [d.reason for d in eve.sees()] == ["version"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\x00",
        b"\x90",
        b"\xc1",
        wire.pack(99),
        wire.pack(int(Kind.WELCOME), 1, bytes(16), 0, 0),
        wire.pack(int(Kind.PING), bytes(15)),
        wire.pack(int(Kind.PING), bytes(16), 1),
        wire.pack(int(Kind.PING), bytes(16))[:-1],
    ],
)
def test_rubbish_ends_a_connection(stage, rubbish):
    eve = stage.connection()
    eve.sends(rubbish)
    assert eve.sees() == [Refused(NO_REQUEST, "malformed")]
    assert stage.cut == [eve.connection]


def test_a_frame_that_is_too_large_ends_a_connection(stage):
    eve = stage.connection()
    eve.sends(bytes(limits.FRAME + 1))
    assert eve.sees() == [Refused(NO_REQUEST, "too-large")]


def test_the_refusal_is_tried_once_whether_or_not_it_can_be_taken(stage):
    eve = stage.connection()
    stage.full.add(eve.connection)
    eve.sends(b"\xc1")
    stage.turns()
    assert stage.cut == [eve.connection]


def test_whoever_says_nothing_is_cut(stage):
    stage.connection()
    silent = stage.connection(hello=False)
    stage.passes(HELLO_WAIT - 1)
    late = stage.connection(hello=False)
    stage.passes(limits.SECOND)
    assert stage.cut == [silent.connection]
    late.hello()
    assert [type(d) for d in late.sees()] == [Welcome]


@pytest.mark.parametrize(
    "bounds", [{"connections": 2}, {"connections_per_identity": 2}, {"connections_per_address": 2}]
)
def test_there_can_be_too_many_connections(make_stage, bounds):
    stage = make_stage(**bounds)
    identity = stage.identity()
    first = stage.connection(identity)
    stage.connection(identity)
    third = stage.connection(identity, hello=False)
    third.hello()
    assert [d.reason for d in third.sees()] == ["limit-connections"]
    assert stage.cut == [third.connection]
    first.leaves_the_net()
    assert stage.connection(identity)


def test_limits_by_identity_and_address_are_nobody_elses(make_stage):
    stage = make_stage(connections_per_identity=1, connections_per_address=1)
    for number in range(5):
        stage.connection(address=f"fd00::{number}")


def test_whoever_is_unknown_is_not_listened_to(stage):
    stage.core.receive(b"nobody", envelope.Ping(bytes(16)).encode(), stage.now)
    stage.core.stalled(b"nobody", stage.now)
    stage.core.gone(b"nobody", stage.now)
    assert list(stage.core.turn(stage.now)) == []


def test_going_away(company):
    c = company
    stranger = c.stage.connection(hello=False)
    c.stage.core.say_goodbye()
    c.stage.turn()
    assert c.alice.sees() == c.bob.sees() == [GoingAway()]
    assert stranger.sees() == []


def test_going_away_is_the_last_that_anybody_hears(company):
    """Whoever is slow gets what is kept first; nobody is told twice, and the relay knows when all have hung up."""
    c = company
    c.stage.full.add(c.bob.connection)
    c.alice.says(c.room, "the last message")
    for _ in range(2):
        assert c.stage.core.say_goodbye()
        c.stage.turn()
    c.stage.full.clear()
    c.stage.passes(RETRY)
    for _ in range(2):
        assert c.stage.core.say_goodbye()
        c.stage.turns()
    for person in (c.alice, c.bob):
        assert [type(d) for d in person.looks() if isinstance(d, (Message, GoingAway))] == [Message, GoingAway]
    for person in (c.alice, c.bob, c.chuck):
        person.leaves_the_net()
    assert not c.stage.core.say_goodbye()


def test_rest_is_short_while_something_is_to_be_done(company):
    c = company
    assert c.stage.core.rest(c.stage.now) == limits.SECOND
    c.alice.sends(envelope.Ping(c.alice.request()))
    assert c.stage.core.rest(c.stage.now) == 0
    c.stage.turns()
    c.stage.full.add(c.alice.connection)
    c.alice.sends(envelope.Ping(c.alice.request()))
    c.stage.turn()
    assert c.stage.core.rest(c.stage.now) == 20


# -- presence -------------------------------------------------------------------------------------------------------


def changes(person):
    return [(set(p.online), set(p.offline)) for p in person.sees(Presence)]


def test_presence_is_by_identity_and_for_those_who_say_so(company):
    c = company
    quiet = c.stage.connection(c.bob.identity)
    quiet.attaches(c.room, present=False)
    second = c.stage.connection(c.bob.identity)
    second.attaches(c.room)
    assert changes(c.chuck) == []
    c.bob.leaves_the_net()
    assert changes(c.chuck) == []
    second.leaves_the_net()
    assert changes(c.chuck) == [(set(), {c.bob.id})]
    quiet.attaches(c.room)
    assert changes(c.chuck) == [({c.bob.id}, set())]


def test_whoever_comes_back_at_once_never_left(company):
    c = company
    again = c.stage.connection(c.bob.identity)
    c.bob.leaves_the_net()
    again.sends(again.attach(c.room))
    assert changes(c.chuck) == []
    stranger = c.stage.connection(c.alice.identity)
    c.alice.attaches(c.room, present=False)
    c.chuck.sees()
    stranger.sends(stranger.attach(c.room))
    stranger.leaves_the_net()
    assert changes(c.chuck) == []


def test_a_one_shot_command_is_not_seen(company):
    """`send --to bob` attaches quietly, whispers and goes: Chuck sees nothing at all."""
    c = company
    once = c.stage.connection(c.alice.identity)
    once.attaches(c.room, present=False, room_cursor=None, aside_cursor=None)
    once.whispers(c.room, c.bob, "careful with chuck")
    once.leaves_the_net()
    assert c.chuck.sees() == []
    assert c.bob.reads() == ["(careful with chuck)"]
