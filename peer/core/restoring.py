"""A room that the relay has forgotten, brought back: its log, in pieces, by whoever comes first and has it.

What a limit of the relay kept from being taken is brought once more, on another connection: of one that lives the relay
may keep some pieces, and the log would begin with those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from peer.store import Room
from protocol import envelope as ev
from protocol import limits
from protocol.errors import BackchannelError, Limit
from protocol.primitives import new_message_id


class Restoring:
    """What one process brings back in one room, on one connection."""

    def __init__(self, room: Room, request: Callable[[ev.Request], bytes]) -> None:
        """Bring it by ``request``."""
        self._room, self._request = room, request
        self._pieces: dict[bytes, BackchannelError | None] = {}
        """Requests, and what refused them."""
        self.done = False
        """Whether the log was brought since the connection began."""

    def begin(self) -> None:
        """Begin a connection, or end one: nothing was brought on it."""
        self._pieces.clear()
        self.done = False

    def bring(self, log: Sequence[bytes]) -> None:
        """Send the log, piece by piece."""
        for place in range(0, len(log), limits.RESTORED):
            piece = tuple(log[place : place + limits.RESTORED])
            last = place + limits.RESTORED >= len(log)
            self._pieces[self._request(ev.Restore(new_message_id(), self._room.id, last, piece))] = None
        self.done = True

    def refused(self, request: bytes, error: BackchannelError) -> bool:
        """Take a REFUSED; say whether it was for a piece."""
        if request in self._pieces:
            self._pieces[request] = error
        return request in self._pieces

    @property
    def limit(self) -> BackchannelError | None:
        """What kept the relay from taking the log, if that may pass."""
        return next((error for error in self._pieces.values() if isinstance(error, Limit)), None)
