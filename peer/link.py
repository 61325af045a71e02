"""Keeps one room attached: connects, greets, feeds the core, carries out its commands, and reconnects with back-off.

It holds no rule of its own: what to send, show or refuse is the core's. Waiting is done on conditions, so a caller's
time-out never leaves anything half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from peer.connection import Connection
from peer.core.commands import Answered, Command, Ended, HangUp, Ready, Settled, Show, Transmit
from peer.core.events import Event, Message, State
from peer.core.room import RoomCore
from peer.discovery import Search
from peer.store import Room
from protocol import limits
from protocol.envelope import Request
from protocol.errors import BackchannelError, ClockSkewed, Limit, Malformed, TimedOut, UnreachableError, WrongRelayKey
from protocol.identity import Identity
from protocol.ids import MessageId

_TICK_S: Final = 0.5
_FIRST_BACKOFF_S: Final = 0.05
_SETTLING_S: Final = 2.0
_SEARCH_AFTER_S: Final = 1.0
"""How long a relay may take to answer before it is looked for elsewhere as well."""
_CLOSING_S: Final = 5.0
_PATIENCE_S: Final = 5.0
"""How long a relay that never answered is tried before its silence is reported."""
_log: Final = logging.getLogger("backchannel")


def now_ms() -> int:
    """Return this machine's clock in ms since 1970."""
    return time.time_ns() // 1_000_000


