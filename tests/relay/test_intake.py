"""What has come over a connection and is no frame: how much of that anybody may have lying in the relay."""

from __future__ import annotations

import os
import socket

import pytest

from relay import intake
from relay.intake import AROUND, HEARTBEATS, MOST, Intake, bytes_received
from relay.links import Incoming

ALICE = Incoming(7, 1)


@pytest.fixture
def come(monkeypatch):
    """How many bytes have come over each descriptor."""
    received: dict[int, int] = {}
    monkeypatch.setattr(intake, "bytes_received", received.get)
    return received


def test_what_was_taken_is_not_lying_anywhere(come):
    taken = Intake()
    for look in range(1, 100):
        come[7] = look * 1_000_000
        taken.took(ALICE, 1_000_000 - AROUND)
        assert list(taken.look([ALICE])) == []


def test_whoever_has_too_much_lying_is_named_at_whatever_pace_it_came(come):
    for pace in (MOST // 3, MOST, 10 * MOST):
        taken, come[7] = Intake(), 0
        looks = 0
        while not list(taken.look([ALICE])):
            come[7] += pace
            looks += 1
            assert come[7] <= MOST + pace + looks * HEARTBEATS
        assert come[7] > MOST


def test_frames_of_before_earn_no_credit(come):
    taken = Intake()
    for _ in range(10_000):
        taken.took(ALICE, 1_000)
    come[7] = 10_000_000
    assert list(taken.look([ALICE])) == []
    come[7] += MOST + HEARTBEATS + 1
    assert list(taken.look([ALICE])) == [ALICE]


def test_another_connection_of_the_same_descriptor_begins_anew(come):
    taken = Intake()
    come[7] = MOST
    assert list(taken.look([ALICE])) == []
    assert list(taken.look([Incoming(7, 2)])) == []


def test_the_kernel_counts_what_came(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(bytes(5_000))
            received = b""
            while len(received) < 5_000:
                received += accepted.recv(5_000)
            assert bytes_received(accepted.fileno()) == 5_000
            accepted.send(b"its descriptor is still its own")
            monkeypatch.setattr(intake, "_OFFSET", 100_000)
            assert bytes_received(accepted.fileno()) is None  # an older kernel tells less


def test_what_is_no_open_connection_has_no_count():
    reading, writing = os.pipe()
    assert bytes_received(reading) is None
    os.close(reading)
    os.close(writing)
    assert bytes_received(reading) is None
