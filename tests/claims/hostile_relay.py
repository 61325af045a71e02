"""A hostile relay: our own relay's core with one lie in it, in memory or behind the real router.

``Liar`` is the core as it is; a ``Lie`` stands between it and the members. It sees every request before it is carried
out and every delivery before it is sent, may put others in their place, and may say something of its own accord. Each
lie below is one that a relay could tell with nothing but its own keys and what it has ever heard, which is all on its
``Tape``. A relay that is killed and started again goes on with the same lie and the same tape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from protocol import card as cards
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.errors import BackchannelError
from protocol.identity import Identity, SigningKey
from protocol.ids import InviteId, PeerId, RelayKey, RoomId
from protocol.limits import RelayLimits
from protocol.membership import Member, Membership, Role
from protocol.primitives import new_message_id, random
from relay.core.core import Core, Push
from relay.core.room import Room

D = TypeVar("D", bound=ev.Delivery)


@dataclass
class Tape:
    """All that a relay ever heard and said, by whom it heard it and to whom it said it."""

    heard: list[tuple[PeerId, ev.Request]] = field(default_factory=list)
    said: list[tuple[PeerId, ev.Delivery]] = field(default_factory=list)

    def posts(self, *, to: PeerId | None = None, by: PeerId | None = None) -> list[ev.Post]:
        """Return what was posted: to one member if that is given, by one member if that is given."""
        return [
            request
            for peer, request in self.heard
            if isinstance(request, ev.Post) and by in (None, peer) and to in (None, request.to)
        ]

    def all(self, kind: type[D], *, to: PeerId | None = None) -> list[D]:
        return [d for peer, d in self.said if isinstance(d, kind) and to in (None, peer)]

    def cards(self, owner: PeerId) -> list[bytes]:
        """Return the cards that ``owner`` published, oldest first."""
        return [r.card for _, r in self.heard if isinstance(r, ev.Publish) and r.card[:32] == owner]


class Lie:
    """No lie yet: the ways in which a relay can lie. Each method is given the core that it lies with."""

    def begins(self, relay: Liar) -> None:
        """Say something at once, or take note of how things are."""

    def restarts(self, relay: Liar) -> None:
        """Go on in a relay that was killed and started again with nothing."""

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        """Return what is carried out instead of a request."""
        return (request,)

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        """Return what is sent instead of a delivery."""
        return (delivery,)


class Liar(Core):
    """Our relay's core, and the lie that ``lie()`` returns."""

    def __init__(
        self,
        key: RelayKey,
        incarnation: bytes,
        bounds: RelayLimits,
        now: int,
        *,
        lie: Callable[[], Lie] = Lie,
        tape: Tape | None = None,
    ) -> None:
        super().__init__(key, incarnation, bounds, now)
        self._lie = lie
        self.tape = Tape() if tape is None else tape
        self.now = now
        self._asking = b""
        self._owed: list[tuple[PeerId, ev.Delivery]] = []

    # -- what a lie can use -------------------------------------------------------------------------------------------

    @property
    def room(self) -> Room:
        """The only room that is open."""
        (room,) = self._rooms._rooms.values()
        return room

    @property
    def people(self) -> list[PeerId]:
        """Everybody who is connected."""
        return list(dict.fromkeys(s.peer for s in self._sessions.values() if s.peer is not None))

    @property
    def clock(self) -> int:
        return self.now + self._rooms.offset

    def says(self, to: PeerId, *deliveries: ev.Delivery) -> None:
        """Say something to one identity with the next turn, in a frame of its own, after all the rest."""
        self._owed.extend((to, delivery) for delivery in deliveries)

    def accepts(self, request: ev.Request) -> None:
        """Answer the request that is being taken as if it had been carried out."""
        self._sessions[self._asking].accept(request.id)

    def refuses(self, request: ev.Request, code: str) -> None:
        self._sessions[self._asking].refuse(request.id, code)

    def delivers(self, to: PeerId, sender: PeerId, post: ev.Post, number: int = 1) -> None:
        """Hand a post to somebody, whatever the rules say."""
        message = ev.Message(post.room, sender, post.to is not None, number, self.clock, post.id, post.body)
        self.says(to, message)

    def opens(self, log: Iterable[bytes]) -> None:
        """Open a room with a log."""
        self._rooms._open_room(Membership.fold(log), self.now)

    # -- the core -----------------------------------------------------------------------------------------------------

    def receive(self, connection: bytes, frame: bytes, now: int) -> None:
        self.now = now
        session = self._sessions.get(connection)
        if session is None:
            return
        try:
            requests = list(ev.decode_requests(frame))
        except BackchannelError:
            super().receive(connection, frame, now)
            return
        for request in requests:
            peer = session.peer
            instead: Iterable[ev.Request] = (request,)
            if peer is not None:
                self.tape.heard.append((peer, request))
                self._asking = connection
                instead = self._lie().takes(self, peer, request)
            for other in instead:
                super().receive(connection, other.encode(), now)

    def tick(self, now: int) -> None:
        self.now = now
        super().tick(now)

    def turn(self, now: int) -> Iterator[Push]:
        self.now = now
        for push in super().turn(now):
            for connection in push.to:
                yield from self._pushes(connection, ev.decode_deliveries(push.frame))
        owed, self._owed = self._owed, []
        for peer, delivery in owed:
            for connection, session in tuple(self._sessions.items()):
                if session.peer == peer:
                    self.tape.said.append((peer, delivery))
                    yield Push(delivery.encode(), (connection,))

    def _pushes(self, connection: bytes, deliveries: Iterable[ev.Delivery]) -> Iterator[Push]:
        session = self._sessions.get(connection)
        peer = session.peer if session else None
        if peer is None:
            told = list(deliveries)
        else:
            told = [instead for delivery in deliveries for instead in self._lie().tells(self, peer, delivery)]
            self.tape.said.extend((peer, delivery) for delivery in told)
        for frame in ev.join(delivery.encode() for delivery in told):
            yield Push(frame, (connection,))

    def rest(self, now: int) -> int:
        return 0 if self._owed else super().rest(now)


