"""What has come over a TCP connection and has not become a frame: where a message that never ends would show.

A ZeroMQ message may have any number of parts, and libzmq hands over none before the last: whoever sends parts for ever
fills the relay's memory unseen, at no limit of ZeroMQ's. The kernel knows how many bytes have come over a connection,
and the router how many it has taken; what lies between can honestly be what waits in pipe and buffers, and no more. Who
has more lying there is cut. That each frame is allowed a little too much, for what encryption adds, earns no credit.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from relay import pipes

if TYPE_CHECKING:
    from relay.links import Incoming

MOST: Final = pipes.MOST_IN + 4 * pipes.BUFFER
"""The bytes that may have come and not have been taken."""
AROUND: Final = 128
"""What ZMTP and CURVE add to a frame, at most."""
HEARTBEATS: Final = 256
"""Bytes of commands that may come between two looks, beside all frames."""

_RECEIVED: Final = struct.Struct("=Q")
_OFFSET: Final = 128
"""Of ``tcpi_bytes_received`` in Linux's ``struct tcp_info`` (since 4.1)."""


class Intake:
    """See the module's text."""

    __slots__ = ("_lying", "_seen", "_taken")

    def __init__(self) -> None:
        self._taken: dict[Incoming, int] = {}
        """Bytes of frames since the last look."""
        self._seen: dict[Incoming, int] = {}
        """What had come at the last look."""
        self._lying: dict[Incoming, int] = {}

    def took(self, incoming: Incoming, size: int) -> None:
        """Take note of a frame of ``size`` bytes."""
        self._taken[incoming] = self._taken.get(incoming, 0) + size + AROUND

    def look(self, connections: Iterable[Incoming]) -> Iterator[Incoming]:
        """Look at all that are open; yield those of which too much is lying somewhere."""
        taken, before, lying = self._taken, self._seen, self._lying
        self._taken, self._seen, self._lying = {}, {}, {}
        for incoming in connections:
            received = bytes_received(incoming.fd)
            if received is None:
                continue
            self._seen[incoming] = received
            grown = received - before.get(incoming, 0) - taken.get(incoming, 0) - HEARTBEATS
            left = lying.get(incoming, 0) + grown
            if left > 0:
                self._lying[incoming] = left
            if left > MOST:
                yield incoming


def bytes_received(fd: int) -> int | None:
    """Return how many bytes have come over a TCP connection; None if the system does not tell, or it has ended."""
    try:
        # The kind is of no account, but to name one saves the system calls that would find it out.
        borrowed = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _OFFSET + _RECEIVED.size)
    except OSError:
        return None
    finally:
        borrowed.detach()
    return int(_RECEIVED.unpack_from(info, _OFFSET)[0]) if len(info) >= _OFFSET + _RECEIVED.size else None
