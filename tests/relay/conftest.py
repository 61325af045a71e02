"""A stage for the relay's core: people with connections, who say things and see what comes, with a clock in hand.

A story reads: ``alice.founds()``, ``bob.joins(room)``, ``alice.says(room, "hi")``, ``assert bob.sees() == [...]``.
What a connection sees is what the core pushed to it since it last looked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

import protocol
from protocol import card as cards
from protocol import envelope, limits
from protocol import statement as st
from protocol.envelope import Delivery, Flag, Message
from protocol.identity import Identity, SigningKey, hello_content
from protocol.ids import Anchor, InviteId, PeerId, RelayKey, RoomId
from protocol.limits import RelayLimits
from protocol.membership import START, Membership
from protocol.primitives import Label
from relay.core.core import Core

RELAY = RelayKey(bytes(range(32)))
NOON = 1_700_000_000_000


@dataclass
class Invite:
    """What lets somebody in: the room's FOUND and an invite key."""

    room: RoomId
    key: SigningKey


class Stage:
    """One relay, its clock, and everybody who ever connected to it."""

    def __init__(self, bounds: RelayLimits | None = None, *, revived: bool = True) -> None:
        self.bounds = bounds or RelayLimits()
        self.now = NOON
        self.core = Core(RELAY, bytes(16), self.bounds, self.now)
        self.full: set[bytes] = set()
        """Connections whose pipe takes nothing."""
        self.dead: set[bytes] = set()
        """Connections that are gone without the monitor having said so."""
        self.people: dict[bytes, Person] = {}
        self.cut: list[bytes] = []
        self._names = itertools.count()
        self._seeds = itertools.count(1)
        if revived:
            self.passes(limits.REVIVAL)

    def identity(self) -> Identity:
        """Return a new identity: the same at every run."""
        return Identity(next(self._seeds).to_bytes(32))

    def connection(self, identity: Identity | None = None, *, hello: bool = True, address: str = "::1") -> Person:
        """Connect somebody."""
        name = b"c%d" % next(self._names)
        person = Person(self, identity or self.identity(), name)
        self.people[name] = person
        self.core.connect(name, name.ljust(32), address, self.now)
        if hello:
            person.hello()
            assert [type(d) for d in person.sees()] == [envelope.Welcome]
        return person

    def passes(self, ms: int) -> None:
        """Let time pass, with a turn at its end."""
        self.now += ms
        self.core.tick(self.now)
        self.turn()

    def turn(self) -> None:
        """Let the relay have its turn."""
        for push in self.core.turn(self.now):
            assert len(push.frame) <= limits.FRAME
            for connection in push.to:
                if connection in self.dead:
                    self.core.gone(connection, self.now)
                elif connection in self.full:
                    self.core.stalled(connection, self.now)
                else:
                    self.people[connection].frames.append(push.frame)
        self.cut += self.core.take_cuts()

    def turns(self) -> None:
        """Let the relay have turns until it has nothing more to do at once."""
        self.turn()
        for _ in range(1_000):
            if self.core.rest(self.now):
                return
            self.core.tick(self.now)
            self.turn()
        raise AssertionError("the relay does not come to rest")


