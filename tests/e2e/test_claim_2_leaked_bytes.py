"""Claim 2: leaked bytes are useless. Everything the relay ever held or sent, and all of Chuck's keys, open no aside
between Alice and Bob.

The relay runs with a tap that writes down every frame it takes and gives away, decrypted. Chuck has that, the relay's
own key, its memory, his whole profile and the invite. He tries every body with every key in every way in which anything
of ours is ever opened, and in some that are not ours. The same trial opens what is his own, so it is no straw man.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import nacl.bindings
import nacl.exceptions
import pytest

from protocol import card as cards
from protocol import chain as ch
from protocol import envelope as ev
from protocol import seal
from protocol.base32 import from_base32
from protocol.content import Text
from protocol.errors import BackchannelError
from protocol.ids import MessageId, PeerId, SealingKey, SealingSecret
from protocol.invite import Invite
from protocol.primitives import Label, aead_decrypt, derive
from tests.e2e.profile import Profile
from tests.e2e.scene import Scene, tampered
from tests.e2e.traces import found, memory

# None stands in the README: a relay that looks up its own version reads that with the installed metadata.
ASIDES = ("careful with chuck, he listens", "I know", "wombat ".ljust(700, "w"), "quokka")
ROOM_TEXTS = ("good morning, all of you", "morning, alice")


@dataclass
class Leak:
    """All that Chuck got hold of."""

    folder: Path
    invite: Invite
    chuck: Profile
    posts: dict[bytes, tuple[PeerId, ev.Post]] = field(default_factory=dict)
    """By message id: by whom, and what."""
    deliveries: dict[bytes, ev.Message] = field(default_factory=dict)
    frames: list[bytes] = field(default_factory=list)

    def read(self, tap: Path) -> None:
        """Sort what the tap wrote down."""
        identities: dict[bytes, PeerId] = {}
        records = msgpack.Unpacker()
        records.feed(tap.read_bytes())
        for direction, connections, frame in records:
            self.frames.append(frame)
            for envelope in ev.decode_requests(frame) if direction == "in" else ev.decode_deliveries(frame):
                match envelope:
                    case ev.Hello():
                        identities[connections[0]] = PeerId(envelope.identity)
                    case ev.Post():
                        self.posts[envelope.id] = (identities[connections[0]], envelope)
                    case ev.Message():
                        self.deliveries[envelope.id] = envelope

    def asides(self, *, chucks: bool) -> list[ev.Message]:
        """Return the asides to or from Chuck, or the others."""
        me = self.chuck.identity.id
        return [
            self.deliveries[id]
            for id, (sender, post) in self.posts.items()
            if post.to is not None and (me in {sender, post.to}) == chucks
        ]

    def room_messages(self) -> list[ev.Message]:
        return [message for message in self.deliveries.values() if not message.direct]

    # -- keys ---------------------------------------------------------------------------------------------------------

    def secrets(self) -> set[bytes]:
        """Return every 32 bytes that are secret to outsiders and known to Chuck, and what is derived from them."""
        profile, relay = self.chuck, from_base32((self.folder / "relay" / "relay.key").read_text().strip())
        at_hand = {profile.identity.seed, profile.secret, self.invite.seed, self.invite.secret, relay}
        at_hand |= set(profile.sealing.values())
        for chain in profile.chains:
            state = chain.state.key
            for _ in range(8):
                at_hand.add(state)
                state = derive(state, Label.CHAIN_STEP)
        keyed = (Label.NICKS, Label.TITLE, Label.CHAIN_STEP, Label.MESSAGE_KEY, Label.COMMITMENT)
        derived = {derive(secret, label) for secret in at_hand for label in keyed}
        converted = {
            nacl.bindings.crypto_sign_ed25519_sk_to_curve25519(nacl.bindings.crypto_sign_seed_keypair(secret)[1])
            for secret in at_hand
        }
        return at_hand | derived | converted

    def public_keys(self) -> set[SealingKey]:
        return {card.sealing_key for card in self.chuck.cards}


@pytest.fixture(scope="module")
def leak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Leak, set[bytes]]]:
    """Everything leaks at the height of the conversation. With it comes what the relay's memory holds of secrets."""
    scene = Scene(tmp_path_factory.mktemp("leak"))
    scene.env["TAP"] = str(scene.folder / "tap")
    try:
        relay = scene.relay(program=tampered("frames", "relay"))
        alice, bob, chuck = scene.company(relay, "alice", "bob", "chuck")
        bobs, chucks = bob.chats(), chuck.listens()
        alice.says(ROOM_TEXTS[0])
        alice.whispers("bob", ASIDES[0], "--wait", "delivered")
        bobs.writes(ROOM_TEXTS[1], f"/msg alice {ASIDES[1]}", f"/msg chuck {ASIDES[1]}", f"/msg alice {ASIDES[2]}")
        alice.whispers("chuck", ASIDES[3], "--wait", "delivered")
        chucks.hears(*ROOM_TEXTS, ASIDES[1], ASIDES[3])
        assert len(alice.polls()) == 3
        leak = Leak(scene.folder, Invite.decode(scene.invite), Profile(chuck.home))
        leak.read(scene.folder / "tap")
        theirs = [Profile(alice.home), Profile(bob.home)]
        secret = {key for profile in theirs for key in (profile.identity.seed, *profile.sealing.values())}
        secret |= {chain.state.key for profile in theirs for chain in profile.chains}
        in_memory = found([*secret, *ASIDES[:3], *ROOM_TEXTS], memory(relay.pid))
        assert found([leak.chuck.room], memory(relay.pid))
        yield leak, in_memory
    finally:
        scene.end()


