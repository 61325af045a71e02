"""What a load generator is made of: links that carry bytes and count messages, and groups of them.

No generator parses what it receives, which would cost it more than the server: every body begins with the same mark,
and what arrives is searched for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bench.works import Work

MARK: Final = b"~bench>~"
PATIENCE: Final = 30.0
"""Seconds after which something that does not come is given up."""


class WentWrong(Exception):
    """The server refused, lost or held back what it was given, or is not the server that was expected."""


class CannotCarry(Exception):
    """The protocol has no room for such a work."""


def marked_body(size: int) -> bytes:
    """Return a body of ``size`` bytes with the mark: letters, since IRC carries nothing else."""
    return (MARK + b"abcdefghijklmnopqrstuvwxyz" * (size // 26 + 1))[:size]


class Link(Protocol):
    """One connection. Nothing blocks."""

    acknowledged: int
    """Messages that the server has said it took."""

    def fileno(self) -> int: ...

    def send(self, data: bytes) -> None:
        """Send; what does not fit waits here for ``flush``."""

    def flush(self) -> bool:
        """Send what waits; say whether all of it is gone."""

    def take(self) -> int:
        """Read what is there; return how many messages that were. Raise ``WentWrong`` at a refusal or an end."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Group:
    """One who sends, those who receive each message once, and how a burst of so many messages is encoded."""

    sender: Link
    receivers: Sequence[Link]
    burst: Callable[[int], bytes]
    acknowledged: bool = False
    """Whether the server says of every message that it took it."""


class Load(Protocol):
    """The clients of one kind of server."""

    def room(self, name: str, members: int, body: bytes) -> Group:
        """Return a room in which one sends to ``members``; raise ``CannotCarry``."""

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        """Return a sender and a recipient, where pairs are in a room with so many others; raise ``CannotCarry``."""

    def body_size(self, work: Work) -> int:
        """Return how long the body is in which the server carries what a person says in a *sealed* work."""

    def connect(self, count: int) -> Sequence[Link]:
        """Return so many connections that the server has greeted, made several at a time."""

    def close(self) -> None:
        """Let go of everything."""
