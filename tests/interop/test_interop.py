"""A peer written from docs/protocol.md alone talks with the program's, and both refuse what the document says.

Everything is real here: a relay, the command's peers, and the `Client` beside this file, over sockets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey
from nacl.utils import random

from tests.interop.client import CARD, MESSAGE, PUBLISH, STATEMENT, Came, Client, Refused
from tests.interop.codec import big, now, safety_number, sign, unbase32
from tests.interop.log import ADMIT, REMOVE, ROLE, body, state


class Person:
    """Somebody who uses the program's command."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "peer", "--home", str(self.home), *arguments]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def do(self, *arguments: str, beside: Client | None = None) -> list[dict]:
        """Run a command, with clients awake beside it, and return the objects that it printed."""
        process = self.start(*arguments, "--json")
        try:
            if beside:
                beside.pump(lambda: process.poll() is not None)
            printed, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, errors
        return [json.loads(line) for line in printed.splitlines()]

    def told(self) -> tuple[list[tuple[str, str, bool]], list[tuple[str, str]]]:
        """What was not shown before: nick, text and whether it is an aside; nick and reason of what can't be read."""
        told = self.do("poll", "team")
        messages = [each for each in told if each["type"] == "message"]
        missed = [each for each in told if each["type"] == "event" and each["event"] == "missed"]
        return (
            [(each["from"]["nick"], each["text"], each["direct"]) for each in messages],
            [(each["who"]["nick"], each["reason"]) for each in missed],
        )

    def texts(self) -> list[tuple[str, str, bool]]:
        return self.told()[0]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("relay")
    command = [sys.executable, "-m", "relay", "run", "--bind", "127.0.0.1:0", "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def person(tmp_path: Path) -> Callable[[str], Person]:
    return lambda name: Person(tmp_path / name)


@pytest.fixture
def client() -> Iterator[Callable[[str], Client]]:
    made: list[Client] = []

    def make(nick: str) -> Client:
        made.append(Client(nick))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def scene(relay, client) -> Scene:
    """A room of three clients: Alice, who founded it, Bob and Carol."""
    address, _, key = relay.rpartition("/")
    alice, bob, carol = client("alice"), client("bob"), client("carol")
    alice.found(address, unbase32(key), "team")
    word = alice.grant(address, unbase32(key))
    bob.join(word)
    carol.join(word)
    for each in (alice, bob, carol):
        each.pump(lambda each=each: len(each.cards) == 3)
    return Scene(word, alice, bob, carol)


class Scene(NamedTuple):
    word: str
    alice: Client
    bob: Client
    carol: Client

    @property
    def room(self) -> bytes:
        return self.alice.log.room

    def message(self, sender: Client, body: bytes, id: bytes, direct: bool = True) -> list:
        """A MESSAGE as a relay would deliver it that says whatever it likes."""
        return [MESSAGE, self.room, sender.id, direct, 1, now(), id, body]


# --- With the program's peer


def test_it_joins_by_a_word_and_talks(relay, person, client) -> None:
    alice, bob = person("alice"), client("bob")
    (invite,) = alice.do("create", "team", "--relay", relay, "--nick", "alice")
    bob.join(invite["invite"])
    assert bob.title == "team"

    alice.do("send", "team", "hello", beside=bob)
    bob.pump(lambda: bob.messages)
    assert [(each.text, each.direct, each.late) for each in bob.messages] == [("hello", False, False)]
    assert bob.messages[0].sender == bob.log.founder == bob.named("alice")

    alice.do("send", "team", "--to", "bob", "psst", "--wait", "delivered", "--timeout", "60", beside=bob)
    assert [(each.text, each.direct) for each in bob.messages[1:]] == [("psst", True)]

    bob.say("hello, alice")
    whispered = bob.whisper(bob.named("alice"), "not so loud")
    assert alice.texts() == [("bob", "hello, alice", False), ("bob", "not so loud", True)]
    bob.pump(lambda: whispered in bob.receipts)

    (told,) = alice.do("verify", "team", "bob")
    assert told["number"].replace(" ", "") == safety_number(bob.id, bob.named("alice"))
    assert bob.refused == []


def test_the_programs_peer_joins_by_its_word(scene, person) -> None:
    dave, alice = person("dave"), scene.alice
    assert dave.do("join", scene.word, "--nick", "dave")[0]["title"] == "team"
    alice.pump(lambda: any(card.nick == "dave" for cards in alice.cards.values() for card in cards.values()))
    alice.say("hello, dave")
    alice.whisper(alice.named("dave"), "psst")
    assert dave.texts() == [("alice", "hello, dave", False), ("alice", "psst", True)]

    alice.state(REMOVE, alice.named("carol"), True)
    alice.pump(lambda: scene.carol.id not in alice.log.roles)
    alice.say("carol is gone")
    assert dave.texts() == [("alice", "carol is gone", False)]
    assert {each["nick"] for each in dave.do("who", "team") if each["type"] == "member"} == {"alice", "bob", "dave"}


def test_keys_change_and_chains_are_asked_for(scene, person) -> None:
    bob, dave = scene.bob, person("dave")
    dave.do("join", scene.word, "--nick", "dave")
    chat = dave.start("chat", "team", "--json")
    try:

        def say(text: str) -> None:
            print(text, file=chat.stdin, flush=True)

        say("one")
        bob.pump(lambda: bob.messages)
        bob.publish()
        say("/msg bob two")
        bob.pump(lambda: len(bob.messages) == 2)

        (lost, held), bob.chains = bob.chains.popitem(), {}
        say("three")
        bob.pump(lambda: lost in bob.chains)
        assert bob.chains[lost].n == held.n + 1
        say("four")
        bob.pump(lambda: len(bob.messages) == 3)
        assert [each.text for each in bob.messages] == ["one", "two", "four"]
    finally:
        chat.kill()
        chat.communicate()


# --- What it refuses


def test_an_aside_that_bob_seals_again_for_carol_is_refused(scene, person) -> None:
    alice, bob, carol = scene.alice, scene.bob, scene.carol
    dave = person("dave")
    dave.do("join", scene.word, "--nick", "dave")
    for each in (alice, bob):
        each.pump(lambda each=each: len(each.cards) == 4)
    taken: list[Came] = []
    bob.open_aside = taken.append
    id = alice.whisper(bob.id, "careful with carol")
    bob.pump(lambda: taken)
    card, own, plain = bob.unwrap(taken[0])
    inner = SealedBox(bob.keys[own]).decrypt(taken[0].body[8:])

    for target in (bob.newest(carol.id), bob.newest(bob.named("dave"))):
        # Alice's own box in a new envelope, in her name; what she wrote in Bob's box, in her name and in his.
        same_box = big(target.generation) + SealedBox(PublicKey(target.key)).encrypt(inner)
        in_her_name = bob.seal_aside(target, alice.id, card.generation, plain)
        in_his_name = bob.seal_aside(target, bob.id, own, plain)
        for sealed in (same_box, in_her_name, in_his_name):
            bob.post(random(16), target.owner, sealed)
        bob.whisper(target.owner, "and an honest one")
        if target.owner == carol.id:
            carol.pump(lambda: carol.messages)
            for sealed in (same_box, in_her_name, in_his_name):  # and now the relay lies about who brought it
                carol.take(scene.message(alice, sealed, id))

    assert [each.text for each in carol.messages] == ["and an honest one"]
    assert carol.refused == [
        "an aside that another sealed than the relay says",
        "an aside that another sealed than the relay says",
        "an aside out of its context",
        "an aside that does not open",
        "an aside that does not open",
        "an aside that another sealed than the relay says",
    ]
    assert dave.told() == ([("bob", "and an honest one", True)], 3 * [("bob", "cannot-open")])


def test_a_substituted_card_is_refused(scene) -> None:
    alice, bob, carol = scene.alice, scene.bob, scene.carol
    (generation,) = bob.keys
    before = alice.newest(bob.id)
    mallory = SigningKey.generate()
    body = before.data[96:]

    alice.take([CARD, scene.room, bob.id + sign(mallory, "bc1 card", bob.id + body) + body])
    bob.keys[generation] = PrivateKey.generate()
    alice.take([CARD, scene.room, bob.card(generation)])

    assert alice.refused == ["a bad signature: bc1 card", "a second card of one generation"]
    assert alice.newest(bob.id) == carol.newest(bob.id) == before
    with pytest.raises(Refused, match="card-conflict"):
        bob.ask(PUBLISH, scene.room, bob.card(generation))


def test_a_ghost_member_is_refused(scene) -> None:
    alice, ghost = scene.alice, SigningKey.generate()
    anchor, folded = alice.log.anchor, len(alice.log)
    uninvited = state(ADMIT, ghost, body(alice.log), SigningKey.generate())
    promoted = state(ROLE, scene.bob.identity, body(alice.log, scene.carol.id, True))
    unsigned = bytearray(state(REMOVE, alice.identity, body(alice.log, scene.carol.id, False)))
    unsigned[40] ^= 1

    for statement in (uninvited, promoted, bytes(unsigned)):
        alice.take([STATEMENT, scene.room, folded + 1, statement])
        with pytest.raises(Refused):
            alice.submit(statement)
    alice.take([STATEMENT, scene.room, folded, uninvited])

    assert alice.refused == [
        "a statement that does not fold",
        "a statement that does not fold",
        "a bad signature: bc1 remove",
        "another view of the room: a different statement at one place",
    ]
    assert alice.log.anchor == anchor
    assert set(alice.log.roles) == {alice.id, scene.bob.id, scene.carol.id}


def test_a_replay_is_refused(scene, person) -> None:
    alice, bob, carol = scene.alice, scene.bob, scene.carol
    dave = person("dave")
    dave.do("join", scene.word, "--nick", "dave")
    alice.pump(lambda: len(alice.cards) == 4)
    posted: dict[bytes | None, tuple[bytes, bytes]] = {}
    post = alice.post

    def noted(id: bytes, to: bytes | None, sealed: bytes, flags: int = 0) -> None:
        posted[to] = id, sealed
        post(id, to, sealed, flags)

    alice.post = noted
    alice.say("to all")
    alice.whisper(bob.id, "to bob")
    alice.whisper(alice.named("dave"), "to dave")
    bob.pump(lambda: len(bob.messages) == 2)

    for to in (None, bob.id):  # by the relay, as it was and in another's name or id
        id, sealed = posted[to]
        bob.take(scene.message(alice, sealed, id, direct=bool(to)))
        bob.take(scene.message(carol, sealed, id, direct=bool(to)))
        bob.take(scene.message(alice, sealed, random(16), direct=bool(to)))
    for to in (None, alice.named("dave")):  # and by Alice herself
        post(random(16), to, posted[to][1])
    bob.pump(lambda: len(bob.refused) == 7)

    assert [each.text for each in bob.messages] == ["to all", "to bob"]
    assert bob.refused == [
        "a replay: a message's id for the second time",
        "a room message by another's chain",
        "a bad signature: bc1 room message",
        "a replay: a message's id for the second time",
        "an aside that another sealed than the relay says",
        "an aside out of its context",
        "a bad signature: bc1 room message",
    ]
    assert dave.told() == ([("alice", "to all", False), ("alice", "to dave", True)], 2 * [("alice", "cannot-open")])
