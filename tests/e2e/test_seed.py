"""What the product grew from, over real processes: a room, an invite, talk, and a message for one member alone.

Each test is a feature that the first document asked for or that its users had: what the server can see, who gets what,
for how long, and what is left anywhere afterwards.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from protocol import envelope as ev
from protocol import limits
from protocol.card import Card, sealing_key
from protocol.invite import Invite
from protocol.primitives import Label, derive, new_message_id
from tests.e2e.profile import Profile
from tests.e2e.scene import PATIENCE, Relay, Scene, wait
from tests.e2e.traces import files, found, memory
from tests.e2e.wire import Wire, now_ms

ROOM_TEXT = "the quokka sleeps at noon"
ASIDE = "the wombat is not to be trusted"
TITLE = "marsupialia"
NICKS = ("numbat77", "bandicoot8", "bettong9")


def test_who_has_an_invite_joins_and_nobody_else(scene):
    alice, bob, eve = scene.people("alice", "bob", "eve")
    relay = scene.relay()
    invite = alice.creates(relay)
    assert re.fullmatch(r"bc1[a-z2-7]+", invite)
    brief = alice.runs("invite", "team", "--expires", "1s").strip()
    expired = time.monotonic() + 1.5
    last = "a" if invite[-9] != "a" else "b"
    for word in ("", "bc1nonsense", invite[:-9] + last + invite[-8:]):
        refused = eve.tries("join", "-", stdin=word)
        assert (refused.code, refused.out) == (8 if word else 2, ""), word
    once = alice.runs("invite", "team", "--uses", "1").strip()
    assert bob.joins(once) == "team"
    wait(lambda: time.monotonic() > expired)
    for ended in (once, brief):
        refused = eve.tries("join", "-", stdin=ended)
        assert (refused.code, refused.out) == (6, "")
    assert eve.tries("poll", "team").code == 5
    members = alice.members()
    assert {nick: member["role"] for nick, member in members.items()} == {"alice": "founder", "bob": "member"}
    assert [member["self"] for member in members.values()] == [True, False]


def test_they_talk(scene):
    """Also by ways that a script would take: text from a pipe, several readers, and everything once."""
    alice, bob, carol = scene.company(scene.relay(), "alice", "bob", "carol")
    alice.says("morning, all")
    bobs = bob.listens("--count", "3")
    assert bob.runs("send", "team", stdin="two\nlines\n") == ""
    carol.says("hello")
    alice.says("nice")
    assert bobs.ends() == 0
    assert bobs.texts() == ["morning, all", "hello", "nice"]
    assert alice.polls() == ["two\nlines", "hello"]
    assert carol.polls() == ["morning, all", "two\nlines", "nice"]
    assert bob.polls() == []  # what was listened to; and what was polled:
    assert carol.polls() == []


def test_a_direct_message_reaches_its_addressee_alone(scene):
    alice, bob, chuck = scene.company(scene.relay(), "alice", "bob", "chuck")
    bobs, chucks = bob.listens(), chuck.listens()
    alice.says("for all")
    alice.whispers("bob", "careful with chuck", "--wait", "delivered")
    bob.whispers("alice", "I will be", "--wait", "relayed")
    alice.says("the end")
    bobs.hears("the end")
    chucks.hears("the end")
    assert [(m["text"], m["direct"]) for m in bobs.heard()] == [
        ("for all", False),
        ("careful with chuck", True),
        ("the end", False),
    ]
    assert bobs.heard()[1]["to"]["nick"] == "bob"
    assert bobs.heard()[1]["from"]["nick"] == "alice"
    assert [(m["text"], m["direct"], m["to"]) for m in chucks.heard()] == [
        ("for all", False, None),
        ("the end", False, None),
    ]
    assert [(m["text"], m["direct"]) for m in alice.poll()] == [("I will be", True)]
    for listener in (bobs, chucks):
        assert not listener.events("gap", "missed", "alarm", "duplicate")


def test_poll_leaves_out_what_is_addressed_to_others(scene):
    alice, bob, chuck, dave = scene.company(scene.relay(), "alice", "bob", "chuck", "dave")
    alice.says("for two", "--to", "bob", "--to", "dave")
    alice.says("for all")
    bob.whispers("chuck", "for chuck")
    assert [(m["text"], m["direct"]) for m in dave.poll()] == [("for two", True), ("for all", False)]
    assert bob.polls() == ["for two", "for all"]
    assert chuck.polls() == ["for all", "for chuck"]
    assert alice.polls() == []
    assert chuck.polls() == []


def test_actions(scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    alice.says("waves", "--me")
    alice.whispers("bob", "winks", "--me")
    chat = alice.chats()
    chat.writes("/me nods", "and says so", "/msg bob psst")
    chat.closes_stdin()
    assert chat.ends() == 0
    assert [(m["text"], m["action"], m["direct"]) for m in bob.poll()] == [
        ("waves", True, False),
        ("winks", True, True),
        ("nods", True, False),
        ("and says so", False, False),
        ("psst", False, True),
    ]


def test_both_streams_expire_at_the_same_interval(scene):
    """As Bob, on the wire: neither is gone before its time, and an aside is kept no longer than a room message."""
    retention = 3
    relay = scene.relay("--retention", str(retention))
    alice, bob = scene.company(relay, "alice", "bob")
    of_bob = Profile(bob.home)

    def talk(wire: Wire) -> list[ev.Message]:
        """Return the messages that came, without the key of a chain, which is shorter than these are."""
        return [message for message in wire.all(ev.Message) if len(message.body) > 1_000]

    def kept() -> set[bytes]:
        with Wire(relay.address, of_bob.identity) as again:
            assert again.attaches(of_bob.room) == "attached"
            return {message.id for message in talk(again)}

    with Wire(relay.address, of_bob.identity) as live:
        assert live.attaches(of_bob.room) == "attached"
        chat = alice.chats()
        for number, addressee in enumerate(("", "/msg bob ", "")):
            chat.writes(addressee + "long".ljust(300, "-"))
            live.waits(lambda number=number: len(talk(live)) > number)
        said = talk(live)
    assert [message.direct for message in said] == [False, True, False]
    gone: dict[bytes, int] = {}
    deadline = time.monotonic() + retention + PATIENCE
    while len(gone) < len(said):
        assert time.monotonic() < deadline, "one is kept for ever"
        still = kept()
        for message in said:
            if message.id not in still:
                gone.setdefault(message.id, now_ms())
            assert (message.id in gone) != (message.id in still)
    for message in said:
        assert gone[message.id] - message.time >= retention * 1_000 - 2  # two clocks, each rounded down
    assert bob.polls() == []


def test_an_idle_room_is_forgotten_and_comes_back_from_a_member(scene):
    """Whoever comes first brings it back, a one-shot command too, with the cards that others need."""
    relay = scene.relay("--idle-close", "5")  # longer than anybody takes from one step to the next
    alice, bob = scene.company(relay, "alice", "bob")
    carol = scene.person("carol")
    of_bob = Profile(bob.home)
    with Wire(relay.address, of_bob.identity) as wire:
        fetch = lambda: ev.Fetch(new_message_id(), of_bob.room, None, 0)  # it does not attach
        wait(lambda: wire.asks(fetch()) == "unknown-room")
        sending = bob.starts("send", "team", "anybody?")
        wait(lambda: wire.attaches(of_bob.room) == "attached")  # or the room might be forgotten again
        assert sending.ends() == 0, sending
        alices = alice.listens()
        alices.hears("anybody?")
    assert carol.joins(scene.invite) == "team"
    carol.says("me")
    alices.hears("me")
    assert not alices.events("alarm", "missed", "gap")
    assert set(alice.members()) == {"alice", "bob", "carol"}


def test_the_roster_carries_public_keys_in_at_most_512_bytes(scene):
    relay = scene.relay()
    alice, bob = scene.company(relay, "alice", "b" * limits.NICK)
    profiles = [Profile(alice.home), Profile(bob.home)]
    with Wire(relay.address, profiles[1].identity) as wire:
        assert wire.attaches(profiles[1].room) == "attached"
        shown = [delivery.card for delivery in wire.all(ev.Card)]
    assert all(len(raw) <= limits.CARD == 512 for raw in shown)
    cards = {card.owner: card for card in (Card.decode(raw, room=profiles[0].room, now=now_ms()) for raw in shown)}
    assert {profile.identity.id for profile in profiles} == set(cards)
    for profile in profiles:
        card = cards[profile.identity.id]
        assert card.sealing_key == sealing_key(profile.sealing[card.generation])
        assert profile.nick.encode() not in card.raw


# -- traces -----------------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A story that was told, and what came of it."""

    scene: Scene
    relay: Relay
    invite: str
    profiles: list[Profile]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Three people said things in every way there is; the relay still has it all."""
    scene = Scene(tmp_path_factory.mktemp("told"))
    try:
        relay = scene.relay()
        alice, bob, chuck = scene.people(*NICKS)
        invite = alice.creates(relay, TITLE)
        assert bob.joins(invite) == chuck.joins(invite) == TITLE
        bobs = bob.listens(room=TITLE)
        alice.says(ROOM_TEXT, room=TITLE)
        alice.whispers(NICKS[1], ASIDE, "--wait", "delivered", room=TITLE)
        chat = chuck.chats(TITLE)
        chat.hears(ROOM_TEXT)
        chat.writes(f"{ROOM_TEXT}, says chuck", f"/msg {NICKS[1]} {ASIDE}, says chuck", "/me listens")
        bobs.hears(f"{ASIDE}, says chuck", "listens")
        chat.closes_stdin()
        assert chat.ends() == 0
        bobs.child.terminate()
        assert bobs.ends() == 0
        assert len(alice.polls(TITLE)) == 2
        yield Told(scene, relay, invite, [Profile(person.home) for person in (alice, bob, chuck)])
    finally:
        scene.end()


def test_the_relay_has_nothing_readable_in_its_memory(told):
    alice, bob, _ = told.profiles
    there = {alice.room, alice.identity.id, bob.cards[0].sealing_key, str(told.scene.folder / "relay")}
    assert found(there, memory(told.relay.pid)) == there
    secret = [told.invite, ROOM_TEXT, ASIDE, "quokka", "wombat", TITLE, *NICKS, Invite.decode(told.invite).seed]
    for profile in told.profiles:
        secret += [profile.secret, profile.identity.seed, *profile.sealing.values()]
        secret += [key for chain in profile.chains for key in (chain.state.key, *keys_of(chain.state.key))]
        secret += [derive(profile.secret, label) for label in (Label.NICKS, Label.TITLE)]
    assert found(secret, memory(told.relay.pid)) == set()


def test_nothing_of_a_message_lies_on_any_disk(told):
    """Profiles keep names and the keys that the design says: no text, and no key of a message."""
    folder, bob = told.scene.folder, told.profiles[1]
    there = {NICKS[1], TITLE, bob.secret, bob.room, bob.chains[0].state.key}
    assert found(there, files(folder)) == there
    assert found([ROOM_TEXT, ASIDE, "quokka", "wombat", "listens"], files(folder)) == set()
    spent = [key for profile in told.profiles for chain in profile.chains for key in keys_of(chain.state.key)]
    assert len(spent) >= 20
    assert found(spent, files(folder)) == set()
    for name in ("home", "tmp", "data"):
        assert list((folder / name).iterdir()) == []


def test_the_relay_writes_nothing_about_anybody(told):
    """Neither to its disk, where its own key lies, nor to its log."""
    profiles, home = told.profiles, told.scene.folder / "relay"
    assert [path.name for path in home.iterdir()] == ["relay.key"]
    logged = [line.encode() for line in told.relay.lines[1:] + told.relay.errors]
    names = [*NICKS, TITLE, profiles[0].room, *(profile.identity.id for profile in profiles)]
    assert found(names, [*logged, *files(home)]) == set()


def keys_of(state: bytes) -> list[bytes]:
    """Return the message keys of a chain from a state on, and the states after it."""
    states = [state]
    for _ in range(3):
        states.append(derive(states[-1], Label.CHAIN_STEP))
    return [derive(key, Label.MESSAGE_KEY) for key in states] + states[1:]


def test_the_search_finds_texts_in_other_clothes():
    for clothes in ("utf-8", "utf-16", "utf-32"):
        assert found([ASIDE, ROOM_TEXT], [b"?" + f"I said: {ASIDE}!".encode(clothes)]) == {ASIDE}
    for before in range(3):
        assert found([ASIDE], [base64.b64encode(bytes(before) + f"{ASIDE}, I said".encode())]) == {ASIDE}