# -- keys and members -------------------------------------------------------------------------------------------------


def forged_card(card: bytes, room: RoomId, relay: Identity) -> bytes:
    """Put the relay's own sealing key into somebody's card, one generation later; the signature is the relay's."""
    real = cards.Card.decode(card, room=room, now=1 << 47)
    key = cards.sealing_key(cards.new_sealing_secret())
    return real.owner + cards.make(relay, room, real.generation + 1, key, real.nick)[32:]


@dataclass
class SwapsCard(Lie):
    """Shows a card of ``owner`` with a key of the relay's own, now and whenever there is a new one."""

    owner: PeerId
    keys: Identity = field(default_factory=Identity.generate)

    def begins(self, relay: Liar) -> None:
        card = relay.tape.cards(self.owner)[-1]
        for peer in relay.people:
            relay.says(peer, ev.Card(relay.room.id, forged_card(card, relay.room.id, self.keys)))

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if isinstance(delivery, ev.Card) and delivery.card[:32] == self.owner and peer != self.owner:
            return (replace(delivery, card=forged_card(delivery.card, delivery.room, self.keys)),)
        return (delivery,)


@dataclass
class WithholdsCards(Lie):
    """Shows nobody the cards that ``owner`` makes from now on, and accepts them."""

    owner: PeerId

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if isinstance(delivery, ev.Card) and delivery.card[:32] == self.owner and peer != self.owner:
            return ()
        return (delivery,)

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        if isinstance(request, ev.Publish):
            relay.accepts(request)
            relay.says(peer, ev.Card(request.room, request.card))
            return ()
        return (request,)


