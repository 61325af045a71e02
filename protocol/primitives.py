"""Types of ids and keys, the key derivation, padding, and the one table of domain separation.

Every hash and every signature in the system is made through a ``Label``, and no label serves two purposes: bytes made
for one can therefore never pass as another (ATTACK: protocol confusion, cross-protocol signatures). Cryptography comes
from libsodium through PyNaCl alone. This module protects against mixing things up; it does not zero memory, which
Python cannot do: keys die by deletion, and core dumps are off.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NewType

import nacl.bindings
import nacl.encoding
import nacl.exceptions
import nacl.hash
import nacl.utils

from protocol.errors import CannotOpen, TooLarge

PeerId = NewType("PeerId", bytes)
"""Ed25519 public key of an identity, 32 bytes."""
RoomId = NewType("RoomId", bytes)
"""Hash of the room's FOUND statement, 32 bytes."""
InviteId = NewType("InviteId", bytes)
"""Ed25519 public key of an invite, 32 bytes."""
SealingKey = NewType("SealingKey", bytes)
"""X25519 public key of a card, 32 bytes."""
SealingSecret = NewType("SealingSecret", bytes)
"""X25519 private key of a card, 32 bytes."""
RoomSecret = NewType("RoomSecret", bytes)
"""What every invite of a room carries, 32 bytes; opens nicks and the title, nothing else."""
RelayKey = NewType("RelayKey", bytes)
"""CURVE public key of a relay, 32 bytes."""
ChainId = NewType("ChainId", bytes)
"""Hash of a chain's room, sender and verification key, 32 bytes."""
Head = NewType("Head", bytes)
"""Running hash of a room's log, 32 bytes."""
MessageId = NewType("MessageId", bytes)
"""Random name of a post, 16 bytes; also names any other request."""
Signature = NewType("Signature", bytes)
"""Ed25519 signature, 64 bytes."""

KEY_SIZE: Final = 32
ID_SIZE: Final = 32
MESSAGE_ID_SIZE: Final = 16
SIGNATURE_SIZE: Final = 64


class Label(enum.Enum):
    """Domain separation: ``person`` of BLAKE2b (16 bytes at most) and prefix of signed bytes. All distinct."""

    # signed
    HELLO = b"bc1 hello"
    FOUND = b"bc1 found"
    GRANT = b"bc1 grant"
    ADMIT = b"bc1 admit"
    ROLE = b"bc1 role"
    REMOVE = b"bc1 remove"
    REVOKE = b"bc1 revoke"
    LEAVE = b"bc1 leave"
    CLOSE = b"bc1 close"
    CARD = b"bc1 card"
    ROOM_MESSAGE = b"bc1 room message"
    # hashed
    ROOM_ID = b"bc1 room id"
    HEAD = b"bc1 head"
    STATEMENT_ID = b"bc1 statement id"
    ASIDE_CONTEXT = b"bc1 aside"
    CHAIN_ID = b"bc1 chain id"
    SAFETY_NUMBER = b"bc1 safety"
    INVITE_CHECK = b"bc1 invite check"
    # derived, keyed
    NICKS = b"bc1 nicks"
    TITLE = b"bc1 title"
    CHAIN_STEP = b"bc1 chain step"
    MESSAGE_KEY = b"bc1 message key"
    COMMITMENT = b"bc1 commitment"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in a room's log: how many statements its maker had folded, and the head after them."""

    index: int
    head: Head

    def __iter__(self) -> Iterator[int | Head]:
        """Yield index and head, as they stand side by side in signed bytes."""
        return iter((self.index, self.head))


def blake2b(label: Label, data: bytes, *, key: bytes = b"", size: int = 32) -> bytes:
    """Return BLAKE2b of ``data`` with ``size`` bytes, personalised by ``label``, keyed if ``key`` is given."""
    digest: bytes = nacl.hash.blake2b(
        data, digest_size=size, key=key, person=label.value, encoder=nacl.encoding.RawEncoder
    )
    return digest


def derive(key: bytes, label: Label) -> bytes:
    """Derive a 32-byte key from a 32-byte ``key`` for the purpose that ``label`` names."""
    return blake2b(label, b"", key=key)


def random(size: int) -> bytes:
    """Return ``size`` bytes from the system's generator."""
    return nacl.utils.random(size)


def new_message_id() -> MessageId:
    """Return a fresh random name for a post or another request."""
    return MessageId(random(MESSAGE_ID_SIZE))


# -- padding ----------------------------------------------------------------------------------------------------------

_BUCKETS: Final = (256, 1_024, 4_096, 16_384)
_STEP: Final = 16_384
_MOST: Final = 5 * _STEP


def bucket(size: int) -> int:
    """Return the padded size, in bytes, of a plaintext of ``size`` bytes (one byte of it marks the end)."""
    for padded in _BUCKETS:
        if size < padded:
            return padded
    return (size // _STEP + 1) * _STEP


def pad(plaintext: bytes) -> bytes:
    """Pad to 256, 1 Ki, 4 Ki, 16 Ki, then multiples of 16 Ki bytes, so that only the bucket shows."""
    padded = bucket(len(plaintext))
    if padded > _MOST:
        raise TooLarge
    return nacl.bindings.sodium_pad(plaintext, padded)


def unpad(padded: bytes) -> bytes:
    """Undo ``pad``; raise ``CannotOpen`` for anything that ``pad`` did not make."""
    size = len(padded)
    if not 0 < size <= _MOST or (size not in _BUCKETS and size % _STEP):
        raise CannotOpen("padding")
    try:
        plaintext = nacl.bindings.sodium_unpad(padded, size)
    except nacl.exceptions.CryptoError:
        raise CannotOpen("padding") from None
    if bucket(len(plaintext)) != size:
        raise CannotOpen("padding")
    return plaintext


# -- authenticated encryption under one key ---------------------------------------------------------------------------

_NONCE: Final = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_TAG: Final = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
AEAD_OVERHEAD: Final = _NONCE + _TAG


def aead_encrypt(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Encrypt with XChaCha20-Poly1305; return nonce (24 bytes, random), ciphertext and tag (16)."""
    nonce = random(_NONCE)
    return nonce + nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def aead_decrypt(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Undo ``aead_encrypt``; raise ``CannotOpen`` for anything else.

    The length is checked first: the binding raises a bare ValueError for input shorter than a tag.
    """
    if len(sealed) < AEAD_OVERHEAD:
        raise CannotOpen("too short")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], aad, sealed[:_NONCE], key)
    except nacl.exceptions.CryptoError:
        raise CannotOpen("authentication") from None


# -- printed bytes ----------------------------------------------------------------------------------------------------

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_VALUE: Final = {letter: value for value, letter in enumerate(_ALPHABET)}


def base32(data: bytes) -> str:
    """Return ``data`` in lower-case base32 without padding (RFC 4648 alphabet)."""
    size = len(data) * 8
    shift = -size % 5
    value = int.from_bytes(data) << shift
    return "".join(_ALPHABET[value >> place & 31] for place in range(size + shift - 5, -1, -5))


def from_base32(word: str) -> bytes:
    """Undo ``base32``, in either case; raise ValueError for what it never prints, stray low bits included."""
    word = word.lower()
    size = len(word) * 5
    if size % 8 >= 5 or not _VALUE.keys() >= set(word):
        raise ValueError("not base32")
    value = 0
    for letter in word:
        value = value << 5 | _VALUE[letter]
    if value & ((1 << size % 8) - 1):
        raise ValueError("not canonical base32")
    return (value >> size % 8).to_bytes(size // 8)
