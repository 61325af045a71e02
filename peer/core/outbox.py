"""What goes out: posts on their way, the sending chain, asides and their counters.

A post keeps its id until the relay answers it. After a reconnect it is sent again, in order; it is encrypted afresh
under the same id if what it was made with ended meanwhile. A counter that was taken is accepted or named in a later
aside as given up, so that a receiver can tell a refusal from a loss. Plaintext waits here, in memory, for at most a
minute. What the program sends by itself (receipts, chain keys, questions) is sent again after a rest if it was too fast
for the relay; the user is told instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from peer.core.commands import Emit, Settled, Transmit
from peer.core.counters import Counters
from peer.core.events import State
from peer.core.pace import Pace
from peer.core.pending import Lane, Pending
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
    RateLimited,
    StaleRoster,
    TimedOut,
    UnknownPeer,
    UnknownRoom,
)
from protocol.ids import ChainId, MessageId, PeerId
from protocol.primitives import new_message_id

_RETRIED: Final = (StaleRoster, UnknownRoom)
_ANSWERS: Final = 8
"""How often a member is given a chain again: it may lose it, and whoever asks for ever gets no more than these."""
_ANSWER_AFTER: Final = 30 * limits.SECOND
_AT_ONCE: Final = limits.SKIPPED // 2
"""Asides of its own accord to one member that the relay has not answered: the next one can name all that it refused."""
_HELD: Final = 64
"""Chain keys for one member that wait after a refusal: who posts so fast that many chains end makes no heap of them."""


class Outbox:
    """The posts of one process in one room."""

    def __init__(self, store: Store, room: Room, keys: Keys, roster: Roster, emit: Emit) -> None:
        """Start empty, with no chain."""
        self._store, self._room, self._keys, self._roster, self._emit = store, room, keys, roster, emit
        self._counters = Counters(store, room)
        self._pending: dict[MessageId, Pending] = {}
        self._attached = False
        self._incarnation = b""
        self._replaced = roster.replaced
        self._chain: SendingChain | None = None
        self._former = b""
        """The chain before."""
        self._named: Previous = NOTHING
        """The chain that the present one names; not forgotten before the relay has a message of the present one."""
        self._promised: dict[MessageId, int] = {}
        """Messages that a chain which ended of age counts as sent, and the index at which it was made: they go out as
        they were made as long as everybody who has that chain may read them."""
        self._shared: set[PeerId] = set()
        self._answered: dict[PeerId, tuple[int, int]] = {}
        """How often, and when last, each member was given the chain again."""
        self._paces: dict[Lane, Pace] = {}
        """Of the lanes in which the relay refused something."""
        self._held_back = False
        """Whether something waits for an answer of the relay to what went before it."""
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
        """Answer a member who lacks the chain with its present state, so many times; never with an earlier one.

        Who asked before this machine slept waits no longer; whose chain key is on its way waits for that.
        """
        if self._roster.alarms.standing() or not self._attached:
            return None
        if self._chain is None or chain != self._chain.id or not self._may_answer(by, now):
            return None
        if any(pending.lane == (by, True) for pending in self._pending.values()):
            return None
        self._answered[by] = (self._answered.get(by, (0, 0))[0] + 1, now)
        self._shared.discard(by)
        with self._store.transaction():
            if not self._roster.catch_up(now):
                return self.detached()
            keys = self._share(self._chain, [by], now)
        self._transmit(keys)
        return None

    def _may_answer(self, by: PeerId, now: int) -> bool:
        times, last = self._answered.get(by, (0, 0))
        return times < _ANSWERS and not (times and 0 <= now - last < _ANSWER_AFTER)

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
        self._promised.pop(pending.id, None)
        if pace := self._paces.get(pending.lane):
            pace.accepted()
        if pending.to is not None:
            self._counters.settle(pending.to, pending.counter)
        else:
            self._note_sent(pending)
            if self._chain is not None and pending.bound == self._chain.id:
                self._store.write(
                    "DELETE FROM sent_chains WHERE room = ? AND chain = ? AND count <= ?", self._room.id, *self._named
                )
        if pending.is_user and (pending.to is None or pending.id in self._awaited):  # or its receipt came before
            self._emit(Settled(pending.id, State.RELAYED))
        return True

    def refused(self, request: bytes, error: BackchannelError, now: int) -> bool:
        """Take a REFUSED; say whether it was for a post."""
        pending = self._pending.get(MessageId(request))
        if pending is None:
            return False
        if isinstance(error, _RETRIED):
            pending.out, pending.request = False, None
            self._promised.pop(pending.id, None)
        elif isinstance(error, RateLimited) and not pending.is_user:
            self._hold(pending, now)
        else:
            self._fail(pending, error)
        return True

    def _hold(self, pending: Pending, now: int) -> None:
        """Send it again after a rest, as another aside: what goes before it then need not wait for its counter."""
        self._paces.setdefault(pending.lane, Pace()).refused(now)
        self.give_up(pending.id)
        again = Pending(new_message_id(), pending.content, pending.to, pending.made_at, pending.generation)
        self._pending[again.id] = again

    def give_up(self, message: MessageId) -> None:
        """Forget a post whose sender waits no longer."""
        self._awaited.pop(message, None)
        self._promised.pop(message, None)
        if pending := self._pending.pop(message, None):
            if pending.to is not None and pending.counter:
                self._counters.give_up(pending.to, pending.counter)
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

    # -- the connection -----------------------------------------------------------------------------------------------

    def attached(self, incarnation: bytes, now: int) -> None:
        """Send what is pending; a chain does not outlive the incarnation of the relay that it was made under."""
        if (incarnation, self._roster.replaced) != (self._incarnation, self._replaced):
            self._end_chain()
            self._promised.clear()
        self._incarnation, self._replaced = incarnation, self._roster.replaced
        self._attached = True
        self.flush(now)

    def detached(self) -> None:
        """Keep what is pending for the next connection."""
        self._attached = False
        for pending in self._pending.values():
            pending.out = False

    def stop(self, error: BackchannelError) -> None:
        """Give up what the user waits for: it can't be sent now, because of ``error``."""
        for pending in list(self._pending.values()):
            if pending.is_user:
                self._fail(pending, error)

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._pending

    def tick(self, now: int) -> None:
        """Let overdue keys and plaintext die, and send what became due."""
        if self._chain is not None and self._chain.spent(now):
            self._end_chain(spent=True)
        for pending in list(self._pending.values()):
            if pending.ages(now):
                self._fail(pending, TimedOut("the relay did not take it"))
        self.flush(now)

    def flush(self, now: int) -> None:
        """Encrypt and send every post that is due and not on its way."""
        if not self._attached:
            return None
        out = Counter(pending.lane for pending in self._pending.values() if pending.out and not pending.is_user)
        self._held_back = stale = self._has_stale_on_its_way()
        for pending in sorted(self._pending.values(), key=lambda pending: pending.turn):
            if pending.out or pending.due > now:
                continue
            if stale and pending.to is None:
                continue
            if not pending.is_user:
                if not pending.counter and self._rests(pending.lane, now):
                    continue
                if not pending.counter and out[pending.lane] >= _AT_ONCE:
                    self._held_back = True
                    continue
                out[pending.lane] += 1
            try:
                if pending.is_user and (standing := self._roster.alarms.standing()):
                    raise AlarmRaised(standing[0].what)
                with self._store.transaction():
                    if not self._roster.catch_up(now):
                        return self.detached()
                    ready = self._encrypt(pending, now)
            except BackchannelError as error:
                self._fail(pending, error)
            else:
                self._transmit(ready)
        return None

    def _has_stale_on_its_way(self) -> bool:
        """Say whether the relay will refuse a room message as somebody left: nothing may overtake that one."""
        membership = self._roster.membership
        return membership is not None and any(
            pending.out and pending.to is None and pending.request and pending.request.index < membership.last_departure
            for pending in self._pending.values()
        )

    def flush_held_back(self, now: int) -> None:
        """Send what waited for the answers that have come."""
        if self._held_back:
            self.flush(now)

    def _rests(self, lane: Lane, now: int) -> bool:
        pace = self._paces.get(lane)
        return pace is not None and pace.rests(now)

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
        if pending.request is None or not self._is_current(pending, chain):
            anchor = self._roster.anchor
            pending.counter = chain.counter
            body = chain.encrypt(RoomMessage(pending.made_at, pending.content), pending.id, anchor)
            pending.request = Post(pending.id, self._room.id, None, anchor.index, Flag.NONE, body)
            pending.bound = chain.id
        return [*keys, pending]

    def _is_current(self, pending: Pending, chain: SendingChain) -> bool:
        """Say whether a room message may go out as it was made: on this chain, or on one that counts it as sent."""
        membership = self._roster.membership
        assert membership
        return pending.bound == chain.id or self._promised.get(pending.id, -1) >= membership.last_departure

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
                        self._promised[pending.id] = self._chain.made_at
        self._chain = None
        self._shared.clear()
        self._answered.clear()

    def _share(self, chain: SendingChain, peers: Iterable[PeerId], now: int) -> list[Pending]:
        """Seal the chain as it stands for each of ``peers``, unless it has it or has no valid card."""
        keys: list[Pending] = []
        out = self._roster.left_out()
        for peer in peers:
            card = self._roster.cards.newest(peer)
            if peer not in self._shared and peer not in out and card is not None and not card.expired(now):
                key = Pending(new_message_id(), chain.share(), peer, now)
                if self._rests(key.lane, now):
                    if sum(other.lane == key.lane for other in self._pending.values()) < _HELD:
                        self._shared.add(peer)
                        self._pending[key.id] = key
                else:
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
            pending.counter = self._counters.take(to, now)
        anchor = self._roster.anchor
        route = seal.Route(
            room=self._room.id,
            message=pending.id,
            sender=self._roster.me,
            sender_generation=pair.generation,
            recipient=to,
            recipient_generation=card.generation,
        )
        given_up = self._counters.given_up(to, pending.counter, now)
        aside = Aside(anchor, pending.counter, given_up, pending.made_at, pending.content)
        body = seal.seal(aside, route, pair.secret, card.sealing_key)
        flags = Flag.CHAIN_KEY if isinstance(pending.content, ChainKey) else Flag.NONE
        pending.request = Post(pending.id, self._room.id, to, anchor.index, flags, body)
        pending.bound = bound

    def _recipient(self, pending: Pending, to: PeerId, now: int) -> Card:
        if not self._roster.is_member(to) or to in self._roster.left_out():
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
