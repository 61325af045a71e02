"""People who talk, as a program: some peers in one process, told what to do on stdin and reporting on stdout.

Both are JSON arrays, one a line; an order is ``[verb, who, options]``, a report ``[what, who, …]``. Whatever is said
carries a number that its speaker never uses again and the time at which it was said, so that a ledger can follow each
message from the mouth to every ear. This file stands alone: it is run as a script, and knows nothing but ``peer``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from peer import Event, Peer, Reading, State
from peer.api import now_ms
from protocol.errors import BackchannelError

PATIENCE = 60.0


def report(*what: object) -> None:
    """Write at once: whoever is killed in the next moment has said what it was about to do."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Voice:
    """One person in one room."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offset = 0
        self._peer: Peer
        self._room: Any
        self._numbers = itertools.count()
        self._talks: list[asyncio.Task[None]] = []
        self._fates: set[asyncio.Task[None]] = set()
        self._ear: asyncio.Task[None] | None = None

    # -- orders -------------------------------------------------------------------------------------------------------

    async def enter(
        self,
        home: str,
        room: str = "team",
        first: int = 0,
        offset: int = 0,
        invite: str = "",
        via: str = "",
        **how: Any,
    ) -> None:
        """Open the profile and attach, ``via`` another address if need be; what is said is numbered from ``first``."""
        self._numbers = itertools.count(first)
        self.offset = offset
        self._peer = Peer.open(Path(home), clock=lambda: now_ms() + self.offset)
        await self._peer.__aenter__()
        if via:
            self._peer.relay_at(via)
        if invite:
            room = await self._peer.join(invite, nick=self.name, timeout=PATIENCE)
        reading = Reading[how.pop("reading", "LIVE")]
        self._room = await self._peer.attach(room, reading=reading, present=True, timeout=PATIENCE, **how)
        self._ear = asyncio.create_task(self._listen())
        report("entered", self.name)

    async def talk(self, to: str | None = None, every: float = 0.05, count: int | None = None, size: int = 0) -> None:
        """Say something to the room or to one member again and again, until told to hush or ``count`` times."""

        async def talking() -> None:
            for _ in range(count) if count is not None else itertools.count():
                self._say(to, size)
                await asyncio.sleep(every)

        self._talks.append(asyncio.create_task(talking()))

    async def say(self, to: str | None = None, size: int = 0, tag: str = "") -> None:
        self._say(to, size, tag)

    async def hush(self, end: bool = True) -> None:
        """Stop talking, or finish what has a count, and wait until everything said has met its fate."""
        for talk in self._talks:
            if end:
                talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        self._talks.clear()
        while self._fates:
            await asyncio.gather(*self._fates)
        report("quiet", self.name)

    async def step(self, ms: int) -> None:
        """Set this person's clock forward or back."""
        self.offset += ms
        report("stepped", self.name, self.offset)

    async def members(self) -> None:
        found = {m.person.nick: [m.role.name.lower(), m.online] for m in self._room.members()}
        report("members", self.name, found)

    async def act(self, verb: str, *words: Any, **how: Any) -> None:
        """Call a method of the room: remove, role, invite, …"""
        try:
            done = await getattr(self._room, verb)(*words, timeout=PATIENCE, **how)
        except BackchannelError as error:
            report("acted", self.name, verb, error.code)
        else:
            report("acted", self.name, verb, getattr(done, "word", "done"))

    async def go(self) -> None:
        """Detach and close the profile."""
        if self._ear:
            self._ear.cancel()
        await self._room.close()
        await self._peer.close()
        report("gone", self.name)

    # -- mouth and ear ------------------------------------------------------------------------------------------------

    def _say(self, to: str | None, size: int, tag: str = "") -> None:
        number = next(self._numbers)
        report("says", self.name, number, to, tag)
        task = asyncio.create_task(self._send(number, to, size, tag))
        self._fates.add(task)
        task.add_done_callback(self._fates.discard)

    async def _send(self, number: int, to: str | None, size: int, tag: str) -> None:
        began = time.monotonic_ns()
        text = f"{number} {began} {tag or '-'} {'x' * size}"
        try:
            (sent,) = await self._room.send(text, to=to, wait=State.RELAYED, timeout=PATIENCE)
        except BackchannelError as error:
            report("fate", self.name, number, error.code, 0)
        else:
            report("fate", self.name, number, sent.state.value, (time.monotonic_ns() - began) // 1_000)

    async def _listen(self) -> None:
        try:
            while True:
                came = await self._room.next()
                if isinstance(came, Event):
                    who = came.who.nick if came.who else None
                    report("told", self.name, came.kind.value, who, came.count or 0, came.reason or came.what)
                else:
                    number, began, *_ = came.text.split(" ", 3)
                    took = (time.monotonic_ns() - int(began)) // 1_000
                    report("heard", self.name, came.sender.nick, int(number), came.direct, took)
        except BackchannelError as error:
            report("ended", self.name, error.code)


async def main() -> None:
    """Carry out orders until stdin ends. Those to one person are carried out one after the other."""
    voices: dict[str, Voice] = {}
    queues: dict[str, asyncio.Queue[Callable[[], Coroutine[Any, Any, None]]]] = {}
    tasks: list[asyncio.Task[None]] = []

    async def obey(name: str) -> None:
        while True:
            order = await queues[name].get()
            try:
                await order()
            except BackchannelError as error:
                report("failed", name, error.code)

    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    report("ready", "")
    while line := await reader.readline():
        verb, name, options = json.loads(line)
        if name not in voices:
            voices[name] = Voice(name)
            queues[name] = asyncio.Queue()
            tasks.append(asyncio.create_task(obey(name)))
        words = options.pop("words", [])
        queues[name].put_nowait(
            lambda voice=voices[name], verb=verb, words=words, options=options: getattr(voice, verb)(*words, **options)
        )
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
