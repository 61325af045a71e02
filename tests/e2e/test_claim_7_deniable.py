"""Claim 7: nothing proves what Alice whispered. Bob can make any aside "from Alice to Bob" that he could ever show.

With real profiles: Bob takes his own keys and the public cards, makes an aside with a text of his choice, and his own
program opens it as Alice's, exactly as it opens a real one. And when Alice's program sends an aside it signs nothing
but its HELLO to the relay, nor is there any signature of hers in an aside's bytes, as far as even Bob can open them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgpack
import nacl.bindings
import pytest

from peer.core.commands import Show
from peer.core.events import Message as Shown
from peer.core.events import Reading
from peer.core.room import RoomCore
from peer.store import Store
from protocol import card as cards
from protocol import envelope as ev
from protocol import seal
from protocol.base32 import from_base32
from protocol.content import Aside, Content, Text, encode_aside
from protocol.errors import BadSignature
from protocol.identity import verify
from protocol.ids import MessageId, PeerId
from protocol.primitives import Label, new_message_id, pad, random
from tests.e2e.profile import Profile
from tests.e2e.scene import Scene, tampered
from tests.e2e.wire import Wire, now_ms

TRUTH = "careful with chuck"
LIE = "I, alice, will pay bob a million"


@dataclass
class Court:
    """What Bob can bring before a judge: his profile, Alice's card, and what the relay delivered to him."""

    alice: PeerId
    bob: Profile
    relay: bytes
    evidence: ev.Message
    signed: list[tuple[bytes, str, bytes]]

    def route(self, message: ev.Message) -> seal.Route:
        card = self.bob.card_of(self.alice)
        return seal.Route(
            room=self.bob.room,
            message=MessageId(message.id),
            sender=self.alice,
            sender_generation=card.generation,
            recipient=self.bob.identity.id,
            recipient_generation=max(self.bob.sealing),
        )


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """Alice has whispered to Bob, and everything that her program signed was written down."""
    scene = Scene(tmp_path_factory.mktemp("court"))
    scene.env["TAP"] = str(scene.folder / "tap")
    try:
        relay = scene.relay()
        alice, bob = scene.company(relay, "alice", "bob")
        alice.program = tampered("signatures", "peer")
        alice.whispers("bob", TRUTH)
        profile = Profile(bob.home)
        with Wire(relay.address, profile.identity) as wire:
            assert wire.attaches(profile.room) == "attached"
            (evidence,) = wire.all(ev.Message)
        tap = msgpack.Unpacker()
        tap.feed((scene.folder / "tap").read_bytes())
        yield Court(
            Profile(alice.home).identity.id,
            profile,
            from_base32(relay.address.key),
            evidence,
            [(public, label, content) for _, public, label, content in tap],
        )
    finally:
        scene.end()


def forged(court: Court, content: Content, counter: int) -> ev.Message:
    """Make an aside from Alice to Bob out of Bob's own key and Alice's card: both sides exchange to the same key."""
    bob, alice = court.bob, court.bob.card_of(court.alice)
    message = ev.Message(bob.room, court.alice, True, counter, now_ms(), new_message_id(), b"")
    route = court.route(message)
    secret = bob.sealing[route.recipient_generation]
    aside = Aside(bob.membership.anchor, counter, 0, now_ms(), content)
    nonce = random(24)
    padded = pad(encode_aside(route.context(content.KIND), aside))
    box = nonce + nacl.bindings.crypto_box(padded, nonce, alice.sealing_key, secret)
    header = court.alice + route.sender_generation.to_bytes(8)
    sealed = nacl.bindings.crypto_box_seal(header + box, cards.sealing_key(secret))
    body = route.recipient_generation.to_bytes(8) + sealed
    return ev.Message(bob.room, court.alice, True, counter, now_ms(), message.id, body)


def shown_by_bobs_program(court: Court, *messages: ev.Message) -> list[Shown]:
    """Return what Bob's program shows of deliveries."""
    store = Store.open(court.bob.home, "bob")
    try:
        (room,) = store.rooms()
        core = RoomCore(store, room, store.identity(), reading=Reading.BACKLOG)
        core.receive(messages, now_ms())
        return [c.item for c in core.take() if isinstance(c, Show) and isinstance(c.item, Shown)]
    finally:
        store.close()


def test_bobs_program_takes_bobs_forgery_for_alices_word(court):
    lie = forged(court, Text(LIE), counter=2)
    assert len(lie.body) == len(court.evidence.body)
    real, forgery = shown_by_bobs_program(court, court.evidence, lie)
    assert (real.text, forgery.text) == (TRUTH, LIE)
    assert real.sender == forgery.sender
    assert real.sender.nick == "alice"
    assert forgery.sender.id == court.alice
    assert (real.direct, forgery.direct) == (True, True)
    assert real.to == forgery.to


def test_only_alice_and_bob_could_have(court):
    """It is deniable, not worthless: without Alice's key or Bob's, nobody makes one that Bob's program opens."""
    eves = cards.new_sealing_secret()
    route = court.route(court.evidence)
    aside = Aside(court.bob.membership.anchor, 3, 0, now_ms(), Text(LIE))
    body = seal.seal(aside, route, eves, cards.sealing_key(court.bob.sealing[route.recipient_generation]))
    lie = ev.Message(court.bob.room, court.alice, True, 3, now_ms(), court.evidence.id, body)
    assert shown_by_bobs_program(court, lie) == []


def test_alices_program_signs_nothing_of_an_aside(court):
    """All that any of her keys signed while she sent it: the HELLO, over the relay's key and her connection's."""
    assert [(public, label) for public, label, _ in court.signed] == [(court.alice, "HELLO")]
    ((_, _, content),) = court.signed
    assert content[:32] == court.relay
    assert len(content) == 64


def test_no_signature_of_alices_is_in_an_aside(court):
    """Whatever can be opened of it by Bob himself; the same search finds the one in her card."""
    bob = court.bob
    alices_card = bob.card_of(court.alice)
    assert signatures_in(alices_card.raw, court.alice) == {(Label.CARD, 32)}
    route = court.route(court.evidence)
    secret = bob.sealing[route.recipient_generation]
    unsealed = seal.unseal(court.evidence.body, secret, cards.sealing_key(secret))
    nonce, box = unsealed.box[:24], unsealed.box[24:]
    plaintext = nacl.bindings.crypto_box_open(box, nonce, alices_card.sealing_key, secret)
    assert TRUTH.encode() in plaintext
    for layer in (court.evidence.encode(), court.evidence.body, unsealed.box, plaintext):
        assert signatures_in(layer, court.alice) == set()


def signatures_in(data: bytes, signer: bytes) -> set[tuple[Label, int]]:
    """Return under which label, and where in ``data``, any 64 bytes are a signature by ``signer`` of what is around."""
    found = set()
    for place in range(len(data) - 63):
        before, signature, after = data[:place], data[place : place + 64], data[place + 64 :]
        if signature[63] & 0xF0:  # no scalar below the order of the group: libsodium would refuse it unseen
            continue
        for label in Label:
            for content in {before + after, after, before, data}:
                try:
                    verify(signer, label, content, signature)
                except BadSignature:
                    continue
                found.add((label, place))
    return found
