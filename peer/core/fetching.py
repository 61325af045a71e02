"""The cards of others that one process asks the relay for, each once at a time.

What the relay refuses because it was asked for too much is asked for again, some at a time, after a rest: it is not
lost. What it says it does not have is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.core.pace import Pace
from peer.store import Room
from protocol import envelope as ev
from protocol.errors import BackchannelError, Limit
from protocol.ids import PeerId
from protocol.primitives import new_message_id

_AT_ONCE: Final = 32
_Wanted = tuple[PeerId, int]


class Fetching:
    """What one process fetches in one room."""

    def __init__(self, room: Room, request: Callable[[ev.Request], bytes]) -> None:
        """Ask by ``request``."""
        self._room, self._request = room, request
        self._asked: dict[bytes, _Wanted] = {}
        self._later: dict[_Wanted, None] = {}
        self._pace = Pace()

    @property
    def idle(self) -> bool:
        """Whether everything that was wanted has come, or is not to be had."""
        return not self._asked and not self._later

    def want(self, peer: PeerId, generation: int) -> None:
        """Fetch the card of that generation, unless it is on its way."""
        wanted = (peer, generation)
        if self._later:
            self._later[wanted] = None
        elif wanted not in self._asked.values():
            self._ask(wanted)

    def _ask(self, wanted: _Wanted) -> None:
        self._asked[self._request(ev.Fetch(new_message_id(), self._room.id, *wanted))] = wanted

    def asks_for(self, owner: bytes) -> bool:
        """Say whether a card of ``owner`` is on its way."""
        return any(peer == owner for peer, _ in self._asked.values())

    def __contains__(self, request: bytes) -> bool:
        return request in self._asked

    def accepted(self, request: bytes) -> _Wanted:
        """Take an ACCEPTED; return what it answers: a card that has not come by now will not come."""
        self._pace.accepted()
        return self._asked.pop(request)

    def refused(self, request: bytes, error: BackchannelError, now: int) -> _Wanted | None:
        """Take a REFUSED; return what the relay does not have, or None if it only does not want to be asked now."""
        wanted = self._asked.pop(request)
        if not isinstance(error, Limit):
            return wanted
        self._pace.refused(now)
        self._later[wanted] = None
        return None

    def disconnected(self) -> None:
        """Forget what was asked on a connection that has ended: what is still wanted is asked for anew."""
        self._asked.clear()
        self._later.clear()

    def tick(self, now: int) -> None:
        """Ask again for some of what was refused."""
        if self._later and not self._pace.rests(now):
            for wanted in list(self._later)[:_AT_ONCE]:
                del self._later[wanted]
                if wanted not in self._asked.values():
                    self._ask(wanted)
