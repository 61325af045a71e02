"""Claim 1 on the relay's core: Chuck's view does not change, whether or not Alice and Bob exchange asides.

A script is run twice, with and without the asides between Alice and Bob, on two relays with small limits, so that
refusals, evictions and expiry happen. What is delivered to Chuck must be the same to the byte, frame boundaries apart;
the clock of the stage is the script's, so even times are compared. The test of the test: with an aside to Chuck left
out, or a limit shared, the views differ.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from protocol import envelope, limits
from protocol.envelope import Flag
from relay.core import rooms

SMALL = {
    "retention_s": 60,
    "posts_per_s": 5,
    "posts_burst": 12,
    "bytes_per_s": 20_000,
    "bytes_burst": 60_000,
    "bytes_per_sender": 30_000,
    "bytes_per_pair": 20_000,
    "slow_cut_s": 30,
}
NAMES = ("alice", "bob", "chuck")


@dataclasses.dataclass(frozen=True)
class Post:
    """Somebody posts, so many times, so many bytes, to the room or to somebody."""

    sender: str
    to: str | None
    size: int = 10
    times: int = 1
    flags: int = Flag.NONE

    @property
    def secret(self) -> bool:
        return {self.sender, self.to} == {"alice", "bob"}


@dataclasses.dataclass(frozen=True)
class Pass:
    """Time passes."""

    ms: int


@dataclasses.dataclass(frozen=True)
class Return:
    """Somebody's connection ends, and another one attaches, with the cursors given, seen or quiet."""

    who: str
    room_cursor: int | None
    aside_cursor: int | None
    present: bool


@dataclasses.dataclass(frozen=True)
class Do:
    """Somebody does something else that the room is told of, or asks."""

    who: str
    what: str


@dataclasses.dataclass(frozen=True)
class Jam:
    """The pipe of Alice or Bob takes nothing for a while."""

    who: str
    ms: int


def view_of_chuck(make_company, script, *, asides: bool) -> list[envelope.Delivery]:
    """Play the script; return all that was delivered to Chuck, in order."""
    c = make_company(**SMALL)
    people = {"alice": c.alice, "bob": c.bob, "chuck": c.chuck}
    view: list[envelope.Delivery] = []
    for place, step in enumerate(script):
        match step:
            case Post():
                for time in range(step.times):
                    # Ids and texts are the script's, so that leaving something out moves nothing else.
                    person, name = people[step.sender], b"%08d%08d" % (place, time)
                    post = person.post(
                        c.room, "x" * step.size, people.get(step.to), flags=step.flags, again=name, index=4
                    )
                    if asides or not step.secret:
                        person.sends(post)
            case Pass():
                c.stage.passes(step.ms)
            case Return():
                people[step.who].leaves_the_net()
                view += people["chuck"].sees()
                person = people[step.who] = c.stage.connection(people[step.who].identity)
                request = person.attach(
                    c.room, present=step.present, room_cursor=step.room_cursor, aside_cursor=step.aside_cursor
                )
                person.sends(dataclasses.replace(request, id=b"%016d" % place))
            case Do():
                person = people[step.who]
                name = b"%016d" % place
                if step.what == "publish":
                    person.generation += 1
                    person.sends(envelope.Publish(name, c.room, person.card(c.room, person.generation)))
                else:
                    subject = c.bob.id if step.what == "card" else None
                    person.sends(envelope.Fetch(name, c.room, subject, 0))
            case Jam():
                c.stage.full.add(people[step.who].connection)
                c.stage.passes(step.ms)
                c.stage.full.clear()
                c.stage.passes(limits.SECOND)
        if place % 3 == 0:
            c.stage.turn()
    c.stage.passes(limits.SECOND)
    return [*view, *people["chuck"].sees()]


def test_an_aside_reaches_its_addressee_alone(company):
    c = company
    assert c.alice.says(c.room, "hi") == "accepted"
    assert c.alice.whispers(c.room, c.bob, "psst") == "accepted"
    assert c.bob.reads() == ["hi", "(psst)"]
    assert c.chuck.reads() == ["hi"]
    assert c.alice.reads() == ["hi"]


