"""How large a relay gets: what it says when it starts holds for its process, filled from every side."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol import envelope
from protocol import statement as st
from protocol.address import RelayAddress
from protocol.base32 import base32
from protocol.ids import Anchor, Head, PeerId, RoomId
from protocol.limits import RelayLimits
from relay.ceiling import PROCESS, ceiling
from relay.core.pool import STEP
from tests.relay.test_cli import serving
from tests.relay.test_router import PATIENCE, SECRET, Client, connect, meet  # noqa: F401 - a fixture

MIB = 1024 * 1024


@dataclass
class Process:
    """A relay's process, and how large it has said that it can get."""

    process: subprocess.Popen[str]
    endpoint: str
    most: int

    @property
    def resident(self) -> int:
        """The bytes of memory that it has now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@contextlib.contextmanager
def relay(home: Path, **limits: int) -> Iterator[Process]:
    """A relay with the key that the clients expect."""
    home.mkdir(mode=0o700)
    (home / "relay.key").write_text(base32(SECRET))
    (home / "relay.key").chmod(0o600)
    bounds = {"posts_per_s": 10**8, "posts_burst": 10**8, "bytes_per_s": 10**9, "bytes_burst": 10**9} | limits
    options = [word for name, value in bounds.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with serving("--bind", "127.0.0.1:0", "--home", home, *options) as (process, line):
        address = RelayAddress.parse(line)
        for said in map(json.loads, process.stderr):
            if said["event"] == "memory":
                break
        yield Process(process, f"tcp://127.0.0.1:{address.at.port}", said["mib"] * MIB)


def flood(sender: Client, room: bytes, body: int, total: int, to: bytes | None = None) -> None:
    """Post so many bytes in all, frame by frame, and wait until the relay has dealt with them."""
    each = min(1_000, 200_000 // (body + 150))
    for _ in range(max(1, total // (each * (body + 150)))):
        posts = [sender.post(room, bytes(body), to) for _ in range(each)]
        sender.sends(*posts)
        assert sender.waits(lambda d, last=posts[-1].id: isinstance(d, envelope.Accepted) and last in d.ids)
        sender.seen.clear()


def removal(founder: Client, room: bytes, subject: bytes) -> envelope.Submit:
    """Return a statement that always fits: somebody who never was a member is removed."""
    anchor = Anchor(1, Head(bytes(32)))
    raw = st.remove(founder.identity, RoomId(room), anchor, PeerId(subject), False)
    return envelope.Submit(founder.request(), room, raw)


def answers(client: Client, *requests: envelope.Request) -> set[str]:
    """Send requests in one frame, and return how they were answered."""
    client.sends(*requests)
    return {client.answer(request) for request in requests}


def test_the_parts_of_the_ceiling_add_up_and_the_default_is_some_gibibytes():
    bounds = RelayLimits()
    most = ceiling(bounds, 1_216)
    assert most.retained == bounds.bytes_of_posts + bounds.bytes_of_asides
    parts = most.connections + most.retained + most.rooms + most.returning
    assert most.total == PROCESS + parts + parts // 8
    assert 3 * 1024 * MIB < most.total < 8 * 1024 * MIB
    small = RelayLimits(
        connections=32, bytes_of_posts=16 * MIB, bytes_of_asides=16 * MIB, bytes_of_rooms=16 * MIB, bytes_gathered=MIB
    )
    assert ceiling(small, 100).total < 512 * MIB
    assert ceiling(small, 10).connections < ceiling(small, 100).connections


@pytest.mark.parametrize("body", [0, 1_000, 60_000], ids=["tiny", "usual", "large"])
def test_what_is_retained_costs_what_it_is_counted_for(tmp_path, connect, body):  # noqa: F811
    """Posts and asides of each size fill their shares, and what the process grows by is no more than that."""
    each = 12 * MIB
    with relay(tmp_path / "home", bytes_of_posts=each, bytes_of_asides=each, bytes_per_room=each) as process:
        alice, bob, chuck = (connect(process).arrives() for _ in range(3))
        room = meet(alice, bob, chuck)
        flood(alice, room, 100, STEP)
        before = process.resident
        counted = body + 150 + 384
        for sender, to in ((alice, bob), (bob, chuck), (chuck, alice)):
            for addressee in (None, to.identity.id):
                flood(sender, room, body, each * (body + 150) // counted // 2, addressee)
        grown = process.resident - before
        assert grown < 2 * each * 9 // 8 + 8 * MIB
        full = process.resident
        for addressee in (None, bob.identity.id):
            flood(alice, room, body, each * (body + 150) // counted, addressee)
        assert process.resident < full + 8 * MIB, "it is full, and stays as large as it is"
        assert grown > each * 3 // 4, "it was filled, as far as three members in one room can"


def test_a_relay_that_is_filled_from_every_side_stays_below_what_it_has_said(tmp_path, connect):  # noqa: F811
    limits = {
        "connections": 40,
        "connections_per_identity": 40,
        "bytes_of_posts": 8 * MIB,
        "bytes_of_asides": 8 * MIB,
        "bytes_per_pair": 8 * MIB,
        "bytes_of_rooms": 4 * MIB,
        "bytes_gathered": 4 * MIB,
    }
    names = (number.to_bytes(32) for number in itertools.count(1))
    with relay(tmp_path / "home", **limits) as process:
        alice, bob, chuck = (connect(process).arrives() for _ in range(3))
        room = meet(alice, bob, chuck)
        deaf = [connect(process, chuck.identity, high_water=1).arrives() for _ in range(24)]
        sizes = [process.resident]
        # connections that are attached, and read nothing of what all say
        for client in deaf:
            client.sends(envelope.Attach(client.request(), room, False, 0, bytes(32), 0, 0))
        for body in (90_000, 10_000, 200):
            flood(alice, room, body, 8 * MIB)
            flood(alice, room, body, 8 * MIB, chuck.identity.id)
            sizes.append(process.resident)
        # statements, until there is no memory for more
        while answers(alice, *(removal(alice, room, next(names)) for _ in range(100))) == {"Accepted"}:
            pass
        # logs that nobody finishes
        for name in names:
            piece = tuple(name + bytes([number]) * 900 for number in range(100))
            if bob.asks(envelope.Restore(bob.request(), name, False, piece)) != "Accepted":
                break
        sizes.append(process.resident)
        assert alice.asks(envelope.Ping(alice.request())) == "Accepted"
        assert max(sizes) < process.most
        assert max(sizes) > sizes[0] + 16 * MIB


def test_a_message_of_very_many_parts_costs_its_sender_the_connection_and_the_relay_gets_the_memory_back(
    tmp_path,
    connect,  # noqa: F811
):
    with relay(tmp_path / "home") as process:
        alice = connect(process).arrives()
        before = process.resident
        for _ in range(3):
            eve = connect(process).arrives()
            eve.socket.send_multipart([bytes(1_000)] * 30_000)
            assert eve.is_cut()
            assert alice.asks(envelope.Ping(alice.request())) == "Accepted"
        deadline = time.monotonic() + PATIENCE
        while process.resident > before + 16 * MIB:
            assert time.monotonic() < deadline, process.resident - before
            time.sleep(0.05)
