"""One connection: who it is, what it is owed, and whether its pipe is full.

What only this connection gets (answers, its asides, what it lacks in a room) is made into parcels. A parcel counts as
sent when it is settled; one that the pipe refused is not, so its contents are made into a parcel again: answers are
never lost, and messages come from retention.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from protocol import envelope, limits, wire
from relay.core.attachment import CHUNK

if TYPE_CHECKING:
    from protocol.ids import PeerId, RoomId
    from relay.core.attachment import Attachment
    from relay.core.counts import Counts
    from relay.core.room import Room

Connection: TypeAlias = bytes
"""The router's name for a connection: opaque here, and never sent to anyone."""

_ACCEPTED: Final = int(envelope.Kind.ACCEPTED)
UNREAD: Final = 256 * 1024
"""A connection that leaves more bytes of answers to its own requests unread than this is cut."""


class Parcel(Protocol):
    """What goes to one connection in one frame."""

    @property
    def parts(self) -> list[bytes]:
        """The envelopes."""

    @property
    def frame(self) -> bytes:
        """The envelopes, joined."""

    def settle(self) -> Attachment | None:
        """Take note that it was sent; return an attachment that has thereby caught up."""


class Session:
    """See the module's text. ``due`` is the core's set of sessions that are owed something."""

    def __init__(
        self,
        connection: Connection,
        transport: bytes,
        address: str,
        due: dict[Connection, Session],
        counts: Counts,
    ) -> None:
        self.connection = connection
        self.transport = transport
        self.address = address
        self.peer: PeerId | None = None
        """Proven by HELLO; None before."""
        self.attachments: dict[RoomId, Attachment] = {}
        self.leaving = False
        """Nothing more is taken from this connection; it is cut when its last answers have been tried."""
        self.dismissed = ""
        """The code with which it was refused, once it is leaving for that."""
        self.farewelled = False
        """It has been told that the relay is stopping."""
        self.stalled = False
        self.retry_at = 0
        self.owed_since: int | None = None
        """Since when the pipe has been too full for something other than asides."""
        self.accepted: list[bytes] = []
        self._answers: list[bytes] = []
        self._fetches: deque[LogFetch] = deque()
        self._due = due
        self._counts = counts

    @property
    def speaker(self) -> PeerId | None:
        """Who it is, as long as its requests are taken."""
        return None if self.leaving else self.peer

    # -- what it is owed ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """See to it that the next turn looks here."""
        if not self.leaving:
            self._due[self.connection] = self

    def accept(self, request: bytes) -> None:
        """Answer a request: it was carried out."""
        if not self.accepted:
            self.wake()
        self.accepted.append(request)

    def refuse(self, request: bytes, code: str) -> None:
        """Answer a request: it was not carried out."""
        self._counts.refused[code] += 1
        self.answer(envelope.Refused(request, code))

    def answer(self, delivery: envelope.Delivery) -> None:
        self._answers.append(delivery.encode())
        self.wake()

    def fetch(self, fetch: LogFetch) -> bool:
        """Queue a long answer; say False if too many wait already."""
        if len(self._fetches) >= 16:
            return False
        self._fetches.append(fetch)
        self.wake()
        return True

    def unread(self) -> int:
        """How many bytes of answers wait."""
        return sum(map(len, self._answers)) + 17 * len(self.accepted)

    def takes_more(self) -> bool:
        """Say whether it is worth while to push something more in this turn."""
        return not (self.stalled or self.leaving)

    def owes_more_than_asides(self) -> bool:
        return bool(
            self._answers
            or self.accepted
            or self._fetches
            or any(attachment.owes_room() for attachment in self.attachments.values())
        )

    def owes_anything(self) -> bool:
        """Say whether another turn is needed for this connection."""
        if self._answers or self.accepted or self._fetches:
            return True
        for attachment in self.attachments.values():  # noqa: SIM110 - asked in every turn, and ``any`` takes its time
            if attachment.fresh or not attachment.live:
                return True
        return False

    def _has_fresh(self) -> bool:
        for attachment in self.attachments.values():  # noqa: SIM110
            if attachment.fresh:
                return True
        return False

    def drop(self, attachment: Attachment) -> None:
        """Forget an attachment that has ended."""
        del self.attachments[attachment.room.id]

    # -- parcels --------------------------------------------------------------------------------------------------

    def letter(self) -> Letter | None:
        """Return what concerns this connection at once: answers and the asides of live attachments, in one frame.

        None if there is nothing. It is to be settled before another is asked for.
        """
        if not (self.accepted or self._answers or self._has_fresh()):
            return None
        if self.accepted:
            ids, self.accepted = self.accepted, []
            for start in range(0, len(ids), limits.ACCEPTED):
                self._answers.append(wire.pack(_ACCEPTED, ids[start : start + limits.ACCEPTED]))
        letter = Letter(self, [], 0, [])
        size = 0
        if self._answers:
            size, letter.answers = letter.take(self._answers, 0)
        for attachment in self.attachments.values():
            if attachment.fresh:
                size, count = letter.take(attachment.fresh, size)
                letter.fresh.append((attachment, count))
        return letter

    def chunks(self, now: int) -> Iterator[Parcel]:
        """Yield what this connection lacks, as far as is wanted. Each is settled before the next is asked for."""
        for attachment in tuple(self.attachments.values()):
            caught_up = attachment.live
            while not caught_up:
                chunk = attachment.chunk(now)
                yield chunk
                caught_up = chunk.caught_up
        while self._fetches:
            yield self._fetches[0].chunk()

    def answered(self, count: int) -> None:
        """Take note that the first ``count`` answers were sent."""
        del self._answers[:count]

    def fetched(self) -> None:
        """Take note that the first fetch was answered."""
        self._fetches.popleft()


