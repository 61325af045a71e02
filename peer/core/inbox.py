"""What comes in: open it, hold its anchor against the log, see whether it is new, and say what is missing.

A message whose card, chain or head is not here yet waits; one that cannot be opened is *missed*, and named. What was
seen is recorded before it is shown, in the transaction that the caller holds around a frame. Who sent a message, and
whether it is an aside, is what opened it says, never what the envelope says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peer.core.alarms import AlarmKind
from peer.core.commands import Emit, Show
from peer.core.events import Event, EventKind, Message, Reading
from peer.core.outbox import Outbox
from peer.core.roster import Roster
from peer.keys import Keys
from peer.store import Room, Store
from peer.text import safe_text
from protocol import chain as ch
from protocol import envelope as ev
from protocol import limits, seal
from protocol.card import sealing_key
from protocol.content import Action, Ask, ChainKey, Content, Receipt, Text
from protocol.errors import BackchannelError, CannotOpen, NoKey
from protocol.membership import Membership
from protocol.primitives import Anchor, ChainId, MessageId, PeerId

ASIDES: Final = b""
"""The stream of a sender's asides; a chain's id is the stream of its room messages."""
_GRACE: Final = 5 * limits.SECOND
"""Two processes of a sender may post in another order than they took their counters."""
_JUMP: Final = 1_000
_WAITING: Final = 4_096
_ASK_AFTER: Final = 2 * limits.SECOND


class _Wait(Exception):
    """Something that opens the message is not here yet."""

    def __init__(self, why: tuple[object, ...]) -> None:
        super().__init__()
        self.why = why


@dataclass(slots=True)
class _Waiting:
    message: ev.Message
    why: tuple[object, ...]
    since: int
    backlog: bool
    asked: bool = False


@dataclass(frozen=True, slots=True)
class _Opened:
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


class Inbox:
    """The messages of one room, as one process reads them."""

    def __init__(  # the parts of a room's core, each once
        self, store: Store, room: Room, keys: Keys, roster: Roster, outbox: Outbox, emit: Emit, reading: Reading
    ) -> None:
        """Read as ``reading`` says."""
        self._store, self._room, self._keys, self._roster = store, room, keys, roster
        self._outbox, self._emit, self._reading = outbox, emit, reading
        self._waiting: list[_Waiting] = []
        self._handled: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}
        self._incarnation = b""
        self._retention = limits.RETENTION_CAP
        self.away = False
        """Whether the profile was away for longer than retention, so that what is missing was *missed*."""
        self.receipts: Callable[[], int] | None = None
        """Returns the delay of a receipt in ms; None: none are sent."""
        self.want_card: Callable[[PeerId, int], None] = lambda _peer, _generation: None

    def attached(self, incarnation: bytes, retention: int) -> None:
        """Note under which incarnation of the relay messages come from now on, and its retention in ms."""
        self._incarnation, self._retention = incarnation, min(retention, limits.RETENTION_CAP)

    # -- the way of a message -----------------------------------------------------------------------------------------

    def message(self, message: ev.Message, now: int, *, backlog: bool) -> None:
        """Take one delivery. ``backlog``: it was retained before this process attached for the first time."""
        if message.sender == self._roster.me:
            return
        key = (message.sender, message.id)
        if key in self._handled:
            # after a restart of the relay, posts that it may not have taken are sent again by honest members
            if self._handled[key][1] == self._incarnation:
                self._say(EventKind.DUPLICATE, "sent a message that was shown already again", PeerId(message.sender))
            return
        try:
            self._take(message, now, backlog=backlog)
        except _Wait as wait:
            self._keep_waiting(_Waiting(message, wait.why, now, backlog), now)
        except BackchannelError as error:
            self._missed(message, error.code, now)

    def _take(self, message: ev.Message, now: int, *, backlog: bool) -> None:
        opened = self._open_aside(message) if message.direct else self._open_room(message, now)
        if not self._stands(opened, now):
            return
        if self._reading is Reading.NOTHING:
            if isinstance(opened.content, Receipt):
                self._outbox.received(opened.content.message, opened.sender)
            return
        self._record(message, opened, now, backlog=backlog)

    def _open_aside(self, message: ev.Message) -> _Opened:
        generation = seal.recipient_generation(message.body)
        pair = self._keys.generation(generation)
        if pair is None:
            raise NoKey
        unsealed = seal.unseal(message.body, pair.secret, sealing_key(pair.secret))
        if unsealed.sender != message.sender:
            raise CannotOpen("another sender inside")
        card = self._roster.card_of(unsealed.sender, unsealed.sender_generation)
        if card is None:
            raise _Wait(("card", unsealed.sender, unsealed.sender_generation))
        route = seal.Route(
            room=self._room.id,
            message=MessageId(message.id),
            sender=unsealed.sender,
            sender_generation=unsealed.sender_generation,
            recipient=self._roster.me,
            recipient_generation=generation,
        )
        aside = seal.open_box(unsealed, route, pair.secret, card.sealing_key)
        return _Opened(
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

    def _open_room(self, message: ev.Message, now: int) -> _Opened:
        head = ch.header(message.body)
        received = self._chain(head.chain)
        if received is None:
            # who is cut out of the sender's view never gets the chain, but is to learn of the other view
            self._hold_against_log(PeerId(message.sender), head.anchor, now)
            raise _Wait(("chain", head.chain))
        if received.sender != message.sender:
            raise CannotOpen("another sender's chain")
        inside = received.open(message.body, MessageId(message.id))
        return _Opened(
            sender=received.sender,
            stream=head.chain,
            counter=head.counter,
            given_up=0,
            anchor=head.anchor,
            sent_at=inside.sent_at,
            content=inside.content,
            made_at=received.state.made_at,
        )

    def _hold_against_log(self, sender: PeerId, anchor: Anchor, now: int) -> Membership:
        """Compare the log that ``sender`` folded with one's own.

        Raise ``_Wait`` if it is ahead, an alarm if it differs.
        """
        membership = self._roster.membership
        agrees = membership.agrees(anchor) if membership else None
        if membership is None or agrees is None:
            raise _Wait(("head", anchor.index))
        if not agrees:
            who = self._roster.person(sender).label
            what = f"{who} sees another room than you do: the relay shows two, or {who} lies"
            self._roster.sound(AlarmKind.TWO_VIEWS, sender, what, now)
            raise CannotOpen("from another view of the room")
        return membership

    def _stands(self, opened: _Opened, now: int) -> bool:
        """Hold a message against the log: say whether it counts; raise ``_Wait``, ``CannotOpen``."""
        membership = self._hold_against_log(opened.sender, opened.anchor, now)
        me = membership.members.get(self._roster.me)
        if me is None:
            raise _Wait(("head", opened.anchor.index))
        if opened.anchor.index < me.since:
            return False
        if not membership.was_member(opened.sender, opened.anchor.index):
            raise CannotOpen("its sender did not belong to the room")
        if opened.made_at is None:
            return self._roster.is_member(opened.sender)
        if opened.made_at < membership.departure_before(opened.anchor.index):
            raise CannotOpen("on a chain from before a removal")
        return True

    def _record(self, message: ev.Message, opened: _Opened, now: int, *, backlog: bool) -> None:
        new = self._store.write(
            "INSERT OR IGNORE INTO seen (room, sender, message, stream, counter, generation, seen_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(self._room.id, opened.sender, message.id, opened.stream, opened.counter, opened.generation, now),
        )
        self._handled[message.sender, message.id] = (now, self._incarnation)
        if new:
            self._count(opened, now)
            self._carry_out(message, opened, now)
        else:
            known = self._store.row(
                "SELECT shown FROM seen WHERE room = ? AND sender = ? AND message = ?",
                *(self._room.id, opened.sender, message.id),
            )
            if known is None:
                self._say(EventKind.DUPLICATE, "used the number of an earlier message again", opened.sender)
                return
            if known["shown"] and self._reading is Reading.UNSHOWN:
                return
        if isinstance(opened.content, Text | Action) and (not backlog or self._reading is not Reading.LIVE):
            self._show(message, opened, opened.content)

    def _carry_out(self, message: ev.Message, opened: _Opened, now: int) -> None:
        match opened.content:
            case Receipt():
                self._outbox.received(opened.content.message, opened.sender)
            case ChainKey():
                self._take_chain(opened.sender, opened.content, now)
            case Ask():
                self._outbox.asked(opened.sender, opened.content.chain, now)
            case Text() | Action() if opened.stream == ASIDES and self.receipts:
                due = now + self.receipts()
                generation = opened.sender_generation
                self._outbox.receipt(MessageId(message.id), opened.sender, generation, now, due)

    def _show(self, message: ev.Message, opened: _Opened, content: Text | Action) -> None:
        membership = self._roster.membership
        late = opened.made_at is not None and membership is not None and membership.last_departure > opened.anchor.index
        shown = Message(
            room=self._room.name,
            id=MessageId(message.id),
            sender=self._roster.person(opened.sender),
            to=self._roster.person(self._roster.me) if opened.stream == ASIDES else None,
            text=content.text,
            shown=safe_text(content.text),
            action=isinstance(content, Action),
            sent_at=opened.sent_at,
            received_at=message.time,
            late=late,
        )
        self._emit(Show(shown))

    # -- chains -------------------------------------------------------------------------------------------------------

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

    def _take_chain(self, sender: PeerId, state: ChainKey, now: int) -> None:
        """Store a chain as it was received; a known one is never replaced or rewound."""
        chain = ch.ReceivedChain(self._room.id, sender, state)
        self._store.write(
            "INSERT OR IGNORE INTO chains VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(self._room.id, chain.id, sender, state.key, state.counter, state.verify_key, state.made_at),
            *(state.previous, state.previous_count, now + limits.CHAIN_LIFE + self._retention),
        )
        self._store.write(
            "INSERT OR IGNORE INTO streams VALUES (?, ?, ?, ?)", self._room.id, sender, chain.id, state.counter
        )
        self._note_missing(sender, state.previous, state.previous_count, 0, now, known=True)
        self.retry(("chain", chain.id), now)

    # -- gaps ---------------------------------------------------------------------------------------------------------

    def _count(self, opened: _Opened, now: int) -> None:
        late = self._store.write(
            "DELETE FROM missing WHERE room = ? AND sender = ? AND stream = ? AND counter = ?",
            *(self._room.id, opened.sender, opened.stream, opened.counter),
        )
        if not late:
            self._note_missing(opened.sender, opened.stream, opened.counter, opened.given_up, now, known=False)
            self._store.write(
                "INSERT INTO streams VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
                *(self._room.id, opened.sender, opened.stream, opened.counter + 1),
            )

    def _note_missing(self, sender: PeerId, stream: bytes, upto: int, given_up: int, now: int, *, known: bool) -> None:
        """Note which counters before ``upto`` did not come; with ``known``, only of a stream that is followed."""
        row = self._store.row(
            "SELECT next FROM streams WHERE room = ? AND sender = ? AND stream = ?", self._room.id, sender, stream
        )
        if row is None and known:
            return
        first = row["next"] if row else int(stream == ASIDES)
        if upto - first > _JUMP:
            self._tell_missing(sender, upto - first, away=self.away)
            return
        for counter in range(first, upto):
            place = upto - 1 - counter
            if place >= limits.SKIPPED or not given_up >> place & 1:
                self._store.write(
                    "INSERT OR IGNORE INTO missing VALUES (?, ?, ?, ?, ?, ?)",
                    *(self._room.id, sender, stream, counter, now, int(self.away)),
                )
        if known:
            self._store.write(
                "UPDATE streams SET next = max(next, ?) WHERE room = ? AND sender = ? AND stream = ?",
                *(upto, self._room.id, sender, stream),
            )

    def _tell_missing(self, sender: PeerId, count: int, *, away: bool) -> None:
        who = self._roster.person(sender)
        messages = "one message" if count == 1 else f"{count} messages"
        if away:
            what = f"{messages} of {who.label} came and went while you were away"
            event = Event(self._room.name, EventKind.MISSED, what, who=who, count=count, reason="away")
        else:
            what = f"{messages} of {who.label} did not arrive"
            event = Event(self._room.name, EventKind.GAP, what, who=who, count=count)
        self._emit(Show(event))

    def _missed(self, message: ev.Message, reason: str, now: int) -> None:
        """Tell once that a message came which cannot be read."""
        if self._reading is Reading.NOTHING:
            return
        new = self._store.write(
            "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, 0, 0, ?, 1)",
            *(self._room.id, message.sender, message.id, b"missed" + message.id, now),
        )
        if new:
            who = self._roster.person(PeerId(message.sender))
            what = f"a message of {who.label} can't be read ({reason})"
            self._emit(Show(Event(self._room.name, EventKind.MISSED, what, who=who, count=1, reason=reason)))

    def _say(self, kind: EventKind, what: str, peer: PeerId) -> None:
        if self._reading is not Reading.NOTHING:
            who = self._roster.person(peer)
            self._emit(Show(Event(self._room.name, kind, f"{who.label} {what}", who=who)))

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _keep_waiting(self, waiting: _Waiting, now: int) -> None:
        if self._reading is Reading.NOTHING and waiting.why[0] != "card":
            return
        if waiting.why[0] == "card":
            _, peer, generation = waiting.why
            self.want_card(peer, generation)  # type: ignore[arg-type]  # as it was put in
        self._waiting.append(waiting)
        if len(self._waiting) > _WAITING:
            self._missed(self._waiting.pop(0).message, "too-many", now)

    def retry(self, why: tuple[object, ...], now: int) -> None:
        """Try again what waits for ``why``: ("head",), ("chain", id) or ("card", peer, generation)."""
        ready = [waiting for waiting in self._waiting if waiting.why[: len(why)] == why]
        if not ready:
            return
        self._waiting = [waiting for waiting in self._waiting if waiting.why[: len(why)] != why]
        for waiting in ready:
            try:
                self._take(waiting.message, now, backlog=waiting.backlog)
            except _Wait as wait:
                self._waiting.append(_Waiting(waiting.message, wait.why, waiting.since, waiting.backlog))
            except BackchannelError as error:
                self._missed(waiting.message, error.code, now)

    def unavailable(self, peer: PeerId, generation: int, now: int) -> None:
        """Take note that the relay has no such card: what waits for it is missed."""
        self._drop([w for w in self._waiting if w.why == ("card", peer, generation)], now)

    def _drop(self, dropped: list[_Waiting], now: int) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting not in dropped]
        for waiting in dropped:
            self._missed(waiting.message, "no-key", now)

    def tick(self, now: int, attached_since: int | None) -> None:
        """Tell gaps that stayed open, ask for chains, and end what 30 s of attachment did not resolve."""
        if self._reading is Reading.NOTHING:
            return
        self._tell_gaps(now)
        self._handled = {key: at for key, at in self._handled.items() if now - at[0] < 2 * limits.RETENTION_CAP}
        if attached_since is None:
            return
        late: list[_Waiting] = []
        for waiting in self._waiting:
            age = now - max(waiting.since, attached_since)
            if age >= limits.UNRESOLVED:
                late.append(waiting)
            elif waiting.why[0] == "chain" and age >= _ASK_AFTER and not waiting.asked:
                for other in self._waiting:
                    other.asked = other.asked or other.why == waiting.why
                self._outbox.ask(waiting.why[1], PeerId(waiting.message.sender), now)  # type: ignore[arg-type]
        for waiting in late:
            sender = PeerId(waiting.message.sender)
            if waiting.why[0] == "head" or not self._roster.belonged(sender):
                who = self._roster.person(PeerId(waiting.message.sender)).label
                what = f"{who} knows of changes to the room that the relay does not show you, or lies"
                self._roster.sound(AlarmKind.UNKNOWN_HEAD, waiting.message.sender, what, now)
        self._drop(late, now)

    def _tell_gaps(self, now: int) -> None:
        rows = self._store.rows(
            "SELECT sender, away, count(*) AS count FROM missing WHERE room = ? AND noticed_at <= ? "
            "GROUP BY sender, away",
            *(self._room.id, now - _GRACE),
        )
        if not rows:
            return
        with self._store.transaction():
            self._store.write("DELETE FROM missing WHERE room = ? AND noticed_at <= ?", self._room.id, now - _GRACE)
        for row in rows:
            self._tell_missing(PeerId(row["sender"]), row["count"], away=bool(row["away"]))
