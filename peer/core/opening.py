"""How what comes in is opened: an aside with one's own key and its sender's card, a room message with its chain.

All that an ``Opened`` says was authenticated by its sender; whether it counts, and is new, is for ``inbox`` to say.
What lacks a card or a chain that may still come raises ``Wait``.
"""

from __future__ import annotations

from dataclasses import dataclass

from peer.core.cards import Cards
from peer.core.gaps import ASIDES
from peer.keys import Keys
from peer.store import Room, Store
from protocol import chain as ch
from protocol import envelope as ev
from protocol import limits, seal
from protocol.card import sealing_key
from protocol.content import ChainKey, Content
from protocol.errors import CannotOpen, NoKey
from protocol.ids import Anchor, ChainId, MessageId, PeerId


class Wait(Exception):
    """Something that opens the message is not here yet."""

    def __init__(self, why: tuple[object, ...]) -> None:
        super().__init__()
        self.why = why


@dataclass(slots=True, eq=False)
class Arrival:
    """A delivery, and how it came."""

    message: ev.Message
    since: int
    backlog: bool
    """It was retained before this process attached for the first time."""
    incarnation: bytes
    """Of the relay that delivered it: heads belong to one."""
    settled: int
    """Up to which place everybody knew the log when it came."""
    known: int
    """The same, but for whom a restart of the relay may have excused."""
    why: tuple[object, ...] = ()
    """What it waits for."""
    waited: int = 0
    """For how many ms the room has been attached since."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A message, opened: all of this was authenticated by its sender."""

    sender: PeerId
    stream: bytes
    counter: int
    given_up: int
    anchor: Anchor
    sent_at: int
    content: Content
    generation: int = 0
    """Of one's own card, if it is an aside: as long as its key lives, a replay must be known."""
    sender_generation: int = 0
    made_at: int | None = None
    """Where its chain was made, if it is a room message."""


class Opener:
    """Opens the messages of one room."""

    def __init__(self, store: Store, room: Room, keys: Keys, cards: Cards, me: PeerId) -> None:
        """Open with the ``keys`` of ``me`` and the ``cards`` of the others."""
        self._store, self._room, self._keys, self._cards, self._me = store, room, keys, cards, me

    def aside(self, message: ev.Message) -> Opened:
        """Open an aside; raise ``CannotOpen``, ``NoKey``, or ``Wait`` for the card of its sender."""
        generation = seal.recipient_generation(message.body)
        pair = self._keys.generation(generation)
        if pair is None:
            raise NoKey
        unsealed = seal.unseal(message.body, pair.secret, sealing_key(pair.secret))
        if unsealed.sender != message.sender:
            raise CannotOpen("another sender inside")
        card = self._cards.of(unsealed.sender, unsealed.sender_generation)
        if card is None:
            raise Wait(("card", unsealed.sender, unsealed.sender_generation))
        route = seal.Route(
            room=self._room.id,
            message=MessageId(message.id),
            sender=unsealed.sender,
            sender_generation=unsealed.sender_generation,
            recipient=self._me,
            recipient_generation=generation,
        )
        aside = seal.open_box(unsealed, route, pair.secret, card.sealing_key)
        return Opened(
            sender=unsealed.sender,
            stream=ASIDES,
            counter=aside.counter,
            given_up=aside.given_up,
            anchor=aside.anchor,
            sent_at=aside.sent_at,
            content=aside.content,
            generation=generation,
            sender_generation=unsealed.sender_generation,
        )

    def room(self, message: ev.Message) -> Opened:
        """Open a room message; raise ``CannotOpen``, ``NoKey``, or ``Wait`` for its chain."""
        head = ch.header(message.body)
        received = self._chain(head.chain)
        if received is None:
            raise Wait(("chain", head.chain))
        if received.sender != message.sender:
            raise CannotOpen("another sender's chain")
        inside = received.open(message.body, MessageId(message.id))
        return Opened(
            sender=received.sender,
            stream=head.chain,
            counter=head.counter,
            given_up=0,
            anchor=head.anchor,
            sent_at=inside.sent_at,
            content=inside.content,
            made_at=received.state.made_at,
        )

    def _chain(self, chain: ChainId) -> ch.ReceivedChain | None:
        row = self._store.row(
            "SELECT sender, key, counter, verify_key, made_at, previous, previous_count FROM chains "
            "WHERE room = ? AND id = ?",
            *(self._room.id, chain),
        )
        if row is None:
            return None
        sender, *state = row
        return ch.ReceivedChain(self._room.id, PeerId(sender), ChainKey(*state))

    def keep_chain(self, sender: PeerId, state: ChainKey, dies_at: int) -> ChainId:
        """Store a chain as it was received, and return its name; a known one is never replaced or rewound."""
        chain = ch.chain_id(self._room.id, sender, state.verify_key)
        self._store.write(
            "INSERT OR IGNORE INTO chains VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(self._room.id, chain, sender, state.key, state.counter, state.verify_key, state.made_at),
            *(state.previous, state.previous_count, dies_at),
        )
        self._store.write(
            "DELETE FROM chains WHERE room = ? AND sender = ? AND dies_at < (SELECT dies_at FROM chains "
            "WHERE room = ? AND sender = ? ORDER BY dies_at DESC LIMIT 1 OFFSET ?)",
            *(self._room.id, sender, self._room.id, sender, limits.CHAINS),
        )
        return chain
