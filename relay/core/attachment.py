"""One connection's hold on one room, and how it catches up.

An attachment is *live* when it has everything that the room has said: it then shares the room's frames with all the
others. Otherwise (freshly attached, or its connection was stalled) it is *behind*, and gets what it lacks in chunks of
its own, made from the room's state and retention; so a slow connection costs no queue, whatever it missed. When its
membership ends, an attachment is behind once more, up to the place where it ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol import envelope
from relay.core.place import Place

if TYPE_CHECKING:
    from protocol.ids import PeerId
    from relay.core.room import Room
    from relay.core.session import Session

CHUNK: Final = 64 * 1024
"""A chunk ends with the envelope that reaches this many bytes, so one connection's catching up delays others little."""


@dataclass(frozen=True, slots=True)
class End:
    """Why the attachment ends, and with which statement and messages."""

    reason: str
    place: Place


class Attachment:
    """See the module's text. ``place`` is what has been sent; of a live one, ``place.aside`` alone is kept up."""

    __slots__ = ("end", "fresh", "live", "peer", "place", "present", "request", "room", "session", "since")

    def __init__(
        self,
        room: Room,
        session: Session,
        peer: PeerId,
        request: bytes,
        place: Place,
        *,
        present: bool,
    ) -> None:
        self.room = room
        self.session = session
        self.peer = peer
        self.present = present
        self.since = room.membership.members[peer].since
        """The index of the peer's ADMIT: what is anchored before it is not for this attachment."""
        self.request: bytes | None = request
        """The ATTACH that is still to be answered."""
        self.place = place
        self.live = False
        self.fresh: list[bytes] = []
        """Asides that came for a live attachment since the last turn, in order."""
        self.end: End | None = None

    def fall_behind(self, sent: Place) -> None:
        """Stop being live; ``sent`` is what the live ones of the room have been sent."""
        self.live = False
        self.place = sent._replace(aside=self.place.aside)
        self.fresh.clear()

    def finish(self, reason: str) -> None:
        """Let the attachment end where the room is now. It must not be live."""
        self.end = End(reason, self.room.place(self.peer))

    def owes_room(self) -> bool:
        """Say whether something of the room, asides apart, is still to be sent."""
        if self.live:
            return self.room.broadcast.sent != self.room.place()
        return bool(self.request) or self.place[:4] != self.room.place()[:4]

    def take_fresh(self, count: int) -> None:
        """Take note that ``count`` asides of ``fresh`` were sent."""
        del self.fresh[:count]
        self.place = Place(*self.place[:4], self.place.aside + count)

    def chunk(self, now: int) -> Chunk:
        """Return the next envelopes that a behind attachment lacks, without what has been kept for its life."""
        self.room.stream.expire(now)
        self.room.asides_of(self.peer).expire(now)
        parts: list[bytes] = []
        size = 0
        for part, place in self._missing():
            parts.append(part)
            size += len(part)
            if size >= CHUNK:
                return Chunk(self, parts, place, caught_up=False)
        parts.extend(self._last_words())
        return Chunk(self, parts, self._goal(), caught_up=True)

    def settle(self, place: Place, *, caught_up: bool) -> bool:
        """Take note that a chunk was sent; say whether the attachment may go live now."""
        self.place = place
        if not caught_up:
            return False
        self.request = None
        if self.end:
            self.session.drop(self)
            return False
        return True

    def _goal(self) -> Place:
        return self.end.place if self.end else self.room.place(self.peer)

    def _missing(self) -> Iterator[tuple[bytes, Place]]:
        """Yield what is lacking, in the order in which it makes sense, each with the place after it."""
        room, place, goal = self.room, self.place, self._goal()
        for index in range(place.log + 1, goal.log + 1):
            place = place._replace(log=index)
            yield room.statement(index), place
        if not self.end:
            for revision, raw in room.roster.after(place.card):
                place = place._replace(card=revision)
                yield envelope.Card(room.id, raw).encode(), place
            if place.presence != goal.presence:
                place = place._replace(presence=goal.presence)
                yield room.attendance.snapshot(room.id), place
        for number, kept in room.asides_of(self.peer).after(place.aside, goal.aside):
            if kept[1] >= self.since:
                place = place._replace(aside=number)
                yield kept[4], place
        place = place._replace(aside=goal.aside)
        for number, kept in room.stream.after(place.number, goal.number):
            if kept[1] >= self.since:
                place = place._replace(number=number)
                yield kept[4], place

    def _last_words(self) -> Iterator[bytes]:
        """Yield what tells the peer that nothing is lacking any more."""
        room, goal = self.room, self._goal()
        if self.end:
            if self.request:
                yield envelope.Refused(self.request, self.end.reason).encode()
            yield envelope.Closed(room.id, self.end.reason).encode()
        elif self.request:
            head = room.membership.heads[goal.log]
            answer = envelope.Attached(self.request, room.id, goal.log, head, goal.number, goal.aside)
            yield answer.encode()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of what a behind attachment lacks; it counts as sent when it is settled."""

    attachment: Attachment
    parts: list[bytes]
    place: Place
    caught_up: bool

    @property
    def frame(self) -> bytes:
        return b"".join(self.parts)

    def settle(self) -> Attachment | None:
        """Take note that the chunk was sent; return the attachment if it may go live."""
        return self.attachment if self.attachment.settle(self.place, caught_up=self.caught_up) else None
