"""The router over real sockets: who gets in, who is cut, and that nobody suffers for another.

The relay runs in a thread of this process, its clients are plain DEALER sockets with keys of their own: what a hostile
client could do, they can do.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from zmq.utils import z85

import protocol
from protocol import envelope, limits
from protocol import statement as st
from protocol.address import HostPort
from protocol.envelope import Accepted, Attached, GoingAway, Message, Presence, Refused, Welcome
from protocol.identity import Identity, SigningKey, hello_content
from protocol.ids import InviteId
from protocol.limits import RelayLimits
from protocol.membership import START, Membership
from protocol.primitives import Label
from relay.core.core import Core, Push
from relay.key import public_key
from relay.router import CannotListen, Router, monotonic_ms

PATIENCE = 60.0
SECRET = bytes(range(1, 33))
PUBLIC = public_key(SECRET)


class Relay:
    """A relay in a thread. Its revival is over at once: the core is told that it started long ago."""

    def __init__(self, bounds: RelayLimits, connections: int = 1_000) -> None:
        self.core = Core(PUBLIC, b"incarnation16byt", bounds, monotonic_ms() - limits.REVIVAL)
        self.router = Router(self.core, HostPort("127.0.0.1", 0), SECRET, connections)
        self.endpoint = f"tcp://127.0.0.1:{self.router.port}"
        self._thread = threading.Thread(target=self.router.run)
        self._thread.start()

    def stop(self) -> None:
        self.router.stop()
        self._thread.join()
        self.router.close()


class Client:
    """One connection, with the transport key that it should not share."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        relay: Relay,
        identity: Identity,
        server_key: bytes,
        high_water: int,
    ) -> None:
        self.relay = relay
        self.identity = identity
        public, secret = zmq.curve_keypair()
        self.transport = z85.decode(public)
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, high_water)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 60_000)
        self.disconnected = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.socket.connect(relay.endpoint)
        self.seen: list[envelope.Delivery] = []
        self._requests = itertools.count(1)

    def leaves(self) -> None:
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.socket.close()

    def request(self) -> bytes:
        return next(self._requests).to_bytes(16)

    def sends(self, *requests: envelope.Request) -> None:
        self.socket.send(b"".join(r.encode() for r in requests))

    def waits(self, until: Callable[[envelope.Delivery], bool]) -> envelope.Delivery:
        """Return the first delivery, seen or to come, that ``until`` is true of."""
        deadline = time.monotonic() + PATIENCE
        looked = 0
        while True:
            for delivery in self.seen[looked:]:
                looked += 1
                if until(delivery):
                    return delivery
            left = deadline - time.monotonic()
            assert left > 0, self.seen
            assert self.socket.poll(left * 1_000), self.seen
            self.seen += envelope.decode_deliveries(self.socket.recv())

    def sees(self, kind: type[envelope.Delivery]) -> envelope.Delivery:
        return self.waits(lambda delivery: isinstance(delivery, kind))

    def is_cut(self) -> bool:
        """Wait until the relay has ended the connection."""
        return bool(self.disconnected.poll(PATIENCE * 1_000))

    def hello(self, **changes: object) -> envelope.Hello:
        signature = self.identity.sign(Label.HELLO, hello_content(PUBLIC, self.transport))
        fields = {
            "id": self.request(),
            "version": protocol.VERSION,
            "identity": self.identity.id,
            "signature": signature,
        }
        return envelope.Hello(**(fields | changes))

    def arrives(self) -> Client:
        self.sends(self.hello())
        self.sees(Welcome)
        return self

    def asks(self, request: envelope.Request) -> str:
        self.sends(request)
        return self.answer(request)

    def answer(self, request: envelope.Request) -> str:
        """Wait until a request is answered; return how."""

        def answers(delivery: envelope.Delivery) -> bool:
            return (isinstance(delivery, Accepted) and request.id in delivery.ids) or (
                isinstance(delivery, (Refused, Attached)) and delivery.id == request.id
            )

        answer = self.waits(answers)
        return answer.reason if isinstance(answer, Refused) else type(answer).__name__

    def attaches(self, room: bytes) -> str:
        return self.asks(envelope.Attach(self.request(), room, True, 0, START, 0, 0))

    def post(self, room: bytes, body: bytes, to: bytes | None = None) -> envelope.Post:
        return envelope.Post(self.request(), room, to, 4, 0, body)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with running(RelayLimits()) as relay:
        yield relay


