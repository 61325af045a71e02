"""The way to the relay fails: what failed is said in one sentence and an exit code, within seconds; nothing hangs."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from protocol.address import HostPort, RelayAddress
from protocol.errors import BackchannelError, BadHello, Banned, TooManyConnections, UnreachableError, WrongRelayKey
from protocol.invite import Invite
from tests.e2e.scene import Process, tampered, wait
from tests.e2e.wire import Wire

WITHIN = 45.0
"""Seconds for a command: what is documented is 5, and a slow machine may be starting ten others at the same time."""


@pytest.fixture
def relay(scene):
    return scene.relay()


def fails(error: type[BackchannelError], *commands: Process) -> None:
    """See commands, which run at the same time, end in time with the error's sentence and exit code."""
    began = time.monotonic()
    for command in commands:
        assert command.ends() == error.exit_code, command
        assert command.lines == []
        assert error.sentence in command.errors[-1]
        assert len(command.errors) < 3
        assert time.monotonic() - began < WITHIN


@pytest.fixture
def silent() -> Iterator[HostPort]:
    """Something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield HostPort("127.0.0.1", listening.getsockname()[1])


@pytest.fixture
def babbling() -> Iterator[HostPort]:
    """Something that is no relay, and says so at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    taken, _ = listening.accept()
                except OSError:
                    return
                with taken:
                    taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield HostPort("127.0.0.1", listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def closed() -> Iterator[HostPort]:
    """A port where nothing listens, and nothing will."""
    with socket.socket() as holds:
        holds.bind(("127.0.0.1", 0))
        yield HostPort("127.0.0.1", holds.getsockname()[1])


def elsewhere(relay_word: str, at: HostPort) -> str:
    return str(dataclasses.replace(RelayAddress.parse(relay_word), at=at))


def test_another_relay_is_there(scene, relay):
    other = scene.relay(name="another")
    there = elsewhere(relay.word, other.address.at)
    fails(WrongRelayKey, scene.person("alice").starts("create", "team", "--relay", there))


def test_no_relay_is_there(scene, relay, closed, silent, babbling):
    (alice,) = scene.company(relay, "alice")
    invite = Invite.decode(scene.invite)
    commands = []
    for number, at in enumerate((closed, silent, babbling)):
        bob, carol = scene.people(f"bob{number}", f"carol{number}")
        commands.append(bob.starts("create", "team", "--relay", elsewhere(relay.word, at)))
        commands.append(carol.starts("join", dataclasses.replace(invite, addresses=(at,)).encode()))
    relay.killed()
    commands += [alice.starts("send", "team", "hello?"), alice.starts("listen", "team"), alice.starts("who", "team")]
    fails(UnreachableError, *commands)


def test_the_relay_is_full(scene):
    """Who is refused for that says so at once, and gets in when there is room again."""
    relay = scene.relay("--connections", "1")
    alice, bob = scene.company(relay, "alice", "bob")
    with Wire(relay.address):
        creating, sending = alice.starts("create", "another", "--relay", relay.word), bob.starts("send", "team", "hi")
        fails(TooManyConnections, creating, sending)
    wait(lambda: bob.tries("send", "team", "hi").code == 0)


def test_whose_identity_is_refused(scene, relay):
    """Bob was banned; Carol signed for another connection than the one she has."""
    alice, bob = scene.company(relay, "alice", "bob")
    alice.runs("ban", "team", "bob")
    fails(Banned, bob.starts("send", "team", "hello?"))
    carol = scene.person("carol", tampered("forged_hello", "peer"))
    fails(BadHello, carol.starts("create", "hers", "--relay", relay.word))
