"""``python -m bench.bare``: a ROUTER with CURVE in Python's fastest loop that checks, keeps and knows nothing.

It is the floor for every ROUTER in Python. What our relay costs more is what it does; what this costs more than other
servers is ZeroMQ, its thread and Python. Whoever connects says first which group it hears and which it speaks to. From
then on each of its frames, however many messages are in it, goes as it is to all who hear that group, and a word to
itself. It says HOST:PORT/KEY on stdout, and serves until it is terminated.
"""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any, Final

import zmq
import zmq.backend
from zmq.utils import z85

from bench.servers import NOBODY, TAKEN, WELCOME
from protocol.base32 import base32

_AT_ONCE: Final = int(zmq.NOBLOCK)
_MORE_FOLLOWS: Final = int(zmq.NOBLOCK | zmq.SNDMORE)


def main() -> None:
    """Serve."""
    public, secret = zmq.curve_keypair()
    router = zmq.Context(io_threads=1).socket(zmq.ROUTER)
    for option, value in ((zmq.CURVE_SERVER, 1), (zmq.CURVE_SECRETKEY, secret), (zmq.BACKLOG, 1_024)):
        router.setsockopt(option, value)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    sys.stdout.write(f"127.0.0.1:{port}/{base32(z85.decode(public))}\n")
    sys.stdout.flush()
    receive: Any = MethodType(zmq.backend.Socket.recv, router)
    send: Any = MethodType(zmq.backend.Socket.send, router)
    hearing: dict[bytes, list[bytes]] = {}
    speaking: dict[bytes, list[bytes]] = {}
    while True:
        connection, frame = receive(), receive(_AT_ONCE)
        to = speaking.get(connection)
        if to is None:
            hears, _, speaks = frame.partition(b" ")
            speaking[connection] = hearing.setdefault(speaks, [])
            if hears != NOBODY:
                hearing.setdefault(hears, []).append(connection)
            answer = WELCOME
        else:
            shared = zmq.Frame(frame, copy=True) if len(to) > 1 else frame
            for receiver in to:
                send(receiver, _MORE_FOLLOWS)
                send(shared, _AT_ONCE)
            answer = TAKEN
        send(connection, _MORE_FOLLOWS)
        send(answer, _AT_ONCE)


if __name__ == "__main__":
    main()
