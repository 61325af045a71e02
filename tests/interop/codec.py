"""Bytes, as docs/protocol.md sections 1 and 9 have them: hashes, signatures, padding, msgpack, base32, invite words.

Written from that document alone; shares no code with the program.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from typing import NamedTuple

import msgpack
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey
from nacl.utils import random

ZERO = bytes(32)
TIME = 2**48
COUNT = 2**53
BUCKETS = (256, 1024, 4096, *range(16384, 81920 + 1, 16384))


class Attack(Exception):
    """What came is not what an honest relay and honest members send."""


def now() -> int:
    return time.time_ns() // 1_000_000


def big(number: int, size: int = 8) -> bytes:
    return number.to_bytes(size, "big")


def H(label: str, data: bytes, key: bytes = b"", size: int = 32) -> bytes:  # noqa: N802, the document's name
    return hashlib.blake2b(data, digest_size=size, person=label.encode(), key=key).digest()


def kdf(key: bytes, label: str) -> bytes:
    return H(label, b"", key=key)


def sign(key: SigningKey, label: str, content: bytes) -> bytes:
    return key.sign(label.encode() + b"\0" + content).signature


def verify(key: bytes, label: str, content: bytes, signature: bytes) -> None:
    try:
        VerifyKey(key).verify(label.encode() + b"\0" + content, signature)
    except (BadSignatureError, ValueError):
        raise Attack(f"a bad signature: {label}") from None


def seal(key: bytes, plain: bytes, aad: bytes) -> bytes:
    nonce = random(24)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce, key)


def unseal(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], aad, sealed[:24], key)
    except (CryptoError, ValueError):
        raise Attack("what was sealed does not open") from None


def pad(plain: bytes) -> bytes:
    size = next(size for size in BUCKETS if size > len(plain))
    return (plain + b"\x80").ljust(size, b"\0")


def unpad(padded: bytes) -> bytes:
    plain = padded.rstrip(b"\0")
    if plain[-1:] != b"\x80" or len(padded) not in BUCKETS or pad(plain[:-1]) != padded:
        raise Attack("bad padding")
    return plain[:-1]


def pack(*fields: object) -> bytes:
    return msgpack.packb(fields, use_bin_type=True)


def check(value: object, kind: object) -> object:
    """Refuse a value that is not of its kind.

    A kind is bytes(n) as the number n, "at most n bytes" as -n, an integer below n as range(n), bool, str, list, a
    1-tuple of a kind for what may be nil, or a list of one kind.
    """
    if isinstance(kind, tuple):
        return value if value is None else check(value, kind[0])
    if isinstance(kind, list):
        return [check(item, kind[0]) for item in check(value, list)]
    if isinstance(kind, range):
        fits = type(value) is int and value in kind
    elif isinstance(kind, int):
        fits = type(value) is bytes and (len(value) == kind if kind >= 0 else len(value) <= -kind)
    else:
        fits = type(value) is kind
    if not fits:
        raise Attack(f"a field is not {kind}")
    return value


def fields(array: object, *kinds: object) -> list:
    if type(array) is not list or len(array) != len(kinds):
        raise Attack("a wrong number of fields")
    return [check(value, kind) for value, kind in zip(array, kinds, strict=True)]


def depth(value: object) -> int:
    return 1 + max(map(depth, value), default=0) if type(value) is list else 0


def envelopes(frame: bytes) -> list[list]:
    """The arrays that stand back to back in a frame."""
    unpacker = msgpack.Unpacker(raw=False, max_map_len=0, max_ext_len=0, max_buffer_size=2**18)
    found = []
    try:
        unpacker.feed(frame)
        while not found or unpacker.tell() < len(frame):
            found.append(check(unpacker.unpack(), list))
    except (ValueError, msgpack.exceptions.UnpackException):
        raise Attack("a malformed frame") from None
    if any(depth(each) > 4 for each in found):
        raise Attack("arrays too deep in each other")
    return found


def unpack(data: bytes) -> list:
    try:
        return check(msgpack.unpackb(data, raw=False, max_map_len=0, max_ext_len=0), list)
    except ValueError:
        raise Attack("no msgpack array") from None


def unpack_name(padded: bytes, most: int) -> str:
    """The one string of an array that zero bytes follow: a nick or a title, of at most so many bytes."""
    (name,) = fields(unpack(padded.rstrip(b"\0")), str)
    if len(name.encode()) > most:
        raise Attack("a long name")
    return name


def base32(data: bytes) -> str:
    return base64.b32encode(data).decode().lower().rstrip("=")


def unbase32(letters: str) -> bytes:
    try:
        data = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except ValueError:
        raise Attack("no base32") from None
    if base32(data) != letters:
        raise Attack("stray bits in base32")
    return data


def fingerprint(id: bytes) -> str:
    letters = base32(id)
    return "-".join(letters[i : i + 4] for i in range(0, 20, 4))


class Address(NamedTuple):
    """Where a relay is, and which key it must have."""

    host: str
    port: int
    key: bytes

    @classmethod
    def read(cls, word: str) -> Address:
        place, slash, key = word.partition("/")
        host, port = place_of(place)
        if not slash or len(unbase32(key)) != 32:
            raise Attack("an address without a key")
        return cls(host, port, unbase32(key))


def place_of(word: str) -> tuple[str, int]:
    """The host and port of HOST:PORT."""
    host, colon, port = word.rpartition(":")
    if not colon or not re.fullmatch("[0-9A-Za-z][0-9A-Za-z.:%_-]*|[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?", host):
        raise Attack("no host")
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise Attack("no port")
    return host, int(port)


def safety_number(one: bytes, other: bytes) -> str:
    digest = H("bc1 safety", b"".join(sorted((one, other))), size=64)
    return "".join(f"{int.from_bytes(digest[5 * i : 5 * i + 5], 'big') % 100_000:05}" for i in range(12))


class Invite(NamedTuple):
    """What an invite word says."""

    relay: bytes
    room: bytes
    seed: bytes
    secret: bytes
    index: int
    head: bytes
    addresses: list[str]

    def word(self) -> str:
        packed = pack(*self)
        return "bc1" + base32(packed + H("bc1 invite check", packed, size=5))

    @classmethod
    def read(cls, word: str) -> Invite:
        letters = "".join(word.split()).lower()
        data = unbase32(letters.removeprefix("bc1"))
        packed, checked = data[:-5], data[-5:]
        if not letters.startswith("bc1") or H("bc1 invite check", packed, size=5) != checked:
            raise Attack("a mistyped invite")
        invite = cls(*fields(unpack(packed), 32, 32, 32, 32, range(2, COUNT), 32, [str]))
        if not 1 <= len(invite.addresses) <= 8 or not all(map(place_of, invite.addresses)):
            raise Attack("an invite with no good addresses")
        return invite
