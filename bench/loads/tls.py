"""A link over TLS 1.3, for the servers whose protocols run over TCP."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from bench.loads.link import MARK, PATIENCE, WentWrong
from bench.servers import Running
from bench.works import Work

_READ: Final = 1 << 17
KEPT: Final = len(MARK) - 1
AT_ONCE: Final = 16
"""Connections that are made at one time: handshakes run in threads."""


class TlsLink:
    """A connection that counts marks in what it receives; an acknowledgement has a mark as long, if there are any."""

    def __init__(
        self, server: Running, context: ssl.SSLContext, *, acknowledgement: bytes = b"", record: int = 1 << 14
    ) -> None:
        """Connect to TCP alone; what goes before TLS, if anything, and TLS itself come with ``secure``."""
        assert len(acknowledgement) in (0, len(MARK))
        self.acknowledged = 0
        self.plain = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._context = context
        self._acknowledgement = acknowledgement
        self._record = record
        self._buffer = bytearray(KEPT + _READ)
        self._view = memoryview(self._buffer)[KEPT:]
        self._waiting = memoryview(b"")

    def secure(self) -> Self:
        """Do the TLS handshake."""
        self._socket = self._context.wrap_socket(self.plain, server_hostname="127.0.0.1")
        return self

    # -- before anything is measured ----------------------------------------------------------------------------------

    def say(self, data: bytes) -> None:
        """Send, and wait until it is sent."""
        self._socket.sendall(data)

    def hear(self, *signs: bytes) -> bytes:
        """Wait until one of ``signs`` has come and return all that came; it must not be followed by any message."""
        heard = b""
        while not any(sign in heard for sign in signs):
            data = self._socket.recv(_READ)
            if not data:
                raise WentWrong(f"closed after {heard[-200:]!r}")
            heard += data
        return heard

    def begin(self) -> Self:
        """Let nothing block from now on."""
        self._socket.setblocking(False)
        return self

    # -- a link -------------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        self._waiting = memoryview(bytes(self._waiting) + data if self._waiting else data)

    def flush(self) -> bool:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._socket.send(self._waiting[: self._record]) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        return True

    def take(self) -> int:
        messages = 0
        buffer, receive, view = self._buffer, self._socket.recv_into, self._view
        try:
            while size := receive(view):
                end = KEPT + size
                messages += self.count(buffer, end)
                buffer[:KEPT] = buffer[end - KEPT : end]  # a mark may lie across what is read at two times
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return messages
        raise WentWrong(f"closed after {bytes(buffer[:200])!r}")

    def count(self, buffer: bytearray, end: int) -> int:
        """Return how many marks are in ``buffer`` before ``end``; its first seven bytes were there the last time."""
        if self._acknowledgement:
            self.acknowledged += buffer.count(self._acknowledgement, 0, end)
        return buffer.count(MARK, 0, end)

    def close(self) -> None:
        self._socket.close()


class TlsClients:
    """What the loads over TLS have in common: a context that wants TLS 1.3, and connecting several at a time."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.tls = ssl.create_default_context(cafile=server.certificate)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._links: list[TlsLink] = []

    def greeted(self, number: int) -> TlsLink:
        """Return a connection, the ``number``-th, that the server has greeted."""
        raise NotImplementedError

    def connect(self, count: int) -> Sequence[TlsLink]:
        return [link.begin() for link in self.each(self.greeted, count)]

    def each(self, make: Callable[[int], TlsLink], count: int) -> list[TlsLink]:
        """Return so many links, each made with a number that no other has."""
        first = len(self._links)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            links = list(threads.map(make, range(first, first + count)))
        self._links += links
        return links

    def body_size(self, work: Work) -> int:
        """Return that the text is carried as it is: only TLS protects it, and the server reads it."""
        return work.body

    def close(self) -> None:
        for link in self._links:
            link.close()
