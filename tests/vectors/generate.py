"""Makes the vectors that docs/protocol.md publishes: `make vectors` writes them, a test makes them again and compares.

    python -m tests.vectors.generate

The program's own code makes them, with every key, nonce and clock fixed: ``fixed`` puts a source of bytes that are
always the same in the place of the system's. ``SealedBox`` draws an ephemeral key inside libsodium, so it is put
together here from its parts (an ordinary ``Box`` with the hash of both public keys as its nonce), and the key is in the
vector: who writes another implementation can make each byte again. What is refused, and with which code, is made in
``refused``, all else in ``structures``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import nacl.bindings
import nacl.secret
import nacl.signing

import protocol
from protocol import card, chain, identity, primitives, seal
from tests.vectors import refused, structures

FOLDER = Path(__file__).parent
Vectors = dict[str, object]


class Source:
    """Bytes that are always the same: BLAKE2b of a count."""

    def __init__(self) -> None:
        self._count = 0

    def random(self, size: int) -> bytes:
        """Return the next ``size`` bytes, 64 at most."""
        self._count += 1
        return hashlib.blake2b(self._count.to_bytes(8), digest_size=size, person=b"bc vectors").digest()

    def signing_key(self) -> nacl.signing.SigningKey:
        return nacl.signing.SigningKey(self.random(32))

    def box_seal(self, message: bytes, recipient: bytes) -> bytes:
        """Do what ``crypto_box_seal`` does, with an ephemeral key of this source."""
        secret = self.random(32)
        public = nacl.bindings.crypto_scalarmult_base(secret)
        nonce = hashlib.blake2b(public + recipient, digest_size=24).digest()
        structures.EPHEMERAL.append(secret)
        return public + nacl.bindings.crypto_box(message, nonce, recipient, secret)


@contextlib.contextmanager
def fixed() -> Iterator[None]:
    """Let nothing be random."""
    source = Source()
    with contextlib.ExitStack() as stack:
        for module in (card, chain, primitives, seal, nacl.secret):
            stack.enter_context(mock.patch.object(module, "random", source.random))
        stack.enter_context(mock.patch.object(identity.nacl.signing.SigningKey, "generate", source.signing_key))
        stack.enter_context(mock.patch.object(seal.nacl.bindings, "crypto_box_seal", source.box_seal))
        yield


def jsonable(value: object) -> object:
    """Return ``value`` as JSON has it: bytes as hexadecimal digits."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _:
            return value


def build() -> dict[str, str]:
    """Return every file's name and text."""
    files: dict[str, str] = {}
    with fixed():
        for name, make in structures.FILES.items():
            content: Vectors = {"protocol": protocol.VERSION, "about": (make.__doc__ or "").strip(), "valid": make()}
            refusals: Callable[[], list[Vectors]] | None = refused.FILES.get(name)
            content["refused"] = refusals() if refusals else []
            files[f"{name}.json"] = json.dumps(jsonable(content), indent=1, ensure_ascii=True) + "\n"
    return files


def main() -> None:
    """Write the files."""
    for name, text in build().items():
        (FOLDER / name).write_text(text)
        sys.stdout.write(f"{name}: {len(text)} bytes\n")


if __name__ == "__main__":
    main()
