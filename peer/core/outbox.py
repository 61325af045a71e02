"""What goes out: posts on their way, the sending chain, asides and their counters.

A post keeps its id until the relay answers it. After a reconnect it is sent again, in order; it is encrypted afresh
under the same id if what it was made with ended meanwhile. A counter that was taken is accepted or named in a later
aside as given up, so that a receiver can tell a refusal from a loss. Plaintext waits here, in memory, for at most a
minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from peer.core.commands import Emit, Settled, Transmit
from peer.core.events import State
from peer.core.roster import Roster
from peer.keys import Keys
from peer.store import Room, Store
from protocol import limits, seal
from protocol.card import Card
from protocol.chain import NOTHING, Previous, SendingChain
from protocol.content import Aside, Ask, ChainKey, Content, Receipt, RoomMessage
from protocol.envelope import Flag, Post
from protocol.errors import (
    AlarmRaised,
    BackchannelError,
    Expired,
    NoKey,
    StaleRoster,
    TimedOut,
    UnknownPeer,
    UnknownRoom,
)
from protocol.ids import ChainId, MessageId, PeerId
from protocol.primitives import new_message_id

_RETRIED: Final = (StaleRoster, UnknownRoom)


@dataclass(slots=True)
class Pending:
    """A post that the relay has not answered."""

    id: MessageId
    content: Content
    to: PeerId | None
    made_at: int
    generation: int | None = None
    """Of the recipient: a receipt answers the very key that its aside was sealed with."""
    due: int = 0
    counter: int = 0
    """Of the asides to ``to``, or of the chain."""
    request: Post | None = None
    bound: object = None
    """What ``request`` was encrypted with; when that is no longer current, it is made afresh."""
    out: bool = False

    @property
    def is_user(self) -> bool:
        """Whether the user waits for its fate."""
        return not isinstance(self.content, Receipt | ChainKey | Ask)


class Outbox:
    """The posts of one process in one room."""

    def __init__(self, store: Store, room: Room, keys: Keys, roster: Roster, emit: Emit) -> None:
        """Start empty, with no chain."""
        self._store, self._room, self._keys, self._roster, self._emit = store, room, keys, roster, emit
        self._pending: dict[MessageId, Pending] = {}
        self._attached = False
        self._incarnation = b""
        self._chain: SendingChain | None = None
        self._former = b""
        """The chain before."""
        self._named: Previous = NOTHING
        """The chain that the present one names; not forgotten before the relay has a message of the present one."""
        self._shared: set[PeerId] = set()
        self._answered: set[tuple[PeerId, ChainId]] = set()
        self._awaited: dict[MessageId, PeerId] = {}
        """Asides whose receipt has not come."""

    # -- in -----------------------------------------------------------------------------------------------------------

    def post(self, content: Content, to: PeerId | None, now: int) -> MessageId:
        """Take a message for the room or for one member; its fate comes as ``Settled``."""
        pending = Pending(new_message_id(), content, to, now)
        self._pending[pending.id] = pending
        if to is not None and pending.is_user:
            self._awaited[pending.id] = to
        self.flush(now)
        return pending.id

    def receipt(self, message: MessageId, to: PeerId, generation: int, now: int, due: int) -> None:
        """Tell ``to`` at ``due`` (ms) that its aside was opened; seal it to the generation that the aside came from."""
        pending = Pending(new_message_id(), Receipt(message), to, now, generation, due)
        self._pending[pending.id] = pending

    def ask(self, chain: ChainId, sender: PeerId, now: int) -> None:
        """Ask ``sender`` for a chain that never arrived."""
        self.post(Ask(chain), sender, now)

    def asked(self, by: PeerId, chain: ChainId, now: int) -> None:
        """Answer a member who lacks the chain with its present state, once; never with an earlier one.

        Who asked before this machine slept waits no longer.
        """
        if self._roster.alarms.standing() or not self._attached:
            return
        if self._chain is None or chain != self._chain.id or (by, chain) in self._answered:
            return
        self._answered.add((by, chain))
        self._shared.discard(by)
        with self._store.transaction():
            keys = self._share(self._chain, [by], now)
        self._transmit(keys)

    def received(self, message: MessageId, by: PeerId) -> None:
        """Take a receipt: it counts if it comes from whom the aside was sealed for."""
        if self._awaited.get(message) == by:
            del self._awaited[message]
            self._emit(Settled(message, State.DELIVERED))

    # -- the relay's answers ------------------------------------------------------------------------------------------

    def accepted(self, request: bytes) -> bool:
        """Take an ACCEPTED; say whether it was for a post."""
        pending = self._pending.pop(MessageId(request), None)
        if pending is None:
            return False
        if pending.to is not None:
            self._store.write(
                "DELETE FROM unsettled WHERE room = ? AND recipient = ? AND counter = ?",
                *(self._room.id, pending.to, pending.counter),
            )
        else:
            self._note_sent(pending)
            if self._chain is not None and pending.bound == self._chain.id:
                self._store.write(
                    "DELETE FROM sent_chains WHERE room = ? AND chain = ? AND count <= ?", self._room.id, *self._named
                )
        if pending.is_user and (pending.to is None or pending.id in self._awaited):  # or its receipt came before
            self._emit(Settled(pending.id, State.RELAYED))
        return True

    def refused(self, request: bytes, error: BackchannelError) -> bool:
        """Take a REFUSED; say whether it was for a post."""
        pending = self._pending.get(MessageId(request))
        if pending is None:
            return False
        if isinstance(error, _RETRIED):
            pending.out, pending.request = False, None
        else:
            self._fail(pending, error)
        return True

    def give_up(self, message: MessageId) -> None:
        """Forget a post whose sender waits no longer."""
        self._awaited.pop(message, None)
        if pending := self._pending.pop(message, None):
            self._mark_given_up(pending)
            if pending.to is None and self._chain is not None and pending.bound == self._chain.id:
                # its counter is a hole, and no message may come after one: the next chain says how many there were
                self._end_chain()

    def _fail(self, pending: Pending, error: BackchannelError) -> None:
        self.give_up(pending.id)
        if isinstance(pending.content, ChainKey) and pending.to:
            self._shared.discard(pending.to)
        if pending.is_user:
            # a program may keep the error: its traceback would keep alive what was on the stack, keys included
            error.__context__ = None
            self._emit(Settled(pending.id, State.SENT, error.with_traceback(None)))

    def _mark_given_up(self, pending: Pending) -> None:
        if pending.to is not None and pending.counter:
            self._store.write(
                "UPDATE unsettled SET given_up = 1 WHERE room = ? AND recipient = ? AND counter = ?",
                *(self._room.id, pending.to, pending.counter),
            )

    # -- the connection -----------------------------------------------------------------------------------------------

    def attached(self, incarnation: bytes, now: int) -> None:
        """Send what is pending; a chain does not outlive the incarnation of the relay that it was made under."""
        if incarnation != self._incarnation:
            self._end_chain()
        self._incarnation = incarnation
        self._attached = True
        self.flush(now)

    def detached(self) -> None:
        """Keep what is pending for the next connection."""
        self._attached = False
        for pending in self._pending.values():
            pending.out = False

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._pending

    def tick(self, now: int) -> None:
        """Let overdue keys and plaintext die, and send what became due."""
        if self._chain is not None and self._chain.spent(now):
            self._end_chain(spent=True)
        for pending in list(self._pending.values()):
            if not 0 <= now - pending.made_at <= limits.UNSENT:
                self._fail(pending, TimedOut("the relay did not take it"))
        self.flush(now)

    def flush(self, now: int) -> None:
        """Encrypt and send every post that is due and not on its way."""
        if not self._attached:
            return
        for pending in sorted(self._pending.values(), key=lambda pending: not isinstance(pending.content, ChainKey)):
            if pending.out or pending.due > now:
                continue
            try:
                if pending.is_user and (standing := self._roster.alarms.standing()):
                    raise AlarmRaised(standing[0].what)
                with self._store.transaction():
                    ready = self._encrypt(pending, now)
            except BackchannelError as error:
                self._fail(pending, error)
            else:
                self._transmit(ready)

    def _transmit(self, ready: list[Pending]) -> None:
        """Send what was encrypted, once the counters that it took are stored."""
        for pending in ready:
            if pending.request is None:
                continue
            self._pending[pending.id] = pending
            if isinstance(pending.content, ChainKey) and pending.to is not None:
                self._shared.add(pending.to)
            pending.out = True
            self._emit(Transmit(pending.request))

    def hurry(self) -> None:
        """Make every receipt due: the process is about to end."""
        for pending in self._pending.values():
            pending.due = 0

    # -- encryption ---------------------------------------------------------------------------------------------------

    def _encrypt(self, pending: Pending, now: int) -> list[Pending]:
        """Encrypt a post with what is current; return what is to be sent: the chain keys that it needs, then itself."""
        if pending.to is not None:
            self._seal(pending, pending.to, now)
            return [pending]
        chain = self._current_chain(now)
        keys = self._share(chain, self._roster.others(), now)
        if pending.request is None or pending.bound != chain.id:
            anchor = self._roster.anchor
            pending.counter = chain.counter
            body = chain.encrypt(RoomMessage(pending.made_at, pending.content), pending.id, anchor)
            pending.request = Post(pending.id, self._room.id, None, anchor.index, Flag.NONE, body)
            pending.bound = chain.id
        return [*keys, pending]

    def _current_chain(self, now: int) -> SendingChain:
        membership = self._roster.membership
        if membership is None or not self._roster.is_member(self._roster.me):
            raise UnknownRoom
        chain = self._chain
        if chain is None or chain.spent(now) or chain.made_at < membership.last_departure:
            self._end_chain(spent=chain is not None and chain.spent(now))
            self._named = self._before()
            chain = self._chain = SendingChain(self._room.id, self._roster.me, membership.index, now, self._named)
        return chain

    def _note_sent(self, pending: Pending) -> None:
        """Note that a room message is one of those that everybody should get."""
        self._store.write(
            "INSERT INTO sent_chains VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = max(count, excluded.count)",
            *(self._room.id, pending.bound, pending.counter + 1, pending.made_at),
        )

    def _before(self) -> Previous:
        """Return a chain that no later one has named yet, and how many messages everybody should have got on it.

        It is one's own if there is one, else one that another process of the profile left: a command that sends one
        message is a process, and a chain, of its own.
        """
        row = self._store.row(
            "SELECT chain, count FROM sent_chains WHERE room = ? ORDER BY chain = ? DESC, at LIMIT 1",
            *(self._room.id, self._former),
        )
        return (ChainId(row["chain"]), row["count"]) if row else NOTHING

    def _end_chain(self, *, spent: bool = False) -> None:
        if self._chain is not None:
            self._former = self._chain.id
            if spent:
                # nothing makes an honest relay refuse what is on its way; another may own up to it only later
                for pending in self._pending.values():
                    if pending.out and pending.bound == self._chain.id:
                        self._note_sent(pending)
        self._chain = None
        self._shared.clear()
        self._answered.clear()

    def _share(self, chain: SendingChain, peers: Iterable[PeerId], now: int) -> list[Pending]:
        """Seal the chain as it stands for each of ``peers``, unless it has it or has no valid card."""
        keys: list[Pending] = []
        gone = self._roster.restrictions.gone()
        for peer in peers:
            card = self._roster.cards.newest(peer)
            if peer not in self._shared and peer not in gone and card is not None and not card.expired(now):
                key = Pending(new_message_id(), chain.share(), peer, now)
                self._seal(key, peer, now)
                keys.append(key)
        return keys

    def _seal(self, pending: Pending, to: PeerId, now: int) -> None:
        pair = self._keys.accepted()
        if pair is None:
            raise NoKey("no card of your own was published yet")
        card = self._recipient(pending, to, now)
        bound = (pair.generation, card.generation, self._incarnation)
        if pending.request is not None and pending.bound == bound:
            return
        if not pending.counter:
            pending.counter = self._take_counter(to, now)
        anchor = self._roster.anchor
        route = seal.Route(
            room=self._room.id,
            message=pending.id,
            sender=self._roster.me,
            sender_generation=pair.generation,
            recipient=to,
            recipient_generation=card.generation,
        )
        given_up = self._given_up(to, pending.counter, now)
        aside = Aside(anchor, pending.counter, given_up, pending.made_at, pending.content)
        body = seal.seal(aside, route, pair.secret, card.sealing_key)
        flags = Flag.CHAIN_KEY if isinstance(pending.content, ChainKey) else Flag.NONE
        pending.request = Post(pending.id, self._room.id, to, anchor.index, flags, body)
        pending.bound = bound

    def _recipient(self, pending: Pending, to: PeerId, now: int) -> Card:
        if not self._roster.is_member(to) or to in self._roster.restrictions.gone():
            raise UnknownPeer
        if pending.generation is not None:
            card = self._roster.cards.of(to, pending.generation)
        else:
            card = self._roster.cards.newest(to)
            if card is not None and card.expired(now):
                raise Expired
        if card is None:
            raise Expired
        return card

    # -- counters -----------------------------------------------------------------------------------------------------

    def _take_counter(self, to: PeerId, now: int) -> int:
        row = self._store.row(
            "INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
            *(self._room.id, to),
        )
        counter: int = row["last"] if row else 0
        self._store.write(
            "DELETE FROM unsettled WHERE room = ? AND recipient = ? AND counter < ?",
            *(self._room.id, to, counter - limits.SKIPPED),
        )
        self._store.write(
            "INSERT INTO unsettled (room, recipient, counter, taken_at) VALUES (?, ?, ?, ?)",
            *(self._room.id, to, counter, now),
        )
        return counter

    def _given_up(self, to: PeerId, counter: int, now: int) -> int:
        """Return, as bits, which counters before ``counter`` were given up, or left behind by a killed process."""
        rows = self._store.rows(
            "SELECT counter FROM unsettled WHERE room = ? AND recipient = ? AND counter < ? AND counter >= ? "
            "AND (given_up OR taken_at < ?)",
            *(self._room.id, to, counter, counter - limits.SKIPPED, now - 2 * limits.UNSENT),
        )
        return sum(1 << (counter - 1 - row["counter"]) for row in rows)
