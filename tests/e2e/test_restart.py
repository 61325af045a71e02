"""A relay that ends and comes back: what was said meanwhile arrives, nothing twice, and nobody raises an alarm.

The relay keeps nothing, so all of it comes back from the members who are still there.
"""

from __future__ import annotations

import signal

from tests.e2e.scene import Process, Relay, Scene
from tests.e2e.traces import files, found


def again(scene: Scene, relay: Relay, *options: str) -> Relay:
    """Start a relay where ``relay`` was, with the same key."""
    back = scene.relay(*options, bind=str(relay.address.at))
    assert back.word == relay.word
    return back


def lost(listener: Process) -> int:
    """Return how many messages the listener was told that it has not got."""
    return sum(int(str(event["count"])) for event in listener.events("gap", "missed"))


def test_a_relay_killed_while_they_talk_loses_and_repeats_nothing(scene):
    relay = scene.relay()
    alice, bob, carol = scene.company(relay, "alice", "bob", "carol")
    bobs, alices = bob.listens(), alice.chats()
    alices.writes("0 of alice", "/msg bob 0 for bob")
    bobs.hears("0 of alice", "0 for bob")
    relay.killed()
    alices.writes("1 of alice", "/msg bob 1 for bob", "2 of alice")
    away = carol.starts("send", "team", "--timeout", "60", "of carol, while nobody was there")
    again(scene, relay)
    bobs.hears("1 of alice", "1 for bob", "2 of alice", "of carol, while nobody was there")
    assert away.ends() == 0, away
    alices.writes("3 of alice", "/msg bob 3 for bob")
    bobs.hears("3 of alice", "3 for bob")
    for kind in ("of alice", "for bob"):
        said = [text for text in bobs.texts() if kind in str(text)]
        assert said == sorted(set(said)), bobs
    assert len(bobs.texts()) == 8
    alices.hears("of carol, while nobody was there")
    for listener in (bobs, alices):
        assert not listener.events("alarm", "duplicate", "gap", "missed"), listener
    assert {member["role"] for member in carol.members().values()} == {"founder", "member"}


def test_killed_amid_a_burst(scene):
    """What the relay had accepted and not delivered dies with it: that is said, and all else comes once, in order."""
    relay = scene.relay()
    alice, bob = scene.company(relay, "alice", "bob")
    bobs, alices = bob.listens(), alice.chats()
    burst = [f"{number:04}" for number in range(300)]
    alices.writes(*burst[:200])
    bobs.waits(lambda: len(bobs.texts()) >= 20)
    relay.killed()
    relay = again(scene, relay)
    alices.writes(*burst[200:], "/msg bob the end")
    bobs.hears(burst[-1], "the end")
    came = [text for text in bobs.texts() if text != "the end"]
    assert came == sorted(set(came)), bobs
    if len(came) < len(burst):
        bobs.waits(lambda: lost(bobs) >= len(burst) - len(came))
    assert lost(bobs) == len(burst) - len(came), bobs
    for listener in (bobs, alices):
        assert not listener.events("alarm", "duplicate"), listener


def test_a_relay_that_is_told_to_stop_ends_well(scene):
    relay = scene.relay()
    alice, bob = scene.company(relay, "alice", "bob")
    bobs = bob.listens()
    alice.says("before")
    bobs.hears("before")
    relay.gets(signal.SIGTERM)
    assert relay.ends() == 0
    assert relay.lines == [relay.word]
    unreachable = alice.tries("send", "team", "--timeout", "1", "meanwhile")
    assert (unreachable.code, unreachable.out) == (3, "")
    again(scene, relay)
    alice.says("after", "--timeout", "60")
    bobs.hears("after")
    assert bobs.texts() == ["before", "after"]
    bobs.gets(signal.SIGTERM)
    assert bobs.ends() == 0


def test_an_ephemeral_host_leaves_nothing(scene):
    """The room, the relay's key and the identity are in memory alone; guests come in all the same."""
    host, bob = scene.person("host"), scene.person("bob")
    hosting = host.starts("--ephemeral", "host", "lobby", "--nick", "quokkahost", "--bind", "127.0.0.1:0")
    invite = hosting.first_line()
    assert bob.joins(invite) == "lobby"
    assert {"quokkahost", "bob"} == set(bob.members("lobby"))
    hosting.gets(signal.SIGINT)
    assert hosting.ends() == 130
    assert not host.home.exists()
    kept = [folder for folder in scene.folder.iterdir() if folder != bob.home]
    assert found(["quokkahost", "lobby"], files(*kept)) == set()


def test_who_was_admitted_on_a_lost_part_is_told_and_joins_again(scene):
    """The room comes back from Alice, who has not been there since Bob came: she cannot know of him."""
    relay = scene.relay()
    alice, bob = scene.company(relay, "alice", "bob")
    bob.says("before")
    relay.killed()
    again(scene, relay)
    alices = alice.listens()
    alice.says("anybody?", "--timeout", "60")  # she is back, and the room with her
    for command in (("poll", "team"), ("send", "team", "I am")):
        lost_member = bob.tries(*command)
        assert (lost_member.code, lost_member.out) == (6, "")
        assert "ask for a new invite" in lost_member.err
    assert bob.joins(scene.invite) == "team"
    bob.says("I am")
    alices.hears("I am")
    assert not alices.events("alarm", "duplicate"), alices
    assert "alarm" not in bob.runs("poll", "team", "--json")
