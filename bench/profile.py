"""``python -m bench.profile``: where the relay's time goes, step by step.

The core runs in this process, without a socket, and is given frames of posts. A step is what the relay does up to it
less what it does up to the one before: its CPU time, the least of many rounds, and how many instructions Python's
interpreter executes for it, which no other work on the machine changes. Then a whole relay is loaded over sockets, and
the kernel says how long each of its two threads ran. What the loop's took beyond the core is to receive, to send, to
wake up, and that memory is cold after others have run.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import protocol
from bench.loads.backchannel import Backchannel
from bench.loads.drive import Drive
from bench.loads.link import marked_body
from bench.servers import OURS, SERVERS
from protocol import envelope, limits, statement, wire
from protocol.envelope import Flag
from protocol.identity import Identity, SigningKey, hello_content
from protocol.ids import Anchor, InviteId, RelayKey
from protocol.limits import RelayLimits
from protocol.membership import START, next_head
from protocol.primitives import Label
from relay.core.core import Core

BURSTS: Final = (1, 8, 64)
PAIR: Final = 2
MEMBERS: Final = 50
BODY: Final = 256
POSTS: Final = 1_024
"""How many posts a round has, at least."""
TRACED: Final = 20
"""Frames whose instructions are counted."""
SECONDS: Final = 0.4
TRIES: Final = 5
"""Of which the one counts that nothing disturbed."""
KEY: Final = RelayKey(bytes(32))
UNLIMITED: Final = 10**9
STEPS: Final = ("unpack", "check, make objects", "carry: rules, number, pack, keep, evict", "fill and settle frames")


class Bench:
    """A core with one room whose ``members`` are attached; the first posts to the second, or (``to_all``) to it."""

    def __init__(self, members: int, *, to_all: bool) -> None:
        rates = dict.fromkeys(("posts_per_s", "posts_burst", "bytes_per_s", "bytes_burst"), UNLIMITED)
        self.core = Core(KEY, bytes(16), RelayLimits(**rates), 0)
        self._ids = itertools.count(1)
        self._now = 10 * limits.SECOND  # after whatever the relay waits for at its start
        self._index = members + 1
        people = [self._connected(number) for number in range(members)]
        self._to = None if to_all else people[1].id
        found = statement.found(people[0], bytes(16), 0, False, b"")
        self._room = statement.room_id(found)
        place, key = Anchor(1, next_head(START, found)), SigningKey.generate()
        grant = statement.grant(people[0], self._room, place, InviteId(key.public), 0, 0)
        place = Anchor(2, next_head(place.head, grant))
        log = [found, grant, *(statement.admit(guest, self._room, place, key) for guest in people[1:])]
        for number, raw in zip([0, *range(members)], log, strict=True):
            self._ask(number, envelope.Submit(self._id(), self._room, raw))
        for number in range(members):
            self._ask(number, envelope.Attach(self._id(), self._room, True, 0, START, 0, 0))
        for _ in range(400):  # until as much is kept as may be
            self.turn(self.frame(64))

    def frame(self, posts: int) -> bytes:
        """Return a frame of so many posts."""
        return b"".join(
            envelope.Post(self._id(), self._room, self._to, self._index, Flag.NONE, bytes(BODY)).encode()
            for _ in range(posts)
        )

    def receive(self, frame: bytes) -> None:
        """Let the core carry out a frame's requests."""
        self._now += 1
        self.core.set_clock(self._now, self._now)
        self.core.receive(_connection(0), frame, self._now)

    def settle(self) -> None:
        """Do what a turn does besides; what is sent goes nowhere."""
        self.core.tick(self._now)
        for _ in self.core.turn(self._now):
            pass
        self.core.rest(self._now)

    def turn(self, frame: bytes) -> None:
        """Do a whole turn."""
        self.receive(frame)
        self.settle()

    def steps(self) -> Sequence[Callable[[bytes], object]]:
        """Return what is done with a frame up to each of STEPS."""
        return (
            lambda frame: list(wire.unpack_all(frame, limits.FRAME, limits.ENVELOPE)),
            lambda frame: list(envelope.decode_requests(frame)),
            self.receive,
            self.turn,
        )

    def _connected(self, number: int) -> Identity:
        who, transport = Identity.generate(), number.to_bytes(32)
        self.core.connect(_connection(number), transport, "", self._now)
        signature = who.sign(Label.HELLO, hello_content(KEY, transport))
        self._ask(number, envelope.Hello(self._id(), protocol.VERSION, who.id, signature))
        return who

    def _ask(self, number: int, request: envelope.Request) -> None:
        self.core.receive(_connection(number), request.encode(), self._now)
        self.settle()

    def _id(self) -> bytes:
        return next(self._ids).to_bytes(16)