@dataclass
class ShowsCards(Lie):
    """Shows ``cards``, whatever they are, as if they had been published."""

    cards: list[bytes]

    def begins(self, relay: Liar) -> None:
        for peer in relay.people:
            relay.says(peer, *(ev.Card(relay.room.id, card) for card in self.cards))


# -- the log ----------------------------------------------------------------------------------------------------------


@dataclass
class AddsStatement(Lie):
    """Shows everybody a statement as the next of the log, once, and from then on a log that holds it."""

    statement: Callable[[Liar], bytes]

    def begins(self, relay: Liar) -> None:
        raw = self.statement(relay)
        for peer in relay.people:
            relay.says(peer, ev.Statement(relay.room.id, relay.room.membership.index + 1, raw))


@dataclass
class InventsMember(Lie):
    """Shows an ADMIT of its own making, by an invite key of its own, and then the ghost's card and presence."""

    ghost: Identity = field(default_factory=Identity.generate)
    invite: SigningKey = field(default_factory=SigningKey.generate)
    by: Identity | None = None
    """A member who colludes, and grants that invite."""

    def begins(self, relay: Liar) -> None:
        room = relay.room
        log = Membership.fold(room.membership.log)
        raws = []
        if self.by is not None:
            raws.append(st.grant(self.by, room.id, log.anchor, InviteId(self.invite.public), 0, 0))
        raws.append(st.admit(self.ghost, room.id, log.anchor, self.invite))
        key = cards.sealing_key(cards.new_sealing_secret())
        card = cards.make(self.ghost, room.id, relay.clock, key, random(60))
        for peer in relay.people:
            relay.says(peer, *(ev.Statement(room.id, log.index + place, raw) for place, raw in enumerate(raws, 1)))
            relay.says(peer, ev.Card(room.id, card), ev.Presence(room.id, False, (self.ghost.id,), ()))


@dataclass
class ShowsStranger(Lie):
    """Shows the card and the presence of somebody who never entered, and no statement."""

    ghost: Identity = field(default_factory=Identity.generate)

    def begins(self, relay: Liar) -> None:
        room = relay.room
        key = cards.sealing_key(cards.new_sealing_secret())
        card = cards.make(self.ghost, room.id, relay.clock, key, random(60))
        for peer in relay.people:
            relay.says(peer, ev.Card(room.id, card), ev.Presence(room.id, False, (self.ghost.id,), ()))


def old_admit(peer: PeerId) -> Callable[[Liar], bytes]:
    """Return what finds the statement by which ``peer`` once entered."""

    def find(relay: Liar) -> bytes:
        log = relay.room.membership.log
        return next(raw for raw in log if isinstance(s := st.decode(raw), st.Admit) and s.signer == peer)

    return find


def latest_statement(relay: Liar) -> bytes:
    return relay.room.membership.log[-1]


@dataclass
class Rewrites(Lie):
    """Shows the statement at one place of the log with one bit flipped, to whoever is shown that place."""

    index: int
    place: int = -1

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if isinstance(delivery, ev.Statement) and delivery.index == self.index:
            raw = bytearray(delivery.statement)
            raw[self.place] ^= 1
            return (replace(delivery, statement=bytes(raw)),)
        return (delivery,)


