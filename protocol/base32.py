"""Bytes in print: lower-case base32 without padding, as it stands in addresses, ids, fingerprints and invites.

Nothing here protects anything. Each value has one word and each word one value, so that what was printed can be
compared as text.
"""

from __future__ import annotations

from typing import Final

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
