"""Asides: seal for one recipient, open as that recipient.

The body is the recipient's generation (8 bytes, in clear: it says which key opens it) and::

    SealedBox(recipient's key).encrypt(sender id 32 | sender's generation 8 | inner)
    inner = Box(sender's key, recipient's key).encrypt(padded)

The outer box hides who sends; the inner one authenticates the sender to the recipient and to nobody else, for the
recipient could have made it himself: nothing is signed, so nothing can be shown around as a proof. Box works in both
directions with the same keys, and one key serves both boxes: the hash of the whole context inside is therefore the only
defence against reflected, re-sealed, re-addressed and re-attributed asides, and every part of it is checked on opening.
Whoever steals the recipient's current sealing key can read and forge until it rotates out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import nacl.bindings
import nacl.exceptions

from protocol import limits
from protocol.content import Aside, Kind, decode_aside, encode_aside
from protocol.errors import BadCard, CannotOpen
from protocol.primitives import (
    Label,
    MessageId,
    PeerId,
    RoomId,
    SealingKey,
    SealingSecret,
    blake2b,
    pad,
    random,
    unpad,
)

_GENERATION: Final = 8
_SEAL: Final = nacl.bindings.crypto_box_SEALBYTES
_NONCE: Final = nacl.bindings.crypto_box_NONCEBYTES
_MAC: Final = nacl.bindings.crypto_box_SEALBYTES - nacl.bindings.crypto_box_PUBLICKEYBYTES
_BOX: Final = _NONCE + _MAC
_HEADER: Final = 32 + _GENERATION
OVERHEAD: Final = _GENERATION + _SEAL + _HEADER + _BOX
"""What sealing adds to the padded plaintext, in bytes."""


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
        generations = b"".join(
            generation.to_bytes(_GENERATION) for generation in (self.sender_generation, self.recipient_generation)
        )
        return blake2b(
            Label.ASIDE_CONTEXT,
            bytes([kind]) + self.room + self.message + self.sender + self.recipient + generations,
        )


def seal(aside: Aside, route: Route, secret: SealingSecret, recipient: SealingKey) -> bytes:
    """Seal ``aside`` with the sender's ``secret`` of its generation for the ``recipient``'s key of its generation.

    Raises ``TooLarge`` for more than fits, ``BadCard`` for a recipient's key of low order.
    """
    padded = pad(encode_aside(route.context(aside.content.KIND), aside))
    nonce = random(_NONCE)
    try:
        box = nonce + nacl.bindings.crypto_box(padded, nonce, recipient, secret)
    except nacl.exceptions.CryptoError:
        raise BadCard("low-order key") from None
    header = route.sender + route.sender_generation.to_bytes(_GENERATION)
    return route.recipient_generation.to_bytes(_GENERATION) + nacl.bindings.crypto_box_seal(header + box, recipient)


def recipient_generation(body: bytes) -> int:
    """Return which of the recipient's generations ``body`` claims to be sealed to; raise ``CannotOpen``."""
    if len(body) < OVERHEAD:
        raise CannotOpen("too short")
    return _generation(body[:_GENERATION])


def _generation(field: bytes) -> int:
    """Return a generation that a card can have: whoever looks one up need not mind how far eight bytes count."""
    generation = int.from_bytes(field)
    if generation >= limits.TIME:
        raise CannotOpen("generation out of range")
    return generation


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
        inner = nacl.bindings.crypto_box_seal_open(body[_GENERATION:], key, secret)
    except nacl.exceptions.CryptoError:
        raise CannotOpen("authentication") from None
    return Unsealed(PeerId(inner[:32]), _generation(inner[32:_HEADER]), inner[_HEADER:])


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