WHISPERS = (
    Post("alice", "bob"),
    Post("alice", "bob", times=40),
    Post("bob", "alice", size=50_000),
    Post("bob", "alice", size=9_000, times=6),
    Post("alice", "bob", size=200, flags=Flag.CHAIN_KEY, times=30),
)
AFTERWARDS = (
    Post("alice", None),
    Post("alice", None, size=9_000, times=5),
    Post("alice", "chuck", size=9_000, times=5),
    Post("chuck", "bob", size=9_000, times=3),
    Post("bob", "chuck", flags=Flag.CHAIN_KEY, times=12),
    Post("bob", None, times=12),
    Do("alice", "publish"),
    Do("chuck", "card"),
    Do("chuck", "log"),
    Pass(100),
    Return("bob", 0, 0, present=True),
    Return("chuck", 0, 0, present=True),
    Return("chuck", None, 1, present=False),
    Jam("bob", 20_000),
    Pass(61_000),
    Return("chuck", 3, 3, present=True),
)


@pytest.mark.parametrize("whisper", WHISPERS)
@pytest.mark.parametrize("afterwards", AFTERWARDS)
def test_claim_1_chucks_view_does_not_change(make_company, whisper, afterwards):
    script = [
        Post("chuck", None),
        whisper,
        afterwards,
        whisper,
        Post("alice", None),
        Post("bob", None),
        afterwards,
        Post("alice", "chuck"),
        Return("chuck", 0, 0, present=True),
    ]
    with_asides = view_of_chuck(make_company, script, asides=True)
    assert with_asides == view_of_chuck(make_company, script, asides=False)
    assert sum(isinstance(d, envelope.Message) for d in with_asides) >= 3


people = some.sampled_from(NAMES)
cursors = some.none() | some.integers(0, 20)
posts = some.builds(
    Post,
    sender=people,
    to=some.none() | people,
    size=some.sampled_from([0, 1, 300, 5_000, 30_000, 70_000]),
    times=some.sampled_from([1, 2, 15]),
    flags=some.sampled_from([Flag.NONE, Flag.CHAIN_KEY]),
)
whispers = some.builds(
    Post,
    sender=some.just("alice"),
    to=some.just("bob"),
    size=some.sampled_from([0, 300, 9_000, 30_000]),
    times=some.sampled_from([1, 3, 20]),
    flags=some.sampled_from([Flag.NONE, Flag.CHAIN_KEY]),
)
steps = some.one_of(
    posts,
    whispers,
    some.builds(Pass, some.sampled_from([1, 50, 1_000, 30_000, 61_000])),
    some.builds(Return, people, cursors, cursors, present=some.booleans()),
    some.builds(Do, people, some.sampled_from(["publish", "card", "log"])),
    some.builds(Jam, some.sampled_from(["alice", "bob"]), some.sampled_from([20, 1_000, 20_000])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it only makes new stages
@given(script=some.lists(steps, max_size=25))
def test_claim_1_in_any_script(make_company, script):
    assert view_of_chuck(make_company, script, asides=True) == view_of_chuck(make_company, script, asides=False)


def test_the_comparison_would_notice(make_company):
    """Asides to Chuck himself are no secret from him."""
    script = [Post("alice", "chuck"), Post("bob", None)]
    view = view_of_chuck(make_company, script, asides=True)
    assert view != view_of_chuck(make_company, script[1:], asides=True)


@pytest.mark.parametrize("shared", ["asides", "chain_keys"])
def test_the_comparison_would_notice_a_shared_limit(make_company, monkeypatch, shared):
    """Were asides to draw from the bucket of room posts, Alice's next room message would betray them."""
    init = rooms.Budgets.__init__

    def sharing(self, bounds):
        init(self, bounds)
        talk = self.talk
        draw = SimpleNamespace(open=lambda key, now: talk.open(key[:32], now), forget_full=talk.forget_full)
        setattr(self, shared, draw)

    monkeypatch.setattr(rooms.Budgets, "__init__", sharing)
    flags = Flag.CHAIN_KEY if shared == "chain_keys" else Flag.NONE
    script = [Pass(10_000), Post("alice", "bob", times=20, flags=flags), Post("alice", None)]
    view = view_of_chuck(make_company, script, asides=True)
    assert view != view_of_chuck(make_company, script, asides=False)
