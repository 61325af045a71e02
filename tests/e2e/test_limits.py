"""What people notice when a relay's bounds are reached: it is said, never silence, and nobody else notices."""

from __future__ import annotations

import signal

from tests.e2e.scene import Process, Scene

MANY = 60
KEPT = "20000"
"""Bytes that the relay keeps for each: some ten or twenty messages."""


def lost(listener: Process) -> int:
    """Return how many messages the listener was told that it has not got."""
    return sum(int(str(event["count"])) for event in listener.events("gap", "missed"))


def test_who_was_away_for_too_many_messages_is_told_how_many_it_missed(scene: Scene):
    relay = scene.relay("--bytes-per-sender", KEPT, "--bytes-per-pair", KEPT)
    alice, bob, carol = scene.company(relay, "alice", "bob", "carol")
    alices, bobs, carols = alice.chats(), bob.listens(), carol.listens()
    alices.writes("first for all", "/msg bob first for bob")
    bobs.hears("first for all", "first for bob")
    bobs.gets(signal.SIGINT)
    bobs.ends()
    for number in range(MANY):
        alices.writes(f"/msg bob {number} for bob", f"{number} for all")
    carols.hears(f"{MANY - 1} for all")
    again = bob.listens("--backlog")
    again.hears(f"{MANY - 1} for all", f"{MANY - 1} for bob")

    def seen() -> set[object]:
        return {text for text in again.texts() if not str(text).startswith("first")}

    again.waits(lambda: len(seen()) + lost(again) == 2 * MANY)
    assert 10 < len(seen()) < 2 * MANY
    for kind in ("for bob", "for all"):
        numbers = [int(str(text).split()[0]) for text in again.texts() if kind in str(text) and text in seen()]
        assert numbers == list(range(numbers[0], MANY)), "the oldest are gone, the newest are all there"
    for listener in (again, carols):
        assert not listener.events("alarm", "duplicate"), listener
    assert not carols.events("gap", "missed"), carols


def test_who_may_not_found_rooms_is_told_whom_to_ask(scene: Scene):
    allowed = scene.folder / "allowed"
    allowed.write_text("# nobody yet\n")
    relay = scene.relay("--allow", str(allowed))
    (alice,) = scene.people("alice")
    refused = alice.tries("create", "team", "--relay", relay.word, "--nick", "alice")
    assert refused.code == 6
    assert "whoami" in refused.err
    allowed.write_text(f"{alice.runs('whoami').split()[1]}  # alice\n")
    relay.gets(signal.SIGHUP)
    relay.waits(lambda: "read again" in str(relay))
    alice.runs("create", "team", "--relay", relay.word, "--nick", "alice")
