"""Strangers: whoever can reach the relay's port and knows its key, and does everything wrongly that can be done.

A connection that breaks ZMTP, CURVE or our protocol is cut; one that does nothing is cut in time; and nobody else
notices anything.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time

import msgpack
import pytest

from protocol import envelope as ev
from protocol import limits
from protocol.identity import Identity
from tests.hostile.zmtp import COMMAND, GREETING, LARGE, MORE, PATIENCE, Cut, Raw, frame, metadata

pytestmark = pytest.mark.timeout(300)


def connected(town) -> Raw:
    """Return a connection that has shaken hands, and said nothing yet."""
    raw = Raw(town.address)
    raw.shakes_hands()
    return raw


def greeted(town) -> Raw:
    """Return a connection of somebody whom the relay believes."""
    raw = Raw(town.address)
    raw.arrives(Identity.generate())
    return raw


# -- before and in the handshake ---------------------------------------------------------------------------------------

OPENINGS = {
    "nothing": b"",
    "one byte": b"\xff",
    "a web browser": b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
    "a shell": b"SSH-2.0-OpenSSH_9.2\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "zeros": bytes(4_096),
    "noise": random.Random(1).randbytes(4_096),
    "zmtp 1": b"\x01\x00",
    "zmtp 2": b"\xff" + bytes(8) + b"\x7f\x01\x00\x00\x00",
    "no mechanism": GREETING[:12] + b"NULL".ljust(20, b"\0") + bytes(32),
    "plain": GREETING[:12] + b"PLAIN".ljust(20, b"\0") + bytes(32),
    "an unknown mechanism": GREETING[:12] + b"\xff" * 20 + bytes(32),
    "half a greeting": GREETING[:33],
    "a frame instead of hello": GREETING + frame(b"hello?"),
    "a giant instead of hello": GREETING + struct.pack("!BQ", COMMAND | LARGE, 2**63),
    "the largest instead of hello": GREETING + struct.pack("!BQ", LARGE, 2**64 - 1),
    "an empty command": GREETING + frame(b"", COMMAND),
    "an error": GREETING + frame(b"\x05ERROR\xffoh", COMMAND),
    "a ready": GREETING + frame(b"\x05READY" + bytes(40), COMMAND),
}


def test_garbage_before_the_handshake(town):
    """What is wrong is cut at once, what is unfinished in 5 s."""

    def attack() -> None:
        for opening in OPENINGS.values():
            with Raw(town.address) as raw, contextlib.suppress(Cut):
                raw.sends(opening)

    waiting = {}
    for name, opening in OPENINGS.items():
        waiting[name] = Raw(town.address)
        with contextlib.suppress(Cut):
            waiting[name].sends(opening)
    town.withstands(attack)
    for name, raw in waiting.items():
        assert raw.is_cut(), name
        raw.close()
    town.recovers()


def bent_hellos(raw: Raw) -> list[bytes]:
    whole = raw.hello()
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in (0, 3, 6, 100, 130, 190)]
    return [*flipped, whole[:-1], whole + b"\0", whole[:40], b"\x05HELLO", b"\x08INITIATE" + bytes(300)]


def bent_initiates(raw: Raw, cookie: bytes) -> list[bytes]:
    whole = raw.initiate(cookie)
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in (3, 20, 90, 110, 140, 240)]
    return [
        *flipped,
        whole[:-1],
        whole[:120],
        raw.initiate(random.randbytes(96)),
        raw.initiate(cookie, b"\xff"),
        raw.initiate(cookie, b"\x04name" + struct.pack("!I", 2**31 - 1) + b"x"),
        raw.initiate(cookie, b"\x04name" + struct.pack("!I", 2**32 - 1)),
        raw.initiate(cookie, metadata(b"Identity", bytes(256))),
        raw.initiate(cookie, metadata(b"Socket-Type", b"PUB")),
        raw.initiate(cookie, *(metadata(b"X-%d" % number, bytes(100)) for number in range(300))),
        b"\x07MESSAGE" + bytes(64),
        b"\x05ERROR\x00",
    ]


def test_garbage_in_the_handshake(town):
    with Raw(town.address) as raw:
        hellos = len(bent_hellos(raw))
        raw.greets()
        raw.says_hello()
        initiates = len(bent_initiates(raw, raw.reads_welcome()))

    def attack() -> None:
        for number in range(hellos):
            with Raw(town.address) as raw, contextlib.suppress(Cut):
                raw.greets()
                raw.sends(frame(bent_hellos(raw)[number], COMMAND))
                assert raw.is_cut()
        for number in range(initiates):
            with Raw(town.address) as raw, contextlib.suppress(Cut):
                raw.greets()
                raw.says_hello()
                raw.sends(frame(bent_initiates(raw, raw.reads_welcome())[number], COMMAND))
                raw.sends(frame(b"\x07MESSAGE" + bytes(64)))

    town.withstands(attack)
    town.recovers()


@pytest.mark.faults
def test_handshakes_that_are_never_finished(town):
    """Hundreds wait at every step; others get in meanwhile, and in some seconds all those are gone."""
    waiting: list[Raw] = []

    def attack() -> None:
        if len(waiting) >= 300:
            return
        for step in range(4):
            raw = Raw(town.address)
            waiting.append(raw)
            if step > 0:
                raw.greets()
            if step > 1:
                raw.says_hello()
            if step > 2:
                raw.sends(frame(raw.initiate(raw.reads_welcome())[:-20], COMMAND)[:-1])

    while len(waiting) < 300:
        attack()
    began = time.monotonic()
    greeted(town).close()
    town.withstands(attack)
    for raw in waiting:
        assert raw.is_cut(), time.monotonic() - began
        raw.close()
    town.recovers()


# -- after the handshake -----------------------------------------------------------------------------------------------


def broken(raw: Raw) -> list[bytes]:
    """Return what no client sends that has shaken hands, as bytes of the connection."""
    whole = raw.message(b"x" * 40)
    return [
        whole[:-1] + bytes([whole[-1] ^ 1]),
        frame(b"\x07MESSAGE" + bytes(8) + whole[18:]),
        frame(b"\x07MESSAGE" + bytes(24)),
        frame(b"\x07MESSAGE"),
        frame(b"not encrypted"),
        frame(b"not encrypted", COMMAND),
        frame(b"\x04PING\x00\x01", COMMAND),
        struct.pack("!BQ", LARGE, 2**63 - 1),
        struct.pack("!BQ", LARGE, 2**64 - 1),
        struct.pack("!BQ", LARGE, limits.FRAME + 10_000) + bytes(100_000),
        b"\xff" * 200,
        frame(b"x", 0xF8),
    ]


HARMLESS_COMMANDS = (b"\x04PING", b"\x04PING\x00\x01" + bytes(16), b"\x04PONG", b"\x09SUBSCRIBE", b"\xff", b"")


def test_garbage_after_the_handshake(town):
    """Be it greeted or not: what does not decrypt, or is longer than anything may be, ends the connection."""
    with connected(town) as raw:
        count = len(broken(raw))

    def attack() -> None:
        for opens in (connected, greeted):
            for number in range(count):
                with opens(town) as raw:
                    with contextlib.suppress(Cut):
                        raw.sends(broken(raw)[number])
                    assert raw.is_cut(), number
            for command in HARMLESS_COMMANDS:
                with opens(town) as raw, contextlib.suppress(Cut):
                    raw.says(command, 2)
                    raw.says(ev.Ping(bytes(16)).encode())

    attack()
    town.withstands(lambda: None)
    town.recovers()


def bombs() -> list[bytes]:
    """Return frames of the protocol that are small and claim, or are, very much; and all lengths from 0 to 64."""
    ping = ev.Ping(bytes(16)).encode()
    return [
        *(random.Random(size).randbytes(size) for size in range(65)),
        b"\x91" * 100_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1_000,
        b"\xdc\xff\xff" + b"\xc0" * 65_535,
        b"\xc6\xff\xff\xff\xff" + bytes(1_000),
        b"\xdb\xff\xff\xff\xff" + bytes(1_000),
        b"\xdf\xff\xff\xff\xff" + b"\xc0" * 1_000,
        b"\xc9\xff\xff\xff\xff\x01" + bytes(1_000),
        msgpack.packb([6, [[[[[[[]]]]]]]]),
        msgpack.packb([8, bytes(16), bytes(limits.ENVELOPE)]),
        msgpack.packb([6, bytes(16), bytes(32), None, 2**64 - 1, 0, b""]),
        msgpack.packb([6, "x" * 16, bytes(32), None, 1, 0, b""]),
        msgpack.packb([6.0, bytes(16)]),
        msgpack.packb([{}, bytes(16)]),
        ping * (limits.FRAME_ENVELOPES + 1),
        b"\x90" * limits.FRAME,
        b"\xc0" * limits.FRAME,
        ping + b"\xc1",
    ]


def test_bombs(town):
    """Whoever is believed and sends what is no frame of ours hears so and is cut, however it is made."""

    def attack() -> None:
        sent = [(greeted(town), bomb) for bomb in bombs()]
        for raw, bomb in sent:
            with contextlib.suppress(Cut):
                raw.says(bomb)
        for raw, bomb in sent:
            with raw:
                assert raw.is_cut(), bomb[:40]

    town.withstands(attack)
    town.recovers()


@pytest.mark.parametrize("parts", [2, 1_000, 50_000])
@pytest.mark.parametrize("opens", [connected, greeted], ids=["unknown", "greeted"])
def test_messages_of_many_parts(town, opens, parts):
    """Each part would be right as a whole frame."""
    part = ev.Ping(bytes(16)).encode()

    def attack() -> None:
        with opens(town) as raw, contextlib.suppress(Cut):
            for start in range(0, parts, 1_000):
                some = min(1_000, parts - start)
                raw.sends(b"".join(raw.message(part, MORE) for _ in range(some - 1)))
                raw.says(part, MORE if start + some < parts else 0)
            assert raw.is_cut()

    attack()
    town.withstands(lambda: None, grows=32 * 1024 * 1024)
    town.recovers()


def test_another_ones_routing_id(town):
    """Whoever announces an id that is in use is not heard, and whoever has it does not notice."""
    ids = [b"a", b"alice", b"\0", bytes(5), b"\0" + os.urandom(4), b"\xff" * 255, "ünïcode".encode()]

    def attack() -> None:
        raws: list[Raw] = []
        for announced in ids * 2:
            raw = Raw(town.address)
            raws.append(raw)
            with contextlib.suppress(Cut):
                raw.shakes_hands(metadata(b"Identity", announced), metadata(b"User-Id", b"00" * 32))
                raw.says(ev.Ping(bytes(16)).encode())
        for raw in raws:
            raw.close()

    town.withstands(attack)
    town.recovers()


def test_a_storm_of_connections(town):
    def attack() -> None:
        for number in range(50):
            raw = Raw(town.address)
            if number % 2:
                raw.shakes_hands()
            raw.close(reset=bool(number % 3))

    town.withstands(attack, times=10)
    town.recovers()


@pytest.mark.faults
def test_frames_that_take_for_ever(town):
    """A frame that comes a byte at a time costs what has come of it; a connection without a word is cut."""
    raws = [greeted(town) for _ in range(20)]
    began = struct.pack("!BQ", LARGE, limits.FRAME)
    for raw in raws:
        raw.sends(began)

    def attack() -> None:
        for raw in raws:
            raw.sends(b"\x07")
        time.sleep(0.01)

    mute = connected(town)
    town.withstands(attack, grows=24 * 1024 * 1024)
    for raw in raws:
        raw.close()
    assert mute.is_cut(2 * PATIENCE)
    mute.close()
    town.recovers()
