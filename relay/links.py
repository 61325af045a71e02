"""Which TCP connection each connection of ZeroMQ is, so that one can be cut: ZeroMQ itself has no way to drop a peer.

The socket's monitor names the descriptors that were accepted and closed, and a connection's first frame the descriptor
that it came over. Descriptors are used again, and the two do not come in step, so a connection is bound to a
descriptor only if that was accepted before it was first heard and is nobody else's. A cut is a shutdown: ZeroMQ notices
it and closes what is its own. Routing ids are libzmq's, and never leave the relay.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

REMEMBERED: Final = 60_000
"""How long (ms) a connection that is no more is remembered, so that what it sent before is swallowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """One accepted TCP connection, and none that had the descriptor before; ``count`` names it in the log."""

    fd: int
    count: int


class Links:
    """See the module's text. Times are in ms."""

    def __init__(self) -> None:
        self.accepted = 0
        """How many TCP connections were ever accepted."""
        self.open: dict[int, tuple[Incoming, int]] = {}
        """By descriptor: what is accepted and not disconnected, and since when."""
        self.silent: dict[int, int] = {}
        """The descriptors of these that have not been heard, the oldest first, and since when."""
        self.known: dict[bytes, Incoming | None] = {}
        """By routing id, what has been heard: which TCP connection it is, once that is found."""
        self.bound: dict[Incoming, bytes] = {}
        self.unbound: dict[bytes, tuple[int, int]] = {}
        """Those of which it is not found: the descriptor that their first frame named, and when."""
        self.dead: dict[bytes, int] = {}
        """What is no more, the oldest first, and since when."""

    @property
    def unproven(self) -> int:
        """How many TCP connections are open and have not sent a frame: in the handshake, or silent."""
        return len(self.open) - len(self.bound)

    # -- what the monitor says ----------------------------------------------------------------------------------------

    def accept(self, fd: int, now: int) -> None:
        """Take note of a TCP connection that was accepted."""
        self.accepted += 1
        self.open[fd] = (Incoming(fd, self.accepted), now)
        self.silent[fd] = now

    def disconnect(self, fd: int) -> tuple[Incoming, bytes | None] | None:
        """Take note that a TCP connection has ended; return which it was, and whose."""
        if fd not in self.open:
            return None
        incoming, _ = self.open.pop(fd)
        self.silent.pop(fd, None)
        return incoming, self.bound.pop(incoming, None)

    # -- connections of ZeroMQ ----------------------------------------------------------------------------------------

    def add(self, connection: bytes, fd: int, now: int) -> None:
        """Take note of a connection that was heard for the first time, over this descriptor."""
        self.known[connection] = None
        self.unbound[connection] = (fd, now)
        self.bind(connection)

    def bind(self, connection: bytes) -> bool:
        """Find the TCP connection of one that is unbound; say whether there can still be one."""
        fd, first_heard = self.unbound[connection]
        incoming, since = self.open.get(fd, (None, 0))
        if incoming and incoming not in self.bound and since <= first_heard:
            self.known[connection] = incoming
            self.bound[incoming] = connection
            self.silent.pop(fd, None)
            del self.unbound[connection]
        return fd in self.open

    def forget(self, connection: bytes, now: int) -> None:
        """Take note that a connection is no more."""
        incoming = self._drop(connection)
        if incoming:
            self.bound.pop(incoming, None)
        self.dead[connection] = now

    def cut(self, connection: bytes) -> None:
        """Shut the TCP connection of a connection, if it is known and still open."""
        incoming = self._drop(connection)
        if incoming and self.open.get(incoming.fd, (None, 0))[0] == incoming:
            self.bound.pop(incoming, None)
            shut(incoming.fd)

    def cut_silent(self, fd: int) -> None:
        """Shut what has not been heard."""
        del self.silent[fd]
        shut(fd)

    def long_silent(self, before: int) -> Iterator[int]:
        """Yield the descriptors of what was accepted by ``before`` and has not been heard."""
        for fd, since in tuple(self.silent.items()):
            if since > before:
                return
            yield fd

    def forget_dead(self, now: int) -> None:
        """Forget what was cut long ago."""
        while self.dead:
            connection, since = next(iter(self.dead.items()))
            if now - since < REMEMBERED:
                return
            del self.dead[connection]

    def _drop(self, connection: bytes) -> Incoming | None:
        self.unbound.pop(connection, None)
        return self.known.pop(connection, None)


def shut(fd: int) -> None:
    """Cut the TCP connection behind a descriptor that libzmq owns: it notices and closes its own."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
