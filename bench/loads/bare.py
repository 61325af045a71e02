"""The load of a bare ROUTER: DEALERs over CURVE, as our peers are, that say nothing but which group they are in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import MethodType
from typing import Any

import zmq
import zmq.backend

from bench.loads.backchannel import AT_ONCE, dealer
from bench.loads.link import MARK, PATIENCE, Group, WentWrong
from bench.servers import NOBODY, TAKEN, WELCOME, Running
from bench.works import Work
from protocol.base32 import from_base32


class Link:
    """One DEALER, which hears one group and speaks to another or the same."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], server: Running, hears: bytes, speaks: bytes) -> None:
        self.acknowledged = 0
        self._bursts: deque[int] = deque()
        self._socket, _ = dealer(context, f"tcp://127.0.0.1:{server.port}", from_base32(server.key))
        self._fd = int(self._socket.getsockopt(zmq.FD))
        self._receive: Any = MethodType(zmq.backend.Socket.recv, self._socket)
        self._socket.send(hears + b" " + speaks)

    def await_welcome(self) -> None:
        if not self._socket.poll(int(PATIENCE * 1_000)) or self._socket.recv() != WELCOME:
            raise WentWrong("not welcome")

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> None:
        self._bursts.append(data.count(MARK))
        self._socket.send(data)

    def flush(self) -> bool:
        return True  # libzmq queues without bound

    def take(self) -> int:
        messages = 0
        receive = self._receive
        try:
            while True:
                frame: bytes = receive(zmq.NOBLOCK)
                if frame == TAKEN:
                    self.acknowledged += self._bursts.popleft()
                else:
                    messages += frame.count(MARK)
        except zmq.Again:
            return messages

    def close(self) -> None:
        self._socket.close()


class Bare:
    """The clients of a bare ROUTER."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._context.set(zmq.MAX_SOCKETS, 8_192)
        self._links: list[Link] = []

    def connect(self, count: int) -> Sequence[Link]:
        return self._connected(NOBODY, NOBODY, count)

    def room(self, name: str, members: int, body: bytes) -> Group:
        links = self._connected(name.encode(), name.encode(), members)
        return Group(links[0], links, lambda count: body * count, acknowledged=True)

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        del bystanders
        receivers = self._connected(name.encode(), NOBODY, 1)
        (sender,) = self._connected(NOBODY, name.encode(), 1)
        return Group(sender, receivers, lambda count: body * count, acknowledged=True)

    def body_size(self, work: Work) -> int:
        return work.body

    def close(self) -> None:
        self._context.destroy(linger=0)

    def _connected(self, hears: bytes, speaks: bytes, count: int) -> Sequence[Link]:
        links: list[Link] = []
        while len(links) < count:
            some = [Link(self._context, self._server, hears, speaks) for _ in range(min(AT_ONCE, count - len(links)))]
            for link in some:
                link.await_welcome()
            links += some
        self._links += links  # who is forgotten would be disconnected
        return links