class Link:
    """One room's connection, kept."""

    def __init__(
        self,
        core: RoomCore,
        room: Room,
        identity: Identity,
        clock: Callable[[], int] = now_ms,
        moved: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; ``start`` begins. ``moved`` is told where the relay is (HOST:PORT) if it is found elsewhere."""
        self.core = core
        self.items: deque[Message | Event] = deque()
        self._room, self._identity, self._clock, self._moved = room, identity, clock, moved
        self._search = Search(room.relay)
        self._states: dict[MessageId, State] = {}
        self._errors: dict[bytes, BackchannelError | None] = {}
        self._connection: Connection | None = None
        self._changed = asyncio.Condition()
        self._failure: BackchannelError | None = None
        self._trouble: BackchannelError | None = None
        self._was_ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self._flushing = asyncio.Lock()
        self._kick = asyncio.Event()
        self._waking: asyncio.Future[None] | None = None
        self._hung_up = False

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and stay connected until ``close``."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._tick())]
        for task in self._tasks:
            task.add_done_callback(self._fallen)

    def _fallen(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for a loop that an error of ours has ended."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = BackchannelError(type(error).__name__)
            self._failure.__cause__ = error
            self._waking = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """Let receipts and posts leave, then end the connection."""
        if not self._tasks:
            return
        if self._failure is None and self.core.attached:
            with contextlib.suppress(BackchannelError):
                await self.wait(lambda: self.core.outbox.idle, _CLOSING_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._search.close()

    async def wait(self, met: Callable[[], bool], timeout: float | None) -> None:
        """Wait until ``met()``; raise what ended the room, the relay's silence, or ``TimedOut`` after ``timeout`` s."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                while not met():
                    if self._failure is not None:
                        raise self._failure
                    await self._changed.wait()
        except TimeoutError:
            why = None if self.core.attached else self.core.waiting_for or self._trouble
            raise why or TimedOut() from None

    async def ready(self, timeout: float) -> None:
        """Wait until the room is attached for the first time; a relay that never answers is reported sooner."""
        patience = min(timeout, _PATIENCE_S)
        try:
            await self.wait(lambda: self.core.attached, patience)
        except TimedOut:
            await self.wait(lambda: self.core.attached, timeout - patience)
        with contextlib.suppress(TimedOut):
            await self.wait(lambda: self.core.settled, _SETTLING_S)

    def now(self) -> int:
        """Return the time in ms."""
        return self._clock()

    # -- what callers wait for ----------------------------------------------------------------------------------------

    def state(self, message: MessageId) -> State | None:
        """Return how far a message got, raise what stopped it, or None if nothing is known yet."""
        if error := self._errors.get(message):
            raise error
        return self._states.get(message)

    def answered(self, request: bytes) -> bool:
        """Say whether a submitted statement was accepted; raise what refused it."""
        if error := self._errors.get(request):
            raise error
        return request in self._errors

    def forget(self, request: bytes) -> None:
        """Drop what is known of a message or request."""
        self._states.pop(MessageId(request), None)
        self._errors.pop(request, None)

    async def flush(self) -> None:
        """Carry out what the core has asked for since the last frame."""
        async with self._flushing:
            requests: list[Request] = []
            for command in self.core.take():
                if isinstance(command, Transmit):
                    requests.append(command.request)
                else:
                    self._carry_out(command)
            if requests and self._connection is not None:
                await self._connection.send(requests)
        await self._wake()

    def _carry_out(self, command: Command) -> None:
        match command:
            case Show(item):
                self.items.append(item)
            case Settled(identifier, state, error):
                self._states[identifier] = state
                if error is not None:
                    self._errors[identifier] = error
            case Answered(identifier, error):
                self._errors[identifier] = error
            case Ended(error):
                self._failure = error
            case Ready():
                self._trouble, self._was_ready = None, True
                _log.info("attached to %s", self._room.name)
            case HangUp():
                self._hung_up = True
                self.kick()

    def kick(self) -> None:
        """Have the running loop flush what was just posted."""
        self._kick.set()

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff, wrong = _FIRST_BACKOFF_S, 0
        while self._failure is None:
            try:
                since = self.now()
                self._connection = await self._open()
                self._hung_up = False
                self.core.connected(self._connection.welcome, self.now(), since=since)
                backoff, wrong = _FIRST_BACKOFF_S, 0
                self._search.fresh.clear()  # by the time that it is needed again it may be wrong
                await self._serve(self._connection)
            except (UnreachableError, Malformed) as error:
                self._search.start()
                if self._trouble is None or type(self._trouble) is not type(error):
                    _log.warning("%s", error)
                self._trouble = error
                wrong = wrong + 1 if isinstance(error, WrongRelayKey) else 0
                if wrong > 1 and not self._room.attached_at and not self._search.busy:
                    self._failure = error
            except BackchannelError as error:
                if isinstance(error, Limit | ClockSkewed) and self._was_ready:
                    if type(self._trouble) is not type(error):
                        _log.warning("%s", error)
                    self._trouble = error
                else:
                    self._failure = error
            finally:
                await self._hang_up()
            if self._failure is None:
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                backoff = min(backoff * 2, limits.BACKOFF_MOST / limits.SECOND)
        await self._hang_up()

    async def _open(self) -> Connection:
        """Connect to where the relay was last; once that takes long, or has failed, to where it says it is now."""
        if not self._search.fresh.is_set():
            opening = asyncio.ensure_future(self._open_at(self._room.addresses))
            hearing = asyncio.ensure_future(self._search.fresh.wait())
            try:
                await asyncio.wait((opening, hearing), timeout=_SEARCH_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
                if not opening.done():
                    self._search.start()
                    await asyncio.wait((opening, hearing), return_when=asyncio.FIRST_COMPLETED)
                if opening.done():
                    return opening.result()
            finally:
                for task in (opening, hearing):
                    task.cancel()
                await asyncio.gather(opening, hearing, return_exceptions=True)
        self._search.fresh.clear()
        connection = await self._open_at(self._search.found)
        self._moved(str(connection.at))  # it has proven its key there
        return connection

    async def _open_at(self, addresses: Sequence[str]) -> Connection:
        return await Connection.open(addresses, self._room.relay, self._identity)

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self.core.disconnected()
        if connection is not None:
            await connection.close()
        await self.flush()

    async def _serve(self, connection: Connection) -> None:
        """Feed the core until the connection or the room ends."""
        await self.flush()
        receiving = asyncio.ensure_future(connection.receive())
        kicked = asyncio.ensure_future(self._kick.wait())
        try:
            while self._failure is None and not self._hung_up:
                await asyncio.wait((receiving, kicked), return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    self.core.receive(receiving.result(), self.now())
                    receiving = asyncio.ensure_future(connection.receive())
                if kicked.done():
                    self._kick.clear()
                    kicked = asyncio.ensure_future(self._kick.wait())
                await self.flush()
        finally:
            for task in (receiving, kicked):
                task.cancel()
            await asyncio.gather(receiving, kicked, return_exceptions=True)

    async def _tick(self) -> None:
        """Let time pass for the core, connected or not: keys die on time whatever the relay does."""
        while True:
            self.core.tick(self.now())
            with contextlib.suppress(UnreachableError):
                await self.flush()
            await asyncio.sleep(_TICK_S)
