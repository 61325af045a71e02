"""Somebody with nothing but the public wire protocol: a DEALER over CURVE that says HELLO and keeps all that comes.

A ``Wire`` is one connection of any identity. A ``Chuck`` is a member as well: he enters by an invite, has a card, folds
the log, talks on a chain of his own and opens what is addressed to him. He is written here from the protocol alone, so
that nothing of ``peer`` can look away on his behalf.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import zmq
from zmq.utils import z85

import protocol
from protocol import card as cards
from protocol import envelope as ev
from protocol import names, seal
from protocol import statement as st
from protocol.address import RelayAddress
from protocol.base32 import from_base32
from protocol.chain import SendingChain
from protocol.content import Aside, ChainKey, Content, RoomMessage, Text
from protocol.identity import Identity, hello_content
from protocol.ids import MessageId, PeerId, RoomId
from protocol.invite import Invite
from protocol.membership import START, Membership
from protocol.primitives import Label, new_message_id
from tests.e2e.scene import PATIENCE

D = TypeVar("D", bound=ev.Delivery)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Wire:
    """One connection."""

    def __init__(self, address: RelayAddress, identity: Identity | None = None) -> None:
        self.identity = identity or Identity.generate()
        self.seen: list[ev.Delivery] = []
        relay = from_base32(address.key)
        public, secret = zmq.curve_keypair()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(relay))
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self._socket.connect(address.at.endpoint)
        signature = self.identity.sign(Label.HELLO, hello_content(relay, z85.decode(public)))
        self.sends(ev.Hello(new_message_id(), protocol.VERSION, self.identity.id, signature))
        self.sees(ev.Welcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def sends(self, *requests: ev.Request) -> None:
        self._socket.send(b"".join(request.encode() for request in requests))

    def waits(self, met: Callable[[], object]) -> None:
        """Take what comes until ``met()``."""
        deadline = time.monotonic() + PATIENCE
        while not met():
            left = deadline - time.monotonic()
            assert left > 0, self.seen[-20:]
            if self._socket.poll(left * 1_000):
                for delivery in ev.decode_deliveries(self._socket.recv()):
                    self.takes(delivery)

    def takes(self, delivery: ev.Delivery) -> None:
        self.seen.append(delivery)

    def all(self, kind: type[D]) -> list[D]:
        return [delivery for delivery in self.seen if isinstance(delivery, kind)]

    def sees(self, kind: type[D], count: int = 1) -> D:
        """Wait until so many of a kind have come; return the last of them."""
        self.waits(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def asks(self, request: ev.Request) -> str:
        """Send a request and wait for its answer: "accepted", "attached", or the code of a refusal."""
        self.sends(request)
        self.waits(lambda: self._answer(request.id))
        return self._answer(request.id)

    def _answer(self, request: bytes) -> str:
        for delivery in self.seen:
            match delivery:
                case ev.Accepted(ids) if request in ids:
                    return "accepted"
                case ev.Attached() if delivery.id == request:
                    return "attached"
                case ev.Refused(id, reason) if id == request:
                    return reason
        return ""

    def catches_up(self) -> None:
        """Take whatever the relay had for this connection before it read this."""
        assert self.asks(ev.Ping(new_message_id())) == "accepted"

    def attaches(self, room: RoomId, *, present: bool = False) -> str:
        """Ask for everything that is retained."""
        return self.asks(ev.Attach(new_message_id(), room, present, 0, START, 0, 0))


@dataclass(frozen=True)
class Whispered:
    """An aside that Chuck has opened."""

    sender: PeerId
    aside: Aside


class Chuck(Wire):
    """A member of one room."""

    def __init__(self, address: RelayAddress, invite: str, nick: str = "chuck") -> None:
        super().__init__(address)
        self.invite = Invite.decode(invite)
        self.room = self.invite.room
        self.secret = cards.new_sealing_secret()
        self.generation = now_ms()
        self.cards: dict[tuple[PeerId, int], cards.Card] = {}
        self.membership: Membership | None = None
        self._chain: SendingChain | None = None
        self._counters: dict[PeerId, int] = {}
        self._nick = names.seal_nick(self.invite.secret, self.room, self.identity.id, nick)

    def enters(self) -> None:
        """Submit an ADMIT, publish a card, and attach, to be seen by all."""
        admit = st.admit(self.identity, self.room, self.invite.anchor, self.invite.key)
        assert self.asks(ev.Submit(new_message_id(), self.room, admit)) == "accepted"
        assert self.attaches(self.room, present=True) == "attached"
        key = cards.sealing_key(self.secret)
        raw = cards.make(self.identity, self.room, self.generation, key, self._nick)
        assert self.asks(ev.Publish(new_message_id(), self.room, raw)) == "accepted"

    def takes(self, delivery: ev.Delivery) -> None:
        super().takes(delivery)
        match delivery:
            case ev.Statement():
                if self.membership is None:
                    self.membership = Membership(delivery.statement)
                elif delivery.index > self.membership.index:
                    self.membership.apply(delivery.statement)
            case ev.Card():
                card = cards.Card.decode(delivery.card, room=self.room, now=now_ms())
                self.cards[card.owner, card.generation] = card

    def newest(self, owner: PeerId) -> cards.Card:
        return max((card for card in self.cards.values() if card.owner == owner), key=lambda card: card.generation)

    @property
    def founder(self) -> PeerId:
        assert self.membership
        return self.membership.founder

    def room_messages(self) -> list[ev.Message]:
        return [message for message in self.all(ev.Message) if not message.direct]

    def asides(self) -> list[ev.Message]:
        return [message for message in self.all(ev.Message) if message.direct]

    def waits_for_presence(self, online: int) -> None:
        """Wait until so many members are present."""

        def present() -> set[bytes]:
            here: set[bytes] = set()
            for presence in self.all(ev.Presence):
                here = (set() if presence.whole else here) | set(presence.online)
                here -= set(presence.offline)
            return here

        self.waits(lambda: len(present()) == online)

    # -- talking ------------------------------------------------------------------------------------------------------

    def whispers(self, to: PeerId, content: Content) -> str:
        """Seal an aside and post it; return the relay's answer."""
        assert self.membership
        card, message, flags = self.newest(to), new_message_id(), int(isinstance(content, ChainKey))
        self._counters[to] = self._counters.get(to, 0) + 1
        route = seal.Route(
            room=self.room,
            message=message,
            sender=self.identity.id,
            sender_generation=self.generation,
            recipient=to,
            recipient_generation=card.generation,
        )
        aside = Aside(self.membership.anchor, self._counters[to], 0, now_ms(), content)
        body = seal.seal(aside, route, self.secret, card.sealing_key)
        return self.asks(ev.Post(message, self.room, to, self.membership.index, flags, body))

    def says(self, text: str) -> str:
        """Encrypt a message for the room and post it, after the chain's key to everybody; return the relay's answer."""
        assert self.membership
        if self._chain is None:
            self._chain = SendingChain(self.room, self.identity.id, self.membership.index, now_ms())
            for peer in self.membership.members:
                if peer != self.identity.id:
                    assert self.whispers(peer, self._chain.share()) == "accepted"
        message, anchor = new_message_id(), self.membership.anchor
        body = self._chain.encrypt(RoomMessage(now_ms(), Text(text)), message, anchor)
        return self.asks(ev.Post(message, self.room, None, anchor.index, 0, body))

    def opens(self, message: ev.Message) -> Whispered:
        """Open an aside that is addressed to him."""
        unsealed = seal.unseal(message.body, self.secret, cards.sealing_key(self.secret))
        route = seal.Route(
            room=self.room,
            message=MessageId(message.id),
            sender=PeerId(message.sender),
            sender_generation=unsealed.sender_generation,
            recipient=self.identity.id,
            recipient_generation=self.generation,
        )
        card = self.cards[unsealed.sender, unsealed.sender_generation]
        return Whispered(unsealed.sender, seal.open_box(unsealed, route, self.secret, card.sealing_key))
