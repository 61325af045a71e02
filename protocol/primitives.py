"""The one table of domain separation, the key derivation, padding, and one cipher.

Every hash and every signature in the system is made through a ``Label``, and no label serves two purposes. That
protects against bytes made for one purpose passing as another's (ATTACK: protocol confusion, cross-protocol
signatures). Cryptography comes from libsodium through PyNaCl alone. Padding hides a length within its bucket, not the
bucket. The cipher commits to no key (two keys can open one ciphertext), so ``chain`` adds a commitment. Nothing here
zeroes memory, which Python cannot do: keys die by deletion, and core dumps are off.
"""

from __future__ import annotations

import enum
from typing import Final

import nacl.bindings
import nacl.exceptions
import nacl.utils
from nacl.secret import Aead

from protocol.errors import CannotOpen, TooLarge
from protocol.ids import MessageId


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


def blake2b(label: Label, data: bytes, *, key: bytes = b"", size: int = 32) -> bytes:
    """Return BLAKE2b of ``data`` with ``size`` bytes, personalised by ``label``, keyed if ``key`` is given."""
    return nacl.bindings.crypto_generichash_blake2b_salt_personal(data, size, key, person=label.value)


def derive(key: bytes, label: Label) -> bytes:
    """Derive a 32-byte key from a 32-byte ``key`` for the purpose that ``label`` names."""
    return blake2b(label, b"", key=key)


random: Final = nacl.utils.random  # so many bytes from the system's generator


def new_message_id() -> MessageId:
    """Return a fresh random name for a post or another request."""
    return MessageId(random(16))


_BUCKETS: Final = (256, 1_024, 4_096, 16_384, 32_768, 49_152, 65_536, 81_920)


def pad(plaintext: bytes) -> bytes:
    """Pad to the first of eight sizes that has a byte to spare for the end's mark; raise ``TooLarge``."""
    for size in _BUCKETS:
        if len(plaintext) < size:
            return nacl.bindings.sodium_pad(plaintext, size)
    raise TooLarge


def unpad(padded: bytes) -> bytes:
    """Undo ``pad``; raise ``CannotOpen`` for anything that ``pad`` did not make."""
    if len(padded) not in _BUCKETS:
        raise CannotOpen("padding")
    try:
        plaintext = nacl.bindings.sodium_unpad(padded, len(padded))
    except nacl.exceptions.CryptoError:
        raise CannotOpen("padding") from None
    if pad(plaintext) != padded:
        raise CannotOpen("padding")
    return plaintext


def aead_encrypt(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Encrypt with XChaCha20-Poly1305; return nonce (24 bytes, random), ciphertext and tag (16)."""
    return bytes(Aead(key).encrypt(plaintext, aad))


def aead_decrypt(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Undo ``aead_encrypt``; raise ``CannotOpen`` for anything else."""
    cipher = Aead(key)
    try:
        return cipher.decrypt(sealed, aad)
    except (nacl.exceptions.CryptoError, ValueError):  # a bare ValueError for what is shorter than nonce and tag
        raise CannotOpen("authentication") from None
