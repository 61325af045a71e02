"""What WELCOME names as the relay's incarnation: another one for whoever belonged to a room that has been forgotten.

Whoever comes back to such a room is to expect another log than the one it knows, and not to take that for a lie. To
everybody else the incarnation says nothing: one that counted all forgotten rooms would tell any stranger when somebody
else's room had stood empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from protocol.ids import PeerId

KNOWN: Final = 16_384
"""Identities that are told apart; beyond that everybody's incarnation changes, once, and the count begins anew."""


class Incarnations:
    """See the module's text; ``start`` (16 bytes) must be new at every start of the relay."""

    __slots__ = ("_forgotten", "_start")

    def __init__(self, start: bytes) -> None:
        self._start = int.from_bytes(start)
        self._forgotten: Counter[PeerId] = Counter()
        """How many of the rooms that each belonged to were forgotten."""

    def of(self, peer: PeerId) -> bytes:
        """Return what ``peer`` is to be told."""
        return ((self._start + self._forgotten[peer]) % (1 << 128)).to_bytes(16)

    def forget(self, people: Iterable[PeerId]) -> None:
        """Take note that a room of these was forgotten."""
        self._forgotten.update(people)
        if len(self._forgotten) > KNOWN:
            self._start += max(self._forgotten.values()) + 1
            self._forgotten.clear()
