"""Starts a relay of one's own as a child process, keeps it running, and ends it with oneself, whatever one dies of.

The child runs in a session of its own, so that Ctrl-C reaches us alone and the relay is there until the last word is
said. It ends when its stdin does: a pipe whose other end only we hold, and which the system closes even for a process
that is killed. Nothing of ``relay`` is imported here: the two share a command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, Self

from peer.text import safe_text
from protocol.address import HostPort, RelayAddress
from protocol.errors import BackchannelError, BadAddress, BadInput, TimedOut, UnreachableError

_START_S: Final = 20.0
_STOP_S: Final = 5.0
_SOON_S: Final = 10.0
"""A relay that lives no longer than this did not really start."""
_RESTARTS: Final = 3
_KEPT_LINES: Final = 5


class RelayFailed(BadInput):
    """The relay did not start; its own sentence, in the detail, says why."""

    code = "relay-failed"
    sentence = "The relay could not be started."


class RelayEnded(UnreachableError):
    """The relay of our own ended again and again."""

    code = "relay-ended"
    sentence = "The relay that was started here has ended."


class HostedRelay:
    """A relay as a child process; enter it to start it.

    ``home`` is where the relay keeps its key, ``bind`` where to listen (port 0: any free one), ``say`` gets what
    the relay writes to stderr, a safe line at a time.
    """

    def __init__(self, home: Path, bind: HostPort, say: Callable[[str], None]) -> None:
        self._home = home
        self._bind = bind
        self._say = say
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._child: Process
        self._saying: asyncio.Task[None]
        self.addresses: list[RelayAddress] = []

    async def __aenter__(self) -> Self:
        """Start the relay; raise ``RelayFailed`` if it can't listen there, ``TimedOut`` if it says nothing."""
        await self._start()
        return self

    async def __aexit__(self, *ended: object) -> None:
        """End the relay."""
        await self._stop()

    async def keep_running(self) -> NoReturn:
        """Start the relay again whenever it ends; its rooms come back from their members."""
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            began = loop.time()
            await self._child.wait()
            await self._saying
            tries = tries + 1 if loop.time() - began < _SOON_S else 1
            if tries > _RESTARTS:
                raise RelayEnded(self._reason())
            self._say(f"The relay ended with code {self._child.returncode} and is started again.")
            self._bind = HostPort(self._bind.host, self.addresses[0].at.port)
            await self._start()

    async def _start(self) -> None:
        self._last.clear()
        self._child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "relay", "run"),
            *("--bind", str(self._bind), "--home", str(self._home)),
            *("--until-eof", "--all-addresses", "--log-level", "warning", "--log-format", "text"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        self._saying = asyncio.create_task(self._pass_on())
        try:
            async with asyncio.timeout(_START_S):
                self.addresses = await self._announced()
        except TimeoutError:
            await self._stop()
            raise TimedOut("the relay did not say its address") from None
        except BaseException:
            await self._stop()
            raise

    async def _announced(self) -> list[RelayAddress]:
        """Return the addresses that the relay prints when it listens, a line each, all at once."""
        assert self._child.stdout is not None
        said = b""
        while not said.endswith(b"\n"):
            more = await self._child.stdout.read(4_096)
            if not more:
                await self._child.wait()
                await self._saying
                raise RelayFailed(self._reason())
            said += more
        try:
            return [RelayAddress.parse(word) for word in said.decode().split()]
        except (BadAddress, UnicodeDecodeError):
            raise BackchannelError("the relay said no address") from None

    async def _pass_on(self) -> None:
        """Hand on what the relay says about itself."""
        assert self._child.stderr is not None
        async for line in self._child.stderr:
            text = safe_text(line.decode(errors="replace").rstrip())
            self._last.append(text)
            if self.addresses:
                self._say(text)

    def _reason(self) -> str:
        said = self._last[-1] if self._last else f"its exit code was {self._child.returncode}"
        return said.removeprefix("backchannel-relay: ")

    async def _stop(self) -> None:
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._child.wait()
            except TimeoutError:
                self._child.kill()
                await self._child.wait()
        self._saying.cancel()
        await asyncio.gather(self._saying, return_exceptions=True)
