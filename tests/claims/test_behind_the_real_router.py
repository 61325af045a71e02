"""The claims once more over real sockets: our relay's process with a lie in its core, our commands, exit codes and all.

Everything else about them is in the modules that bear their names; here it is shown that the lies are told through the
real router as well, and that a person at a terminal is told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import envelope as ev
from protocol.content import Content, Text
from protocol.identity import id_text
from protocol.ids import PeerId
from tests.claims import lying_relay
from tests.claims.loot import Loot
from tests.e2e.profile import Profile
from tests.e2e.scene import Person, Process, Relay, Scene, objects, wait
from tests.e2e.wire import Chuck

LYING_RELAY = (sys.executable, lying_relay.__file__)


class Stage(Scene):
    """A scene whose relay can be told to lie."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.switch = folder / "lie.json"
        self.env["LIE"] = str(self.switch)

    def lying_relay(self) -> Relay:
        return self.relay(program=LYING_RELAY)

    def lies(self, lie: str, *arguments: object) -> None:
        """Tell the relay to lie from now on."""
        told = self.folder / "lie.part"
        told.write_text(json.dumps({"lie": lie, "arguments": arguments}))
        told.rename(self.switch)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    try:
        yield stage
    finally:
        stage.end()


def id_of(person: Person) -> str:
    return Profile(person.home).identity.id.hex()


def waits_for(listener: Process, kind: str) -> dict[str, object]:
    return listener.waits(lambda: listener.events(kind))[0]


def test_claim_3_a_ghost_is_refused_and_told_and_stops_sending_until_that_is_answered(stage: Stage):
    alice, bob = stage.company(stage.lying_relay(), "alice", "bob")
    listeners = [alice.listens(), bob.listens()]
    alice.says("hi")
    listeners[1].hears("hi")
    wait(lambda: all(member["online"] for member in bob.members().values()))  # whoever comes later is not lied to
    stage.lies("InventsMember")
    for listener in listeners:
        assert waits_for(listener, "alarm")["reason"] in {"log", "card"}
    for person in (alice, bob):
        refused = person.tries("send", "team", "who is that?")
        assert refused.code == 7
        assert "alarm" in refused.err
        assert set(person.members()) == {"alice", "bob"}
    waiting = objects(bob.runs("accept", "team", "--json").splitlines(), "event")
    assert {event["reason"] for event in waiting} == {"log", "card"}
    bob.runs("accept", "team", "--relay")
    bob.says("the relay invents people")
    listeners[0].hears("the relay invents people")


def test_claim_4_two_who_are_shown_two_rooms_are_told(stage: Stage):
    alice, bob = stage.company(stage.lying_relay(), "alice", "bob")
    alice.runs("role", "team", "bob", "admin")
    listener = bob.listens()
    alice.says("hi")
    listener.hears("hi")
    stage.lies("TwoRooms", [id_of(alice)], [id_of(bob)])
    alice.runs("invite", "team")
    bob.runs("invite", "team")
    alice.says("do you see the same room?")
    alarm = waits_for(listener, "alarm")
    assert alarm["reason"] == "two-views"
    assert alarm["who"] == {"nick": "alice", "id": id_text(Profile(alice.home).identity.id)}
    assert "do you see the same room?" not in listener.texts()
    assert bob.tries("send", "team", "no").code == 7


def test_claim_6_a_removed_member_whom_the_relay_goes_on_serving_opens_nothing(stage: Stage):
    relay = stage.lying_relay()
    alice, bob = stage.company(relay, "alice", "bob")
    listener = bob.listens()
    chuck = Chuck(relay.address, stage.invite)
    try:
        chuck.enters()
        alice.says("chuck may read this")
        chuck.waits(chuck.room_messages)
        loot = Loot([chuck.secret], [], list(chuck.cards.values()))
        for aside in chuck.asides():
            loot.learns(chuck.room, PeerId(aside.sender), aside.id, chuck.identity.id, aside.body)
        before = chuck.all(ev.Message)
        assert Text("chuck may read this") in [opens(loot, chuck, message) for message in before]
        stage.lies("KeepsServing", chuck.identity.id.hex())
        alice.runs("kick", "team", "chuck")
        alice.says("chuck is gone")
        alice.whispers("bob", "is he?")
        listener.hears("chuck is gone", "is he?")

        def later() -> list[ev.Message]:
            return [message for message in chuck.all(ev.Message) if message not in before]

        chuck.waits(lambda: {message.direct for message in later()} == {True, False})
        assert {opens(loot, chuck, message) for message in later()} == {None}
    finally:
        chuck.close()


def opens(loot: Loot, chuck: Chuck, message: ev.Message) -> Content | None:
    to = chuck.identity.id if message.direct else None
    return loot.opens(PeerId(message.sender), ev.Post(message.id, message.room, to, 1, 0, message.body))


def test_claim_8_what_comes_twice_is_displayed_once_and_what_does_not_come_is_told(stage: Stage):
    alice, bob = stage.company(stage.lying_relay(), "alice", "bob")
    listener = bob.listens()
    talker = alice.chats()
    talker.writes("one")
    listener.hears("one")
    stage.lies("Duplicates", id_of(bob))
    talker.writes("two", "three")
    listener.hears("two", "three")
    waits_for(listener, "duplicate")
    assert listener.texts() == ["one", "two", "three"]


def test_claim_8_the_loss_of_the_last_message_shows_with_the_next(stage: Stage):
    alice, bob = stage.company(stage.lying_relay(), "alice", "bob")
    listener = bob.listens()
    alice.says("one")
    listener.hears("one")
    stage.lies("Drops", id_of(bob), {"name": "room_message"}, 1)
    alice.says("two")
    alice.says("three")
    listener.hears("three")
    gap = waits_for(listener, "gap")
    assert (gap["count"], gap["who"]) == (1, {"nick": "alice", "id": id_text(Profile(alice.home).identity.id)})
    assert listener.texts() == ["one", "three"]
