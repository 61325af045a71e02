"""Asides: seal for one recipient, open as that recipient.

The body is the recipient's generation (8 bytes, in clear: it says which key opens it) and::

    SealedBox(recipient's key).encrypt(sender id 32 | sender's generation 8 | inner)
    inner = Box(sender's key, recipient's key).encrypt(padded)

The outer box hides who sends; the inner one authenticates the sender to the recipient and to nobody else, for the
recipient could have made it himself: nothing is signed, so nothing can be shown around as a proof. Box works in both
directions with the same keys, and one key serves both boxes: the hash of the whole context inside is therefore the only
defence against reflected, re-sealed, re-addressed and re-attributed asides, and every part of it is checked on opening.
What this does not protect: an aside shown twice opens twice (its counter inside tells the inbox), and whoever steals
the recipient's current sealing key can read and forge until it rotates out.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

import nacl.bindings
import nacl.exceptions

from protocol import limits
from protocol.content import Aside, Kind, decode_aside, encode_aside
from protocol.errors import BadCard, CannotOpen
from protocol.ids import MessageId, PeerId, RoomId, SealingKey, SealingSecret
from protocol.primitives import Label, blake2b, pad, random, unpad

_GENERATION: Final = Struct(">Q")
_SENDER: Final = Struct(">32sQ")
_CONTEXT: Final = Struct(">B32s16s32s32sQQ")
_NONCE: Final = 24
OVERHEAD: Final = _GENERATION.size + 48 + _SENDER.size + _NONCE + 16
"""What sealing adds to the padded plaintext, in bytes: generation, outer box, sender, the inner box's nonce and tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Everything around an aside that its inside must agree with."""

    room: RoomId
    message: MessageId
    sender: PeerId
    sender_generation: int
    recipient: PeerId
    recipient_generation: int

    def context(self, kind: Kind) -> bytes:
        """Return the 32-byte hash that stands inside an aside of this kind on this route."""
        people = (self.sender, self.recipient, self.sender_generation, self.recipient_generation)
        return blake2b(Label.ASIDE_CONTEXT, _CONTEXT.pack(kind, self.room, self.message, *people))


def seal(aside: Aside, route: Route, secret: SealingSecret, recipient: SealingKey) -> bytes:
    """Seal with ``secret`` for ``recipient``, keys of the route's generations; raise ``TooLarge``, ``BadCard``."""
    padded = pad(encode_aside(route.context(aside.content.KIND), aside))
    nonce = random(_NONCE)
    try:
        box = nonce + nacl.bindings.crypto_box(padded, nonce, recipient, secret)
    except nacl.exceptions.CryptoError:
        raise BadCard("low-order key") from None
    sealed = nacl.bindings.crypto_box_seal(_SENDER.pack(route.sender, route.sender_generation) + box, recipient)
    return _GENERATION.pack(route.recipient_generation) + sealed


def recipient_generation(body: bytes) -> int:
    """Return which of the recipient's generations ``body`` claims to be sealed to; raise ``CannotOpen``."""
    if len(body) < OVERHEAD:
        raise CannotOpen("too short")
    (generation,) = _GENERATION.unpack_from(body)
    if generation >= limits.TIME:  # no card has it, and whoever looks it up need not mind how far eight bytes count
        raise CannotOpen("generation out of range")
    return int(generation)


@dataclass(frozen=True, slots=True)
class Unsealed:
    """The outer box, opened: who claims to have sent it, with which generation, and the inner box, still closed."""

    sender: PeerId
    sender_generation: int
    box: bytes


def unseal(body: bytes, secret: SealingSecret, key: SealingKey) -> Unsealed:
    """Open the outer box with the recipient's key pair of the generation that ``body`` names; raise ``CannotOpen``."""
    recipient_generation(body)
    try:
        inner = nacl.bindings.crypto_box_seal_open(body[_GENERATION.size :], key, secret)
    except nacl.exceptions.CryptoError:
        raise CannotOpen("authentication") from None
    sender, generation = _SENDER.unpack_from(inner)
    if generation >= limits.TIME:
        raise CannotOpen("generation out of range")
    return Unsealed(PeerId(sender), generation, inner[_SENDER.size :])


def open_box(unsealed: Unsealed, route: Route, secret: SealingSecret, sender: SealingKey) -> Aside:
    """Open the inner box and check it against ``route``; raise ``CannotOpen``.

    ``sender`` is the key that the *card* of ``route.sender`` has for ``route.sender_generation``: taking it from
    anywhere else would let anybody speak in another's name.
    """
    if (unsealed.sender, unsealed.sender_generation) != (route.sender, route.sender_generation):
        raise CannotOpen("another sender inside")
    nonce, box = unsealed.box[:_NONCE], unsealed.box[_NONCE:]
    try:
        padded = nacl.bindings.crypto_box_open(box, nonce, sender, secret)
    except nacl.exceptions.CryptoError:
        raise CannotOpen("authentication") from None
    context, aside = decode_aside(unpad(padded))
    if context != route.context(aside.content.KIND):
        raise CannotOpen("another context inside")
    return aside