class TwoRooms(Lie):
    """Shows each group a log of its own from now on, and lets everything else cross between them.

    What a member states goes into its group's log alone. The core's own log stays as it is, so that nobody it knows
    ever stops being served.
    """

    def __init__(self, *groups: Collection[PeerId]) -> None:
        self._groups = groups
        self.logs: list[Membership] = []
        self._log: list[bytes] = []

    def begins(self, relay: Liar) -> None:
        self._log = relay.room.membership.log[:]
        self.logs = [Membership.fold(self._log) for _ in self._groups]

    def restarts(self, relay: Liar) -> None:
        relay.opens(self._log)

    def _side(self, peer: PeerId) -> int:
        return next((side for side, group in enumerate(self._groups) if peer in group), 0)

    def adds(self, relay: Liar, side: int, raw: bytes) -> None:
        """Append a statement to one log and show it to those who are shown that log."""
        log = self.logs[side]
        log.apply(raw)
        for peer in relay.people:
            if self._side(peer) == side and peer in relay.room._attached:
                relay.says(peer, ev.Statement(log.room, log.index, raw))

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        room, log = relay.room, self.logs[self._side(peer)]
        match request:
            case ev.Submit():
                try:
                    if not log.knows(request.statement):
                        self.adds(relay, self._side(peer), request.statement)
                        if isinstance(st.decode(request.statement), st.Admit):
                            room.membership.members[peer] = Member(Role.MEMBER, room.membership.index)
                except BackchannelError as error:
                    relay.refuses(request, error.code)
                else:
                    relay.accepts(request)
                return ()
            case ev.Post():
                return (replace(request, index=room.membership.index),)
        return (request,)

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if isinstance(delivery, ev.Attached):
            log = self.logs[self._side(peer)]
            after = range(relay.room.membership.index, log.index)
            statements = [ev.Statement(log.room, place + 1, log.log[place]) for place in after]
            return (*statements, replace(delivery, index=log.index, head=log.head))
        return (delivery,)


class HoldsBehind(TwoRooms):
    """Shows ``victim`` nothing of what is stated or said from now on; what the victim says reaches everybody."""

    def __init__(self, victim: PeerId) -> None:
        super().__init__((), (victim,))
        self.victim = victim

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if peer == self.victim and isinstance(delivery, ev.Message) and delivery.sender != peer:
            return ()
        return super().tells(relay, peer, delivery)


class HoldsBehindAndBounces(HoldsBehind):
    """The same, and tells everybody else at each connection that it has just been started."""

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        for told in super().tells(relay, peer, delivery):
            bounces = isinstance(told, ev.Welcome) and peer != self.victim
            yield replace(told, incarnation=random(16)) if bounces else told  # type: ignore[call-arg]


@dataclass
class ReplaysOldLog(Lie):
    """Is started again and opens the room with the log as it was at ``length``, whatever members bring back."""

    length: int
    accepts: bool = True
    """Whether it says that it takes what it does not take."""
    log: list[bytes] = field(default_factory=list)
    lacking: set[bytes] = field(default_factory=set)

    def begins(self, relay: Liar) -> None:
        log = relay.room.membership.log
        self.log, self.lacking = log[: self.length], set(log[self.length :])

    def restarts(self, relay: Liar) -> None:
        relay.opens(self.log)

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        if isinstance(request, ev.Restore) or (isinstance(request, ev.Submit) and request.statement in self.lacking):
            if self.accepts:
                relay.accepts(request)
            return ()
        return (request,)


@dataclass
class KeepsServing(Lie):
    """Goes on serving ``peer``, who was removed: copies it everything, and brings its posts to whom they are for."""

    peer: PeerId
    copied: set[tuple[bytes, bytes]] = field(default_factory=set)

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        if peer == self.peer and isinstance(request, ev.Post):
            for other in relay.people if request.to is None else [PeerId(request.to)]:
                if other != peer:
                    relay.delivers(other, peer, request)
            relay.accepts(request)
            return ()
        return (request,)

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if peer != self.peer and isinstance(delivery, ev.Message | ev.Card | ev.Statement):
            relay.says(self.peer, delivery)
        return (delivery,)


# -- messages ---------------------------------------------------------------------------------------------------------

Wanted = Callable[[ev.Message], bool]


def any_message(message: ev.Message) -> bool:
    return True


def aside(message: ev.Message) -> bool:
    return message.direct


def room_message(message: ev.Message) -> bool:
    return not message.direct