@contextlib.contextmanager
def running(bounds: RelayLimits, **how: int) -> Iterator[Relay]:
    relay = Relay(bounds, **how)
    try:
        yield relay
    finally:
        relay.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    context = zmq.Context()
    clients: list[Client] = []

    def make(
        relay: Relay, identity: Identity | None = None, server_key: bytes = PUBLIC, *, high_water: int = 1_000
    ) -> Client:
        clients.append(Client(context, relay, identity or Identity.generate(), server_key, high_water))
        return clients[-1]

    yield make
    for client in clients:
        client.leaves()
    context.destroy(linger=0)


def meet(founder: Client, *others: Client) -> bytes:
    """Open a room in which all are members and attached; return its id. The log has two statements and theirs."""
    found = st.found(founder.identity, bytes(16), 0, False, b"")
    log = Membership(found)
    assert founder.asks(envelope.Submit(founder.request(), log.room, found)) == "Accepted"
    key = SigningKey.generate()
    statements = [(founder, st.grant(founder.identity, log.room, log.anchor, InviteId(key.public), 0, 0))]
    log.apply(statements[0][1])
    statements += [(other, st.admit(other.identity, log.room, log.anchor, key)) for other in others]
    for client, raw in statements:
        assert client.asks(envelope.Submit(client.request(), log.room, raw)) == "Accepted"
    for client in (founder, *others):
        assert client.attaches(log.room) == "Attached"
    return log.room


def test_messages_travel(relay, connect):
    alice, bob, chuck = (connect(relay).arrives() for _ in range(3))
    room = meet(alice, bob, chuck)
    assert alice.asks(alice.post(room, b"for all")) == "Accepted"
    assert alice.asks(alice.post(room, b"for bob", bob.identity.id)) == "Accepted"
    assert alice.asks(alice.post(room, b"the end")) == "Accepted"
    for client in (alice, bob, chuck):
        client.waits(lambda d: isinstance(d, Message) and d.body == b"the end")
    bodies = [[(m.body, m.direct) for m in c.seen if isinstance(m, Message)] for c in (alice, bob, chuck)]
    public = [(b"for all", False), (b"the end", False)]
    assert bodies == [public, [public[0], (b"for bob", True), public[1]], public]


def test_the_welcome_says_what_time_it_is(relay, connect):
    welcome = connect(relay).arrives().sees(Welcome)
    assert abs(welcome.clock - time.time() * 1_000) < 60_000
    assert welcome.incarnation == b"incarnation16byt"


def test_nobody_gets_in_under_anothers_name(relay, connect):
    alice, eve = connect(relay).arrives(), connect(relay)
    eve.sends(eve.hello(identity=alice.identity.id))
    assert eve.sees(Refused).reason == "bad-hello"
    assert eve.is_cut()


def test_a_hello_serves_for_one_connection(relay, connect):
    """The signature names the transport key: overheard or given away, it is of no use on another connection."""
    alice, eve = connect(relay), connect(relay)
    hello = alice.hello()
    eve.sends(hello)
    assert eve.sees(Refused).reason == "bad-hello"
    alice.sends(hello)
    alice.sees(Welcome)


def test_without_curve_nobody_gets_in(relay, connect):
    context = zmq.Context()
    plain = context.socket(zmq.DEALER)
    monitor = plain.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED)
    plain.connect(relay.endpoint)
    with contextlib.suppress(zmq.Again):  # it may be turned away before it has said anything
        plain.send(b"hello?", zmq.NOBLOCK)
    assert monitor.poll(PATIENCE * 1_000)
    context.destroy(linger=0)
    connect(relay).arrives()


