"""A hostile member: somebody with valid keys of his own, written from the protocol alone, who posts what he likes.

``Mallory`` has a place in a ``LyingWorld`` beside the real peers: a connection, an identity, a card, a chain. He enters
by an invite as everybody does, keeps all that he is ever given, and is bound by nothing afterwards: each of his methods
takes apart what a peer would do, so that any piece can be wrong.
"""

from __future__ import annotations

from collections import deque

import protocol
from protocol import card as cards
from protocol import envelope as ev
from protocol import names, seal
from protocol import statement as st
from protocol.chain import SendingChain
from protocol.content import Aside, ChainKey, Content, RoomMessage, Text
from protocol.errors import BackchannelError
from protocol.identity import Identity, hello_content
from protocol.ids import Anchor, MessageId, PeerId, RoomId, SealingSecret
from protocol.membership import START, Membership
from protocol.primitives import Label, new_message_id
from tests.claims.loot import Loot
from tests.peer.world import RELAY, Invite, World


class Mallory:
    """See the module's text. The world moves him as one of its processes."""

    def __init__(self, world: World, nick: str = "mallory", identity: Identity | None = None) -> None:
        self.world = world
        self.nick = nick
        self.identity = identity or Identity.generate()
        self.connection = b""
        self.incoming: deque[bytes] = deque()
        self.outgoing: deque[bytes] = deque()
        self.seen: list[ev.Delivery] = []
        self.loot = Loot()
        self.membership: Membership | None = None
        self.cards: dict[tuple[PeerId, int], cards.Card] = {}
        self.secret = SealingSecret(b"")
        self.generation = 0
        self.chain: SendingChain | None = None
        self._counters: dict[PeerId, int] = {}
        self._invite: Invite | None = None
        world.processes.append(self)  # type: ignore[arg-type]
        self.connects()

    @property
    def id(self) -> PeerId:
        return self.identity.id

    @property
    def room(self) -> RoomId:
        return self.world.room

    # -- what the world does with a process ---------------------------------------------------------------------------

    def connects(self) -> None:
        if self.connection:
            return
        self.connection = self.world.new_connection()
        transport = self.connection.ljust(32)
        self.world.core.connect(self.connection, transport, "::1", self.world.now)
        signature = self.identity.sign(Label.HELLO, hello_content(RELAY, transport))
        self.outgoing.append(ev.Hello(new_message_id(), protocol.VERSION, self.id, signature).encode())

    def loses_connection(self) -> None:
        self.connection = b""
        self.incoming.clear()
        self.outgoing.clear()

    def cuts(self) -> None:
        if self.connection:
            connection = self.connection
            self.loses_connection()
            self.world.core.disconnect(connection, self.world.now)

    def wakes(self) -> None:
        pass

    def sends(self) -> bool:
        return False

    def uploads(self) -> bool:
        if not self.outgoing:
            return False
        while self.outgoing and self.connection:
            self.world.core.receive(self.connection, self.outgoing.popleft(), self.world.now)
        return True

    def reads(self) -> bool:
        if not self.incoming:
            return False
        while self.incoming:
            for delivery in ev.decode_deliveries(self.incoming.popleft()):
                self._takes(delivery)
        return True

    def _takes(self, delivery: ev.Delivery) -> None:
        self.seen.append(delivery)
        match delivery:
            case ev.Statement():
                if self.membership is None:
                    self.membership = Membership(delivery.statement)
                elif delivery.index == self.membership.index + 1:
                    self.membership.apply(delivery.statement)
            case ev.Card():
                try:
                    card = cards.Card.decode(delivery.card, room=self.room, now=self.world.now)
                except BackchannelError:
                    return
                self.cards[card.owner, card.generation] = card
                self.loot.cards.append(card)
            case ev.Message():
                if delivery.direct:
                    self.loot.learns(self.room, PeerId(delivery.sender), delivery.id, self.id, delivery.body)

    # -- what a member needs ------------------------------------------------------------------------------------------

    def asks(self, request: ev.Request) -> str:
        """Send a request; return "accepted", "attached", the code of a refusal, or nothing if none came."""
        self.outgoing.append(request.encode())
        self.world.runs()
        for delivery in reversed(self.seen):
            match delivery:
                case ev.Accepted(ids) if request.id in ids:
                    return "accepted"
                case ev.Attached() if delivery.id == request.id:
                    return "attached"
                case ev.Refused(id, reason) if id == request.id:
                    return reason
        return ""

    def enters(self, invite: Invite) -> None:
        """Submit an ADMIT, publish a card, and attach to all that is retained."""
        self._invite = invite
        admit = st.admit(self.identity, self.room, invite.anchor, invite.key)
        assert self.asks(ev.Submit(new_message_id(), self.room, admit)) == "accepted"
        self.attaches()
        assert self.publishes() == "accepted"
        self.world.people_called[self.id] = self.nick  # type: ignore[attr-defined]

    def attaches(self) -> str:
        self.membership = None
        return self.asks(ev.Attach(new_message_id(), self.room, True, 0, START, 0, 0))

    def new_card(self, *, generation: int | None = None, nick: str | None = None) -> bytes:
        """Make a card with a fresh key, which is kept, and return it."""
        assert self._invite
        self.secret = cards.new_sealing_secret()
        self.loot.sealing.append(self.secret)
        self.generation = generation or max(self.world.now, self.generation + 1)
        sealed = names.seal_nick(self._invite.secret, self.room, self.id, nick or self.nick)
        return cards.make(self.identity, self.room, self.generation, cards.sealing_key(self.secret), sealed)

    def publishes(self, card: bytes | None = None) -> str:
        return self.asks(ev.Publish(new_message_id(), self.room, card or self.new_card()))

    def newest(self, owner: PeerId) -> cards.Card:
        return max((c for c in self.cards.values() if c.owner == owner), key=lambda card: card.generation)

    @property
    def anchor(self) -> Anchor:
        assert self.membership
        return self.membership.anchor

    # -- what he says -------------------------------------------------------------------------------------------------

    def posts(self, body: bytes, to: PeerId | None = None, *, id: MessageId | None = None, flags: int = 0) -> str:
        """Post a body, whatever it is."""
        return self.asks(ev.Post(id or new_message_id(), self.room, to, self.anchor.index, flags, body))

    def seals(
        self,
        to: PeerId,
        content: Content,
        id: MessageId,
        *,
        counter: int | None = None,
        anchor: Anchor | None = None,
        given_up: int = 0,
        generation: int | None = None,
    ) -> bytes:
        """Seal an aside that is well-formed, and as true as the arguments are."""
        if counter is None:
            counter = self._counters[to] = self._counters.get(to, 0) + 1
        card = self.cards[to, generation] if generation else self.newest(to)
        route = seal.Route(
            room=self.room,
            message=id,
            sender=self.id,
            sender_generation=self.generation,
            recipient=to,
            recipient_generation=card.generation,
        )
        aside = Aside(anchor or self.anchor, counter, given_up, self.world.now, content)
        return seal.seal(aside, route, self.secret, card.sealing_key)

    def whispers(
        self,
        to: PeerId,
        content: Content | str,
        *,
        id: MessageId | None = None,
        counter: int | None = None,
        anchor: Anchor | None = None,
        given_up: int = 0,
    ) -> str:
        """Seal an aside and post it; return the relay's answer."""
        content = Text(content) if isinstance(content, str) else content
        id = id or new_message_id()
        body = self.seals(to, content, id, counter=counter, anchor=anchor, given_up=given_up)
        return self.posts(body, to, id=id, flags=int(isinstance(content, ChainKey)))

    def begins_chain(self, *, made_at: int | None = None) -> SendingChain:
        """Make a chain and share it with everybody."""
        assert self.membership
        self.chain = SendingChain(self.room, self.id, self.anchor.index if made_at is None else made_at, self.world.now)
        for peer in self.membership.members:
            if peer != self.id:
                assert self.whispers(peer, self.chain.share()) == "accepted"
        return self.chain

    def encrypts(self, text: str, id: MessageId, *, anchor: Anchor | None = None) -> bytes:
        chain = self.chain or self.begins_chain()
        return chain.encrypt(RoomMessage(self.world.now, Text(text)), id, anchor or self.anchor)

    def says(self, text: str, *, anchor: Anchor | None = None) -> str:
        """Encrypt a message for the room and post it; return the relay's answer."""
        id = new_message_id()
        return self.posts(self.encrypts(text, id, anchor=anchor), id=id)
