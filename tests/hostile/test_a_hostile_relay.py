"""A relay that sends what no relay sends, under the real one's key: no peer ends, and all go on when it is over."""

from __future__ import annotations

import itertools
import random
import time

import msgpack
import zmq
from zmq.utils import z85

import protocol
from protocol import envelope as ev
from protocol import limits
from relay.key import load_or_create
from tests.e2e.scene import PATIENCE
from tests.faults.crowd import Crowd


def bombs() -> list[list[bytes]]:
    """Return messages, each as its parts."""
    ping = ev.Accepted((bytes(16),)).encode()
    return [
        *([random.Random(size).randbytes(size)] for size in range(0, 65, 3)),
        [b"a", b"b"],
        [b""] * 5_000,
        [b"\x91" * 100_000 + b"\xc0"],
        [b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1_000],
        [b"\xc6\xff\xff\xff\xff" + bytes(1_000)],
        [b"\xdf\xff\xff\xff\xff" + b"\xc0" * 1_000],
        [msgpack.packb([40, *[[[[[[[]]]]]]]])],
        [msgpack.packb([35, bytes(16), "x" * 100_000])],
        [msgpack.packb([34, [bytes(16)] * 5_000])],
        [msgpack.packb([40, bytes(32), bytes(32), True, 2**63, 0, bytes(16), b""])],
        [ping * (limits.FRAME_ENVELOPES + 1)],
        [b"\x90" * (limits.FRAME - 100)],
        [bytes(limits.FRAME + 100_000)],
        [ev.Welcome(protocol.VERSION, bytes(16), 0, 0).encode()] * 2,
        [ping + b"\xc1"],
    ]


def test_bombs_from_a_relay(scene):
    relay = scene.relay()
    crowd = Crowd(scene, relay, "alice", "bob")
    for who, other in (("alice", "bob"), ("bob", "alice")):
        crowd.talk(who, every=0.1)
        crowd.talk(who, to=other, every=0.15)
    crowd.goes_on()
    relay.killed()
    secret = load_or_create(scene.folder / "relay")
    bomb(f"tcp://{relay.address.at}", secret)
    scene.relay(bind=str(relay.address.at))
    crowd.goes_on()
    crowd.balances()


def bomb(endpoint: str, secret: bytes) -> None:
    """Welcome whoever comes, and send each the next bomb, until all were sent twice."""
    left = itertools.chain(bombs(), bombs())
    deadline = time.monotonic() + PATIENCE
    context = zmq.Context()
    fake = context.socket(zmq.ROUTER)
    fake.setsockopt(zmq.CURVE_SERVER, 1)
    fake.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(secret))
    fake.setsockopt(zmq.LINGER, 0)
    fake.bind(endpoint)
    welcomed: set[bytes] = set()
    parts: list[bytes] = []
    try:
        while True:
            assert fake.poll((deadline - time.monotonic()) * 1_000), (
                f"nobody came back after {[part[:40] for part in parts[:3]]}"
            )
            who = fake.recv_multipart()[0]
            if who in welcomed:
                continue
            welcomed.add(who)
            parts = next(left, [])
            if not parts:
                return
            clock = time.time_ns() // 1_000_000
            fake.send_multipart([who, ev.Welcome(protocol.VERSION, bytes(16), clock, 600).encode()])
            fake.send_multipart([who, *parts])
    finally:
        fake.close()
        context.term()
