"""libzmq trusts the routing id that a client announces: one that is about to be given to somebody aborts the relay.

The ids are never told, and there are four thousand million to guess among; here the relay tells them to the test. What
has to hold is the rest: whatever supervises the relay starts it again, and everything comes back from the members.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.hostile.zmtp import Cut, Raw, metadata

TELLS = (sys.executable, str(Path(__file__).with_name("guessed.py")))


@pytest.mark.faults
def test_the_relay_is_aborted_and_comes_back(scene):
    relay = scene.relay(program=TELLS)
    crowd = Crowd(scene, relay, "alice", "bob")
    for who, other in (("alice", "bob"), ("bob", "alice")):
        crowd.talk(who, every=0.05)
        crowd.talk(who, to=other, every=0.08)
    crowd.goes_on()
    told = [line.split()[1] for line in relay.errors if line.startswith("routing-id")]
    newest = max(int(word, 16) % 2**32 for word in told)
    with contextlib.ExitStack() as stack, contextlib.suppress(Cut):
        for ahead in range(1, 9):
            raw = stack.enter_context(Raw(relay.address))
            raw.shakes_hands(metadata(b"Identity", b"\0" + ((newest + ahead) % 2**32).to_bytes(4)))
        for _ in range(8):
            stack.enter_context(Raw(relay.address)).shakes_hands()
    assert relay.ends() == -signal.SIGABRT
    scene.relay(bind=str(relay.address.at))
    crowd.goes_on()
    crowd.balances()
    assert crowd.roles("alice") == {"alice": "founder", "bob": "member"}
