"""Peers that die and peers that freeze: they come back to what they missed, and nobody else notices."""

from __future__ import annotations

import signal

import pytest

from protocol import limits
from tests.e2e.scene import wait
from tests.faults.crowd import Crowd
from tests.faults.gauge import MIB, median, resident

NOISE = 200_000
"""What a busy machine may add to how long others wait, in µs; whoever waits for one that is frozen does for good."""


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.faults)])
def test_killed_and_back(scene, times):
    """What was said while somebody was dead is heard by it later; what it had just said met a fate or is heard."""
    crowd = Crowd(scene, scene.relay(), "alice", "bob", "carol", how={"bob": {"reading": "UNSHOWN"}})
    for who, other in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")):
        crowd.talk(who, every=0.04)
        crowd.talk(who, to=other, every=0.06)
    for _ in range(times):
        crowd.goes_on()
        crowd.kills("bob")
        crowd.speaks_on(60)
        crowd.returns("bob")
        crowd.talk("bob", every=0.04)
        crowd.talk("bob", to="carol", every=0.06)
    crowd.goes_on()
    crowd.balances()


@pytest.mark.parametrize(("others", "rounds"), [(6, 20), pytest.param(49, 20, marks=pytest.mark.faults)])
def test_one_is_frozen(scene, others, rounds):
    """The others hear each other as fast as before, the relay does not grow, and who was frozen hears it all later."""
    names = ["ice", "alice", "bob", *(f"p{number}" for number in range(others - 2))]
    relay = scene.relay()
    crowd = Crowd(scene, relay, *names, apart=["ice", "alice", "bob"])
    ears = names[1:]
    crowd.rounds(["alice", "bob"], rounds, "before", among=ears)
    weight = resident(relay.pid)
    crowd.booths["ice"].gets(signal.SIGSTOP)
    crowd.rounds(["alice", "bob"], rounds, "frozen", among=ears)
    crowd.booths["ice"].gets(signal.SIGCONT)
    before, frozen = (median(crowd.ledger.took(ears, tag)) for tag in ("before", "frozen"))
    print("others' latency in µs:", before, frozen)
    assert frozen < 3 * before + NOISE, (before, frozen)
    assert resident(relay.pid) - weight < 16 * MIB
    crowd.balances(whole=True, speakers=["ice", "alice", "bob"])


@pytest.mark.faults
def test_one_is_frozen_for_long_under_load(scene):
    """More is said than its pipe and its retention hold: the relay cuts it, keeps within its bounds, and it is told."""
    names = ["ice", "alice", "bob", "carol"]
    relay = scene.relay()
    crowd = Crowd(scene, relay, *names)
    crowd.rounds(["alice", "bob"], 40, "before", among=names[1:])
    weight = resident(relay.pid)
    crowd.booths["ice"].gets(signal.SIGSTOP)
    crowd.talk("carol", every=0.02, size=60_000)
    crowd.rounds(["alice", "bob"], 100, "frozen", among=names[1:])
    heaviest = 0

    def cut() -> bool:
        nonlocal heaviest
        heaviest = max(heaviest, resident(relay.pid))
        return not crowd.members("alice")["ice"][1]

    wait(cut)
    crowd.speaks_on(300)
    crowd.hush("carol")
    before, frozen = (median(crowd.ledger.took(["alice", "bob"], tag)) for tag in ("before", "frozen"))
    assert frozen < 5 * before + NOISE, (before, frozen)
    assert heaviest - weight < 8 * limits.RelayLimits().bytes_per_sender, heaviest - weight
    crowd.booths["ice"].gets(signal.SIGCONT)
    crowd.balances()
    assert crowd.ledger.ears["ice"].lacking["carol"]
    assert not any(crowd.ledger.missing(ear) for ear in names[1:])
