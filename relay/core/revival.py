"""Rooms that come back: the logs that peers bring after the relay has forgotten them, and which of them opens a room.

For a while after its start the relay only collects; then each room is opened with the longest valid log, and the
restrictions that the others know are added, so an old copy brought by somebody who was banned wins nothing. Whatever a
log contains was signed by whom it names, so the choice is about completeness, never about trust.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Final

from protocol import limits
from protocol import statement as st
from protocol.errors import BackchannelError, NotMember, TooManyRooms, TooManyStatements
from protocol.membership import START, Membership, next_head

if TYPE_CHECKING:
    from protocol.envelope import Attach, Restore
    from protocol.ids import PeerId, RoomId
    from relay.core.session import Session

GATHERED: Final = 256 * 1024 * 1024
"""Bytes of statements that are gathered at once, at most."""
PATIENCE: Final = 30 * limits.SECOND
"""A log whose last piece has not come after this long is dropped."""
HELD: Final = 16
"""ATTACHes that wait with one candidate, at most."""

_RESTRICTING: Final = frozenset(
    bytes([kind]) for kind in (st.Kind.ROLE, st.Kind.REMOVE, st.Kind.REVOKE, st.Kind.LEAVE, st.Kind.CLOSE)
)


@dataclass(slots=True)
class Candidate:
    """A whole log, who brought it with which request, and the ATTACHes that wait for the room."""

    session: Session
    peer: PeerId
    request: bytes
    log: tuple[bytes, ...]
    held: list[Attach] = field(default_factory=list)


@dataclass(slots=True)
class _Gathering:
    """Pieces of a log from one connection."""

    since: int
    log: list[bytes] = field(default_factory=list)


class Revival:
    """What has been gathered; ``opens_at`` (ms) ends the time in which the relay only collects."""

    def __init__(self, opens_at: int, statements: int, rooms: int) -> None:
        self.opens_at = opens_at
        self._statements = statements
        self._rooms = rooms
        self._pieces: dict[tuple[bytes, RoomId], _Gathering] = {}
        self._candidates: dict[RoomId, list[Candidate]] = {}
        self._texts: dict[bytes, bytes] = {}
        """Every statement gathered, once: many members bring the same log."""
        self._size = 0

    def gather(self, session: Session, peer: PeerId, room: RoomId, request: Restore, now: int) -> Candidate | None:
        """Take a piece of a log; return the candidate if it was the last. Raise a ``Limit``, forgetting the pieces."""
        key = (session.connection, room)
        gathering = self._pieces.get(key)
        if gathering is None:
            if len(self._pieces) >= self._rooms:
                raise TooManyRooms
            gathering = self._pieces[key] = _Gathering(now)
        if len(gathering.log) + len(request.statements) > self._statements:
            del self._pieces[key]
            raise TooManyStatements
        for raw in request.statements:
            gathering.log.append(self._once(raw))
        if self._size > GATHERED:
            del self._pieces[key]
            raise TooManyStatements
        if not request.last:
            return None
        del self._pieces[key]
        return Candidate(session, peer, request.id, tuple(gathering.log))

    def wait(self, room: RoomId, candidate: Candidate) -> None:
        """Keep a candidate until the rooms open; a connection's newer one takes the place of its older one."""
        if room not in self._candidates and len(self._candidates) >= self._rooms:
            raise TooManyRooms
        others = self._candidates.setdefault(room, [])
        for other in others:
            if other.session is candidate.session:
                other.session.accept(other.request)
                candidate.held = other.held
                others.remove(other)
                break
        others.append(candidate)

    def hold(self, session: Session, room: RoomId, request: Attach) -> bool:
        """Keep an ATTACH until its room opens, if this connection brought the room's log."""
        for candidate in self._candidates.get(room, ()):
            if candidate.session is session and len(candidate.held) < HELD:
                candidate.held.append(request)
                return True
        return False

    def take(self) -> dict[RoomId, list[Candidate]]:
        """Return the candidates of every room, and forget them."""
        taken, self._candidates = self._candidates, {}
        self._free()
        return taken

    def sweep(self, now: int, connected: Iterable[bytes]) -> None:
        """Drop what nobody will finish."""
        connected = set(connected)
        for key, gathering in tuple(self._pieces.items()):
            if key[0] not in connected or now - gathering.since >= PATIENCE:
                del self._pieces[key]
        self._free()

    def _once(self, raw: bytes) -> bytes:
        known = self._texts.get(raw)
        if known is None:
            known = self._texts[raw] = raw
            self._size += len(raw)
        return known

    def _free(self) -> None:
        if not self._pieces and not self._candidates:
            self._texts.clear()
            self._size = 0


@dataclass(slots=True)
class Choice:
    """The log that opens a room, if any is valid; who is to be told what."""

    membership: Membership | None
    accepted: list[Candidate]
    refused: list[tuple[Candidate, BackchannelError]]


def choose(room: RoomId, candidates: Iterable[Candidate]) -> Choice:
    """Fold the longest log that is valid and was brought by somebody who belongs or belonged to the room by it.

    Of several as long, the one with the smallest head is taken, so that the same logs always give the same room.
    """
    by_log: dict[tuple[bytes, ...], list[Candidate]] = {}
    for candidate in candidates:
        by_log.setdefault(candidate.log, []).append(candidate)
    refused: list[tuple[Candidate, BackchannelError]] = []
    membership: Membership | None = None
    accepted: list[Candidate] = []
    for log in sorted(by_log, key=lambda log: (-len(log), reduce(next_head, log, START))):
        if membership:
            accepted += by_log[log]
            for raw in unknown_restrictions(membership, log):
                _restrict(membership, raw)
            continue
        try:
            membership = _fold(room, log, by_log[log])
        except BackchannelError as error:
            refused += [(candidate, error) for candidate in by_log[log]]
        else:
            accepted += by_log[log]
    return Choice(membership, accepted, refused)


def unknown_restrictions(membership: Membership, log: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what in ``log`` may be a restriction that ``membership`` lacks: no signature has been verified yet."""
    for raw in log:
        if raw[:1] in _RESTRICTING and not membership.knows(raw):
            yield raw


def membership_end(membership: Membership, peer: PeerId) -> int | None:
    """Return the index of the statement that ended the latest membership of ``peer``; None if it never belonged."""
    for index in reversed(membership.departures):
        if membership.was_member(peer, index - 1) and not membership.was_member(peer, index):
            return index
    return None


def _fold(room: RoomId, log: tuple[bytes, ...], candidates: list[Candidate]) -> Membership:
    membership = Membership.fold(log)
    if membership.room != room or not any(_belonged(membership, candidate.peer) for candidate in candidates):
        raise NotMember
    return membership


def _belonged(membership: Membership, peer: PeerId) -> bool:
    return peer in membership.members or membership_end(membership, peer) is not None


def _restrict(membership: Membership, raw: bytes) -> None:
    try:
        if st.is_restriction(st.decode(raw)):
            membership.apply(raw)
    except BackchannelError:  # what the rules do not admit now is left out
        return
