"""A thief who takes everything at once: every object that lives in this process, and every byte of the profiles' files.

The ``Vault`` notes each secret when it is made, masked, so that the notes themselves are nowhere to be found;
``search`` says which of them lie somewhere in what was taken, as an object of their own or amid another's bytes.
"""

from __future__ import annotations

import gc
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import peer.keys
import protocol.card
import protocol.chain
from tests.peer.world import World

_PLAIN = (int, float, complex, bool, type(None), ModuleType)


@dataclass(frozen=True)
class Noted:
    """One secret, masked."""

    mask: bytes
    masked: bytes
    kind: str

    def unmasked(self) -> bytes:
        return bytes(a ^ b for a, b in zip(self.mask, self.masked, strict=True))


class Vault:
    """Notes of all secrets that were ever made."""

    def __init__(self) -> None:
        self.noted: list[Noted] = []

    def note(self, kind: str, secret: bytes) -> bytes:
        mask = secrets.token_bytes(len(secret))
        self.noted.append(Noted(mask, bytes(a ^ b for a, b in zip(mask, secret, strict=True)), kind))
        return secret

    def of(self, kind: str) -> list[bytes]:
        return [noted.unmasked() for noted in self.noted if noted.kind == kind]

    @contextmanager
    def taps(self, patch: pytest.MonkeyPatch) -> Iterator[Vault]:
        """Note every private sealing key, chain key and message key where it is made."""
        new_secret, derive, random = protocol.card.new_sealing_secret, protocol.chain.derive, protocol.chain.random
        assert peer.keys.card is protocol.card
        patch.setattr(protocol.card, "new_sealing_secret", lambda: self.note("sealing", new_secret()))
        patch.setattr(protocol.chain, "random", lambda size: self.note("chain", random(size)))
        patch.setattr(protocol.chain, "derive", lambda key, label: self.note(label.name, derive(key, label)))
        yield self


def live_bytes() -> list[bytes]:
    """Return every bytes object, or copy of a bytearray, that is reachable from anything that lives."""
    gc.collect()
    found: list[bytes] = []
    seen: set[int] = set()
    heap: list[object] = gc.get_objects()
    seen.update(map(id, heap))
    ours = {id(heap), id(found), id(seen)}
    while heap:
        thing = heap.pop()
        if id(thing) in ours:
            continue
        if isinstance(thing, bytes):
            found.append(thing)
        elif isinstance(thing, bytearray):
            found.append(bytes(thing))
        else:
            for referent in gc.get_referents(thing):
                if id(referent) not in seen and not isinstance(referent, _PLAIN):
                    seen.add(id(referent))
                    heap.append(referent)
    return found


def disk(world: World) -> list[bytes]:
    """Return the raw bytes of every file of everybody's profile, journals included."""
    assert world.folder
    return [path.read_bytes() for path in sorted(Path(world.folder).rglob("*")) if path.is_file()]


def search(noted: Iterable[Noted], blobs: list[bytes]) -> list[Noted]:
    """Return those secrets that lie anywhere in ``blobs``."""
    whole = [blob for blob in blobs if len(blob) >= 32]
    found = []
    for note in noted:
        needle = note.unmasked()
        if any(needle in blob for blob in whole):
            found.append(note)
    return found


def candidates(blobs: Iterable[bytes]) -> list[bytes]:
    """Return what may be a key of 32 bytes: objects of that length, and both halves of those of twice that."""
    keys = {blob for blob in blobs if len(blob) == 32}
    keys |= {half for blob in blobs if len(blob) == 64 for half in (blob[:32], blob[32:])}
    return sorted(keys)


def columns(world: World) -> list[bytes]:
    """Return every blob in every table of everybody's profile."""
    found = []
    for person in world.people.values():
        for (table,) in person.store.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
            for row in person.store.rows(f"SELECT * FROM {table}"):
                found += [value for value in row if isinstance(value, bytes)]
    return found
