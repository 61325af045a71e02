"""What comes in: have it opened, hold its anchor against the log, see whether it is new, and hand it on.

A message whose card, chain or head is not here yet waits; one that cannot be opened is *missed*, and named. What was
seen is recorded before it is shown, in the transaction that the caller holds around a frame. Who sent a message, and
whether it is an aside, is what opened it says, never what the envelope says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from peer.core.alarms import AlarmKind
from peer.core.commands import Emit, Show
from peer.core.events import Event, EventKind, Message, Reading
from peer.core.gaps import ASIDES, GRACE, Gaps
from peer.core.opening import Arrival, Opened, Opener, Wait
from peer.core.outbox import Outbox
from peer.core.patience import Patience, Settled
from peer.core.roster import Roster
from peer.core.unread import UNREAD, Unread
from peer.core.waiting import Waiting
from peer.keys import Keys
from peer.store import Room, Store
from peer.text import safe_text
from protocol import chain as ch
from protocol import envelope as ev
from protocol import limits
from protocol.content import Action, Ask, ChainKey, Receipt, Text
from protocol.errors import BackchannelError, CannotOpen
from protocol.ids import Anchor, MessageId, PeerId
from protocol.membership import Membership

_STREAMS: Final = 16_384
_ASK_AFTER: Final = 2 * limits.SECOND
_ASK_AGAIN: Final = 10 * limits.SECOND
"""A question may meet its sender too soon after the last answer, and an answer a clock that is wrong."""
_ASKS: Final = 8
"""Questions in one tick: a member that floods the room with what nobody can open makes nobody work for it."""
_EXCUSES: Final = 3
"""Under so many incarnations of the relay nobody falls behind without its doing."""
_FORGET: Final = limits.MINUTE
"""How often what was handled long ago is forgotten."""


class Inbox:
    """The messages of one room, as one process reads them."""

    def __init__(  # the parts of a room's core, each once
        self, store: Store, room: Room, keys: Keys, roster: Roster, outbox: Outbox, emit: Emit, reading: Reading
    ) -> None:
        """Read as ``reading`` says."""
        self._store, self._room, self._roster = store, room, roster
        self._outbox, self._emit, self._reading = outbox, emit, reading
        self._opener = Opener(store, room, keys, roster.cards, roster.me)
        self._waiting = Waiting()
        self._handled: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}
        """When each message was taken, and under which incarnation of the relay."""
        self._unread = Unread(store, room)
        self._asked: dict[tuple[object, ...], int] = {}
        """When each chain that something waits for was asked for last."""
        self._forgot_at = 0
        self._incarnation = b""
        self._patience: Patience[PeerId] = Patience()
        """With senders who know statements that the relay does not show."""
        self._settled = Settled()
        self._excused: dict[PeerId, set[bytes]] = {}
        """Who speaks from before what is long known, and under which incarnations of the relay."""
        self._behind_at: dict[PeerId, int] = {}
        """From which place, at most, each of them spoke so."""
        self._retention = limits.RETENTION_CAP
        self._started: int | None = None
        self._latest: dict[tuple[PeerId, bytes], int] = {}
        """The highest counter that was shown of each stream."""
        self.gaps = Gaps(store, room, roster, emit)
        self.receipts: Callable[[], int] | None = None
        """Returns the delay of a receipt in ms; None: none are sent."""
        self.want_card: Callable[[PeerId, int], None] = lambda _peer, _generation: None

    def connected(self, incarnation: bytes, retention: int, now: int, *, away: bool) -> None:
        """Note under which incarnation of the relay messages come from now on, and its retention in ms.

        ``away``: the profile was away for longer than that, or the relay was restarted.
        """
        if incarnation != self._incarnation:
            self._settled.restart()
        self._incarnation, self._retention = incarnation, min(retention, limits.RETENTION_CAP)
        if self._started is None:
            self._started = now
        self.gaps.connected(now, away=away)

    def attached(self, now: int) -> None:
        """Take up what waited when the last connection ended; what is missing from now on is a gap."""
        self.gaps.attached(now)
        self.retry(("head",), now)
        # the log is whole: who knew more of it when it spoke was shown more, and the relay has not shown it here
        for waiting in self._waiting.pick(self._is_ahead):
            self._give_up(waiting, now)
        for waiting in self._waiting:
            self._want(waiting)
        if self._reading in {Reading.UNSHOWN, Reading.CONTINUED}:
            # it may end now: what an earlier one noticed, and is not retained, is told by this one
            self._tell_gaps(now)

    # -- the way of a message -----------------------------------------------------------------------------------------

    def message(self, message: ev.Message, now: int, *, backlog: bool) -> None:
        """Take one delivery. ``backlog``: it was retained before this process attached for the first time."""
        if message.sender == self._roster.me:
            return
        handled = self._handled.get((message.sender, message.id))
        if handled and handled[1] == self._incarnation:
            self._say(EventKind.DUPLICATE, "sent a message that was shown already again", PeerId(message.sender))
            return
        membership, settled = self._roster.membership, self._settled
        known = (settled.index(membership), settled.known(membership))
        self._try(Arrival(message, now, backlog, self._incarnation, *known), now)

    def _try(self, arrival: Arrival, now: int) -> None:
        try:
            self._take(arrival, now)
        except Wait as wait:
            arrival.why = wait.why
            self._keep_waiting(arrival, now)
        except BackchannelError as error:
            self._missed(arrival.message, error.code, now)

    def _take(self, arrival: Arrival, now: int) -> None:
        opened = self._open(arrival, now)
        if not self._stands(opened, arrival, now):
            return
        if self._reading is not Reading.NOTHING:
            self._record(arrival, opened, now)
        elif isinstance(opened.content, Receipt):
            self._outbox.received(opened.content.message, opened.sender)

    def _open(self, arrival: Arrival, now: int) -> Opened:
        message = arrival.message
        if message.direct:
            return self._opener.aside(message)
        try:
            return self._opener.room(message)
        except Wait:
            # who is cut out of the sender's view never gets the chain, but is to learn of the other view
            self._hold_against_log(PeerId(message.sender), ch.header(message.body).anchor, arrival, now)
            raise

    def _hold_against_log(self, sender: PeerId, anchor: Anchor, arrival: Arrival, now: int) -> Membership:
        """Compare the log that ``sender`` folded with one's own.

        Raise ``Wait`` if it is ahead, an alarm if it differs or is far behind: but not if a restart of the relay came
        between.
        """
        membership = self._roster.membership
        agrees = membership.agrees(anchor) if membership else None
        if membership is None or agrees is None:
            raise Wait(("head", anchor.index))
        if not agrees and arrival.incarnation != self._incarnation:
            raise CannotOpen("from before the relay was restarted")
        if not agrees:
            who = self._roster.person(sender).label
            what = f"{who} sees another room than you do: the relay shows two, or {who} lies"
            self._roster.sound(AlarmKind.TWO_VIEWS, sender, what, now)
            raise CannotOpen("from another view of the room")
        if arrival.incarnation == self._incarnation and self._is_held_behind(sender, anchor.index, arrival):
            who = self._roster.person(sender).label
            what = f"{who} speaks from long before what you know: the relay holds {who} behind, or {who} lies"
            self._roster.sound(AlarmKind.TWO_VIEWS, sender, what, now)
            raise CannotOpen("from a view of the room that is long past")
        return membership

    def _is_held_behind(self, sender: PeerId, index: int, arrival: Arrival) -> bool:
        """Say whether ``sender`` should long have known more of the log than ``index`` statements.

        A restart of the relay excuses it, for it may have spoken before others brought what it lacked; but then it was
        shown that before the next restart.
        """
        if index >= arrival.known:
            if index > self._behind_at.get(sender, index):
                self._excused.pop(sender, None)
                self._behind_at.pop(sender, None)
            return False
        if len(self._excused) < limits.MEMBERS or sender in self._excused:
            self._excused.setdefault(sender, set()).add(arrival.incarnation)
            self._behind_at[sender] = max(index, self._behind_at.get(sender, 0))
        return index < arrival.settled or len(self._excused.get(sender, ())) >= _EXCUSES

    def _stands(self, opened: Opened, arrival: Arrival, now: int) -> bool:
        """Hold a message against the log: say whether it counts; raise ``Wait``, ``CannotOpen``."""
        membership = self._hold_against_log(opened.sender, opened.anchor, arrival, now)
        me = membership.members.get(self._roster.me)
        if me is None:
            raise Wait(("head", opened.anchor.index))
        if opened.anchor.index < me.since:
            return False
        if not membership.was_member(opened.sender, opened.anchor.index):
            raise CannotOpen("its sender did not belong to the room")
        if opened.made_at is None:
            return self._roster.is_member(opened.sender)
        if opened.made_at < membership.departure_before(opened.anchor.index):
            raise CannotOpen("on a chain from before a removal")
        return True

    def _record(self, arrival: Arrival, opened: Opened, now: int) -> None:
        """Note that a message came, and carry out and show what is new about it to this process."""
        message = arrival.message
        known = self._store.row(
            "SELECT stream, counter, shown, seen_at FROM seen WHERE room = ? AND sender = ? AND message = ?",
            *(self._room.id, opened.sender, message.id),
        )
        if known is not None and known["stream"] == UNREAD + message.id:
            known = None
        if known is None and not self._see(message, opened, now):
            self._say(EventKind.DUPLICATE, "used the number of an earlier message again", opened.sender)
            return
        overdue = False
        if known is None or (known["stream"], known["counter"]) != (opened.stream, opened.counter):
            # after a restart of the relay, posts that it may not have taken are sent again on another chain
            given_up = {opened.counter - 1 - place for place in range(limits.SKIPPED) if opened.given_up >> place & 1}
            overdue = self.gaps.count(opened.sender, opened.stream, opened.counter, given_up, now)
        first = (message.sender, message.id) not in self._handled
        self._handled[message.sender, message.id] = (now, self._incarnation)
        self._carry_out(message, opened, now, new=known is None)
        if isinstance(opened.content, Text | Action) and first and self._is_wanted(arrival, known, now):
            if self._overtakes(opened) or overdue:
                self._say(EventKind.REORDERED, "sent the next message before one that was shown already", opened.sender)
            self._show(message, opened, opened.content)

    def _overtakes(self, opened: Opened) -> bool:
        """Say whether a later message of its stream was shown before this one."""
        stream = (opened.sender, opened.stream)
        latest = self._latest.pop(stream, -1)
        self._latest[stream] = max(latest, opened.counter)
        if len(self._latest) > _STREAMS:
            del self._latest[next(iter(self._latest))]
        return opened.counter < latest

    def _see(self, message: ev.Message, opened: Opened, now: int) -> bool:
        """Record a message; say False if another one had its counter."""
        self._store.write(
            "DELETE FROM seen WHERE room = ? AND sender = ? AND message = ?", self._room.id, opened.sender, message.id
        )
        new = self._store.write(
            "INSERT OR IGNORE INTO seen (room, sender, message, stream, counter, generation, seen_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(self._room.id, opened.sender, message.id, opened.stream, opened.counter, opened.generation, now),
        )
        return bool(new)

    def _is_wanted(self, arrival: Arrival, known: sqlite3.Row | None, now: int) -> bool:
        """Say whether this process shows a text; ``known``: another process of the profile, or an earlier one, saw it.

        What is neither retained nor first seen since this process started is a replay, and nothing that waits for one.
        """
        unshown = known is None or not known["shown"]
        if self._reading is Reading.UNSHOWN:
            return unshown
        if arrival.backlog:
            return self._reading is Reading.BACKLOG or (self._reading is Reading.CONTINUED and unshown)
        if known is None or known["seen_at"] >= (self._started or 0):
            return True
        if now - known["seen_at"] > 2 * limits.UNSENT:
            self._say(
                EventKind.DUPLICATE, "sent a message that was shown already again", PeerId(arrival.message.sender)
            )
        return False

    def _carry_out(self, message: ev.Message, opened: Opened, now: int, *, new: bool) -> None:
        """Do what a message asks for: what one process waits for may have been ``new`` to another."""
        match opened.content:
            case Receipt():
                self._outbox.received(opened.content.message, opened.sender)
            case ChainKey() if new:
                self._take_chain(opened.sender, opened.content, now)
            case ChainKey():
                self.retry(("chain", ch.chain_id(self._room.id, opened.sender, opened.content.verify_key)), now)
            case Ask():
                self._outbox.asked(opened.sender, opened.content.chain, now)
            case Text() | Action() if new and opened.stream == ASIDES and self.receipts:
                due = now + self.receipts()
                generation = opened.sender_generation
                self._outbox.receipt(MessageId(message.id), opened.sender, generation, now, due)

    def _show(self, message: ev.Message, opened: Opened, content: Text | Action) -> None:
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

    def _take_chain(self, sender: PeerId, state: ChainKey, now: int) -> None:
        """Keep a chain, and open what waited for it."""
        chain = self._opener.keep_chain(sender, state, now + limits.CHAIN_LIFE + self._retention)
        self.gaps.follow(sender, chain, state.counter, now)
        self.gaps.ended(sender, state.previous, state.previous_count, now)
        self.retry(("chain", chain), now)

    def _missed(self, message: ev.Message, reason: str, now: int) -> None:
        """Tell once that a message came which cannot be read: one that another process has read is not missed."""
        if self._reading is Reading.NOTHING:
            return
        if self._unread.note(message.sender, message.id, now, self._started or 0):
            who = self._roster.person(PeerId(message.sender))
            what = f"a message of {who.label} can't be read ({reason})"
            self._emit(Show(Event(self._room.name, EventKind.MISSED, what, who=who, count=1, reason=reason)))

    def _say(self, kind: EventKind, what: str, peer: PeerId) -> None:
        if self._reading is not Reading.NOTHING:
            who = self._roster.person(peer)
            self._emit(Show(Event(self._room.name, kind, f"{who.label} {what}", who=who)))

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _keep_waiting(self, waiting: Arrival, now: int) -> None:
        if self._reading is Reading.NOTHING and not waiting.message.direct:
            return
        self._want(waiting)
        for dropped in self._waiting.add(waiting):
            self._missed(dropped.message, "too-many", now)

    def _want(self, waiting: Arrival) -> None:
        if waiting.why[0] == "card":
            _, peer, generation = waiting.why
            self.want_card(peer, generation)  # type: ignore[arg-type]  # as it was put in

    def retry(self, why: tuple[object, ...], now: int) -> None:
        """Try again what waits for ``why``: ("head",), ("chain", id) or ("card", peer, generation)."""
        for waiting in self._waiting.pick(lambda waiting: waiting.why[: len(why)] == why):
            self._try(waiting, now)

    def unavailable(self, peer: PeerId, generation: int, now: int) -> None:
        """Take note that the relay has no such card: what waits for it is missed."""
        for waiting in self._waiting.pick(lambda waiting: waiting.why == ("card", peer, generation)):
            self._missed(waiting.message, "no-key", now)

    def tick(self, now: int, attached_since: int | None, attached: int) -> None:
        """Tell gaps that stayed open, ask for chains, and end what 30 s of attachment did not resolve.

        ``attached``: for how many ms since the last tick the room was attached.
        """
        self._started = now if self._started is None else min(self._started, now)
        if self._reading is Reading.NOTHING or attached_since is None:
            return
        if not 0 <= now - self._forgot_at < _FORGET:
            self._forgot_at = now
            self._handled = {key: at for key, at in self._handled.items() if now - at[0] < 2 * limits.RETENTION_CAP}
            self._unread.forget(now)
        self._ask_for_chains(now, attached_since)
        if self._roster.membership is not None:
            self._settled.passes(attached, self._roster.membership)
        ahead = self._patience.passes(attached, (PeerId(w.message.sender) for w in self._waiting if self._is_ahead(w)))
        for waiting in self._waiting:
            waiting.since = min(waiting.since, now)  # the clock may have been set back
            waiting.waited += attached
        for waiting in self._waiting.pick(
            lambda w: (
                now - max(w.since, attached_since) >= limits.UNRESOLVED
                or w.waited >= limits.UNRESOLVED_IN_ALL
                or (w.message.sender in ahead and self._is_ahead(w))
            )
        ):
            self._give_up(waiting, now)
        if now - attached_since >= GRACE:
            self._tell_gaps(now)

    def _tell_gaps(self, now: int) -> None:
        self.gaps.tell(now, {waiting.message.sender for waiting in self._waiting})

    def _is_ahead(self, waiting: Arrival) -> bool:
        """Say whether a message waits for statements that the relay should have shown before it."""
        return waiting.why[0] == "head" and waiting.incarnation == self._incarnation

    def _ask_for_chains(self, now: int, attached_since: int) -> None:
        waited_for = {waiting.why for waiting in self._waiting}
        self._asked = {why: at for why, at in self._asked.items() if why in waited_for}
        asks = _ASKS
        for waiting in self._waiting:
            if waiting.why[0] != "chain" or now - max(waiting.since, attached_since) < _ASK_AFTER:
                continue
            if waiting.why in self._asked and 0 <= now - self._asked[waiting.why] < _ASK_AGAIN:
                continue
            if not asks:
                return
            asks -= 1
            self._asked[waiting.why] = now
            self._outbox.ask(waiting.why[1], PeerId(waiting.message.sender), now)  # type: ignore[arg-type]

    def _give_up(self, waiting: Arrival, now: int) -> None:
        """End the waiting of a message: what its sender knows of the room, an honest relay would have shown by now."""
        sender = PeerId(waiting.message.sender)
        unknown = waiting.why[0] == "head" or not self._roster.belonged(sender)
        if unknown and waiting.incarnation == self._incarnation:
            who = self._roster.person(sender).label
            what = f"{who} knows of changes to the room that the relay does not show you, or lies"
            self._roster.sound(AlarmKind.UNKNOWN_HEAD, sender, what, now)
        self._missed(waiting.message, "no-key", now)
