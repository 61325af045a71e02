"""SIGTERM under load: the relay says that it is going away, delivers what it has taken, and exits 0 in bounded time."""

from __future__ import annotations

import signal
import time

import pytest

from protocol import envelope as ev
from tests.e2e.wire import Chuck
from tests.faults.crowd import Crowd


@pytest.mark.parametrize(
    "frozen",
    [pytest.param(False, id="all-read"), pytest.param(True, id="one-frozen", marks=pytest.mark.faults)],
)
def test_sigterm_under_load(scene, frozen):
    """Somebody who reads nothing any more does not keep it from ending."""
    relay = scene.relay()
    crowd = Crowd(scene, relay, "alice", "bob", "carol")
    for who, other in (("alice", "bob"), ("bob", "alice"), ("carol", "bob")):
        crowd.talk(who, every=0.04)
        crowd.talk(who, to=other, every=0.06)
    with Chuck(relay.address, scene.invite) as chuck:
        chuck.enters()
        crowd.goes_on()
        if frozen:
            crowd.booths["carol"].gets(signal.SIGSTOP)
        crowd.is_taken(50)
        began = time.monotonic()
        relay.gets(signal.SIGTERM)
        assert relay.ends() == 0
        assert time.monotonic() - began < 30
        chuck.sees(ev.GoingAway)
    if frozen:
        crowd.booths["carol"].gets(signal.SIGCONT)
    crowd.speaks_on(30)
    scene.relay(bind=str(relay.address.at))
    crowd.goes_on()
    crowd.balances(patience=90)
    if not frozen:
        lacking = {ear: [(s.speaker, s.number, s.to) for s in crowd.ledger.missing(ear)] for ear in crowd.names}
        assert not any(lacking.values()), lacking
