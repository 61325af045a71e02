"""One open room: its log folded, its cards, who is attached and present, and its streams.

The room enforces nothing about who may ask: ``rooms`` does. Here is what a room holds, how what happens in it is said
to everybody at once, and how a member's attachments end with its membership. Rooms know nothing of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol import envelope, limits, wire
from protocol import statement as st
from protocol.envelope import Kind
from protocol.errors import Banned, NotMember, RoomClosed
from relay.core.attachment import Attachment
from relay.core.attendance import Attendance, presence_changes
from relay.core.broadcast import Broadcast
from relay.core.counts import Counts
from relay.core.place import Place
from relay.core.pool import Pool, Tally
from relay.core.roster import Roster
from relay.core.shares import Quota, Shares
from relay.core.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.card import Card
    from protocol.ids import PeerId, RoomId
    from protocol.limits import RelayLimits
    from protocol.membership import Membership

_AROUND: Final = 128
"""What an envelope holds beside a statement, card or body, at most, in bytes."""
_STATEMENT: Final = int(Kind.STATEMENT)
LOOKS: Final = 64
"""Kept messages that are looked at in one piece of work."""
EMPTY: Final = 6 * 1024
"""What a room costs beside its log and cards, roughly."""
STATEMENT: Final = 1_200
"""What a statement costs beside its bytes, roughly, with what there is of a member whom it admits."""
_NOTHING: Final = Stream((0, Pool("", Quota(), Counts(), Tally())))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of all rooms, and what each may keep. Posts and asides are apart: neither has the other evicted."""

    shares: Shares
    counts: Counts
    posts: Tally
    asides: Tally


