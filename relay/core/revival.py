"""Rooms that come back: the logs that peers bring after the relay has forgotten them, and which of them opens a room.

For a while after its start the relay only collects; then each room is opened with the longest valid log, and the
restrictions that the others know are added, so an old copy brought by somebody who was banned is no way back. Whatever
a log contains was signed by whom it names; but who knows a removal may sign as if before it, so members whom one log
alone has may be ``ghosts``. To fold a long log takes seconds: that is done in pieces, as a chore.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocol import limits
from protocol import statement as st
from protocol.errors import BackchannelError, NotMember, TooManyRooms, TooManyStatements
from protocol.membership import START, Membership, next_head
from relay.core.ghosts import Suspicion

if TYPE_CHECKING:
    from protocol.envelope import Attach, Restore
    from protocol.ids import Head, PeerId, RoomId
    from relay.core.session import Session

PATIENCE: Final = 30 * limits.SECOND
"""A log whose last piece has not come after this long is dropped."""
HELD: Final = 16
"""ATTACHes that wait with one candidate, at most."""
TEXT: Final = 900
"""What a gathered statement costs beside its bytes, roughly, while its log is being folded."""
AGAIN: Final = 20
"""What it costs to hold it once more: two references."""
CANDIDATE: Final = 8 * 1024
"""What a candidate costs beside its log, at most, with the ATTACHes that wait with it."""
SKIPPED: Final = 32
"""Statements of a log that are passed over in one piece of work."""

_RESTRICTING: Final = frozenset(
    bytes([kind]) for kind in (st.Kind.ROLE, st.Kind.REMOVE, st.Kind.REVOKE, st.Kind.LEAVE, st.Kind.CLOSE)
)


@dataclass(slots=True)
class Log:
    """A whole log that was brought. ``head`` names it: whoever brings the same one shares it."""

    head: Head
    statements: tuple[bytes, ...]
    brought: int = 0
    """How many candidates share it."""


@dataclass(slots=True)
class Candidate:
    """A log, who brought it with which request, and the ATTACHes that wait for the room."""

    session: Session
    peer: PeerId
    request: bytes
    log: Log
    held: list[Attach] = field(default_factory=list)


@dataclass(slots=True)
class _Gathering:
    """Pieces of a log from one connection."""

    since: int
    log: list[bytes] = field(default_factory=list)
    head: Head = START


class Revival:
    """What has been gathered; ``opens_at`` (ms) ends the time in which the relay only collects.

    Every statement is held once, however many bring it, and counts until the last log with it is let go: together they
    have at most ``most`` bytes.
    """

    def __init__(self, opens_at: int, statements: int, rooms: int, most: int) -> None:
        self.opens_at = opens_at
        self._statements = statements
        self._rooms = rooms
        self._most = most
        self._pieces: dict[tuple[bytes, RoomId], _Gathering] = {}
        self._waiting: dict[RoomId, list[Candidate]] = {}
        self._chosen: dict[RoomId, list[Candidate]] = {}
        """Those among whom it is being chosen just now."""
        self._logs: dict[Head, Log] = {}
        self._texts: dict[bytes, list[bytes]] = {}
        """Every statement gathered: the same object as often as it is held."""
        self.size = 0

    def gather(self, session: Session, peer: PeerId, room: RoomId, request: Restore, now: int) -> Candidate | None:
        """Take a piece of a log; return the candidate if it was the last. Raise a ``Limit``, forgetting the pieces."""
        key = (session.connection, room)
        gathering = self._pieces.get(key)
        if gathering is None:
            if len(self._pieces) >= self._rooms:
                raise TooManyRooms
            gathering = self._pieces[key] = _Gathering(now)
        for raw in request.statements:
            gathering.log.append(self._hold_text(raw))
            gathering.head = next_head(gathering.head, raw)
        if len(gathering.log) > self._statements or self.size + CANDIDATE > self._most:
            self._drop(key)
            raise TooManyStatements
        if not request.last:
            return None
        del self._pieces[key]
        self.size += CANDIDATE
        return Candidate(session, peer, request.id, self._share(gathering))

    def wait(self, room: RoomId, candidate: Candidate) -> None:
        """Keep a candidate until its room is opened; a connection's newer one takes the place of its older one."""
        if room not in self._waiting and len(self._waiting) >= self._rooms:
            self._let_go([candidate])
            raise TooManyRooms
        others = self._waiting.setdefault(room, [])
        for other in others:
            if other.session is candidate.session:
                other.session.accept(other.request)
                candidate.held = other.held
                others.remove(other)
                self._let_go([other])
                break
        others.append(candidate)

    def hold(self, session: Session, room: RoomId, request: Attach) -> bool:
        """Keep an ATTACH until its room opens, if this connection brought the room's log."""
        for candidate in (*self._waiting.get(room, ()), *self._chosen.get(room, ())):
            if candidate.session is session and len(candidate.held) < HELD:
                candidate.held.append(request)
                return True
        return False

    def rooms(self) -> list[RoomId]:
        """Return the rooms for which candidates wait."""
        return list(self._waiting)

    def is_choosing(self, room: RoomId) -> bool:
        """Say whether somebody is dealing with the candidates of the room already."""
        return room in self._chosen

    def take(self, room: RoomId) -> list[Candidate]:
        """Return the candidates that wait for a room; ``done`` says when they have been dealt with."""
        candidates = self._chosen[room] = self._waiting.pop(room, [])
        return candidates

    def done(self, room: RoomId) -> None:
        """Forget the candidates that were taken."""
        self._let_go(self._chosen.pop(room))

    def sweep(self, now: int, connected: Container[bytes]) -> None:
        """Drop what nobody will finish."""
        for key, gathering in tuple(self._pieces.items()):
            if key[0] not in connected or now - gathering.since >= PATIENCE:
                self._drop(key)

    # -- what is held -------------------------------------------------------------------------------------------------

    def _hold_text(self, raw: bytes) -> bytes:
        held = self._texts.get(raw)
        if held is None:
            self._texts[raw] = [raw]
            self.size += len(raw) + TEXT
            return raw
        held.append(held[0])
        self.size += AGAIN
        return held[0]

    def _release(self, texts: Iterable[bytes]) -> None:
        for raw in texts:
            held = self._texts[raw]
            held.pop()
            if held:
                self.size -= AGAIN
            else:
                del self._texts[raw]
                self.size -= len(raw) + TEXT

    def _drop(self, key: tuple[bytes, RoomId]) -> None:
        self._release(self._pieces.pop(key).log)

    def _share(self, gathering: _Gathering) -> Log:
        """Return the log that was gathered: the same object for everybody who brings it."""
        known = self._logs.get(gathering.head)
        if known is None:
            known = self._logs[gathering.head] = Log(gathering.head, tuple(gathering.log))
        else:
            self._release(gathering.log)
        known.brought += 1
        return known

    def _let_go(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            self.size -= CANDIDATE
            log = candidate.log
            log.brought -= 1
            if not log.brought:
                del self._logs[log.head]
                self._release(log.statements)


@dataclass(slots=True)
class Choice:
    """The log that opens a room, if any is valid; who is to be told what."""

    membership: Membership | None
    accepted: list[Candidate]
    refused: list[tuple[Candidate, BackchannelError]]


def choose(room: RoomId, candidates: Iterable[Candidate]) -> Generator[None, None, Choice]:
    """Fold the longest log that is valid and was brought by somebody who belongs or belonged to the room by it.

    Of several as long, the one with the smallest head is taken, so that the same logs always give the same room. The
    restrictions of the others are added. A log with ``ghosts`` is taken only if every one has some, and then without
    them and whatever stands on them. It is done in pieces of a statement each.
    """
    by_log: dict[Head, list[Candidate]] = {}
    for candidate in candidates:
        by_log.setdefault(candidate.log.head, []).append(candidate)
    valid = sorted(by_log.values(), key=lambda brought: _rank(brought[0].log))
    refused: list[tuple[Candidate, BackchannelError]] = []
    haunted: tuple[Log, set[int]] | None = None
    for brought in tuple(valid):
        log = brought[0].log
        others = [them[0].log for them in valid if them is not brought]
        try:
            membership = yield from _fold(room, log, brought)
        except BackchannelError as error:
            valid.remove(brought)
            refused += [(candidate, error) for candidate in brought]
            continue
        yield from _restrict_by(membership, others)
        suspicion = Suspicion(membership, log)
        yield from suspicion.look(others, [(them[0].log, {one.peer for one in them}) for them in valid])
        if not suspicion.ghosts:
            break
        haunted = haunted or (log, suspicion.ghosts)
    else:
        if not haunted:
            return Choice(None, [], refused)
        membership = yield from _exorcise(*haunted)
        yield from _restrict_by(membership, [them[0].log for them in valid])
    return Choice(membership, [candidate for brought in valid for candidate in brought], refused)


def unknown_restrictions(membership: Membership, log: Log) -> Iterator[bytes]:
    """Yield what in ``log`` may be a restriction that ``membership`` lacks: no signature has been verified yet.

    What may be none is passed over in silence, ``SKIPPED`` times; then ``b""`` says that so much has been done.
    """
    for index, raw in enumerate(log.statements, 1):
        if raw[:1] in _RESTRICTING and not _knows(membership, raw):
            yield raw
        elif index % SKIPPED == 0:
            yield b""


def _rank(log: Log) -> tuple[int, Head]:
    return -len(log.statements), log.head


def _knows(membership: Membership, raw: bytes) -> bool:
    """Say whether the log holds it; what is malformed is as good as known."""
    try:
        return membership.knows(raw)
    except BackchannelError:
        return True


def _fold(room: RoomId, log: Log, candidates: list[Candidate]) -> Generator[None, None, Membership]:
    statements = iter(log.statements)
    membership = Membership(next(statements, b""))
    if membership.room != room:
        raise NotMember
    for raw in statements:
        yield
        membership.apply(raw)
    if not any(_belonged(membership, candidate.peer) for candidate in candidates):
        raise NotMember
    return membership


def _exorcise(log: Log, ghosts: Container[int]) -> Generator[None, None, Membership]:
    """Fold a valid log without the statements at these places, and without what does not hold then."""
    membership = Membership(log.statements[0])
    for place, raw in enumerate(log.statements[1:], 2):
        yield
        if place not in ghosts:
            with contextlib.suppress(BackchannelError):
                membership.apply(raw)
    return membership


def _restrict_by(membership: Membership, logs: Iterable[Log]) -> Iterator[None]:
    """Add the restrictions of other logs."""
    for log in logs:
        for raw in unknown_restrictions(membership, log):
            yield
            if raw:
                _restrict(membership, raw)


def _belonged(membership: Membership, peer: PeerId) -> bool:
    return peer in membership.members or membership.end_of(peer) is not None


def _restrict(membership: Membership, raw: bytes) -> None:
    try:
        if st.is_restriction(st.decode(raw)):
            membership.apply(raw)
    except BackchannelError:  # what the rules do not admit now is left out
        return