@dataclass
class OfMessages(Lie):
    """What is done to ``victim`` with the messages that are ``wanted``."""

    victim: PeerId
    wanted: Wanted = any_message

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if peer != self.victim or not isinstance(delivery, ev.Message) or delivery.sender == peer:
            return (delivery,)
        return self.instead(relay, delivery) if self.wanted(delivery) else (delivery,)

    def instead(self, relay: Liar, message: ev.Message) -> Iterable[ev.Delivery]:
        raise NotImplementedError


@dataclass
class Drops(OfMessages):
    """Withholds the first ``count`` of them, or all, for good."""

    count: int = 1 << 30
    dropped: dict[bytes, ev.Message] = field(default_factory=dict)

    def instead(self, relay: Liar, message: ev.Message) -> Iterable[ev.Delivery]:
        if message.id not in self.dropped and len(self.dropped) >= self.count:
            return (message,)
        self.dropped[message.id] = message
        return ()


@dataclass
class Duplicates(OfMessages):
    """Delivers each twice, the second time under another number."""

    def instead(self, relay: Liar, message: ev.Message) -> Iterable[ev.Delivery]:
        return (message, replace(message, number=message.number + 1))


@dataclass
class Reorders(OfMessages):
    """Holds them back, and delivers them in the reverse order when ``count`` have gathered."""

    count: int = 2
    held: dict[bytes, ev.Message] = field(default_factory=dict)

    def instead(self, relay: Liar, message: ev.Message) -> Iterable[ev.Delivery]:
        self.held[message.id] = message
        if len(self.held) >= self.count:
            relay.says(self.victim, *reversed(self.held.values()))
            self.held.clear()
        return ()


@dataclass
class Replays(OfMessages):
    """Delivers all that it ever delivered to the victim again: at once, and to every later attachment."""

    def _all(self, relay: Liar) -> list[ev.Message]:
        seen = [m for m in relay.tape.all(ev.Message, to=self.victim) if m.sender != self.victim and self.wanted(m)]
        return list({m.id: m for m in seen}.values())

    def begins(self, relay: Liar) -> None:
        relay.says(self.victim, *self._all(relay))

    def tells(self, relay: Liar, peer: PeerId, delivery: ev.Delivery) -> Iterable[ev.Delivery]:
        if peer == self.victim and isinstance(delivery, ev.Attached):
            return (delivery, *self._all(relay))
        return (delivery,)


@dataclass
class Changes(OfMessages):
    """Delivers each as ``change`` makes it."""

    change: Callable[[ev.Message], ev.Message] = lambda message: message

    def instead(self, relay: Liar, message: ev.Message) -> Iterable[ev.Delivery]:
        return (self.change(message),)


def relabelled(sender: PeerId) -> Callable[[ev.Message], ev.Message]:
    """Say that somebody else sent it."""
    return lambda message: replace(message, sender=sender)


def turned(message: ev.Message) -> ev.Message:
    """Say that an aside is none, or that a room message is one."""
    return replace(message, direct=not message.direct)


def renamed(message: ev.Message) -> ev.Message:
    """Give it another id, so that it passes for another message."""
    return replace(message, id=new_message_id())


@dataclass
class AcceptsLate(Lie):
    """Keeps the first room post of ``sender`` to itself, and says only in the end that it took it."""

    sender: PeerId
    kept: ev.Request | None = None

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        if peer != self.sender or not isinstance(request, ev.Post) or request.to is not None or self.kept:
            return (request,)
        self.kept = request
        return ()

    def ends(self, relay: Liar) -> None:
        assert self.kept
        relay.says(self.sender, ev.Accepted((self.kept.id,)))


@dataclass
class TakesOldPosts(Lie):
    """Takes room posts from before a removal, as it should not."""

    def takes(self, relay: Liar, peer: PeerId, request: ev.Request) -> Iterable[ev.Request]:
        if isinstance(request, ev.Post) and request.to is None:
            return (replace(request, index=max(request.index, relay.room.membership.last_departure)),)
        return (request,)


LONG = limits.UNRESOLVED + 5 * limits.SECOND
"""After this long whatever is alarming has alarmed."""
