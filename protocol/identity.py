"""Who somebody is: a long-lived Ed25519 key, its printed forms, and signatures under a label.

A peer id is the 32-byte public half. Its text is 52 letters of base32; the fingerprint is the first twenty of them, in
fours (100 bits: matching one takes longer than the sun has). Identity keys only sign: they are never converted to
encryption keys, and nothing that is whispered is ever signed with them.
"""

from __future__ import annotations

import re
from typing import Final

import nacl.bindings
import nacl.exceptions
import nacl.signing

from protocol.base32 import base32, from_base32
from protocol.errors import BadSignature
from protocol.ids import KEY_SIZE, PeerId, RelayKey, Signature
from protocol.primitives import Label, blake2b

# Wider than base32: what has 0 for o or 1 for l never is one, but people would take it for one.
_FINGERPRINT: Final = re.compile(r"([a-z0-9]{4}-){4}[a-z0-9]{4}")
_ID: Final = re.compile(r"[a-z0-9]{52}")


class SigningKey:
    """An Ed25519 private key that signs under a label and never shows itself."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        """Make the key from its 32-byte ``seed``."""
        self._key = nacl.signing.SigningKey(seed)
        self.public: bytes = bytes(self._key.verify_key)

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh random key."""
        return cls(bytes(nacl.signing.SigningKey.generate()))

    @property
    def seed(self) -> bytes:
        """The 32 bytes that make this key again: for storage and invites alone."""
        return bytes(self._key)

    def sign(self, label: Label, content: bytes) -> Signature:
        """Return the 64-byte signature over ``label`` and ``content``."""
        return Signature(self._key.sign(_labelled(label, content)).signature)

    def __repr__(self) -> str:
        """Show the public half alone."""
        return f"<{type(self).__name__} {base32(self.public)[:8]}…>"


class Identity(SigningKey):
    """The signing key that is a person."""

    __slots__ = ()

    @property
    def id(self) -> PeerId:
        """The peer id."""
        return PeerId(self.public)

    @classmethod
    def generate(cls) -> Identity:
        """Return a fresh random identity."""
        return cls(super().generate().seed)


def _labelled(label: Label, content: bytes) -> bytes:
    return label.value + b"\0" + content


def verify(public: bytes, label: Label, content: bytes, signature: bytes) -> None:
    """Raise ``BadSignature`` unless ``signature`` is ``public``'s over ``label`` and ``content``."""
    if len(public) != KEY_SIZE or len(signature) != nacl.bindings.crypto_sign_BYTES:
        raise BadSignature("length")
    try:
        nacl.bindings.crypto_sign_open(signature + _labelled(label, content), public)
    except (nacl.exceptions.CryptoError, ValueError):
        raise BadSignature(label.name.lower()) from None


def hello_content(relay: RelayKey, transport: bytes) -> bytes:
    """Return what HELLO signs: the relay's CURVE key and the connection's own, 32 bytes each."""
    return relay + transport


def id_text(peer: PeerId) -> str:
    """Return the whole id in base32, 52 letters."""
    return base32(peer)


def fingerprint(peer: PeerId) -> str:
    """Return the short printed form: twenty letters of the id in fours, ``k3f9-…``."""
    letters = base32(peer)[:20]
    return "-".join(letters[place : place + 4] for place in range(0, 20, 4))


def looks_like_id(word: str) -> bool:
    """Say whether ``word`` has the shape of an id or fingerprint: such a word is never taken for a nick."""
    word = word.lower()
    return bool(_ID.fullmatch(word) or _FINGERPRINT.fullmatch(word))


def matches(peer: PeerId, word: str) -> bool:
    """Say whether ``word`` is the id or the fingerprint of ``peer``, in either case."""
    return word.lower() in (id_text(peer), fingerprint(peer))


def parse_id(word: str) -> PeerId:
    """Undo ``id_text``; raise ValueError."""
    if not _ID.fullmatch(word.lower()):
        raise ValueError("not an id")
    return PeerId(from_base32(word))


def safety_number(one: PeerId, other: PeerId) -> str:
    """Return the 60 digits that both sides see alike: twelve groups of five, from a hash of both ids in order."""
    digest = blake2b(Label.SAFETY_NUMBER, b"".join(sorted((one, other))), size=64)
    groups = (int.from_bytes(digest[place : place + 5]) % 100_000 for place in range(0, 60, 5))
    return " ".join(f"{group:05}" for group in groups)
