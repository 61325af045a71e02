"""Lines of stdin, for a chat without a terminal: from a pipe as they come, from a file one after the other."""

from __future__ import annotations

import asyncio
import os
from typing import Final, Self

from protocol import limits
from protocol.errors import TooLarge, UsageError

_CHUNK: Final = 64 * 1024
_STDIN: Final = 0


class Stdin:
    """Reads file descriptor 0 by itself: a thread in Python's own ``stdin`` would hang at the end of the program."""

    def __init__(self) -> None:
        self._read = b""
        self._ended = False
        self._passing_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    async def next(self) -> str | None:
        """Wait for a line; None at the end. ``UsageError`` if it is not UTF-8, ``TooLarge`` if no message holds it.

        After either the next line is read: of one that is too long, all is passed over up to its end.
        """
        while b"\n" not in self._read and not self._ended:
            await _readable()
            chunk = _chunk()
            self._read += chunk
            self._ended = not chunk
            if b"\n" not in chunk and len(self._read) > limits.TEXT + _CHUNK:
                self._read = b""
                if not self._passing_over:
                    self._passing_over = True
                    raise TooLarge(f"a line of more than {limits.TEXT} bytes")
                await asyncio.sleep(0)  # a file that never ends must not keep everything else waiting
        if self._passing_over:
            self._passing_over = False
            self._read = self._read.partition(b"\n")[2]
            return await self.next()
        if not self._read:
            return None
        line, _, self._read = self._read.partition(b"\n")
        try:
            return line.decode().removesuffix("\r")
        except UnicodeDecodeError:
            raise UsageError("a line is not UTF-8") from None

    def give_back(self, line: str) -> None:
        """Do nothing: whoever wrote the line still has it."""


def _chunk() -> bytes:
    try:
        return os.read(_STDIN, _CHUNK)
    except OSError:  # closed, a folder: nothing to read is the end
        return b""


async def _readable() -> None:
    """Wait until stdin has something; files, which always have, are no business of an event loop."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(_STDIN, ready.set_result, None)
    except (OSError, ValueError):
        return
    try:
        await ready
    finally:
        loop.remove_reader(_STDIN)
