"""Room encryption: each sender's chain of keys, one step a message.

A chain is a random key and an Ed25519 key pair of its own, made by one process and sent to each member as an aside.
From the key at counter n come the message key and the key at n + 1, by keyed BLAKE2b with distinct labels; the step
back is closed. A message is XChaCha20-Poly1305 under its message key; a commitment (the cipher alone commits to no
key) and the chain's signature bind room, sender, chain, counter, message id and anchor. The signature is verified
before any key is derived, so members cannot speak on each other's chains and strangers cannot make anyone work. Not
protected: a chain proves its sender only through the aside that brought it; it does not heal, for whoever holds it
reads to its end (so it is short and ends with every departure); and a message shown twice opens twice. The body::

    chain 32 | counter 2 | index 8 | head 32 | commitment 32 | signature 64 | nonce 24 | ciphertext and tag
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from protocol import limits
from protocol.content import ChainKey, RoomMessage, decode_room, encode_room
from protocol.errors import BadSignature, CannotOpen, NoKey
from protocol.identity import SigningKey, verify
from protocol.ids import Anchor, ChainId, Head, MessageId, PeerId, RoomId
from protocol.primitives import Label, aead_decrypt, aead_encrypt, blake2b, derive, pad, random, unpad

Previous = tuple[ChainId, int]  # a sender's chain before, and how many messages went out on it
NOTHING: Final[Previous] = (ChainId(bytes(32)), 0)
_CLEAR: Final = Struct(">32sHQ32s")  # chain, counter, and the anchor's index and head
_HEADER: Final = Struct(f">{_CLEAR.size}s32s64s")  # the clear part, commitment, signature


def chain_id(room: RoomId, sender: PeerId, verify_key: bytes) -> ChainId:
    """Return the name of a chain: the hash of its room, sender and verification key."""
    return ChainId(blake2b(Label.CHAIN_ID, room + sender + verify_key))


@dataclass(frozen=True, slots=True)
class Header:
    """What stands in clear before a room message: which chain, which counter, where in the log its sender was."""

    chain: ChainId
    counter: int
    anchor: Anchor


def header(body: bytes) -> Header:
    """Read the clear part of ``body``; raise ``CannotOpen``. Nothing of it is proven before ``ReceivedChain.open``."""
    if len(body) <= _HEADER.size:
        raise CannotOpen("too short")
    chain, counter, index, head = _CLEAR.unpack_from(body)
    if counter >= limits.CHAIN_MESSAGES or index >= limits.COUNTER:
        raise CannotOpen("counter out of range")
    return Header(ChainId(chain), counter, Anchor(index, Head(head)))


class SendingChain:
    """A chain of one's own. It lives in the memory of one process and dies with it."""

    def __init__(self, room: RoomId, sender: PeerId, made_at: int, now: int, previous: Previous = NOTHING) -> None:
        """Make a chain at log index ``made_at`` and time ``now`` (ms) that follows ``previous``."""
        self._room, self._sender = room, sender
        self._key = random(32)
        self._signer = SigningKey.generate()
        self.id = chain_id(room, sender, self._signer.public)
        self.counter = 0
        self.made_at = made_at
        self.created = now
        self._previous = previous

    def spent(self, now: int) -> bool:
        """Say whether the chain is too old, or has carried too many messages, for another one."""
        return self.counter >= limits.CHAIN_MESSAGES or not 0 <= now - self.created < limits.CHAIN_LIFE

    def share(self) -> ChainKey:
        """Return the present state, to be sealed for a member; never an earlier one."""
        return ChainKey(self._key, self.counter, self._signer.public, self.made_at, *self._previous)

    def encrypt(self, message: RoomMessage, message_id: MessageId, anchor: Anchor) -> bytes:
        """Encrypt for the room and step forward; raise ``TooLarge``, ``NoKey`` at the end of the chain."""
        if self.counter >= limits.CHAIN_MESSAGES:
            raise NoKey("the chain has ended")
        plaintext = pad(encode_room(message))
        message_key = derive(self._key, Label.MESSAGE_KEY)
        clear = _CLEAR.pack(self.id, self.counter, *anchor)
        aad = self._room + self._sender + message_id + clear
        sealed = aead_encrypt(message_key, plaintext, aad)
        commitment = blake2b(Label.COMMITMENT, aad, key=message_key)
        signature = self._signer.sign(Label.ROOM_MESSAGE, aad + commitment + sealed)
        self._key = derive(self._key, Label.CHAIN_STEP)
        self.counter += 1
        return _HEADER.pack(clear, commitment, signature) + sealed


@dataclass(frozen=True, slots=True)
class ReceivedChain:
    """Another's chain, as its chain key brought it; never replaced, never rewound."""

    room: RoomId
    sender: PeerId
    state: ChainKey

    @property
    def id(self) -> ChainId:
        """The chain's name."""
        return chain_id(self.room, self.sender, self.state.verify_key)

    def open(self, body: bytes, message_id: MessageId) -> RoomMessage:
        """Open a room message that claims to be of this chain; raise ``CannotOpen``, ``NoKey`` if it is from before."""
        head = header(body)
        if head.chain != self.id:
            raise CannotOpen("another chain")
        (clear, commitment, signature), sealed = _HEADER.unpack_from(body), body[_HEADER.size :]
        aad = self.room + self.sender + message_id + clear
        try:
            verify(self.state.verify_key, Label.ROOM_MESSAGE, aad + commitment + sealed, signature)
        except BadSignature:
            raise CannotOpen("signature") from None
        if head.counter < self.state.counter:
            raise NoKey("sent before the chain was shared")
        key = self.state.key
        for _ in range(head.counter - self.state.counter):
            key = derive(key, Label.CHAIN_STEP)
        message_key = derive(key, Label.MESSAGE_KEY)
        if blake2b(Label.COMMITMENT, aad, key=message_key) != commitment:
            raise CannotOpen("commitment")
        return decode_room(unpad(aead_decrypt(message_key, sealed, aad)))
