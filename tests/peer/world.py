"""A world in memory: a real relay core, any number of real room cores, a clock in hand, and a wire that can misbehave.

A story reads ``alice = world.create("alice")``, ``bob, chuck = world.join("bob", "chuck")``, ``alice.says("hi")``,
``assert bob.hears() == ["alice: hi"]``. Whoever says something is answered at once, because the world then runs until
nothing moves any more; what takes time happens in ``world.passes(ms)``. A person is a profile; it usually has one
process that reads, and may have several, each with a connection of its own that can be cut and held.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import protocol
from peer.core.alarms import Alarm
from peer.core.commands import Answered, Ended, HangUp, Ready, Settled, Show, Transmit
from peer.core.events import Event, EventKind, Message, Reading, State
from peer.core.room import RoomCore
from peer.keys import bury
from peer.store import Room, Store
from protocol import envelope as ev
from protocol import limits, names
from protocol import statement as st
from protocol.content import Action, Content, Text
from protocol.errors import BackchannelError, ClockSkewed
from protocol.identity import Identity, SigningKey, hello_content
from protocol.ids import Anchor, InviteId, MessageId, PeerId, RelayKey, RoomId, RoomSecret
from protocol.limits import RelayLimits
from protocol.membership import Membership
from protocol.primitives import Label, new_message_id, random
from relay.core.core import Core

RELAY = RelayKey(bytes(range(32)))
NOON = 1_700_000_000_000
STEP = limits.SECOND // 2
"""How often a shell ticks its core."""
LONG_STEP = 9 * limits.SECOND
Tamper = Callable[["Process", ev.Delivery], Iterable[ev.Delivery]]


@dataclass(frozen=True)
class Invite:
    """What an invite word carries, but for addresses."""

    room: RoomId
    key: SigningKey
    secret: RoomSecret
    anchor: Anchor


class World:
    """See the module's text. Profiles are in memory, or files if a folder is given."""

    def __init__(self, folder: Path | None = None, **bounds: int) -> None:
        self.folder = folder
        self.bounds = RelayLimits(**bounds)
        self.now = NOON
        self.people: dict[str, Person] = {}
        self.processes: list[Process] = []
        self.room = RoomId(b"")
        self.tamper: Tamper | None = None
        """A lie of the relay: what it delivers instead of one delivery."""
        self.backoff = 0
        """After how many ms a process that lost its connection comes back by itself; 0: when it is told to."""
        self._names = itertools.count()
        self._incarnations = itertools.count(1)
        self.core = self._new_core()
        self.passes(limits.REVIVAL)

    def _new_core(self) -> Core:
        core = Core(RELAY, next(self._incarnations).to_bytes(16), self.bounds, self.now)
        core.set_clock(self.now, self.now)
        return core

    # -- people -------------------------------------------------------------------------------------------------------

    def person(self, name: str, *, skew: int = 0) -> Person:
        """Return somebody, who may not be in the room yet; ``skew`` is what its clock is ahead (ms)."""
        if name not in self.people:
            self.people[name] = Person(self, name, skew)
        return self.people[name]

    def create(self, name: str, *, skew: int = 0, members_invite: bool = False, reads: bool = True) -> Person:
        """Let somebody found the room."""
        founder = self.person(name, skew=skew)
        founder.founds(members_invite=members_invite)
        self.room = founder.room.id
        if reads:
            founder.starts(Reading.BACKLOG)
            founder.forgets()
        return founder

    def join(self, *names: str, invite: Invite | None = None, reads: bool = True) -> list[Person]:
        """Let people enter, by the founder's fresh invite unless another is given."""
        invite = invite or next(iter(self.people.values())).invites()
        people = [self.person(name) for name in names]
        for person in people:
            person.enters(invite)
            if reads:
                person.starts(Reading.BACKLOG)
        for person in self.people.values():
            person.forgets()
        return people

    # -- time and movement --------------------------------------------------------------------------------------------

    def passes(self, ms: int, step: int | None = None) -> None:
        """Let time pass: every process ticks, whoever is to come back comes back, and everything moves."""
        end = self.now + ms
        step = step or (STEP if ms <= 2 * limits.MINUTE else LONG_STEP)
        while self.now < end:
            self.now = min(end, self.now + step)
            self.core.tick(self.now)
            for process in self.processes:
                process.wakes()
            self.runs()

    def leaps(self, ms: int) -> None:
        """Let time pass in which nobody does anything, as if every machine slept."""
        self.now += ms

    def runs(self) -> None:
        """Let everything move until nothing does."""
        for _ in range(10_000):
            if not self.moves():
                return
        raise AssertionError("the world does not come to rest")

    def moves(self) -> bool:
        """Let everything move once; say whether anything did."""
        moved = False
        for process in self.processes:
            moved |= process.sends()
        for process in self.processes:
            moved |= process.uploads()
        self.core.tick(self.now)
        moved |= self._turn()
        for process in list(self.processes):
            moved |= process.reads()
        return moved

    def _turn(self) -> bool:
        moved = False
        by_name = {process.connection: process for process in self.processes if process.connection}
        for push in self.core.turn(self.now):
            for connection in push.to:
                process = by_name.get(connection)
                if process is None or process.connection != connection:
                    self.core.gone(connection, self.now)
                    continue
                moved = True
                process.incoming.append(push.frame)
        for connection in self.core.take_cuts():
            if connection in by_name:
                by_name[connection].loses_connection()
                moved = True
        return moved

    def restart(self, *, back: bool = True) -> None:
        """Kill the relay and start it again with nothing; everybody comes back unless it is said otherwise."""
        for process in self.processes:
            process.loses_connection()
        self.core = self._new_core()
        if back:
            for process in self.processes:
                process.connects()
            self.passes(limits.REVIVAL + STEP)

    def close(self) -> None:
        """Close every profile."""
        for process in self.processes:
            process.store.close()
        for person in self.people.values():
            person.store.close()

    def new_connection(self) -> bytes:
        return b"c%d" % next(self._names)

    def alarms(self) -> dict[str, list[Alarm]]:
        """Return the alarms that stand, by whom they stand at."""
        return {name: found for name, person in self.people.items() if person.room_id and (found := person.alarms())}