@dataclass
class Person:
    """One connection of one identity."""

    stage: Stage
    identity: Identity
    connection: bytes
    frames: list[bytes] = field(default_factory=list)
    generation: int = 0
    _requests: Iterable[int] = field(default_factory=itertools.count)

    @property
    def id(self) -> PeerId:
        return self.identity.id

    # -- sending ------------------------------------------------------------------------------------------------------

    def request(self) -> bytes:
        """Return a new id for a request."""
        return self.connection.ljust(8) + next(self._requests).to_bytes(8)  # type: ignore[call-overload]

    def sends(self, *requests: envelope.Request | bytes) -> None:
        """Send requests in one frame; the relay has its turn only when it is given one."""
        frame = b"".join(r if isinstance(r, bytes) else r.encode() for r in requests)
        self.stage.core.receive(self.connection, frame, self.stage.now)

    def asks(self, request: envelope.Request) -> str:
        """Send a request, give the relay its turns, and return "accepted" or the code of the refusal."""
        self.sends(request)
        self.stage.turns()
        return self.answer(request.id)

    def answer(self, request: bytes) -> str:
        """Return how a request was answered; "" is not at all."""
        for delivery in self.looks():
            if isinstance(delivery, envelope.Accepted) and request in delivery.ids:
                return "accepted"
            if isinstance(delivery, envelope.Refused) and delivery.id == request:
                return delivery.reason
            if isinstance(delivery, envelope.Attached) and delivery.id == request:
                return "attached"
        return ""

    def hello(self, **changes: object) -> None:
        """Say who this is, truthfully but for ``changes``."""
        signature = self.identity.sign(Label.HELLO, hello_content(RELAY, self.connection.ljust(32)))
        fields: dict[str, object] = {
            "id": self.request(),
            "version": protocol.VERSION,
            "identity": self.id,
            "signature": signature,
        }
        self.sends(envelope.Hello(**(fields | changes)))  # type: ignore[arg-type]
        self.stage.turns()

    def leaves_the_net(self) -> None:
        self.stage.core.disconnect(self.connection, self.stage.now)

    # -- seeing -------------------------------------------------------------------------------------------------------

    def looks(self) -> list[Delivery]:
        """Return everything that came since it was last seen."""
        return [d for frame in self.frames for d in envelope.decode_deliveries(frame)]

    def sees(self, kind: type[Delivery] = Delivery) -> list[Delivery]:
        """Return what came (of one kind), after the relay's turns, and forget it all."""
        self.stage.turns()
        seen = [d for d in self.looks() if isinstance(d, kind)]
        self.frames.clear()
        return seen

    def reads(self) -> list[str]:
        """Return the bodies of the messages that came, asides in brackets."""
        return [f"({m.body.decode()})" if m.direct else m.body.decode() for m in self.sees(Message)]  # type: ignore[attr-defined]

    # -- rooms --------------------------------------------------------------------------------------------------------

    def log(self, room: RoomId) -> Membership:
        """Return the room's log: in these stories everybody has folded what the relay has."""
        return self.stage.core._rooms._rooms[room].membership

    def submits(self, room: RoomId, raw: bytes) -> str:
        return self.asks(envelope.Submit(self.request(), room, raw))

    def founds(self, *, members_invite: bool = False) -> RoomId:
        """Open a room and let an invite in."""
        raw = st.found(self.identity, self.request(), self.stage.now, members_invite, b"sealed title")
        room = st.room_id(raw)
        assert self.submits(room, raw) == "accepted"
        return room

    def invites(self, room: RoomId, *, uses: int = 0, expires_at: int = 0) -> Invite:
        """Grant an invite."""
        key = SigningKey(self.stage.identity().seed)
        raw = st.grant(self.identity, room, self.log(room).anchor, InviteId(key.public), uses, expires_at)
        assert self.submits(room, raw) == "accepted"
        return Invite(room, key)

    def enters(self, invite: Invite, anchor: Anchor | None = None) -> str:
        """Submit an ADMIT by an invite."""
        anchor = anchor or self.log(invite.room).anchor
        return self.submits(invite.room, st.admit(self.identity, invite.room, anchor, invite.key))

    def attach(
        self,
        room: RoomId,
        *,
        present: bool = True,
        index: int = 0,
        head: bytes = START,
        room_cursor: int | None = 0,
        aside_cursor: int | None = 0,
    ) -> envelope.Attach:
        """Return an ATTACH for everything that is retained."""
        return envelope.Attach(self.request(), room, present, index, head, room_cursor, aside_cursor)

    def attaches(self, room: RoomId, **how: object) -> str:
        return self.asks(self.attach(room, **how))  # type: ignore[arg-type]

    def publishes(self, room: RoomId, generation: int | None = None) -> str:
        self.generation = generation if generation is not None else max(self.generation + 1, self.stage.now)
        return self.asks(envelope.Publish(self.request(), room, self.card(room, self.generation)))

    def card(self, room: RoomId, generation: int) -> bytes:
        return cards.make(self.identity, room, generation, cards.sealing_key(b"s" * 32), b"nick")  # type: ignore[arg-type]

    def post(
        self,
        room: RoomId,
        text: str,
        to: Person | None = None,
        *,
        index: int | None = None,
        flags: int = Flag.NONE,
        again: bytes | None = None,
    ) -> envelope.Post:
        """Return a POST anchored at what this person has folded; ``again`` is the id of one sent before."""
        place = self.log(room).index if index is None else index
        return envelope.Post(again or self.request(), room, to.id if to else None, place, flags, text.encode())

    def says(self, room: RoomId, text: str, **how: object) -> str:
        """Post to the room."""
        return self.asks(self.post(room, text, **how))  # type: ignore[arg-type]

    def whispers(self, room: RoomId, to: Person, text: str, **how: object) -> str:
        """Post an aside."""
        return self.asks(self.post(room, text, to, **how))  # type: ignore[arg-type]

    def removes(self, room: RoomId, person: Person, *, ban: bool = False) -> str:
        """Remove somebody."""
        return self.submits(room, st.remove(self.identity, room, self.log(room).anchor, person.id, ban))


@pytest.fixture
def stage() -> Stage:
    """A relay that has been up long enough for rooms to open at once."""
    return Stage()


@pytest.fixture
def make_stage() -> Callable[..., Stage]:
    """A relay with limits of one's own."""

    def make(*, revived: bool = True, **bounds: int) -> Stage:
        return Stage(RelayLimits(**bounds), revived=revived)

    return make


@dataclass
class Company:
    """Alice, who founded the room, Bob and Chuck: all attached, and caught up."""

    stage: Stage
    room: RoomId
    alice: Person
    bob: Person
    chuck: Person


def gather(stage: Stage) -> Company:
    """Let three people meet in a room, on ``stage``."""
    alice, bob, chuck = (stage.connection() for _ in range(3))
    room = alice.founds()
    invite = alice.invites(room)
    for person in (bob, chuck):
        assert person.enters(invite) == "accepted"
    for person in (alice, bob, chuck):
        assert person.attaches(room) == "attached"
        assert person.publishes(room) == "accepted"
    for person in (alice, bob, chuck):
        person.sees()
    return Company(stage, room, alice, bob, chuck)


@pytest.fixture
def company(stage: Stage) -> Company:
    return gather(stage)


@pytest.fixture
def make_company(make_stage: Callable[..., Stage]) -> Callable[..., Company]:
    """The same, with limits of one's own."""
    return lambda **bounds: gather(make_stage(**bounds))