def test_a_client_that_wants_another_relay_does_not_talk_to_this_one(relay, connect):
    stray = connect(relay, server_key=public_key(bytes(32)))
    stray.sends(stray.hello())
    assert stray.is_cut()


def test_a_message_of_several_parts_is_an_attack(relay, connect):
    alice, eve = connect(relay).arrives(), connect(relay).arrives()
    eve.socket.send_multipart([envelope.Ping(eve.request()).encode()] * 3)
    assert eve.is_cut()
    assert alice.asks(envelope.Ping(alice.request())) == "Accepted"


def test_several_parts_before_hello_too(relay, connect):
    eve = connect(relay)
    eve.socket.send_multipart([b""] * 1_000)
    assert eve.is_cut()


@pytest.mark.parametrize("rubbish", [b"", b"\xc1", b"\x93\x01\x02", b"\x90", bytes(1_000), b"\xff" * limits.FRAME])
def test_whoever_sends_rubbish_hears_so_and_is_cut(relay, connect, rubbish):
    eve = connect(relay).arrives()
    eve.socket.send(rubbish)
    assert eve.sees(Refused).reason == "malformed"
    assert eve.is_cut()


def test_a_frame_over_256_kib_is_not_even_taken(relay, connect):
    eve = connect(relay).arrives()
    eve.socket.send(bytes(limits.FRAME + 4_096))
    assert eve.is_cut()
    connect(relay).arrives()


def test_whoever_comes_again_is_another_connection(relay, connect):
    alice = connect(relay).arrives()
    room = meet(alice, connect(relay).arrives())
    alice.leaves()
    again = connect(relay, alice.identity).arrives()
    assert again.attaches(room) == "Attached"


def test_presence_follows_the_connection(relay, connect):
    alice, bob = connect(relay).arrives(), connect(relay).arrives()
    room = meet(alice, bob)
    alice.waits(lambda d: isinstance(d, Presence) and bob.identity.id in d.online)
    bob.leaves()
    alice.waits(lambda d: isinstance(d, Presence) and bob.identity.id in d.offline)
    again = connect(relay, bob.identity).arrives()
    assert again.attaches(room) == "Attached"
    seen = len(alice.seen)
    alice.waits(lambda d: isinstance(d, Presence) and bob.identity.id in d.online and d in alice.seen[seen - 1 :])


def test_a_pipe_that_is_full_delays_nobody(connect, monkeypatch):
    """Bob stops reading; Alice and Chuck go on; when Bob reads again, he gets everything that is kept, in order."""
    monkeypatch.setattr("relay.pipes.FRAMES_OUT", 2)
    with running(RelayLimits(bytes_per_sender=1 << 30, bytes_burst=1 << 30)) as relay:
        stalls = []
        stalled = relay.core.stalled
        monkeypatch.setattr(relay.core, "stalled", lambda *a: stalls.append(a) or stalled(*a))
        alice, bob, chuck = (connect(relay).arrives() for _ in range(3))
        room = meet(alice, bob, chuck)
        count = 0
        while not stalls:
            assert alice.asks(alice.post(room, count.to_bytes(4) + bytes(90_000))) == "Accepted"
            count += 1
            chuck.waits(lambda d, count=count: isinstance(d, Message) and d.number == count)
        bob.waits(lambda d: isinstance(d, Message) and d.number == count)
        assert [int.from_bytes(m.body[:4]) for m in bob.seen if isinstance(m, Message)] == list(range(count))


def test_whoever_never_says_hello_is_cut(relay, connect, monkeypatch):
    monkeypatch.setattr("relay.router.HELLO_WAIT", 0)
    assert connect(relay).is_cut()


def test_without_a_handler_that_answers_nobody_gets_in(unrun, connect):
    """User-Id is what the handler says: without it, it would be whatever the client says."""
    unrun.router._zap.close(linger=0)
    assert connect(unrun).is_cut()