class Room:
    """See the module's text. ``loud`` is the core's set of rooms that have something to say."""

    def __init__(
        self, membership: Membership, bounds: RelayLimits, kept: Kept, loud: dict[RoomId, Room], now: int
    ) -> None:
        self.id = membership.room
        self.membership = membership
        self._retention = bounds.retention_s * limits.SECOND
        self.roster = Roster(self._retention + limits.CHAIN_LIFE)
        self.attendance = Attendance()
        self._kept = kept
        self._posts, self._inbox = Quota(), Quota()
        self.share_out()
        self.stream = Stream((self._retention, Pool("room", self._posts, kept.counts, kept.posts)))
        self._asides: dict[PeerId, Stream] = {}
        self._attached: dict[PeerId, list[Attachment]] = {}
        self.newest_admission = max((member.since for member in membership.members.values()), default=0)
        self.idle_since: int | None = now
        """Since when (ms) nobody has been attached."""
        self.weighed = 0
        """The size that ``rooms`` has counted."""
        self._log_size = EMPTY + log_size(membership)
        self._loud = loud
        self.broadcast = Broadcast(self.place())

    def place(self, peer: PeerId | None = None) -> Place:
        """Return where the room is now, with the asides of ``peer``."""
        aside = self.asides_of(peer).number if peer else 0
        return Place(self.membership.index, self.roster.revision, self.attendance.revision, self.stream.number, aside)

    def asides_of(self, peer: PeerId) -> Stream:
        """Return the asides to ``peer``, to be read."""
        return self._asides.get(peer, _NOTHING)

    def inbox(self, peer: PeerId) -> Stream:
        """Return the asides to ``peer``, a member, to be added to."""
        stream = self._asides.get(peer)
        if stream is None:
            lives = (self._retention, self._retention + limits.CHAIN_LIFE)
            kept = self._kept
            stream = Stream(*((life, Pool("recipient", self._inbox, kept.counts, kept.asides)) for life in lives))
            self._asides[peer] = stream
        return stream

    def listening(self, peer: PeerId) -> list[list[bytes]]:
        """Return where an aside to ``peer`` is to be put for its live attachments; all its connections are woken."""
        fresh = []
        for attachment in self._attached.get(peer, ()):
            attachment.session.wake()
            if attachment.live:
                fresh.append(attachment.fresh)
        return fresh

    def statement(self, index: int) -> bytes:
        """Return the encoded STATEMENT for the place ``index`` (from 1) of the log."""
        return wire.pack(_STATEMENT, self.id, index, self.membership.log[index - 1])

    # -- what is said to everybody --------------------------------------------------------------------------------

    def _make_room(self, size: int) -> None:
        """See to it that an envelope of ``size`` bytes fits, before what it says is done: places are taken here."""
        if not self.broadcast.fits(size):
            self.broadcast.close_frame(self.place())
        self._loud[self.id] = self

    def append(self, raw: bytes, now: int) -> st.Statement:
        """Append a statement to the log if the rules admit it, and carry out what it means for attachments.

        Raises what ``Membership.apply`` raises.
        """
        self._make_room(len(raw) + _AROUND)
        statement = self.membership.apply(raw)
        self._log_size += len(raw) + STATEMENT
        index = self.membership.index
        self.broadcast.add(self.statement(index))
        match statement:
            case st.Admit():
                self.newest_admission = index
            case st.Remove():
                self._expel(statement.subject, Banned.code if statement.ban else NotMember.code, now)
            case st.Leave():
                self._expel(statement.signer, NotMember.code, now)
            case st.Close():
                for peer in tuple(self._attached):
                    self._end_attachments(peer, RoomClosed.code, now)
        return statement

    def publish(self, card: Card, now: int, *, more: bool) -> None:
        """Take a verified card of a member and show it; raise ``OlderCard``, ``CardConflict`` or ``TooManyCards``."""
        self._make_room(len(card.raw) + _AROUND)
        if self.roster.publish(card, now, more=more):
            self.broadcast.add(envelope.Card(self.id, card.raw).encode())

    def say(self, message: bytes, index: int) -> None:
        """Deliver an encoded MESSAGE that names the roster index ``index`` to everybody; it joins the stream next."""
        self._make_room(len(message))
        self.broadcast.add(message)
        self.broadcast.note_anchor(index)

    def begin_turn(self) -> None:
        """Say who came and who went, and set aside those to whom not all of the turn's messages are addressed."""
        place = self.place()
        came, went = self.attendance.changes()
        for part in presence_changes(self.id, came, went):
            if not self.broadcast.fits(len(part)):
                self.broadcast.close_frame(place)
            self.broadcast.add(part)
        for attachment in self.broadcast.admitted_later(self.newest_admission):
            self.broadcast.leave(attachment)
            attachment.session.wake()

    # -- attachments ----------------------------------------------------------------------------------------------

    def attach(self, attachment: Attachment) -> None:
        self._attached.setdefault(attachment.peer, []).append(attachment)
        self.idle_since = None
        if attachment.present:
            self.attendance.come(attachment.peer)
            self._loud[self.id] = self

    def detach(self, attachment: Attachment, now: int) -> None:
        """Let an attachment go, unless it has been let go already."""
        if attachment.live:
            self.broadcast.leave(attachment)
        held = self._attached.get(attachment.peer, [])
        if attachment not in held:
            return
        held.remove(attachment)
        if not held:
            del self._attached[attachment.peer]
        if not self._attached:
            self.idle_since = now
        if attachment.present:
            self.attendance.go(attachment.peer)
            self._loud[self.id] = self

    def _expel(self, peer: PeerId, reason: str, now: int) -> None:
        """Carry out that ``peer`` is no member any more: of a ban of somebody who was none, nothing is left to do."""
        self.roster.withdraw(peer, now)
        self._end_attachments(peer, reason, now)

    def _end_attachments(self, peer: PeerId, reason: str, now: int) -> None:
        for attachment in tuple(self._attached.get(peer, ())):
            self.detach(attachment, now)
            attachment.finish(reason)
            attachment.session.wake()

    # -- size ---------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The bytes that the room costs, without what is retained."""
        return self._log_size + self.roster.size

    def share_out(self) -> None:
        """Let the room keep what is its share now; what it keeps beyond is dropped by the next ``expire``."""
        members = len(self.membership.members)
        self._kept.shares.posts(self._posts, members)
        self._kept.shares.asides(self._inbox, members)

    # -- time -----------------------------------------------------------------------------------------------------

    def expire(self, now: int) -> Iterator[None]:
        """Drop whatever has been kept for its life, in pieces."""
        self.roster.expire(now)
        self.share_out()
        for peer, stream in tuple(self._asides.items()):
            yield from stream.shrink() if peer in self.membership.members else stream.clear()
        yield from self.stream.shrink()
        left = LOOKS
        for stream in (self.stream, *self._asides.values()):
            while not (left := stream.expire(now, left)):
                yield
                left = LOOKS

    def clear(self) -> Iterator[None]:
        """Drop everything that is kept, in pieces: nobody will attach to this room any more."""
        for stream in (self.stream, *self._asides.values()):
            yield from stream.clear()


def log_size(membership: Membership) -> int:
    """Return the bytes that a log costs."""
    return sum(map(len, membership.log)) + membership.index * STATEMENT