@dataclass(slots=True)
class Letter:
    """Answers, and asides that just came."""

    session: Session
    parts: list[bytes]
    answers: int
    fresh: list[tuple[Attachment, int]]

    def take(self, parts: list[bytes], size: int) -> tuple[int, int]:
        """Take in the first of ``parts``, as many as fit beside ``size`` bytes; return the new size, and how many."""
        all_of_it = size + sum(map(len, parts))
        if all_of_it <= limits.FRAME and len(self.parts) + len(parts) <= limits.FRAME_ENVELOPES:
            self.parts += parts
            return all_of_it, len(parts)
        count = 0  # not all of them fit, so the loop ends before they do
        while size + len(parts[count]) <= limits.FRAME and len(self.parts) < limits.FRAME_ENVELOPES:
            size += len(parts[count])
            self.parts.append(parts[count])
            count += 1
        return limits.FRAME, count

    @property
    def frame(self) -> bytes:
        return b"".join(self.parts)

    def settle(self) -> None:
        self.session.answered(self.answers)
        for attachment, count in self.fresh:
            attachment.take_fresh(count)


@dataclass(slots=True)
class LogFetch:
    """A piece of a room's log that was asked for: what comes after ``index`` up to ``last``."""

    session: Session
    room: Room
    request: bytes
    index: int
    last: int

    def chunk(self) -> LogChunk:
        """Return the next statements, with the ACCEPTED after the last."""
        parts: list[bytes] = []
        size = 0
        index = self.index
        while index < self.last and size < CHUNK:
            index += 1
            part = self.room.statement(index)
            parts.append(part)
            size += len(part)
        if index >= self.last:
            parts.append(envelope.Accepted((self.request,)).encode())
        return LogChunk(self, parts, index)


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Some statements of a log that was asked for."""

    fetch: LogFetch
    parts: list[bytes]
    index: int

    @property
    def frame(self) -> bytes:
        return b"".join(self.parts)

    def settle(self) -> None:
        self.fetch.index = self.index
        if self.index >= self.fetch.last:
            self.fetch.session.fetched()