def test_connections_over_the_limit_are_cut_at_once(connect):
    with running(RelayLimits(), connections=1) as relay:
        alice = connect(relay).arrives()
        with socket.create_connection(("127.0.0.1", relay.router.port)) as other:
            other.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                while other.recv(1_024):
                    pass
        assert alice.asks(envelope.Ping(alice.request())) == "Accepted"


def test_a_storm_of_connections_that_never_finish_locks_nobody_out(connect):
    """Of what was accepted and says nothing, the oldest goes: who is honest is heard long before it is the oldest."""
    with running(RelayLimits(), connections=20) as relay:
        alice = connect(relay).arrives()
        with contextlib.ExitStack() as storm:
            for _ in range(200):
                other = storm.enter_context(socket.create_connection(("127.0.0.1", relay.router.port)))
                other.send(b"\xff\0\0\0")
            bob = connect(relay).arrives()
            for person in (alice, bob):
                assert person.asks(envelope.Ping(person.request())) == "Accepted"
            assert relay.core.counts.cut["full"] >= 180
            assert len(relay.router.links.silent) <= 20


def test_large_frames_fill_a_pipe_long_before_there_are_many(connect):
    """Bob stops reading; what waits for him inside ZeroMQ is counted in bytes, and the rest stays in retention."""
    with running(RelayLimits(bytes_per_sender=1 << 30, bytes_of_posts=1 << 30, bytes_burst=1 << 30)) as relay:
        alice, chuck = (connect(relay).arrives() for _ in range(2))
        bob = connect(relay, high_water=1).arrives()
        room = meet(alice, bob, chuck)
        count = 0
        while not relay.core.counts.stalls:
            assert alice.asks(alice.post(room, count.to_bytes(4) + bytes(90_000))) == "Accepted"
            count += 1
            chuck.waits(lambda d, count=count: isinstance(d, Message) and d.number == count)
            assert count < 100, "in frames alone there would be room for 128"
        bob.waits(lambda d: isinstance(d, Message) and d.number == count)
        assert [int.from_bytes(m.body[:4]) for m in bob.seen if isinstance(m, Message)] == list(range(count))


def test_a_relay_that_stops_says_so(connect):
    with running(RelayLimits()) as relay:
        alice = connect(relay).arrives()
    alice.sees(GoingAway)


def test_an_address_that_is_taken_is_one_sentence(relay):
    with pytest.raises(CannotListen, match="address already in use"):
        Router(relay.core, HostPort("127.0.0.1", relay.router.port), SECRET, 10)


def test_a_fault_in_the_core_costs_one_connection(relay, connect, monkeypatch, caplog):
    alice, eve = connect(relay).arrives(), connect(relay).arrives()
    receive = relay.core.receive

    def faulty(connection: bytes, frame: bytes, now: int) -> None:
        if b"trigger" in frame:
            raise KeyError("what was whispered")
        receive(connection, frame, now)

    monkeypatch.setattr(relay.core, "receive", faulty)
    eve.socket.send(b"trigger")
    assert eve.is_cut()
    assert alice.asks(envelope.Ping(alice.request())) == "Accepted"
    assert "KeyError at " in caplog.records[-1].values["where"]
    assert "whispered" not in str([vars(record) for record in caplog.records])


# -- what only a test can bring about ----------------------------------------------------------------------------------


