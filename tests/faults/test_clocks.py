"""Clocks that are set, forward and back, on either side and while people talk; and processes that stood still."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from protocol.errors import ClockSkewed
from tests.faults.crowd import Crowd

MINUTE, HOUR = 60_000, 3_600_000
CLOCKED = str(Path(__file__).with_name("clocked.py"))


def all_talk(crowd: Crowd) -> None:
    for place, who in enumerate(crowd.names):
        crowd.talk(who, every=0.05)
        crowd.talk(who, to=crowd.names[place - 1], every=0.08)


def hears_the_room_again(crowd: Crowd, who: str) -> None:
    """Wait until somebody has heard from everybody else what was said to the room after this call."""
    ledger, before = crowd.ledger, set(crowd.ledger.said)

    def heard() -> set[str]:
        new = ledger.ears[who].took.keys() - before
        return {said.speaker for key, said in ledger.said.items() if key in new and said.to is None}

    crowd.waits(lambda: heard() >= set(crowd.names) - {who})


def test_a_peers_clock_is_set_by_minutes(scene):
    crowd = Crowd(scene, scene.relay(), "alice", "bob", "carol")
    all_talk(crowd)
    crowd.goes_on()
    for step in (-2 * MINUTE, 4 * MINUTE, -2 * MINUTE):
        crowd.asks("step", "bob", "stepped", ms=step)
        crowd.goes_on(10)
    crowd.asks("step", "bob", "stepped", ms=2 * MINUTE)
    crowd.balances()
    assert {said.speaker for said in crowd.ledger.lost()} <= {"bob"}
    assert not any(crowd.ledger.missing(who) for who in crowd.names)


@pytest.mark.faults
@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_peers_clock_is_set_by_an_hour(scene, step):
    """Some is given up, and told to be, until it is set right; the chains that bob lost he asks for and gets."""
    crowd = Crowd(scene, scene.relay(), "alice", "bob", "carol")
    all_talk(crowd)
    crowd.goes_on()
    for by in (step, -step):
        crowd.asks("step", "bob", "stepped", ms=by)
        crowd.speaks_on(30)
    crowd.goes_on()
    hears_the_room_again(crowd, "bob")
    crowd.balances()
    assert {said.speaker for said in crowd.ledger.lost()} <= {"bob"}
    assert not crowd.ledger.missing("alice")
    assert not crowd.ledger.missing("carol")


def test_the_relays_clock_is_set(scene):
    """Those who are there go on; who comes is told whose clock to look at; and then all is as before."""
    wrong = scene.folder / "wrong-by"
    wrong.write_text("0")
    relay = scene.relay(program=(sys.executable, CLOCKED, str(wrong)))
    crowd = Crowd(scene, relay, "alice", "bob", "carol")
    dave = scene.person("dave")
    assert dave.joins(scene.invite) == "team"
    all_talk(crowd)
    for by in (2 * MINUTE, -2 * MINUTE, HOUR, -HOUR):
        wrong.write_text(str(by))
        crowd.goes_on(10)
        result = dave.tries("send", "team", "0 0 hello")
        if abs(by) < HOUR:
            assert result.code == 0, result
        else:
            assert result.code == ClockSkewed.exit_code
            assert ClockSkewed.sentence in result.err
    wrong.write_text("0")
    dave.says("1 0 hello again")
    crowd.goes_on()
    crowd.balances(whole=True)


@pytest.mark.faults
def test_the_relay_stood_still(scene):
    """As after a suspended machine: for longer than anybody's heartbeats wait."""
    relay = scene.relay()
    crowd = Crowd(scene, relay, "alice", "bob", "carol")
    all_talk(crowd)
    for seconds in (3, 25):
        crowd.goes_on()
        relay.gets(signal.SIGSTOP)
        time.sleep(seconds)
        relay.gets(signal.SIGCONT)
    crowd.goes_on()
    # Of the receipts that piled up meanwhile, one that comes more than 5 s after the next may have been told as a gap.
    crowd.balances()
    assert crowd.ledger.lost() == []
    assert not any(crowd.ledger.missing(who) for who in crowd.names)
