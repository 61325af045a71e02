"""The load of our relay: peers like any other, which greet, enter rooms, publish cards and attach to everything.

What they post has been sealed before, as far as the relay can see: a body of the right size. Everything else is what a
peer says, over CURVE, made with ``protocol``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, Final

import msgpack
import zmq
import zmq.backend
from zmq.utils import z85

import protocol
from bench.loads.link import MARK, PATIENCE, Group, WentWrong
from bench.servers import Running
from bench.works import Work
from protocol import card, chain, content, envelope, limits, names, seal, statement
from protocol.address import HostPort
from protocol.base32 import from_base32
from protocol.envelope import Delivery, Kind
from protocol.identity import Identity, SigningKey, hello_content
from protocol.ids import Anchor, InviteId, MessageId, PeerId, RelayKey, RoomId, RoomSecret
from protocol.invite import Invite
from protocol.membership import START, next_head
from protocol.primitives import Label, random

AT_ONCE: Final = 200
"""Connections that are made at one time: fewer than the relay's backlog."""
_ANSWERS: Final = {b"\x92" + bytes([Kind.ACCEPTED]), b"\x93" + bytes([Kind.REFUSED])}


def dealer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, key: bytes) -> tuple[zmq.Socket[bytes], bytes]:
    """Return a DEALER that connects to a ROUTER with that CURVE key, and its own; it queues without bound."""
    public, secret = zmq.curve_keypair()
    made = context.socket(zmq.DEALER)
    for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER):
        made.setsockopt(option, 0)
    made.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(key))
    made.setsockopt(zmq.CURVE_PUBLICKEY, public)
    made.setsockopt(zmq.CURVE_SECRETKEY, secret)
    made.connect(endpoint)
    return made, z85.decode(public)


