"""What bytes are called: ids, keys and hashes, each with a type of its own so that none passes for another.

32 bytes each, unless said. Nothing here protects anything by itself, and no cryptography is imported: whoever only
passes an id on needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NewType

KEY_SIZE: Final = 32

PeerId = NewType("PeerId", bytes)
"""Ed25519 public key of an identity."""
RoomId = NewType("RoomId", bytes)
"""Hash of the room's FOUND statement."""
InviteId = NewType("InviteId", bytes)
"""Ed25519 public key of an invite."""
SealingKey = NewType("SealingKey", bytes)
"""X25519 public key of a card."""
SealingSecret = NewType("SealingSecret", bytes)
"""X25519 private key of a card."""
RoomSecret = NewType("RoomSecret", bytes)
"""What every invite of a room carries; opens nicks and the title, nothing else."""
RelayKey = NewType("RelayKey", bytes)
"""CURVE public key of a relay."""
ChainId = NewType("ChainId", bytes)
"""Hash of a chain's room, sender and verification key."""
Head = NewType("Head", bytes)
"""Running hash of a room's log."""
MessageId = NewType("MessageId", bytes)
"""Random name of a post, 16 bytes; also names any other request."""
Signature = NewType("Signature", bytes)
"""Ed25519 signature, 64 bytes."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in a room's log: how many statements its maker had folded, and the head after them."""

    index: int
    head: Head

    def __iter__(self) -> Iterator[int | Head]:
        """Yield index and head, as they stand side by side in signed bytes."""
        return iter((self.index, self.head))
