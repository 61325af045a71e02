"""How many bytes may wait for one connection inside ZeroMQ, which counts frames alone.

A pipe takes so many frames, large ones too, so by itself it would hold 32 MiB for everybody who does not read. Frames
up to ``SMALL`` are left to that count. Larger ones are added up here, until there may be ``WAITING`` bytes of them;
then the connection's TCP socket is looked at. If it takes more, ZeroMQ is not waiting for it and has passed everything
on, or will at once; if not, the pipe counts as full. The socket of somebody who does not read becomes writable only
when a third of its buffer has been read, and stays so for an instant: to be looked at in such an instant again and
again is no way to fill a pipe.
"""

from __future__ import annotations

import select
from typing import Final

from protocol import limits

FRAMES_OUT: Final = 128
"""Frames that may wait for one connection; whatever is more waits in the core, in retention."""
FRAMES_IN: Final = 8
"""Frames of one connection that may wait for the relay; whatever is more waits at the sender's."""
SMALL: Final = 4 * 1024
WAITING: Final = 512 * 1024
BUFFER: Final = 128 * 1024
"""What the kernel is asked to hold for a connection each way; Linux doubles it."""

MOST_OUT: Final = FRAMES_OUT * SMALL + WAITING + limits.FRAME
"""The bytes that may wait for one connection."""
MOST_IN: Final = (FRAMES_IN + 1) * limits.FRAME
"""The bytes of one connection that may wait for the relay, with the frame that is just coming."""


class Pipes:
    """What has been put into each connection's pipe since it was last seen to drain."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[bytes, int] = {}

    def take(self, connection: bytes, size: int, fd: int | None) -> bool:
        """Say whether a large frame may be put into a pipe, and count it; ``fd`` is the connection's, if known."""
        waiting = self._waiting.get(connection, 0) + size
        if waiting > WAITING:
            if fd is None or not _is_writable(fd):
                return False
            waiting = size
        self._waiting[connection] = waiting
        return True

    def forget(self, connection: bytes) -> None:
        """Forget a connection that is no more."""
        self._waiting.pop(connection, None)


def _is_writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))
