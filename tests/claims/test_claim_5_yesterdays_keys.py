"""Claim 5: yesterday's keys open nothing (attack 24).

Record all traffic, let two rotations and one retention pass, take an online peer's live key objects and its disk:
earlier asides and room messages stay closed. The thief takes more: every object of every peer, and of the relay, in
this process, and all their profiles' raw bytes. He looks for every secret that was ever made, and then tries whatever
he has on all that was recorded. A profile that nobody opens does not rotate: its newest sealing key stays, for it is
what the next ``send`` is sealed with. What carries it: ``keys.bury`` (first thing at every tick, frame and start),
``secure_delete`` and ``Store.vacuum``, ``SendingChain.encrypt`` stepping forward, ``Outbox.tick`` ending chains, and
``Outbox._fail`` leaving no trace of what it held in the errors that a program may keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from peer.core.events import Reading
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.content import Content, Text
from protocol.errors import UnknownPeer
from protocol.ids import PeerId
from tests.claims.conftest import Company, gather
from tests.claims.hostile_relay import Liar, Lie
from tests.claims.loot import Loot
from tests.claims.thief import Noted, Vault, candidates, columns, disk, live_bytes, search
from tests.claims.world import LyingWorld

TWO_ROTATIONS_AND_ONE_RETENTION = 2 * limits.CARD_ROTATION + limits.RETENTION + limits.KEY_MARGIN + limits.MINUTE


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    with Vault().taps(monkeypatch) as vault:
        yield vault


@pytest.fixture
def company(vault: Vault, tmp_path: Path) -> Company:
    return gather(LyingWorld(tmp_path))


@dataclass
class Day:
    """What was recorded of a time: the traffic, and the secrets that were made."""

    posts: list[tuple[PeerId, ev.Post]]
    secrets: list[Noted]

    @property
    def loot(self) -> Loot:
        """What a thief of all these secrets would have."""
        keys = [noted.unmasked() for noted in self.secrets]
        return Loot(keys, keys)


def recorded(c: Company, vault: Vault) -> Day:
    posts = [(peer, request) for peer, request in c.world.tape.heard if isinstance(request, ev.Post)]
    return Day(posts, list(vault.noted))


def know_all_cards(c: Company, loot: Loot) -> Loot:
    """Give the thief what is public: every card that was ever published."""
    from protocol.card import Card

    raws = {request.card for _, request in c.world.tape.heard if isinstance(request, ev.Publish)}
    loot.cards = [Card.decode(raw, room=c.world.room, now=1 << 47) for raw in raws]
    return loot


def talk(c: Company, when: str) -> set[str]:
    """Let everybody say and whisper something; return the words."""
    words = set()
    for person in c.people:
        person.says(f"{person.name}, {when}")
        words.add(f"{person.name}, {when}")
        for other in c.people:
            if other is not person:
                person.whispers(other.name, f"{person.name} to {other.name}, {when}")
                words.add(f"{person.name} to {other.name}, {when}")
    for person in c.people:
        person.forgets()
    return words


def texts(contents: Iterable[Content]) -> set[str]:
    return {content.text for content in contents if isinstance(content, Text)}


def test_the_search_finds_what_is_alive(company: Company, vault: Vault):
    """The proof that the thief is a good one: today he finds the keys, and they open everything of today."""
    c = company
    words = talk(c, "today")
    today = recorded(c, vault)
    living = [noted for noted in today.secrets if noted.kind == "sealing"]
    assert search(living, disk(c.world)) == living
    chains = [person.core.outbox._chain for person in c.people]
    now = [noted for noted in today.secrets if any(chain and chain._key == noted.unmasked() for chain in chains)]
    del chains
    assert len(now) == 3
    assert search(now, live_bytes()) == now
    first_keys = [noted for noted in today.secrets if noted.kind == "chain"]
    assert search(first_keys, disk(c.world)) != []
    stolen = candidates([*live_bytes(), *columns(c.world)])
    loot = know_all_cards(c, Loot(stolen, stolen))
    assert texts(loot.opens_any(today.posts[-12:])) >= {word for word in words if word.startswith("chuck")}


def test_yesterdays_keys_are_nowhere_and_what_is_there_opens_nothing_of_yesterday(company: Company, vault: Vault):
    c = company
    words = talk(c, "yesterday")
    yesterday = recorded(c, vault)
    assert texts(know_all_cards(c, yesterday.loot).opens_any(yesterday.posts)) >= words, "the notes are complete"

    c.world.passes(TWO_ROTATIONS_AND_ONE_RETENTION // 2)
    talk(c, "in between")
    c.world.passes(TWO_ROTATIONS_AND_ONE_RETENTION // 2)
    talk(c, "now")

    assert search(yesterday.secrets, disk(c.world)) == []
    live = live_bytes()
    assert search(yesterday.secrets, live) == []
    stolen = candidates([*live, *columns(c.world)])
    assert len(stolen) > 50
    assert know_all_cards(c, Loot(stolen, stolen)).opens_any(yesterday.posts) == []


def test_a_step_of_a_chain_is_forgotten_at_once_by_its_sender(company: Company, vault: Vault):
    """What was said on a chain is closed to who takes its sender's memory a moment later."""
    c = company
    c.world.passes(limits.CHAIN_LIFE)
    before = len(vault.noted)
    c.alice.says("a moment ago")
    c.alice.says("and another")
    made = [noted for noted in vault.noted[before:] if noted.kind != "sealing"]
    chain = c.alice.core.outbox._chain
    past = [noted for noted in made if noted.unmasked() != chain._key]
    assert len(past) >= 4
    assert search(past, live_bytes()) == []