def _connection(number: int) -> bytes:
    return number.to_bytes(5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    rounds = parser.parse_args().rounds
    for title, members in (("an aside", 2), (f"a post to a room of {MEMBERS}", MEMBERS)):
        rows: dict[str, list[str]] = {}
        for posts in BURSTS:
            core = _core(members, posts, rounds)
            loop, zeromq = _threads(members, posts)
            in_core = sum(us for us, _ in core.values())
            for name, (us, instructions) in core.items():
                rows.setdefault(name, []).append(f"{us:.2f} ({instructions:.0f})")
            rows.setdefault("the core in all", []).append(f"{in_core:.2f} ({sum(n for _, n in core.values()):.0f})")
            rows.setdefault("receive, send, wake up, cold memory", []).append(f"{loop - in_core:.2f}")
            rows.setdefault("the loop's thread in all", []).append(f"{loop:.2f}")
            rows.setdefault("ZeroMQ's thread", []).append(f"{zeromq:.2f}")
        print(f"\n| {title}, by | {' | '.join(map(str, BURSTS))} |\n|---|{'--:|' * len(BURSTS)}")
        for name, cells in rows.items():
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _core(members: int, posts: int, rounds: int) -> Mapping[str, tuple[float, float]]:
    """Return what each step takes for a post, in µs of CPU and in instructions of the interpreter."""
    bench = Bench(members, to_all=members > PAIR)
    gc.collect()
    gc.freeze()  # as the relay does
    found: dict[str, tuple[float, float]] = {}
    us = instructions = 0.0
    for name, step in zip(STEPS, bench.steps(), strict=True):
        until = _cpu_us(bench, step, posts, rounds), _instructions(bench, step, posts)
        found[name] = until[0] - us, until[1] - instructions
        us, instructions = until
    assert not bench.core.counts.refused
    return found


def _cpu_us(bench: Bench, step: Callable[[bytes], object], posts: int, rounds: int) -> float:
    """Return the CPU time of a step for each post."""
    least, count = float("inf"), POSTS // posts
    for _ in range(rounds):
        frames = [bench.frame(posts) for _ in range(count)]
        began = time.thread_time_ns()
        for frame in frames:
            step(frame)
        least = min(least, time.thread_time_ns() - began)
    return least / count / posts / 1_000


def _instructions(bench: Bench, step: Callable[[bytes], object], posts: int) -> float:
    """Return how many instructions the interpreter executes in a step for each post."""
    frames, count = [bench.frame(posts) for _ in range(TRACED)], 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()  # it may be that of a debugger, or of coverage
    sys.settrace(trace)
    try:
        for frame in frames:
            step(frame)
    finally:
        sys.settrace(before)
    return count / TRACED / posts


def _threads(members: int, posts: int) -> tuple[float, float]:
    """Return the CPU time that the loop's thread of a loaded relay and ZeroMQ's take for a post, in µs."""
    with tempfile.TemporaryDirectory() as folder, SERVERS[OURS].running(Path(folder)) as server:
        load, body = Backchannel(server), marked_body(BODY)
        drive = Drive([load.pair("pair", body, 0) if members == PAIR else load.room("room", members, body)])
        drive.saturate(posts, SECONDS)
        least = float("inf"), 0.0
        for _ in range(TRIES):
            sent, before = drive.flows[0].sent, _ran(server.pid)
            drive.saturate(posts, SECONDS)
            sent = drive.flows[0].sent - sent
            took = [(after - earlier) / sent for after, earlier in zip(_ran(server.pid), before, strict=True)]
            least = min(least, (took[0], sum(took[1:])), key=sum)
        load.close()
    return least


def _ran(pid: int) -> Sequence[float]:
    """Return for how many µs each thread of a process has run, the first one first."""
    threads = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name))
    return [int((thread / "schedstat").read_text().split()[0]) / 1_000 for thread in threads]


if __name__ == "__main__":
    main()