class Unrun:
    """A relay whose loop the test turns itself, a step at a time."""

    def __init__(self) -> None:
        self.core = Core(PUBLIC, bytes(16), RelayLimits(), monotonic_ms() - limits.REVIVAL)
        self.router = Router(self.core, HostPort("127.0.0.1", 0), SECRET, 1_000)
        self.endpoint = f"tcp://127.0.0.1:{self.router.port}"

    def steps(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < deadline
            self.router._step()


@pytest.fixture
def unrun() -> Iterator[Unrun]:
    relay = Unrun()
    yield relay
    relay.router.close()


def test_whoever_is_cut_hears_why_and_what_it_still_sends_is_swallowed(unrun, connect):
    eve = connect(unrun)
    eve.socket.send(b"rubbish")
    unrun.steps(lambda: unrun.router._doomed)
    eve.sends(eve.hello())
    unrun.steps(lambda: unrun.router.links.dead and not unrun.router._doomed and not unrun.router.links.open)
    assert eve.sees(Refused).reason == "malformed"
    assert unrun.router.links.known == unrun.router.links.bound == {}
    unrun.router._sweep(monotonic_ms())
    assert len(unrun.router.links.dead) == 1
    unrun.router._sweep(monotonic_ms() + 60_000)
    assert unrun.router.links.dead == {}


def test_frames_of_a_connection_that_is_cut_come_to_nothing(unrun, connect):
    """They wait in the socket while the connection is already given up."""
    eve = connect(unrun)
    eve.sends(eve.hello())
    unrun.steps(lambda: unrun.router.links.bound)
    (connection,) = unrun.router.links.known
    unrun.router._forget(connection, monotonic_ms())
    eve.sends(envelope.Ping(eve.request()))
    eve.socket.send_multipart([b"a", b"b"])
    unrun.steps(lambda: not unrun.router._socket.poll(100))
    assert unrun.router.links.known == {}


def test_a_descriptor_that_was_used_again_is_told_apart(unrun, connect):
    """The first frame comes when its connection is gone already: nothing is bound, and soon it is forgotten."""
    eve = connect(unrun)
    eve.sends(eve.hello())
    while not unrun.router._socket.poll(10):
        unrun.router._introduce()
    frames = unrun.router._take_frames()
    unrun.router._read_monitor()
    eve.leaves()
    assert unrun.router._monitor.poll(PATIENCE * 1_000)
    unrun.router._read_monitor()
    for connection, frame in frames:
        unrun.router._receive(connection, frame, monotonic_ms())
        assert unrun.router.links.known == {connection: None}
    unrun.router._sweep(monotonic_ms())
    assert unrun.router.links.known == unrun.router.links.unbound == {}


def test_a_connection_may_find_its_descriptor_later(unrun, connect):
    """Another connection, gone by then, was taken to be the one behind it."""
    alice = connect(unrun)
    alice.sends(alice.hello())
    unrun.steps(lambda: unrun.router.links.bound)
    ((incoming, connection),) = unrun.router.links.bound.items()
    unrun.router.links.bound[incoming] = b"gone"
    unrun.router.links.known |= {connection: None, b"gone": incoming}
    unrun.router.links.unbound[connection] = (incoming.fd, monotonic_ms())
    unrun.router._sweep(monotonic_ms())
    assert unrun.router.links.known[connection] is None
    unrun.router._forget(b"gone", monotonic_ms())
    unrun.router.links.unbound[b"older"] = (incoming.fd, 0)
    unrun.router.links.bind(b"older")
    assert unrun.router.links.unbound.pop(b"older")
    unrun.router._sweep(monotonic_ms())
    assert unrun.router.links.known == {connection: incoming}


def test_an_odd_request_of_zap_locks_nobody_out(unrun, connect, caplog):
    odd = unrun.router._context.socket(zmq.DEALER)
    odd.connect("inproc://zeromq.zap.01")
    odd.send_multipart([b"", b"1.0", b"1", b"", b"", b"", b"PLAIN", b"name", b"password"])
    odd.send_multipart([b"", b"1.0", b"1", b"", b"", b"", b"CURVE", b"short"])
    odd.send_multipart([b"what?"])
    unrun.steps(lambda: len(caplog.records) == 3)
    odd.close(linger=0)
    alice = connect(unrun)
    alice.sends(alice.hello())
    unrun.steps(lambda: unrun.router.links.bound)


def test_an_error_of_the_socket_that_is_nobodys_fault_is_not_hidden(unrun, monkeypatch):
    def broken(*_: object) -> None:
        raise zmq.ZMQError(zmq.ETERM)

    monkeypatch.setattr(unrun.router, "_send", broken)
    with pytest.raises(zmq.ZMQError):
        unrun.router._push(Push(b"frame", (b"someone",)), 0)


def test_stopping_twice_is_stopping_once(unrun):
    for _ in range(100_000):
        unrun.router.stop()
    unrun.router.run()