def opened(leak: Leak, message: ev.Message, secret: bytes) -> set[str]:
    """Return the ways in which ``secret`` opened any part of a message: none, if it is not for Chuck."""
    body = message.body
    ways = set()
    key = SealingSecret(secret)
    public = cards.sealing_key(key)
    with contextlib.suppress(BackchannelError):
        seal.unseal(body, key, public)
        ways.add("outer box")
    generation = int.from_bytes(body[:8])
    for place in (0, 8, 48, 56, seal.OVERHEAD, 32 + 2 + 8 + 32 + 32 + 64):
        part = body[place:]
        with contextlib.suppress(nacl.exceptions.CryptoError, ValueError):
            nacl.bindings.crypto_box_seal_open(part, public, key)
            ways.add("sealed box")
        for other in (*leak.public_keys(), SealingKey(body[8:40])):
            with contextlib.suppress(nacl.exceptions.CryptoError, ValueError):
                nacl.bindings.crypto_box_open(part[24:], part[:24], other, key)
                ways.add("box")
        with contextlib.suppress(nacl.exceptions.CryptoError, ValueError):
            nacl.bindings.crypto_secretbox_open(part[24:], part[:24], secret)
            ways.add("secret box")
        aad = leak.chuck.room + message.sender + message.id
        for about in (b"", leak.chuck.room, aad, aad + body[:74], generation.to_bytes(8)):
            with contextlib.suppress(BackchannelError):
                aead_decrypt(secret, part, about)
                ways.add("aead")
    return ways


def test_no_key_of_chucks_opens_an_aside_between_alice_and_bob(leak):
    leak, _ = leak
    theirs = leak.asides(chucks=False)
    # two chain keys each way at least, two texts by Bob, one by Alice, and receipts
    assert len(theirs) >= 6
    assert any(len(message.body) > 1_000 for message in theirs)
    secrets = leak.secrets()
    assert len(secrets) > 100
    for message in theirs:
        for secret in secrets:
            assert opened(leak, message, secret) == set()
        for chain in leak.chuck.chains:
            with pytest.raises(BackchannelError):
                chain.open(message.body, MessageId(message.id))


def test_the_same_trial_opens_what_is_chucks_own(leak):
    leak, _ = leak
    me = leak.chuck.identity.id
    mine = [message for message in leak.asides(chucks=True) if message.sender != me]
    sealing = set(leak.chuck.sealing.values())
    for message in mine:
        assert {way for secret in sealing for way in opened(leak, message, secret)} >= {"outer box", "sealed box"}
        assert opened(leak, message, leak.chuck.identity.seed) == set()
    assert {ASIDES[1], ASIDES[3]} <= {text_of(leak, message) for message in mine}
    read = set()
    for message in leak.room_messages():
        chain = next(c for c in leak.chuck.chains if c.id == ch.header(message.body).chain)
        read.add(chain.open(message.body, MessageId(message.id)).content.text)
        # and the raw trial finds it too: a message key is among the secrets, the place and the aad among the tries
        assert any("aead" in opened(leak, message, secret) for secret in leak.secrets())
    assert read == set(ROOM_TEXTS)


def text_of(leak: Leak, message: ev.Message) -> str | None:
    """Open an aside to Chuck with all that he has."""
    me = leak.chuck
    generation = seal.recipient_generation(message.body)
    secret = me.sealing[generation]
    unsealed = seal.unseal(message.body, secret, cards.sealing_key(secret))
    route = seal.Route(
        room=me.room,
        message=MessageId(message.id),
        sender=PeerId(message.sender),
        sender_generation=unsealed.sender_generation,
        recipient=me.identity.id,
        recipient_generation=generation,
    )
    card = next(c for c in me.cards if (c.owner, c.generation) == (unsealed.sender, unsealed.sender_generation))
    content = seal.open_box(unsealed, route, secret, card.sealing_key).content
    return content.text if isinstance(content, Text) else None


def test_nothing_that_leaked_says_it_in_clear(leak):
    """No frame holds a text, and neither frames nor the relay's memory a key of Alice's or Bob's."""
    leak, in_memory = leak
    assert found([leak.chuck.room], leak.frames) == {leak.chuck.room}
    assert found([*ASIDES, *ROOM_TEXTS, leak.invite.seed, leak.invite.secret], leak.frames) == set()
    assert in_memory == set()