class Person:
    """A profile: an identity, a store, and any number of processes, of which the first is meant if none is named."""

    def __init__(self, world: World, name: str, skew: int) -> None:
        self.world, self.name, self.skew = world, name, skew
        self.home = world.folder / name if world.folder else None
        self.store = self.open()
        self.identity: Identity = self.store.identity()
        self.room_id: RoomId | None = None
        self.processes: list[Process] = []

    def open(self) -> Store:
        """Open the profile once more, as another process does."""
        if self.home is None:
            return self.store if hasattr(self, "store") else Store.in_memory(self.name)
        return Store.open(self.home, self.name)

    @property
    def id(self) -> PeerId:
        return self.identity.id

    @property
    def now(self) -> int:
        return self.world.now + self.skew

    @property
    def room(self) -> Room:
        assert self.room_id is not None
        room = self.store.room_by_id(self.room_id)
        assert room is not None
        return room

    @property
    def process(self) -> Process:
        return self.processes[0]

    @property
    def core(self) -> RoomCore:
        return self.process.core

    @property
    def membership(self) -> Membership:
        found = self.core.roster.membership
        assert found is not None
        return found

    @property
    def profile(self) -> bytes:
        """Every byte of the profile's files."""
        assert self.home is not None
        return b"".join(path.read_bytes() for path in sorted(self.home.iterdir()))

    # -- entering -----------------------------------------------------------------------------------------------------

    def founds(self, *, members_invite: bool = False, title: str = "team") -> None:
        salt, secret = random(16), RoomSecret(random(32))
        sealed = names.seal_title(secret, self.id, salt, title)
        found = st.found(self.identity, salt, self.now, members_invite, sealed)
        room = self._adds_room(st.room_id(found), secret)
        self.store.write("INSERT INTO log VALUES (?, 1, ?)", room.id, found)
        self._goes_in(opening=found)

    def enters(self, invite: Invite, *, anchor: Anchor | None = None) -> None:
        """Join; raise what refuses it."""
        known = self.store.room_by_id(invite.room)
        anchor = anchor or invite.anchor
        if known and known.attached_at:
            self.room_id = known.id
            rows = self.store.rows("SELECT statement FROM log WHERE room = ? ORDER BY place", known.id)
            membership = Membership.fold(row[0] for row in rows)
            if self.id not in membership.members:
                anchor = max(anchor, membership.anchor, key=lambda place: place.index)
        else:
            self._adds_room(invite.room, invite.secret)
        admit = st.admit(self.identity, invite.room, anchor, invite.key)
        self._goes_in(opening=admit, expected=invite.anchor)

    def _adds_room(self, room: RoomId, secret: RoomSecret) -> Room:
        self.room_id = room
        return self.store.add_room(
            room, name="team", title="team", nick=self.name, secret=secret, relay=RELAY, addresses=["h:1"]
        )

    def _goes_in(self, *, opening: bytes, expected: Anchor | None = None) -> None:
        process = self.starts(Reading.NOTHING, publishes=True, opening=opening, expected=expected)
        if not process.ended:
            assert process.ready
            assert process.core.keys.accepted()
        process.stops()
        if process.ended:
            raise process.ended

    # -- processes ----------------------------------------------------------------------------------------------------

    def starts(
        self,
        reading: Reading = Reading.BACKLOG,
        *,
        receipts: bool = True,
        present: bool = True,
        publishes: bool | None = None,
        opening: bytes | None = None,
        expected: Anchor | None = None,
        connect: bool = True,
    ) -> Process:
        """Start a process that reads so, and let it attach."""
        store = self.open()
        bury(store, self.now)
        assert self.room_id is not None
        room = store.room_by_id(self.room_id)
        assert room is not None
        core = RoomCore(
            store,
            room,
            self.identity,
            reading=reading,
            present=present,
            publishes=publishes,
            opening=opening,
            expected=expected,
        )
        if receipts and reading is not Reading.NOTHING:
            core.inbox.receipts = lambda: 0
        process = Process(self, core, store, started=self.world.now)
        self.processes.append(process)
        self.world.processes.append(process)
        if connect:
            process.connects()
            self.world.runs()
        return process

    def polls(self) -> list[str]:
        """Start a process that reads what is retained and not shown, and return it as ``hears`` does."""
        process = self.starts(Reading.UNSHOWN, present=False)
        for _ in range(8):
            if process.core.settled:
                break
            self.world.passes(STEP)
        heard = process.hears()
        self.world.passes(STEP)
        process.stops()
        return heard

    def sleeps(self) -> None:
        """Stop every process, cleanly."""
        for process in list(self.processes):
            process.stops()

    # -- talking ------------------------------------------------------------------------------------------------------

    def says(self, text: str, *, action: bool = False) -> MessageId:
        """Say something to the room."""
        return self.process.posts((Action if action else Text)(text))

    def whispers(self, to: str, text: str) -> MessageId:
        """Say something to one member."""
        return self.process.posts(Text(text), to)

    def hears(self) -> list[str]:
        return self.process.hears()

    def notes(self) -> list[str]:
        return self.process.notes()

    def forgets(self) -> None:
        """Forget all that was heard and noted so far."""
        for process in self.processes:
            process.hears()
            process.notes()

    def state(self, message: MessageId) -> State | BackchannelError | None:
        return self.process.states.get(message)

    def alarms(self) -> list[Alarm]:
        rows = self.store.rows("SELECT * FROM alarms WHERE room = ? AND answered_at IS NULL ORDER BY id", self.room_id)
        return [Alarm(row["kind"], row["subject"], row["what"], row["raised_at"]) for row in rows]

    def alarmed(self) -> list[str]:
        """Return the alarms that stand: kind, and the member that each names beside the relay."""
        nicks = {person.id: person.name for person in self.world.people.values()}
        return [f"{alarm.kind} {nicks.get(alarm.subject, '')}".strip() for alarm in self.alarms()]  # type: ignore[call-overload]

    # -- moderating ---------------------------------------------------------------------------------------------------

    def states(self, raw: bytes) -> BackchannelError | None:
        """Submit a statement; return what refused it."""
        request = self.core.submit(raw)
        self.world.runs()
        return self.process.answers[request]

    def does(self, form: Callable[..., bytes], *said: object) -> None:
        """Submit a statement that is expected to be accepted."""
        answer = self.states(form(self.identity, self.world.room, self.core.roster.anchor, *said))
        assert answer is None, answer

    def invites(self, *, uses: int = 0) -> Invite:
        """Grant an invite, with a process of its own if none is running."""
        process = None if self.processes else self.starts(Reading.NOTHING)
        key = SigningKey.generate()
        self.does(st.grant, InviteId(key.public), uses, 0)
        invite = Invite(self.world.room, key, self.room.secret, self.core.roster.anchor)
        if process:
            process.stops()
        return invite

    def kicks(self, name: str, *, ban: bool = False) -> None:
        self.does(st.remove, self.world.people[name].id, ban)

    def promotes(self, name: str, *, admin: bool = True) -> None:
        self.does(st.role, self.world.people[name].id, admin)

    def revokes(self, invite: Invite) -> None:
        self.does(st.revoke, InviteId(invite.key.public))

    def leaves(self) -> None:
        self.does(st.leave)

    def closes(self) -> None:
        self.does(st.close)


