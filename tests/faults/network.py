"""Networks that fail, between the people and a relay.

``Wire`` is a TCP proxy in this process: it delays, holds, swallows, cuts and halves connections. ``Lan`` is the
kernel's own: the relay in a network namespace of its own, behind a pair of interfaces on which packets are lost,
delayed and reordered, and which can be pulled. Where namespaces can't be made, ``lan`` gives a ``Wire`` that behaves
as badly, so that the test is run in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from protocol.address import HostPort, RelayAddress
from tests.e2e.scene import RELAY, Scene

Way = Literal["up", "down"]
"""Up is from the people to the relay."""
_RESET = struct.pack("ii", 1, 0)
_numbers = itertools.count()


@dataclass(eq=False)
class _Carried:
    """One connection: its near end is a person's, its far end the relay's."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    halved: bool = False
    """One end is gone, and the other is not told."""


class Wire:
    """Carries bytes between whoever connects to ``word`` and the relay at ``address``; all methods are immediate."""

    def __init__(self, address: RelayAddress) -> None:
        self._to = address.at
        self.delay = 0.0
        """Seconds each way, and as much again at random."""
        self.swallowed: set[Way] = set()
        """What goes that way is taken and thrown away: the connection is of no use after it."""
        self.cuts = 0
        self._carried: set[_Carried] = set()
        self._loop = asyncio.new_event_loop()
        self._flows: dict[Way, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        for flow in self._flows.values():
            flow.set()
        self._stalls: asyncio.Task[None] | None = None
        listening = socket.create_server(("127.0.0.1", 0))
        self.word = str(RelayAddress(HostPort("127.0.0.1", listening.getsockname()[1]), address.key))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, sock=listening), self._loop
        ).result()

    # -- what may go wrong --------------------------------------------------------------------------------------------

    def rough(self) -> None:
        """Delay, and stall now and then as TCP does when packets are lost."""

        async def stalling() -> None:
            while True:
                await asyncio.sleep(random.uniform(0.05, 0.3))
                way: Way = random.choice(("up", "down"))
                self._flows[way].clear()
                await asyncio.sleep(random.uniform(0.05, 0.4))
                self._flows[way].set()

        def begin() -> None:
            self._stalls = self._loop.create_task(stalling())

        self.delay = 0.03
        self._loop.call_soon_threadsafe(begin)

    def down(self) -> None:
        """Let nothing through, either way; what comes meanwhile is held."""
        for flow in self._flows.values():
            self._loop.call_soon_threadsafe(flow.clear)

    def up(self) -> None:
        """Let through again what is held."""
        for flow in self._flows.values():
            self._loop.call_soon_threadsafe(flow.set)

    def cut(self) -> None:
        """Reset every connection at both ends; new ones are carried at once."""
        self._end(near=True, far=True)

    def halve(self, left: Literal["near", "far"]) -> None:
        """End every connection at one end alone; whoever is ``left`` is not told, and hears nothing more."""
        self._end(near=left == "far", far=left == "near")

    def _end(self, *, near: bool, far: bool) -> None:
        def ending() -> None:
            for carried in [each for each in self._carried if not each.halved]:
                self.cuts += 1
                carried.halved = not (near and far)
                for writer, ends in ((carried.near, near), (carried.far, far)):
                    if ends:
                        with contextlib.suppress(OSError, AttributeError):  # it may be closed already
                            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        writer.transport.abort()

        self._loop.call_soon_threadsafe(ending)

    # -- carrying -----------------------------------------------------------------------------------------------------

    async def _connected(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        try:
            far, to_far = await asyncio.open_connection(self._to.host, self._to.port)
        except OSError:
            to_near.transport.abort()
            return
        carried = _Carried(to_near, to_far)
        self._carried.add(carried)
        await asyncio.gather(self._carry(carried, near, to_far, "up"), self._carry(carried, far, to_near, "down"))
        if not carried.halved:
            self._carried.discard(carried)
            to_near.transport.abort()
            to_far.transport.abort()

    async def _carry(
        self, carried: _Carried, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: Way
    ) -> None:
        """Carry one way; the end of one half ends the other, unless the connection was halved."""
        underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await underway.get()
                await asyncio.sleep(due - self._loop.time())
                await self._flows[way].wait()
                if not data:
                    if not carried.halved:
                        target.write_eof()
                    return
                if way in self.swallowed:
                    continue
                target.write(data)
                await target.drain()

        delivering = asyncio.ensure_future(deliver())
        data = b"-"
        while data:
            try:
                data = await source.read(65_536)
            except OSError:
                data = b""
            underway.put_nowait((self._loop.time() + self.delay * random.uniform(1, 2), data))
        with contextlib.suppress(OSError, RuntimeError):
            await delivering

    def close(self) -> None:
        async def closing() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            for carried in self._carried:
                carried.near.transport.abort()
                carried.far.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(closing(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Lan:
    """A relay in a namespace of its own, and the two interfaces between it and us."""

    def __init__(self, scene: Scene) -> None:
        self._name = f"bc{os.getpid() % 100_000}{next(_numbers)}"
        self._ours, self._theirs = f"{self._name}a", f"{self._name}b"
        net = f"10.{random.randrange(200, 250)}.{random.randrange(250)}"
        try:
            _ip("netns", "add", self._name)
            _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", self._name)
            _ip("addr", "add", f"{net}.1/24", "dev", self._ours)
            _ip("link", "set", self._ours, "up")
            for words in (("addr", "add", f"{net}.2/24", "dev", self._theirs), ("link", "set", self._theirs, "up")):
                _ip("-n", self._name, *words)
            self._bad("delay", "0ms")
            program = ("ip", "netns", "exec", self._name, *RELAY)
            self.relay = scene.relay(bind=f"{net}.2:0", program=program)
        except BaseException:
            self.close()
            raise
        self.word = self.relay.word

    def _bad(self, *how: str) -> None:
        for before, interface in (((), self._ours), (("ip", "netns", "exec", self._name), self._theirs)):
            _run(*before, "tc", "qdisc", "replace", "dev", interface, "root", "netem", *how)

    def rough(self) -> None:
        """Lose, delay, double and reorder packets, both ways."""
        self._bad("delay", "20ms", "10ms", "loss", "8%", "duplicate", "2%", "reorder", "10%")

    def down(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self._ours, "down")

    def up(self) -> None:
        _ip("link", "set", self._ours, "up")

    def close(self) -> None:
        for words in (("link", "del", self._ours), ("netns", "del", self._name)):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(*words)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


def _ip(*words: str) -> None:
    _run("ip", *words)


@contextlib.contextmanager
def lan(scene: Scene) -> Iterator[Lan | Wire]:
    """A relay behind a network of the kernel's, or behind a ``Wire`` where none can be made."""
    network: Lan | Wire
    try:
        network = Lan(scene)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no network namespaces here ({error}): a proxy instead", file=sys.stderr)
        network = Wire(scene.relay().address)
    try:
        yield network
    finally:
        scene.end()
        network.close()
