"""A network that delays, stalls, cuts, halves and swallows: peers notice, reconnect and resume, and nothing is lost.

The relay lives on in all of these, so whatever anybody said is heard by everybody, once and in order.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.crowd import Crowd
from tests.faults.network import Wire, lan


@pytest.fixture
def wire(scene) -> Iterator[Wire]:
    """A relay behind a wire."""
    wire = Wire(scene.relay().address)
    yield wire
    scene.end()
    wire.close()


def all_talk(crowd: Crowd) -> None:
    """Let everybody talk to the room, and each to the next."""
    for place, who in enumerate(crowd.names):
        crowd.talk(who, every=0.05)
        crowd.talk(who, to=crowd.names[place - 1], every=0.08)


def test_delayed_held_and_cut(scene, wire):
    crowd = Crowd(scene, wire, "alice", "bob", "carol")
    all_talk(crowd)
    crowd.goes_on()
    wire.rough()
    crowd.goes_on()
    for _ in range(4):
        before = wire.cuts
        crowd.waits(lambda before=before: wire.cut() or wire.cuts > before)
        crowd.goes_on(10)
    wire.down()
    crowd.speaks_on(30)
    wire.up()
    crowd.goes_on()
    crowd.balances(whole=True)


@pytest.mark.faults
@pytest.mark.parametrize("left", ["near", "far"])
def test_half_open(scene, wire, left):
    """One end is gone and the other was never told: heartbeats find it out."""
    crowd = Crowd(scene, wire, "alice", "bob", "carol")
    all_talk(crowd)
    for _ in range(2):
        crowd.goes_on()
        before = wire.cuts
        crowd.waits(lambda before=before: wire.halve(left) or wire.cuts > before)
        crowd.goes_on()
    crowd.balances(whole=True)


@pytest.mark.faults
@pytest.mark.parametrize("way", ["up", "down"])
def test_one_way_swallowed(scene, wire, way):
    """Be it what the relay never got or its answers: all is sent again, and shown once."""
    crowd = Crowd(scene, wire, "alice", "bob", "carol")
    all_talk(crowd)
    crowd.goes_on()
    wire.swallowed.add(way)
    crowd.speaks_on(60)
    wire.swallowed.clear()
    wire.cut()
    crowd.goes_on()
    crowd.balances(whole=True)


@pytest.mark.faults
def test_packets_lost_and_the_cable_pulled(scene):
    with lan(scene) as network:
        crowd = Crowd(scene, network, "alice", "bob", "carol")
        all_talk(crowd)
        crowd.goes_on()
        network.rough()
        crowd.goes_on(100)
        for more in (20, 200):
            network.down()
            crowd.speaks_on(more)
            network.up()
            crowd.goes_on()
        crowd.balances(whole=True)