@dataclass(eq=False)
class Process:
    """One room core of a person, and its end of the wire."""

    person: Person
    core: RoomCore
    store: Store
    connection: bytes = b""
    incoming: deque[bytes] = field(default_factory=deque)
    outgoing: deque[bytes] = field(default_factory=deque)
    holds_in: bool = False
    """What the relay sends waits on the wire."""
    holds_out: bool = False
    """What is sent to the relay waits on the wire."""
    messages: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ever: list[Message] = field(default_factory=list)
    """All messages that were ever shown."""
    told: list[Event] = field(default_factory=list)
    """All events that were ever shown."""
    delivered: list[ev.Delivery] = field(default_factory=list)
    """All that the relay ever delivered, as an eavesdropper keeps it."""
    posted: list[ev.Request] = field(default_factory=list)
    """All that was ever asked of the relay."""
    states: dict[MessageId, State | BackchannelError] = field(default_factory=dict)
    answers: dict[bytes, BackchannelError | None] = field(default_factory=dict)
    ready: bool = False
    ended: BackchannelError | None = None
    asleep: bool = False
    """Its machine alone sleeps: it neither ticks nor reads, and is told of nothing."""
    lost_at: int | None = None
    greeted: int = 0
    """When it said HELLO last, by its own clock."""
    running: bool = True
    started: int = 0

    @property
    def world(self) -> World:
        return self.person.world

    # -- the wire -----------------------------------------------------------------------------------------------------

    def connects(self) -> None:
        """Connect and say HELLO, for real but for the transport."""
        if self.connection or self.ended or not self.running:
            return
        self.lost_at, self.greeted = None, self.person.now
        self.connection = self.world.new_connection()
        transport = self.connection.ljust(32)
        core = self.world.core
        core.connect(self.connection, transport, "::1", self.world.now)
        signature = self.person.identity.sign(Label.HELLO, hello_content(RELAY, transport))
        hello = ev.Hello(new_message_id(), protocol.VERSION, self.person.id, signature)
        self.outgoing.append(hello.encode())

    def cuts(self) -> None:
        """Cut the connection: both sides are told, and what was on the wire is lost."""
        if self.connection:
            connection = self.connection
            self.loses_connection()
            self.world.core.disconnect(connection, self.world.now)

    def loses_connection(self) -> None:
        if not self.connection:
            return
        self.connection = b""
        self.incoming.clear()
        self.outgoing.clear()
        self.holds_in = self.holds_out = False
        self.lost_at = self.world.now
        self.core.disconnected()
        self.sends()

    def reconnects(self) -> None:
        """Come back after a cut."""
        self.connects()
        self.world.runs()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Be cut off for a while."""
        self.cuts()
        yield
        self.reconnects()

    def falls_asleep(self) -> None:
        """Close the lid: the relay cuts the connection, and nobody is there to learn of it."""
        self.asleep, self.holds_in, self.holds_out = True, False, False
        if self.connection:
            self.world.core.disconnect(self.connection, self.world.now)

    def stops(self) -> None:
        """End the process; its connection ends with it."""
        self.dies()
        if self.store is not self.person.store:
            self.store.close()

    def dies(self) -> None:
        """Be killed: nothing is tidied up."""
        self.running = False
        self.cuts()
        self.person.processes.remove(self)
        self.world.processes.remove(self)

    # -- movement -----------------------------------------------------------------------------------------------------

    def wakes(self) -> None:
        """Tick, and come back if the time has come."""
        if self.asleep:
            return
        if not self.ended:
            self.core.tick(self.person.now)
        if self.world.backoff and self.lost_at is not None and self.world.now - self.lost_at >= self.world.backoff:
            self.connects()

    def sends(self) -> bool:
        """Carry out what the core wants, as the shell does."""
        requests: list[bytes] = []
        commands = self.core.take()
        for command in commands:
            match command:
                case Transmit(request):
                    self.posted.append(request)
                    requests.append(request.encode())
                case Show(item):
                    (self.messages if isinstance(item, Message) else self.events).append(item)  # type: ignore[arg-type]
                    (self.ever if isinstance(item, Message) else self.told).append(item)  # type: ignore[arg-type]
                case Settled(identifier, state, error):
                    self.states[identifier] = error or state
                case Answered(identifier, error):
                    self.answers[identifier] = error
                case Ready():
                    self.ready = True
                case Ended(error):
                    self.ended = error
                case HangUp():
                    requests.clear()
                    self.cuts()
                    self.connects()
        if requests and self.connection:
            self.outgoing.extend(ev.join(requests))
        if self.ended and self.connection:
            self.cuts()
        return bool(commands)

    def uploads(self) -> bool:
        """Let what is on the wire reach the relay."""
        if self.holds_out or not self.outgoing:
            return False
        while self.outgoing and self.connection:
            self.world.core.receive(self.connection, self.outgoing.popleft(), self.world.now)
        return True

    def reads(self) -> bool:
        """Let what is on the wire reach the core."""
        if self.holds_in or self.asleep or not self.incoming:
            return False
        while self.incoming and self.connection:
            self.takes(*ev.decode_deliveries(self.incoming.popleft()))
        return True

    def takes(self, *deliveries: ev.Delivery) -> None:
        """Hand deliveries to the core, through the relay's lie if it has one."""
        taken: list[ev.Delivery] = []
        for delivery in deliveries:
            taken.extend(self.world.tamper(self, delivery) if self.world.tamper else (delivery,))
        self.delivered.extend(taken)
        rest: list[ev.Delivery] = []
        for delivery in taken:
            if isinstance(delivery, ev.Welcome):
                try:
                    self.core.connected(delivery, self.person.now, since=self.greeted)
                except ClockSkewed:
                    self.cuts()
                    return
            elif not self.ended:
                rest.append(delivery)
        if rest:
            self.core.receive(rest, self.person.now)
        self.sends()

    # -- what a person does with it -----------------------------------------------------------------------------------

    def posts(self, content: Text | Action | Content, to: str | None = None) -> MessageId:
        """Send something, as the user does; raise what stops it at once."""
        assert isinstance(content, Text | Action)
        recipients = [self.world.people[to].id] if to else []
        (message,) = self.core.send(content, recipients, self.person.now)
        self.sends()
        self.world.runs()
        return message

    def hears(self) -> list[str]:
        """Return what was shown since the last time, and mark it as shown, as the API does when it hands it out."""
        heard, self.messages = self.messages, []
        self.store.write_many(
            "UPDATE seen SET shown = 1 WHERE room = ? AND sender = ? AND message = ?",
            [(self.person.room_id, message.sender.id, message.id) for message in heard],
        )
        return [
            f"{m.sender.label}{' whispers' if m.direct else ''}: {m.text}{' (late)' if m.late else ''}" for m in heard
        ]

    def notes(self) -> list[str]:
        """Return the events since the last time, but for who came and went: kind, who, how many and why."""
        events, self.events = self.events, []
        come_and_go = {EventKind.JOINED, EventKind.LEFT, EventKind.KICKED, EventKind.BANNED, EventKind.ROLE}
        return [
            " ".join(str(word) for word in (e.kind, e.who and e.who.label, e.count, e.reason) if word is not None)
            for e in events
            if e.kind not in come_and_go
        ]

    def messages_delivered(self, *, direct: bool) -> list[ev.Message]:
        """Return what the relay delivered of the room's stream, or of the asides."""
        return [d for d in self.delivered if isinstance(d, ev.Message) and d.direct is direct]
