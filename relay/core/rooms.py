"""What the requests of a proven identity do to rooms, and which rooms are open.

Each method carries out one kind of request or raises the refusal; the answer is given by ``core``, unless it takes
longer than the request (ATTACH, FETCH of the log, RESTORE). Everything that decides whether something is refused here
belongs to the requester or is known to all members: nothing depends on asides between others (claim 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator
from typing import TYPE_CHECKING

from protocol import envelope, limits
from protocol import statement as st
from protocol.card import Card
from protocol.errors import (
    BackchannelError,
    BadStatement,
    Banned,
    InviteExpired,
    MayNotFound,
    NotAllowed,
    NotMember,
    RateLimited,
    RoomClosed,
    TooManyMembers,
    TooManyRooms,
    TooManyStatements,
    UnknownCard,
    UnknownRoom,
)
from protocol.ids import PeerId, RoomId
from protocol.membership import Membership
from relay.core.attachment import Attachment
from relay.core.budget import Budgets
from relay.core.place import Place
from relay.core.pool import Tally
from relay.core.revival import Candidate, Choice, Revival, choose, unknown_restrictions
from relay.core.room import EMPTY, STATEMENT, Kept, Room, log_size
from relay.core.roster import cost
from relay.core.session import LogFetch
from relay.core.shares import Shares
from relay.core.way import Way

if TYPE_CHECKING:
    from protocol.limits import RelayLimits
    from relay.core.chores import Chores
    from relay.core.counts import Counts
    from relay.core.incarnation import Incarnations
    from relay.core.session import Session


class Rooms:
    """See the module's text."""

    def __init__(
        self, bounds: RelayLimits, counts: Counts, chores: Chores, incarnations: Incarnations, now: int
    ) -> None:
        self._limits = bounds
        self._counts = counts
        self._chores = chores
        self._incarnations = incarnations
        self._now = now
        self._budgets = Budgets(bounds)
        self._collecting = True
        self._rooms: dict[RoomId, Room] = {}
        self._founders: Counter[PeerId] = Counter()
        self._revival = Revival(now + limits.REVIVAL, bounds.statements * 3 + 1, bounds.rooms, bounds.bytes_gathered)
        self.size = 0
        """The bytes that all rooms cost, without what is retained."""
        self.kept = Kept(Shares(bounds), counts, Tally(), Tally())
        self.founders: Container[PeerId] | None = None
        """Whose rooms are opened; None is everybody's."""
        self.loud: dict[RoomId, Room] = {}
        """Rooms that have something to say to everybody."""
        self.offset = 0
        """What ``now``, which only counts time, lacks to the relay's clock, in ms."""

    # -- requests -------------------------------------------------------------------------------------------------

    def submit(self, peer: PeerId, request: envelope.Submit, now: int) -> None:
        """Append a statement, or open a room with a FOUND of one's own."""
        self._take_talk(peer, len(request.statement), now)
        room = self._rooms.get(RoomId(request.room))
        if room is None:
            self._found(peer, request, now)
        elif not room.membership.knows(request.statement):
            self._check_submission(room, peer, request.statement, now)
            self._append(room, request.statement, now)

    def publish(self, peer: PeerId, request: envelope.Publish, now: int) -> None:
        """Show a member's card to the room."""
        self._take_talk(peer, len(request.card), now)
        room = self._room_of_member(RoomId(request.room), peer)
        card = Card.decode(request.card, room=room.id, now=now + self.offset)
        if card.owner not in room.membership.members:
            raise NotMember
        room.publish(card, now, more=self._has_memory(room.size, cost(card)))
        self._weigh(room)

    def way(self, peer: PeerId, post: envelope.Post, now: int) -> Way:
        """Return the way of a post of ``peer``, and of others to the same place; raise what refuses them all."""
        room = self._room_of_member(post.room, peer)
        return Way(room, peer, post, self._budgets, self._counts, now, now + self.offset)

    def attach(self, session: Session, peer: PeerId, request: envelope.Attach, now: int) -> None:
        """Attach a connection; it is answered when it has caught up. A former attachment to the room ends."""
        self._take_question(peer, 0, now)
        if request.room not in self._rooms and self._revival.hold(session, RoomId(request.room), request):
            return
        room = self._room_of_member(RoomId(request.room), peer)
        former = session.attachments.get(room.id)
        if former:
            room.detach(former, now)
        elif len(session.attachments) >= self._limits.rooms_per_connection:
            raise TooManyRooms
        aside = room.asides_of(peer).number
        place = Place(
            log=_known_place(room.membership, request),
            card=0,
            presence=-1,
            number=_cursor(request.room_cursor, room.stream.number),
            aside=_cursor(request.aside_cursor, aside),
        )
        attachment = Attachment(room, session, peer, request.id, place, present=request.present)
        session.attachments[room.id] = attachment
        room.attach(attachment)
        session.wake()

    def fetch(self, session: Session, peer: PeerId, request: envelope.Fetch, now: int) -> None:
        """Answer with a card, or queue the log; a former member gets the log up to where its membership ended."""
        self._take_question(peer, 0, now)
        room = self._open(request.room)
        member = peer in room.membership.members
        if request.subject is None:
            last = room.membership.index if member else room.membership.end_of(peer)
            if last is None:
                raise NotMember
            if not session.fetch(LogFetch(session, room, request.id, request.number, last)):
                raise RateLimited
            return
        if not member:
            raise NotMember
        card = room.roster.find(PeerId(request.subject), request.number)
        if card is None:
            raise UnknownCard
        session.answer(envelope.Card(room.id, card.raw))
        session.accept(request.id)

    def restore(self, session: Session, peer: PeerId, request: envelope.Restore, now: int) -> None:
        """Take a piece of a forgotten room's log, and open the room when it is whole and the time has come."""
        self._take_question(peer, sum(map(len, request.statements)), now)
        room = RoomId(request.room)
        candidate = self._revival.gather(session, peer, room, request, now)
        if candidate is None:
            session.accept(request.id)
            return
        self._revival.wait(room, candidate)
        if not self._collecting and not self._revival.is_choosing(room):
            self._chores.add(self._revive(room))

    def ping(self, peer: PeerId, now: int) -> None:
        """Do nothing, at most so often."""
        self._take_question(peer, 0, now)

    # -- statements -----------------------------------------------------------------------------------------------

    def _found(self, peer: PeerId, request: envelope.Submit, now: int) -> None:
        statement = st.decode(request.statement)
        if not isinstance(statement, st.Found):
            raise UnknownRoom
        if st.room_id(request.statement) != request.room:
            raise BadStatement
        if statement.signer != peer:
            raise NotAllowed
        self._open_room(Membership(request.statement), now)
        self._counts.rooms_founded += 1

    def _check_submission(self, room: Room, peer: PeerId, raw: bytes, now: int) -> None:
        """Refuse what the fold admits and the relay does not: an invite's time, and how full a room may be."""
        membership, statement = room.membership, st.decode(raw)
        if isinstance(statement, st.Admit):
            if statement.signer != peer:
                raise NotAllowed
            grant = membership.grant(statement.invite)
            if grant and grant.expires_at and grant.expires_at <= now + self.offset:
                raise InviteExpired
            if len(membership.members) >= self._limits.members and peer not in membership.banned:
                raise TooManyMembers
        self._check_size(room, raw, statement)

    def _check_size(self, room: Room, raw: bytes, statement: st.Statement) -> None:
        """Refuse what the log is too long for: restrictions fit for longer, and what the founder says for longest."""
        most = self._limits.statements
        if statement.signer == room.membership.founder:
            most *= 3
        elif st.is_restriction(statement):
            most *= 2  # an admin who floods the log with removals can't keep the founder from ending that
        fits = room.membership.index < most and self._has_memory(room.size, len(raw) + STATEMENT)
        if not fits and not isinstance(statement, st.Close):
            raise TooManyStatements

    # -- opening and forgetting -----------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Open the rooms that came back, when the time has come."""
        self._now = now
        if self._collecting and now >= self._revival.opens_at:
            self._collecting = False
            for room in self._revival.rooms():
                self._chores.add(self._revive(room))

    def opening_in(self, now: int) -> int | None:
        """Return in how many ms ``tick`` is needed for that, or None."""
        return self._revival.opens_at - now if self._collecting else None

    def sweep(self, connected: Container[bytes]) -> Iterator[None]:
        """Drop what has been kept for its life, rooms included, in pieces; ``connected`` are all connections."""
        yield from self._budgets.sweep(lambda: self._now)
        self._revival.sweep(self._now, connected)
        for room in tuple(self._rooms.values()):
            yield from room.expire(self._now)
            self._weigh(room)
            yield
            if room.idle_since is not None and self._now - room.idle_since >= self._limits.idle_close_s * limits.SECOND:
                self._forget(room)
                yield from room.clear()

    def _revive(self, room: RoomId) -> Iterator[None]:
        """Open a room that was brought, or take what it restricts into the room that is open; for whoever comes too."""
        while candidates := self._revival.take(room):
            choice = None
            if room not in self._rooms:
                choice = yield from choose(room, candidates)
            if room in self._rooms:  # open before, or founded anew meanwhile
                for candidate in candidates:
                    yield from self._add_restrictions(candidate, self._rooms[room])
            elif choice:
                self._open_chosen(choice)
            for candidate in candidates:
                for request in candidate.held:
                    yield
                    self._attach_held(candidate, request)
            self._revival.done(room)
        self._revival.done(room)

    def _open_chosen(self, choice: Choice) -> None:
        if choice.membership:
            try:
                self._open_room(choice.membership, self._now)
            except BackchannelError as reason:
                choice.refused += [(candidate, reason) for candidate in choice.accepted]
            else:
                self._counts.rooms_restored += 1
                for candidate in choice.accepted:
                    candidate.session.accept(candidate.request)
        for candidate, error in choice.refused:
            candidate.session.refuse(candidate.request, error.code)

    def _attach_held(self, candidate: Candidate, request: envelope.Attach) -> None:
        if candidate.session.leaving:
            return
        try:
            self.attach(candidate.session, candidate.peer, request, self._now)
        except BackchannelError as error:
            candidate.session.refuse(request.id, error.code)

    def _add_restrictions(self, candidate: Candidate, room: Room) -> Iterator[None]:
        """Take from a log what it restricts and the room's own log lacks: each statement counts as if submitted."""
        for raw in unknown_restrictions(room.membership, candidate.log):
            yield
            if not raw:
                continue
            if not self._budgets.talk.take(candidate.peer, len(raw), self._now):
                candidate.session.refuse(candidate.request, RateLimited.code)
                return
            try:
                statement = st.decode(raw)
                if st.is_restriction(statement):
                    self._check_size(room, raw, statement)
                    self._append(room, raw, self._now)
            except BackchannelError:  # what the rules do not admit now is left out
                continue
        candidate.session.accept(candidate.request)

    def _open_room(self, membership: Membership, now: int) -> None:
        founder = membership.founder
        if self.founders is not None and founder not in self.founders:
            raise MayNotFound
        if len(self._rooms) >= self._limits.rooms or self._founders[founder] >= self._limits.rooms_per_founder:
            raise TooManyRooms
        if not self._has_memory(0, EMPTY + log_size(membership)):
            raise TooManyRooms
        self.kept.shares.count(rooms=1, members=len(membership.members))
        room = self._rooms[membership.room] = Room(membership, self._limits, self.kept, self.loud, now)
        self._weigh(room)
        self._founders[founder] += 1
        self._counts.statements += membership.index

    def _append(self, room: Room, raw: bytes, now: int) -> None:
        before = len(room.membership.members)
        room.append(raw, now)
        if joined := len(room.membership.members) - before:
            self.kept.shares.count(rooms=0, members=joined)
            room.share_out()
        self._weigh(room)
        self._counts.statements += 1

    def _forget(self, room: Room) -> None:
        del self._rooms[room.id]
        self.kept.shares.count(rooms=-1, members=-len(room.membership.members))
        self.size -= room.weighed
        self.loud.pop(room.id, None)
        membership = room.membership  # it may come back with an older log, as after a restart
        self._incarnations.forget(membership.members.keys() | membership.left.keys())
        self._counts.rooms_forgotten += 1
        self._founders[room.membership.founder] -= 1
        if not self._founders[room.membership.founder]:
            del self._founders[room.membership.founder]

    def _has_memory(self, size: int, more: int) -> bool:
        """Say whether a room of ``size`` bytes may have so many more.

        Half of the memory is for whoever comes first. Of the other half each room has an equal share, so that nobody
        who fills the first keeps others from removing a member or showing a new key.
        """
        half = self._limits.bytes_of_rooms // 2
        return self.size + more <= half or size + more <= half // self._limits.rooms

    def _weigh(self, room: Room) -> None:
        self.size += room.size - room.weighed
        room.weighed = room.size

    def everything(self) -> Collection[Room]:
        """Return all open rooms, to be counted."""
        return self._rooms.values()

    # -- what every request asks ----------------------------------------------------------------------------------

    def _open(self, room: bytes) -> Room:
        found = self._rooms.get(RoomId(room))
        if found is None:
            raise UnknownRoom
        return found

    def _room_of_member(self, room: RoomId, peer: PeerId) -> Room:
        found = self._rooms.get(room)
        if found is None:
            raise UnknownRoom
        membership = found.membership
        if peer not in membership.members:
            raise Banned if peer in membership.banned else NotMember
        if membership.closed:
            raise RoomClosed
        return found

    def _take_talk(self, peer: PeerId, size: int, now: int) -> None:
        if not self._budgets.talk.take(peer, size, now):
            raise RateLimited

    def _take_question(self, peer: PeerId, size: int, now: int) -> None:
        if not self._budgets.questions.take(peer, size, now):
            raise RateLimited


def _cursor(asked: int | None, number: int) -> int:
    """Return the number after which a stream is sent: nil is from now, and one that is not of this stream is from 0."""
    if asked is None:
        return number
    return asked if asked <= number else 0


def _known_place(membership: Membership, request: envelope.Attach) -> int:
    """Return how much of the log the peer holds: what it says, if its head is the log's there, else nothing."""
    known = request.index <= membership.index and membership.heads[request.index] == request.head
    return request.index if known else 0