class Member:
    """A peer with one connection; a link once it is attached."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, relay: RelayKey) -> None:
        self.identity = Identity.generate()
        self.acknowledged = 0
        self._requests = itertools.count(1)
        self._socket, public = dealer(context, endpoint, relay)
        self._fd = int(self._socket.getsockopt(zmq.FD))
        self._receive: Any = MethodType(zmq.backend.Socket.recv, self._socket)
        self.post = limits.FRAME
        """How long its posts are: a frame holds whole ones."""
        signature = self.identity.sign(Label.HELLO, hello_content(relay, public))
        self.request(envelope.Hello, protocol.VERSION, self.identity.public, signature)

    # -- entering a room ----------------------------------------------------------------------------------------------

    def request(self, form: Callable[..., envelope.Request], *values: object) -> bytes:
        """Send a request and return its id."""
        number = self.next_id()
        self._socket.send(form(number, *values).encode())
        return number

    def ask(self, form: Callable[..., envelope.Request], *values: object) -> None:
        """Send a request and wait until it is accepted."""
        self.request(form, *values)
        self.await_one(envelope.Accepted)

    def await_one(self, form: type[Delivery]) -> None:
        """Wait for such a delivery, letting pass all others but a refusal."""
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            if not self._socket.poll(int(left * 1_000)):
                break
            for delivery in envelope.decode_deliveries(self._socket.recv()):
                if isinstance(delivery, envelope.Refused):
                    raise WentWrong(delivery.reason)
                if isinstance(delivery, form):
                    return
        raise WentWrong(f"no {form.__name__}")

    def next_id(self) -> bytes:
        return next(self._requests).to_bytes(16)

    # -- a link -------------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> None:
        step = limits.FRAME // self.post * self.post
        for place in range(0, len(data), step):
            self._socket.send(data[place : place + step])

    def flush(self) -> bool:
        return True  # libzmq queues without bound

    def take(self) -> int:
        messages = 0
        receive = self._receive
        try:
            while True:
                frame: bytes = receive(zmq.NOBLOCK)
                messages += frame.count(MARK)
                if frame[:2] in _ANSWERS:
                    self._read_answers(frame)
        except zmq.Again:
            return messages

    def close(self) -> None:
        self._socket.close()

    def _read_answers(self, frame: bytes) -> None:
        """Answers stand first in a frame, before asides."""
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(frame)
        for values in unpacker:
            if values[0] == Kind.REFUSED:
                raise WentWrong(f"refused: {values[2]}")
            if values[0] != Kind.ACCEPTED:
                return
            self.acknowledged += len(values[1])


class Backchannel:
    """The clients of our relay."""

    def __init__(self, server: Running) -> None:
        self._at = HostPort("127.0.0.1", server.port)
        self._relay = RelayKey(from_base32(server.key))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._members: list[Member] = []  # who is forgotten would be disconnected
        self._context.set(zmq.MAX_SOCKETS, 8_192)

    def connect(self, count: int) -> Sequence[Member]:
        members: list[Member] = []
        while len(members) < count:
            some = min(AT_ONCE, count - len(members))
            batch = [Member(self._context, self._at.endpoint, self._relay) for _ in range(some)]
            for member in batch:
                member.await_one(envelope.Welcome)
            members += batch
        self._members += members
        return members

    def room(self, name: str, members: int, body: bytes) -> Group:
        invite, place, people = self.populated(name, members)
        return Group(people[0], people, _posts(people[0], invite.room, None, place, body), acknowledged=True)

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        invite, place, (alice, bob, *_) = self.populated(name, 2 + bystanders)
        return Group(alice, [bob], _posts(alice, invite.room, bob.identity.id, place, body), acknowledged=True)

    def body_size(self, work: Work) -> int:
        text = content.Text("x" * work.body)
        now, message = time.time_ns() // 1_000_000, MessageId(bytes(16))
        room, peer, anchor = RoomId(bytes(32)), PeerId(bytes(32)), Anchor(work.members, START)
        if work.room:
            spoken = content.RoomMessage(now, text)
            return len(chain.SendingChain(room, peer, 1, now).encrypt(spoken, message, anchor))
        secret = card.new_sealing_secret()
        route = seal.Route(
            room=room, message=message, sender=peer, sender_generation=now, recipient=peer, recipient_generation=now
        )
        return len(seal.seal(content.Aside(anchor, 1, 0, now, text), route, secret, card.sealing_key(secret)))

    def close(self) -> None:
        self._context.destroy(linger=0)

    def populated(self, name: str, count: int) -> tuple[Invite, Anchor, Sequence[Member]]:
        """Open a room, attach ``count`` members, of whom the first is its founder, and return an invite too."""
        people = self.connect(count)
        founder, guests = people[0], people[1:]
        now = time.time_ns() // 1_000_000
        secret, salt = RoomSecret(random(32)), random(16)
        found = statement.found(
            founder.identity, salt, now, False, names.seal_title(secret, founder.identity.id, salt, name)
        )
        room = statement.room_id(found)
        founder.ask(envelope.Submit, room, found)
        place = Anchor(1, next_head(START, found))
        key = SigningKey.generate()
        grant = statement.grant(founder.identity, room, place, InviteId(key.public), 0, 0)
        founder.ask(envelope.Submit, room, grant)
        place = granted = Anchor(2, next_head(place.head, grant))
        invite = Invite(self._relay, room, key.seed, secret, granted, (self._at,))
        for guest in guests:
            admit = statement.admit(guest.identity, room, granted, key)
            guest.ask(envelope.Submit, room, admit)
            place = Anchor(place.index + 1, next_head(place.head, admit))
        for number, member in enumerate(people):
            nick = names.seal_nick(secret, room, member.identity.id, f"m{number}")
            sealing = card.sealing_key(card.new_sealing_secret())
            member.request(envelope.Publish, room, card.make(member.identity, room, now, sealing, nick))
        for member in people:
            member.await_one(envelope.Accepted)
        for member in people:
            member.request(envelope.Attach, room, True, *place, 0, 0)
        for member in people:
            member.await_one(envelope.Attached)
        return invite, place, people


def _posts(sender: Member, room: RoomId, to: PeerId | None, place: Anchor, body: bytes) -> Callable[[int], bytes]:
    """Return what encodes a burst of posts that differ in their ids alone."""
    mark = b"an id: 16 bytes."
    sender.post = len(envelope.Post(mark, room, to, place.index, envelope.Flag.NONE, body).encode())
    before, after = envelope.Post(mark, room, to, place.index, envelope.Flag.NONE, body).encode().split(mark)

    def ids(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield before + sender.next_id() + after

    return lambda count: b"".join(ids(count))
