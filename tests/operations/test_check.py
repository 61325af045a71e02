"""`backchannel-relay check`: what it says of relays that are well, full, gone, somebody else, or no relay at all."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zmq

import protocol
from protocol import envelope
from protocol.address import HostPort, RelayAddress
from protocol.base32 import base32
from protocol.errors import Banned, ClockSkewed, GoingAway, Refused, UnreachableError
from relay.check import check
from relay.key import public_key
from tests.operations.process import RelayProcess, runs

SECRET = bytes(range(1, 33))
KEY = base32(public_key(SECRET))


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    with RelayProcess(tmp_path_factory.mktemp("relay")) as relay:
        yield relay


def fails(address: object, *more: object) -> tuple[int, str]:
    done = runs("check", address, *more)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


def test_a_relay_that_is_well(relay):
    done = runs("check", relay.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        rf"{relay.address.at} answers in \d+\.\d ms; greeted in \d+\.\d ms; its clock is [+-]\d\.\d s from this one\n",
        done.stdout,
    )


def test_a_clock_that_is_right_is_not_behind(monkeypatch, capsys, relay):
    from relay import check as checking
    from relay.cli.checking import check as command

    monkeypatch.setattr(checking, "check", lambda _address, _timeout: checking.Health(1.0, 1.0, -2))
    command.main([str(relay.address)], standalone_mode=False)
    assert "its clock is +0.0 s from this one" in capsys.readouterr().out


def test_the_same_for_a_program(relay):
    found = json.loads(runs("check", "--json", relay.address).stdout)
    assert (found.pop("v"), found.pop("type"), found.pop("relay")) == (1, "check", str(relay.address))
    assert set(found) == {"hello_ms", "ping_ms", "clock_ms"}
    assert 0 < found["ping_ms"] < 60_000
    assert abs(found["clock_ms"]) < 5_000


def test_a_relay_that_is_full(tmp_path):
    with RelayProcess(tmp_path, "--connections", 1) as relay, socket_held(relay.address):
        code, sentence = fails(relay.address)
        assert code == 6
        assert "takes no more connections" in sentence


def test_another_key_nobody_and_no_relay(relay):
    at = relay.address.at
    code, sentence = fails(f"{at}/{KEY}")
    assert code == 3
    assert "another key" in sentence
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert fails(f"127.0.0.1:{mute.getsockname()[1]}/{KEY}", "--timeout", 0.5)[0] == 3
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert fails(f"127.0.0.1:{nobody.getsockname()[1]}/{KEY}")[0] == 3


@pytest.mark.parametrize("word", ["nonsense", "127.0.0.1:7667", f"127.0.0.1:0/{KEY}", f"/{KEY}", f"127.0.0.1:x/{KEY}"])
def test_what_is_no_address(word):
    assert fails(word)[0] == 8


def test_a_name_that_nobody_has():
    assert fails(f"no-such-host.invalid:7667/{KEY}", "--timeout", 1)[0] == 3


def test_a_relay_that_hangs(tmp_path):
    with RelayProcess(tmp_path) as relay:
        relay.child.send_signal(signal.SIGSTOP)
        code, _ = fails(relay.address, "--timeout", 1)
        assert code == 3
        relay.child.send_signal(signal.SIGCONT)
        assert runs("check", relay.address).returncode == 0


def test_it_leaves_no_trace(relay):
    assert runs("check", relay.address).returncode == 0
    said = {json.loads(line)["event"] for line in relay.lines}
    assert said <= {"listening", "memory", "ready"}  # what every relay says at its start


@contextmanager
def socket_held(address: RelayAddress) -> Iterator[None]:
    """A check that has said HELLO and stays."""
    from relay import check as module

    visit = module._Visit(address, time.monotonic() + 60)
    visit.shake_hands()
    visit.greet()
    try:
        yield
    finally:
        visit.close()


# -- relays that answer something else ---------------------------------------------------------------------------------


@contextmanager
def impostor(*answers: Callable[[envelope.Request], list[bytes]]) -> Iterator[RelayAddress]:
    """A socket with the relay's key whose answers are the test's."""
    context = zmq.Context()
    server = context.socket(zmq.ROUTER)
    server.setsockopt(zmq.CURVE_SERVER, 1)
    server.setsockopt(zmq.CURVE_SECRETKEY, SECRET)
    server.setsockopt(zmq.LINGER, 0)
    port = server.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        for answer in answers:
            if not server.poll(60_000):
                return
            who, frame = server.recv_multipart()
            (request,) = envelope.decode_requests(frame)
            server.send_multipart([who, *answer(request)])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield RelayAddress(HostPort("127.0.0.1", port), KEY)
    finally:
        thread.join()
        context.destroy()


def welcome(ahead_ms: int = 0) -> Callable[[envelope.Request], list[bytes]]:
    def answer(_: envelope.Request) -> list[bytes]:
        clock = time.time_ns() // 1_000_000 + ahead_ms
        return [envelope.Welcome(protocol.VERSION, bytes(16), clock, 600).encode()]

    return answer


def accepted(request: envelope.Request) -> list[bytes]:
    return [envelope.Accepted((request.id,)).encode()]


def going_away(_: envelope.Request) -> list[bytes]:
    return [envelope.GoingAway().encode()]


def refused(request: envelope.Request) -> list[bytes]:
    return [envelope.Refused(request.id, "banned").encode()]


def two_parts(_: envelope.Request) -> list[bytes]:
    return [b"one", b"two"]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ((welcome(6 * 60_000), accepted), ClockSkewed),
        ((welcome(-6 * 60_000), accepted), ClockSkewed),
        ((refused,), Banned),
        ((going_away,), UnreachableError),
        ((two_parts,), Refused),
        ((welcome(), going_away), GoingAway),
        ((welcome(), refused), Banned),
        ((welcome(), welcome()), UnreachableError),
    ],
)
def test_a_relay_that_answers_something_else(answers, error):
    with impostor(*answers) as address, pytest.raises(error):
        check(address, 60)


def test_a_relay_that_says_welcome_and_nothing_more():
    with impostor(welcome()) as address, pytest.raises(UnreachableError):
        check(address, 0.5)
