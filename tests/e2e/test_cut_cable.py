"""A network that fails: the cable between some people and the relay is cut, and mended, while they talk.

The relay lives on, so here its idempotence and the peers' cursors are at work: what may or may not have been taken is
sent again, and shown once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator

import pytest

from protocol.address import HostPort, RelayAddress
from protocol.invite import Invite
from tests.e2e.scene import Relay


class Cable:
    """Carries bytes between whoever connects to ``address`` and a relay, until it is cut."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = RelayAddress(HostPort("127.0.0.1", self._listener.getsockname()[1]), relay.address.key)
        self.word = str(self.address)
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        """Of connections that are carried: at each, two ends."""
        self._old: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.cuts = 0
        self.deaf = False
        """Whether what the relay says is swallowed; a connection to which that happened is of no use any more."""
        self.frail = 0
        """How many connections are cut as soon as the relay has said something over them."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((self.relay.address.at.host, self.relay.address.at.port))
                with self._lock:
                    self._ends += [near, far]
                    for one, other, back in ((near, far, False), (far, near, True)):
                        self._threads.append(threading.Thread(target=self._carry, args=(one, other, back)))
                        self._threads[-1].start()

    def _carry(self, one: socket.socket, other: socket.socket, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(4_096):
                if not (back and self.deaf):
                    other.sendall(data)
                if back and self.frail:
                    self.frail -= 1
                    self.cuts += 1
                    break
        self._end(one, other)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._old += [end for end in ends if end in self._ends]
            self._ends = [end for end in self._ends if end not in ends]

    def cut(self) -> None:
        """End every connection, wherever its bytes are; new ones are carried at once."""
        with self._lock:
            ends = list(self._ends)
        self.cuts += len(ends) // 2
        self._end(*ends)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._old):
            end.close()


@pytest.fixture
def cable(scene) -> Iterator[Cable]:
    """A relay behind a cable."""
    cable = Cable(scene.relay())
    yield cable
    scene.end()
    cable.close()


def test_cut_again_and_again_nothing_is_lost_or_shown_twice(scene, cable):
    alice, bob = scene.company(cable, "alice", "bob")
    bobs, alices = bob.listens(), alice.chats()
    said: list[str] = []
    for cuts in range(5):
        burst = [f"{cuts}.{number:02}" for number in range(40)]
        said += burst
        alices.writes(*burst[:20], f"/msg bob {cuts} between us", *burst[20:])
        some = len(said) - 35
        bobs.waits(lambda some=some: len(bobs.texts()) > some)
        cable.cut()
    bobs.hears(*said, *(f"{cuts} between us" for cuts in range(5)))
    assert cable.cuts >= 10
    alices.writes("the end", "/msg bob the end of us")
    bobs.hears("the end", "the end of us")
    room = [message["text"] for message in bobs.heard() if not message["direct"]]
    between = [message["text"] for message in bobs.heard() if message["direct"]]
    assert room == [*said, "the end"]
    assert between == [*(f"{cuts} between us" for cuts in range(5)), "the end of us"]
    for listener in (bobs, alices):
        assert not listener.events("alarm", "gap", "missed", "duplicate"), listener


def test_what_was_taken_and_not_answered_is_sent_again_and_shown_once(scene, cable):
    """Alice alone is on the cable. The relay takes what she says, and its answer never comes back."""
    alice, bob = scene.people("alice", "bob")
    invite = Invite.decode(bob.creates(cable.relay))
    alice.joins(dataclasses.replace(invite, addresses=(cable.address.at,)).encode())
    bobs, alices = bob.listens(), alice.chats()
    alices.writes("one", "/msg bob one for bob")
    bobs.hears("one", "one for bob")
    for line, text in (("two", "two"), ("/msg bob two for bob", "two for bob")):
        cable.deaf = True
        alices.writes(line)
        bobs.hears(text)
        cable.deaf = False
        cable.cut()
        bob.says(f"what after {text}?")
        alices.hears(f"what after {text}?")  # she is back
    alices.writes("three", "/msg bob three for bob")
    bobs.hears("three", "three for bob")
    assert bobs.texts() == ["one", "one for bob", "two", "two for bob", "three", "three for bob"]
    for listener in (bobs, alices):
        assert not listener.events("alarm", "gap", "missed", "duplicate"), listener


def test_commands_get_through_a_cable_that_is_cut(scene, cable):
    """One-shot commands come back by themselves too, within their time."""
    alice, bob = scene.company(cable, "alice", "bob")
    before, cable.frail = cable.cuts, 3
    sending = alice.starts("send", "team", "--timeout", "60", "once")
    assert sending.ends() == 0, sending
    assert cable.cuts == before + 3
    assert bob.polls() == ["once"]
