"""Members who misbehave: Chuck was let in, and knows the protocol. What he does costs the others nothing but noise."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable

import pytest

from protocol import card as cards
from protocol import envelope as ev
from protocol import limits, names
from protocol import statement as st
from protocol.chain import SendingChain
from protocol.content import RoomMessage, Text
from protocol.identity import Identity
from protocol.ids import MessageId, RoomId
from protocol.membership import START
from protocol.primitives import new_message_id
from tests.e2e.scene import wait
from tests.e2e.wire import Chuck, Wire, now_ms
from tests.faults.gauge import MIB, descriptors
from tests.hostile.town import TALKERS, Town
from tests.hostile.zmtp import Raw

_numbers = itertools.count()
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def chuck(town):
    """Another one each time: the nick of who was here before would be told as changed."""
    chuck = Chuck(town.address, town.invite, nick=f"chuck{next(_numbers)}")
    chuck.enters()
    yield chuck
    chuck.close()


def test_statements_and_cards_that_nobody_signed(town, chuck):
    """Every flipped bit, every other's name: refused, and nobody is shown anything."""
    mallory = Identity.generate()
    anchor = chuck.membership.anchor
    whole = st.leave(chuck.identity, chuck.room, anchor)
    statements = [
        *(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(0, len(whole), 3)),
        whole[:-1],
        whole + b"\0",
        b"",
        os.urandom(200),
        st.role(chuck.identity, chuck.room, anchor, chuck.identity.id, True),
        st.remove(chuck.identity, chuck.room, anchor, chuck.founder, True),
        st.remove(mallory, chuck.room, anchor, chuck.founder, True),
        st.close(chuck.identity, chuck.room, anchor),
        st.close(mallory, chuck.room, anchor),
        st.found(chuck.identity, bytes(16), now_ms(), False, bytes(100)),
    ]
    nick = names.seal_nick(chuck.invite.secret, chuck.room, chuck.identity.id, "chuck")
    own = cards.make(chuck.identity, chuck.room, now_ms(), cards.sealing_key(cards.new_sealing_secret()), nick)
    many = [
        *(own[:place] + bytes([own[place] ^ 1]) + own[place + 1 :] for place in range(0, len(own), 3)),
        own[:-1],
        own + b"\0",
        b"",
        chuck.founder + own[32:],
        cards.make(mallory, chuck.room, now_ms(), cards.sealing_key(cards.new_sealing_secret()), nick),
        cards.make(chuck.identity, bytes(32), now_ms(), cards.sealing_key(cards.new_sealing_secret()), nick),
        cards.make(chuck.identity, chuck.room, now_ms() + limits.HOUR, cards.sealing_key(bytes(32)), nick),
        cards.make(chuck.identity, chuck.room, now_ms(), bytes(32), nick),
    ]
    before = len(town.crowd.reports)

    def attack() -> None:
        for raw in statements:
            assert chuck.asks(ev.Submit(new_message_id(), chuck.room, raw)) not in ("accepted", "")
        for raw in many:
            assert chuck.asks(ev.Publish(new_message_id(), chuck.room, raw)) not in ("accepted", "")

    town.withstands(attack)
    told = [report[2] for report in town.crowd.reports[before:] if report[0] == "told"]
    assert set(told) <= {"joined"}
    chuck.catches_up()


def test_bodies_that_are_nothing(town, chuck):
    """Room messages and asides of 0 to 64 bytes, and larger ones: whoever gets them says so and goes on."""
    sizes = [*range(65), 200, 5_000, limits.BODY]
    bodies = [random.Random(size).randbytes(size) for size in sizes]
    peers = [peer for peer in chuck.membership.members if peer != chuck.identity.id]

    def attack() -> None:
        for body in bodies:
            for to in (None, *peers):
                for flag in {0, int(to is not None)}:
                    post = ev.Post(new_message_id(), chuck.room, to, chuck.membership.index, flag, body)
                    assert chuck.asks(post) in ("accepted", "rate")

    before = len(town.crowd.reports)
    attack()
    town.withstands(lambda: None)
    told = [report for report in town.crowd.reports[before:] if report[0] == "told" and report[2] == "missed"]
    assert {report[1] for report in told} == set(TALKERS)
    assert all(report[3].startswith("chuck") for report in told)


class Flood:
    """Posts of a member, a hundred in a frame, as fast as the relay answers them."""

    def __init__(self, wire: Wire, room: RoomId, index: int, body: Callable[[MessageId], bytes]) -> None:
        self._wire, self._room, self._index, self._body = wire, room, index, body
        self.refused = 0

    def wave(self) -> None:
        self._wire.seen.clear()
        ids = [new_message_id() for _ in range(100)]
        self._wire.sends(*(ev.Post(id, self._room, None, self._index, 0, self._body(id)) for id in ids))
        assert self._wire.asks(ev.Ping(new_message_id())) in ("accepted", "rate")
        self.refused += len(self._wire.all(ev.Refused))
        assert {refused.reason for refused in self._wire.all(ev.Refused)} <= {"rate"}


def test_a_flood_in_another_room(town):
    """What is more than anybody may say is refused, and the relay has time for others all the same."""
    with Wire(town.address) as wire:
        found = st.found(wire.identity, os.urandom(16), now_ms(), False, bytes(100))
        room = st.room_id(found)
        assert wire.asks(ev.Submit(new_message_id(), room, found)) == "accepted"
        assert wire.attaches(room) == "attached"
        flood = Flood(wire, room, 1, lambda id: bytes(300))
        while not flood.refused:
            flood.wave()
        town.withstands(flood.wave, times=10, grows=24 * MIB)


def test_a_flood_in_the_same_room(scene):
    """With a rate that members can read, what others say comes through between it."""
    town = Town(scene, "--posts-per-s", "40", "--posts-burst", "100")
    with Chuck(town.address, town.invite) as chuck:
        chuck.enters()
        chain = SendingChain(chuck.room, chuck.identity.id, chuck.membership.index, now_ms())
        for peer in chuck.membership.members:
            if peer != chuck.identity.id:
                assert chuck.whispers(peer, chain.share()) == "accepted"
        anchor = chuck.membership.anchor

        def body(id: MessageId) -> bytes:
            text = Text(f"{chain.counter} {time.monotonic_ns()} - ")
            return chain.encrypt(RoomMessage(now_ms(), text), id, anchor) if chain.counter < 900 else bytes(300)

        flood = Flood(chuck, chuck.room, anchor.index, body)
        flood.wave()
        town.withstands(flood.wave, times=20, grows=24 * MIB)
        assert flood.refused


@pytest.mark.faults
def test_connections_that_read_nothing(scene):
    """Sixteen of them attach, as members, and never read again: they cost what is bounded, and delay nobody."""
    town = Town(scene, "--slow-cut", "5")
    chuck = Chuck(town.address, town.invite)
    chuck.enters()
    deaf: list[Raw] = []
    for _ in range(15):
        raw = Raw(town.address, receive_buffer=4_096)
        raw.arrives(chuck.identity)
        raw.says(ev.Attach(new_message_id(), chuck.room, False, 0, START, 0, 0).encode())
        deaf.append(raw)
    assert descriptors(town.relay.pid) >= town.descriptors + 16
    town.crowd.talk("alice", every=0.03, size=60_000)
    town.withstands(lambda: time.sleep(0.1), rounds=60, times=10, grows=64 * MIB)
    wait(lambda: descriptors(town.relay.pid) <= town.descriptors + 1)
    town.crowd.hush("alice")
    town.is_whole()
    for raw in deaf:
        raw.close()
    chuck.close()
