"""The relay without a socket: connections and their frames come in, deliveries go out, a turn at a time.

The shell around it calls ``connect``, ``receive`` and ``disconnect`` as things happen, then iterates over ``turn``:
each push is one frame for some connections, and a connection that could not take it is reported with ``stalled`` or
``gone`` before the next push is asked for. Every ``now`` is in ms and only ever rises; ``set_clock`` says what the time
of day is. Several cores may live in one process: nothing here is global, and no randomness is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import protocol
from protocol import envelope, limits
from protocol.errors import BackchannelError, BadHello, BadSignature, Malformed, TooManyConnections, WrongVersion
from protocol.identity import hello_content, verify
from protocol.ids import PeerId
from protocol.primitives import Label
from relay.core import counts
from relay.core.chores import Chores
from relay.core.counts import Counts, Gauges
from relay.core.incarnation import Incarnations
from relay.core.rooms import Rooms
from relay.core.session import UNREAD, Connection, Session

if TYPE_CHECKING:
    from protocol.ids import RelayKey
    from protocol.limits import RelayLimits
    from relay.core.attachment import Attachment
    from relay.core.way import Way

RETRY: Final = 20
"""How long (ms) a connection whose pipe was full is left alone."""
CATCHING_UP: Final = 2 * 1024 * 1024
"""How many bytes a turn may take to bring those who are behind nearer: so many that they catch up under load."""
SWEEP: Final = limits.SECOND
"""How often what has been kept for its life is dropped."""
HELLO_WAIT: Final = 10 * limits.SECOND
"""A connection that has not said who it is after this long is cut."""
NO_REQUEST: Final = bytes(16)
"""What a refusal names when the request could not be read."""


class Push(NamedTuple):
    """One frame for some connections."""

    frame: bytes
    to: Sequence[Connection]


class Core:
    """See the module's text. The incarnation (16 bytes) must be new at every start."""

    def __init__(self, key: RelayKey, incarnation: bytes, bounds: RelayLimits, now: int) -> None:
        self._key = key
        self._limits = bounds
        self.counts = Counts()
        self._chores = Chores()
        self._incarnations = Incarnations(incarnation)
        self._rooms = Rooms(bounds, self.counts, self._chores, self._incarnations, now)
        self._sessions: dict[Connection, Session] = {}
        self._strangers: dict[Connection, int] = {}
        """Connections before HELLO, in order, and since when."""
        self._peers: Counter[PeerId] = Counter()
        self._addresses: Counter[str] = Counter()
        self._due: dict[Connection, Session] = {}
        self._cuts: list[Connection] = []
        self._sweep_at = now + SWEEP

    def set_clock(self, time: int, now: int) -> None:
        """Say that it is ``time`` (ms since 1970) at ``now``."""
        self._rooms.offset = time - now

    def let_found(self, founders: Container[PeerId] | None) -> None:
        """Open rooms of these founders alone from now on, or (None) of everybody; rooms that are open stay open."""
        self._rooms.founders = founders

    # -- what happens ---------------------------------------------------------------------------------------------

    def connect(self, connection: Connection, transport: bytes, address: str, now: int) -> None:
        """Take note of a connection whose transport key (32 bytes) has been proven."""
        self._sessions[connection] = Session(connection, transport, address, self._due, self.counts)
        self._strangers[connection] = now

    def disconnect(self, connection: Connection, now: int) -> None:
        """Take note that a connection is no more."""
        session = self._sessions.get(connection)
        if session:
            self._forget(session, now)

    gone = disconnect

    def receive(self, connection: Connection, frame: bytes, now: int) -> None:
        """Carry out the requests of one frame; the answers come with the next turn."""
        session = self._sessions.get(connection)
        if session is None:
            return
        self.counts.frames_in += 1
        self.counts.bytes_in += len(frame)
        peer, accepted = session.speaker, session.accepted
        posts = 0
        way: Way | None = None
        try:
            for request in envelope.decode_requests(frame):
                if type(request) is envelope.Post and peer:  # what nearly every request is
                    posts += 1
                    try:
                        if way is None or not way.leads(request):
                            way = self._rooms.way(peer, request, now)
                        way.carry(request)
                    except BackchannelError as error:
                        session.refuse(request.id, error.code)
                    else:
                        accepted.append(request.id)
                elif session.leaving:
                    break
                else:
                    self._carry_out(session, request, now)
                    peer, way = session.speaker, None
        except BackchannelError as error:
            self._dismiss(session, NO_REQUEST, error)
        if posts:
            session.wake()
            self.counts.requests[envelope.Post.__name__] += posts

    def stalled(self, connection: Connection, now: int) -> None:
        """Take note that a connection's pipe was too full for the push that is being made."""
        session = self._sessions.get(connection)
        if session is None:
            return
        self.counts.stalls += 1
        session.stalled = True
        session.retry_at = now + RETRY
        if not session.owes_more_than_asides():
            session.owed_since = None
        elif session.owed_since is None:
            session.owed_since = now
        patience = self._limits.slow_cut_s * limits.SECOND
        too_long = session.owed_since is not None and now - session.owed_since >= patience
        if too_long or session.unread() > UNREAD:
            self._cut(session, now, counts.SLOW if too_long else counts.UNREAD)
            return
        for attachment in session.attachments.values():
            if attachment.live:
                attachment.room.broadcast.leave(attachment)
        session.wake()

    def tick(self, now: int) -> None:
        """Do what time alone brings about. To be called before a turn."""
        self._rooms.tick(now)
        self._chores.begin_turn()
        if now >= self._sweep_at:
            self._sweep_at = limits.TIME  # not before this one is done
            self._chores.add(self._sweep(now))
            for connection, since in tuple(self._strangers.items()):
                if now - since < HELLO_WAIT:
                    break
                self._cut(self._sessions[connection], now, counts.SILENT)

    def _sweep(self, now: int) -> Iterator[None]:
        yield from self._rooms.sweep(self._sessions)
        self._sweep_at = now + SWEEP

    def say_goodbye(self) -> bool:
        """Tell whoever has been sent everything that the relay is stopping, with the next turn; to be called again.

        It is the last that a connection hears. Return whether anybody is still there.
        """
        greeted = [session for session in self._sessions.values() if session.peer]
        for session in greeted:
            if not session.farewelled and not session.owes_anything():
                session.farewelled = True
                session.answer(envelope.GoingAway())
        return bool(greeted)

    # -- what is to be done ---------------------------------------------------------------------------------------

    def turn(self, now: int) -> Iterator[Push]:
        """Yield what is to be sent now: first what concerns one connection, then what each room says to all."""
        loud = tuple(self._rooms.loud.values())
        self._rooms.loud.clear()
        for room in loud:
            room.begin_turn()
        ready = [session for session in self._due.values() if session.retry_at <= now]
        yield from self._send_letters(ready, now)
        caught_up: list[Attachment] = []
        if self._due:
            yield from self._send_chunks(ready, caught_up, now)
        for room in loud:
            for frame, envelopes in room.broadcast.frames(room.place()):
                yield Push(frame, tuple(room.broadcast.live))
                self.counts.took(frame, envelopes, len(room.broadcast.live))  # who did not take it has left
        for attachment in caught_up:
            session = attachment.session
            if not session.stalled and session.attachments.get(attachment.room.id) is attachment:
                attachment.room.broadcast.join(attachment)
                if not session.owes_anything():
                    self._due.pop(session.connection, None)

    def rest(self, now: int) -> int:
        """Return for how many ms at most nothing needs to be done unless something happens."""
        if self._chores:
            return 0
        rest = SWEEP
        opening = self._rooms.opening_in(now)
        if opening is not None:
            rest = min(rest, opening)
        for session in self._due.values():
            rest = min(rest, session.retry_at - now)
        return max(0, rest)

    def gauges(self) -> Gauges:
        """Return what is there now. It looks at every room, so it is to be asked for now and then alone."""
        rooms = self._rooms.everything()
        kept, done = self._rooms.kept, self.counts
        return Gauges(
            connections=self._peers.total(),
            strangers=len(self._strangers),
            rooms=len(rooms),
            attachments=sum(len(session.attachments) for session in self._sessions.values()),
            present=sum(len(room.attendance) for room in rooms),
            retained_messages=done.posts + done.asides - done.expired - done.evicted.total(),
            retained_bytes=kept.posts.size + kept.asides.size,
            statements=sum(room.membership.index for room in rooms),
            cards=sum(len(room.roster) for room in rooms),
        )

    def take_cuts(self) -> list[Connection]:
        """Return the connections that are to be cut, once. The core has forgotten them already."""
        cuts, self._cuts = self._cuts, []
        return cuts

    def _send_letters(self, ready: Sequence[Session], now: int) -> Iterator[Push]:
        for session in ready:
            session.stalled = False
            while letter := session.letter():
                yield Push(frame := letter.frame, (session.connection,))
                if session.stalled:
                    break
                self.counts.took(frame, len(letter.parts), 1)
                letter.settle()
                session.owed_since = None
            if session.leaving:
                self._cut(session, now, session.dismissed)
            elif not session.owes_anything():
                self._due.pop(session.connection, None)

    def _send_chunks(self, ready: Sequence[Session], caught_up: list[Attachment], now: int) -> Iterator[Push]:
        """Bring those who are behind nearer, together by so much a turn; whoever was served goes to the end."""
        left = CATCHING_UP
        for session in ready:
            if not session.takes_more() or session.connection not in self._due:
                continue
            for chunk in session.chunks(now):
                if frame := chunk.frame:
                    yield Push(frame, (session.connection,))
                    left -= len(frame)
                    if not session.takes_more():
                        break
                    self.counts.took(frame, len(chunk.parts), 1)
                    session.owed_since = None
                if attachment := chunk.settle():
                    caught_up.append(attachment)
                if left <= 0:
                    break
            if self._due.pop(session.connection, None) and session.owes_anything():
                session.wake()
            if left <= 0:
                return

    # -- requests -------------------------------------------------------------------------------------------------

    def _carry_out(self, session: Session, request: envelope.Request, now: int) -> None:
        self.counts.requests[type(request).__name__] += 1
        if isinstance(request, envelope.Hello):
            self._hello(session, request, now)
            return
        peer = session.peer
        if peer is None:
            raise Malformed
        try:
            match request:
                case envelope.Submit():
                    self._rooms.submit(peer, request, now)
                case envelope.Publish():
                    self._rooms.publish(peer, request, now)
                case envelope.Ping():
                    self._rooms.ping(peer, now)
                case envelope.Attach():
                    self._rooms.attach(session, peer, request, now)
                    return
                case envelope.Fetch():
                    self._rooms.fetch(session, peer, request, now)
                    return
                case envelope.Restore():
                    self._rooms.restore(session, peer, request, now)
                    return
        except BackchannelError as error:
            session.refuse(request.id, error.code)
        else:
            session.accept(request.id)

    def _hello(self, session: Session, hello: envelope.Hello, now: int) -> None:
        """Believe who is connecting, or dismiss the connection. There is one HELLO a connection."""
        if session.peer:
            raise Malformed
        peer = PeerId(hello.identity)
        try:
            if hello.version != protocol.VERSION:
                raise WrongVersion
            verify(peer, Label.HELLO, hello_content(self._key, session.transport), hello.signature)
            self._check_room(peer, session.address)
        except BadSignature:
            self._dismiss(session, hello.id, BadHello())
            return
        except BackchannelError as error:
            self._dismiss(session, hello.id, error)
            return
        session.peer = peer
        del self._strangers[session.connection]
        self._peers[peer] += 1
        self._addresses[session.address] += 1
        clock = now + self._rooms.offset
        session.answer(envelope.Welcome(protocol.VERSION, self._incarnations.of(peer), clock, self._limits.retention_s))

    def _check_room(self, peer: PeerId, address: str) -> None:
        if (
            self._peers.total() >= self._limits.connections
            or self._peers[peer] >= self._limits.connections_per_identity
            or self._addresses[address] >= self._limits.connections_per_address
        ):
            raise TooManyConnections

    # -- ends -----------------------------------------------------------------------------------------------------

    def _dismiss(self, session: Session, request: bytes, error: BackchannelError) -> None:
        """Refuse and take nothing more; the connection is cut when the refusal has been tried."""
        session.refuse(request, error.code)
        session.dismissed = error.code
        session.leaving = True

    def _cut(self, session: Session, now: int, reason: str) -> None:
        if session.connection in self._sessions:
            self.counts.cut[reason] += 1
            self._forget(session, now)
            self._cuts.append(session.connection)

    def _forget(self, session: Session, now: int) -> None:
        session.leaving = True
        del self._sessions[session.connection]
        self._strangers.pop(session.connection, None)
        self._due.pop(session.connection, None)
        for attachment in session.attachments.values():
            attachment.room.detach(attachment, now)
        session.attachments.clear()
        if session.peer:
            self._peers[session.peer] -= 1
            if not self._peers[session.peer]:
                del self._peers[session.peer]
            self._addresses[session.address] -= 1
            if not self._addresses[session.address]:
                del self._addresses[session.address]
