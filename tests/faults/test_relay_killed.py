"""kill -9 of the relay amid traffic, again and again: everything that it held comes back from the members."""

from __future__ import annotations

import pytest

from tests.e2e.scene import wait
from tests.faults.crowd import Crowd
from tests.faults.network import Wire


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.faults)])
def test_the_relay_is_killed_under_load(scene, times):
    """Roles and bans come back with the room, and every message is accounted for.

    What carol should get is held up on its way when the relay dies, and lost: she is told how much.
    """
    relay = scene.relay()
    wire = Wire(relay.address)
    crowd = Crowd(scene, relay, "alice", "bob", "carol", how={"carol": {"via": wire.word}})
    dave = scene.person("dave")
    dave.joins(scene.invite)
    wait(lambda: "dave" in crowd.roles("alice"))
    assert crowd.acts("alice", "role", "bob", admin=True) == "done"
    assert crowd.acts("bob", "remove", "dave", ban=True) == "done"
    invite = crowd.acts("bob", "invite")
    for who, other in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")):
        crowd.talk(who, every=0.05)
        crowd.talk(who, to=other, every=0.07)
    for _ in range(times):
        crowd.goes_on(20)
        wire.down()
        crowd.is_taken(20)
        relay.killed()
        wire.cut()
        wire.up()
        relay = scene.relay(bind=str(relay.address.at))
    crowd.balances()
    wire.close()
    assert crowd.ledger.missing("carol")
    for name in crowd.names:
        assert crowd.roles(name) == {"alice": "founder", "bob": "admin", "carol": "member"}
    banned = dave.tries("join", "-", stdin=invite)
    assert banned.code == 6
    assert "banned" in banned.err