def test_who_was_asleep_buries_its_keys_before_anything_else(company: Company, vault: Vault):
    """A profile that nobody opened for a day: the first thing that any process does is ``bury``."""
    c = company
    talk(c, "yesterday")
    yesterday = recorded(c, vault)
    for person in c.people:
        person.sleeps()
    assert search(yesterday.secrets, disk(c.world)) != []
    c.world.leaps(25 * limits.HOUR)
    c.bob.starts(Reading.NOTHING, connect=False)
    assert search(but_the_newest(c, yesterday), [c.bob.profile]) == []


def but_the_newest(c: Company, day: Day) -> list[Noted]:
    """All secrets of a day but those of the cards that are still the newest of their owners."""
    newest = {person.core.keys.newest().secret for person in c.people if person.processes}
    return [noted for noted in day.secrets if noted.unmasked() not in newest]


def test_who_wakes_from_sleep_buries_its_keys_with_the_first_tick(company: Company, vault: Vault):
    """The process lived on, the machine did not: what is overdue is gone before anything is sent."""
    c = company
    c.world.passes(limits.CARD_ROTATION + limits.MINUTE)
    talk(c, "yesterday")
    yesterday = but_the_newest(c, recorded(c, vault))
    assert search(yesterday, disk(c.world)) != []
    c.world.leaps(2 * limits.HOUR)
    for person in c.people:
        person.core.tick(person.now)
    assert search(yesterday, disk(c.world)) == []
    assert search(yesterday, live_bytes()) == []


@dataclass
class Stubborn(Lie):
    """Claims to retain for thirty years, and accepts no card."""

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        return () if isinstance(request, ev.Publish) else (request,)

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        return (replace(delivery, retention_s=10**9) if isinstance(delivery, ev.Welcome) else delivery,)


def test_no_relay_keeps_a_key_alive(company: Company, vault: Vault):
    """A relay that never accepts a rotation and claims an absurd retention: all dies an hour and a minute after."""
    c = company
    talk(c, "yesterday")
    yesterday = recorded(c, vault)
    c.world.lies(Stubborn())
    for person in c.people:
        person.process.cuts()
        person.process.reconnects()
    c.alice.says("on a chain that is received under that claim")
    yesterday = Day(yesterday.posts, list(vault.noted))
    c.world.passes(limits.HOUR + limits.CHAIN_LIFE + 3 * limits.MINUTE)
    assert search(yesterday.secrets, disk(c.world)) == []
    assert search(yesterday.secrets, live_bytes()) == []


def test_no_connection_keeps_a_key_alive_either(company: Company, vault: Vault):
    """The relay is gone for good; the peers go on ticking."""
    c = company
    talk(c, "yesterday")
    yesterday = recorded(c, vault)
    for person in c.people:
        person.process.cuts()
    c.world.passes(limits.HOUR + limits.CHAIN_LIFE + 3 * limits.MINUTE)
    assert search(but_the_newest(c, yesterday), disk(c.world)) == []
    assert search(but_the_newest(c, yesterday), live_bytes()) == []


def test_an_error_that_a_program_keeps_holds_no_key(company: Company, vault: Vault):
    """An exception remembers the frames that it came through, and these what they held: ``Outbox._fail`` lets go."""
    c = company
    mallory = c.world.mallory()
    c.alice.promotes("bob")
    c.alice.process.cuts()
    (message,) = c.alice.core.send(Text("to mallory"), [mallory.id], c.alice.now)
    c.bob.does(st.remove, mallory.id, False)
    mallory.cuts()
    c.world.processes.remove(mallory)  # type: ignore[arg-type]
    yesterday = list(vault.noted)
    own = [noted for noted in yesterday if noted.unmasked() not in mallory.loot.sealing]
    del mallory
    c.alice.process.reconnects()
    error = c.alice.state(message)
    assert isinstance(error, UnknownPeer)
    c.world.passes(limits.HOUR + limits.CHAIN_LIFE + 3 * limits.MINUTE, step=limits.MINUTE)
    assert search(own, live_bytes()) == []


def test_what_the_relay_itself_holds_is_gone_after_its_retention(company: Company):
    """The relay is honest here: nothing that it retained longer than it says is in its memory."""
    c = company
    talk(c, "yesterday")
    bodies = {request.body for _, request in c.world.tape.heard if isinstance(request, ev.Post)}
    room = c.world.core.room
    held = lambda: {message[4] for stream in (room.stream, *room._asides.values()) for message in kept(stream)}
    assert any(body in envelope for body in bodies for envelope in held())
    c.world.passes(limits.RETENTION + limits.CHAIN_LIFE + limits.SECOND)
    assert not held()


def kept(stream) -> list:
    return [entry for shelf in stream._shelves for entry in shelf.kept.values()]
