"""A room as one process of a peer holds it: the attachment, and everything that follows from what the relay delivers.

Deliveries, the clock and the user's wishes come in; ``Command``s go out. There is no socket and no clock here, so the
tests drive two of these over a wire that drops, repeats and reorders. The relay is believed about order, its clock and
who is online; everything else is verified by the parts that this module joins together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from peer.core.alarms import AlarmKind
from peer.core.commands import Answered, Command, Ended, HangUp, Ready, Show, Transmit
from peer.core.events import Event, EventKind, Reading
from peer.core.fetching import Fetching
from peer.core.inbox import Inbox
from peer.core.insistence import Insistence
from peer.core.outbox import Outbox
from peer.core.pace import Pace
from peer.core.patience import OVERSLEPT, SLEPT
from peer.core.publication import Publication
from peer.core.restoring import Restoring
from peer.core.roster import Roster
from peer.core.visits import Visits
from peer.keys import Keys, bury
from peer.store import Room, Store
from protocol import VERSION, limits
from protocol import envelope as ev
from protocol.content import Action, Text
from protocol.errors import (
    AlarmRaised,
    AlreadyMember,
    AlreadyStated,
    BackchannelError,
    BadInvite,
    Banned,
    ClockSkewed,
    Gone,
    IdentityChanged,
    Limit,
    NotMember,
    RateLimited,
    RoomClosed,
    UnknownRoom,
    WrongVersion,
    from_code,
)
from protocol.identity import Identity
from protocol.ids import Anchor, MessageId, PeerId
from protocol.primitives import new_message_id

_REFRESH: Final = 30 * limits.SECOND
_DRAINED: Final = limits.SECOND
"""After waking, how long what had come before the sleep is read before hanging up: it may be retained no longer."""


class RoomCore:
    """One room, one process."""

    def __init__(
        self,
        store: Store,
        room: Room,
        identity: Identity,
        *,
        reading: Reading,
        present: bool = False,
        publishes: bool | None = None,
        opening: bytes | None = None,
        expected: Anchor | None = None,
    ) -> None:
        """Prepare to attach.

        ``publishes``: rotate and publish cards (default: if it reads); ``opening``: a FOUND or ADMIT to submit before
        attaching; ``expected``: the anchor of an invite, which the log must hold.
        """
        self._store, self._room, self._reading, self._present = store, room, reading, present
        self._publishes = reading is not Reading.NOTHING if publishes is None else publishes
        self._expected = expected
        self._opening = opening
        self._opening_id = b""
        self._entered = False
        """Whether what follows is the first attachment since one entered."""
        self.waiting_for: BackchannelError | None = None
        """Why the room can't be entered yet, if that may pass."""
        self._commands: list[Command] = []
        self.keys = Keys(store, room, identity)
        reads = reading is not Reading.NOTHING
        self.roster = Roster(store, room, identity.id, self._tell, reads=reads)
        self.outbox = Outbox(store, room, self.keys, self.roster, self._emit)
        self.inbox = Inbox(store, room, self.keys, self.roster, self.outbox, self._emit, reading)
        self._fetching = Fetching(room, self._request)
        self.inbox.want_card = self._fetching.want
        self._welcome: ev.Welcome | None = None
        self._incarnation = room.incarnation
        self._visits = Visits(store, room, reads=self._publishes)
        self._cursors: tuple[int | None, int | None] = (None, None) if reading is Reading.NOTHING else (0, 0)
        self._shown = 0
        """Up to which place this connection has shown the log, or was told that it need not."""
        self._attaching = b""
        self._attached_since: int | None = None
        self._told = False
        """Whether the alarms that stood before were told."""
        self._told_early: set[tuple[EventKind, str | None, PeerId | None]] = set()
        """What was told before that."""
        self._caught_up = False
        """Whether the backlog of the first attachment is over."""
        self._followed = 0
        """How many statements had been folded when that was last acted upon."""
        self._restoring = Restoring(room, self._request)
        self._begins_again = False
        """Whether to try to get in once more on this connection, when ``_pace`` lets."""
        self._pace = Pace()
        self._publication = Publication(room, self.keys, self.roster, self._request, rotates=self._publishes)
        self._submitted: set[bytes] = set()
        self._insistence = Insistence(room, self.roster, self._request)
        self._ticked = 0
        self._awake = 0
        """When anything was last done here."""
        self._woke: int | None = None
        """Since when nothing is said on this connection, because a sleep came into it."""
        self._ended = False

    def take(self) -> list[Command]:
        """Return, and forget, what the shell must do now."""
        commands, self._commands = self._commands, []
        return commands

    def _emit(self, command: Command) -> None:
        self._commands.append(command)

    def _tell(self, event: Event) -> None:
        if not self._told:
            self._told_early.add(_subject(event))
        self._emit(Show(event))

    def _request(self, request: ev.Request) -> bytes:
        self._emit(Transmit(request))
        return request.id

    def _end(self, error: BackchannelError) -> None:
        if not self._ended:
            self._ended = True
            self._emit(Ended(error))

    @property
    def attached(self) -> bool:
        """Whether the room is attached and caught up."""
        return self._attached_since is not None

    @property
    def settled(self) -> bool:
        """Whether everything that was retained has been opened or given up."""
        return self.attached and self._fetching.idle

    # -- what the user wants ------------------------------------------------------------------------------------------

    def check_sendable(self, to: Sequence[PeerId]) -> None:
        """Raise ``AlarmRaised`` while an alarm stands, or if a removal of one of ``to`` is known that a restart lost.

        Raise ``IdentityChanged`` for a nick that was another identity's, ``ClockSkewed`` while a clock is wrong.
        """
        if isinstance(self.waiting_for, ClockSkewed):
            raise ClockSkewed
        if standing := self.roster.alarms.standing():
            raise AlarmRaised(standing[0].what)
        out = self.roster.left_out() if to else {}
        for peer in to:
            if peer in out:
                raise AlarmRaised(out[peer])
            if self.roster.people.is_impostor(peer):
                raise IdentityChanged(self.roster.person(peer).label)

    def send(self, content: Text | Action, to: Sequence[PeerId], now: int) -> list[MessageId]:
        """Send to each of ``to``, or to the room if there is none; return the ids. Fates come as ``Settled``."""
        self._wake(now)
        self.check_sendable(to)
        recipients: list[PeerId | None] = [*to] or [None]
        return [self.outbox.post(content, peer, now) for peer in recipients]

    def submit(self, statement: bytes) -> bytes:
        """Submit a statement; ``Answered`` with the returned id tells what became of it."""
        identifier = self._request(ev.Submit(new_message_id(), self._room.id, statement))
        self._submitted.add(identifier)
        return identifier

    # -- the connection -----------------------------------------------------------------------------------------------

    def connected(self, welcome: ev.Welcome, now: int, *, since: int) -> None:
        """Attach, after the HELLO sent at ``since`` was answered; end with an error if the two cannot work together.

        The relay told its time somewhen between: a machine may have slept over the answer. Raise ``ClockSkewed`` if
        one of the clocks was set since the last attachment: it may be set right again.
        """
        self._awake = now
        if welcome.version != VERSION:
            return self._end(WrongVersion())
        if not since - limits.CLOCK_SKEW <= welcome.clock <= now + limits.CLOCK_SKEW:
            if not self._caught_up:
                return self._end(ClockSkewed())
            self.waiting_for = ClockSkewed()
            self.outbox.stop(self.waiting_for)
            raise self.waiting_for
        self._welcome, self.waiting_for = welcome, None
        self._restoring.begin()
        if welcome.incarnation != self._incarnation and (self._caught_up or self._reading is not Reading.NOTHING):
            self._cursors = (0, 0)
        away = self._visits.away(welcome.incarnation, self._retention, now)
        self.roster.connected(now)
        self.inbox.connected(welcome.incarnation, self._retention, now, away=away)
        self._begin()
        return None

    def _begin(self) -> None:
        self._begins_again = False
        if self._opening is None:
            self._attach()
        else:
            self._opening_id = self._request(ev.Submit(new_message_id(), self._room.id, self._opening))

    def _attach(self) -> None:
        anchor, (room_cursor, aside_cursor) = self.roster.anchor, self._cursors
        self._shown = anchor.index
        self.roster.abandon()
        self._publication.attaching()
        request = ev.Attach(
            new_message_id(), self._room.id, self._present, anchor.index, anchor.head, room_cursor, aside_cursor
        )
        self._attaching = self._request(request)

    def _begin_later(self, error: BackchannelError, now: int) -> None:
        self.waiting_for, self._begins_again = error, True
        self._pace.refused(now)

    def disconnected(self) -> None:
        """Keep everything for the next connection."""
        self._attached_since = self._woke = None
        self._attaching = b""
        self.outbox.detached()
        for identifier in self._submitted:
            self._emit(Answered(identifier, Gone()))
        self._submitted.clear()
        self._publication.disconnected()
        self._insistence.disconnected()
        self._fetching.disconnected()
        self._restoring.begin()
        self._begins_again = False

    def receive(self, deliveries: Iterable[ev.Delivery], now: int) -> None:
        """Take what a frame held, as one transaction of the profile."""
        self._wake(now)
        bury(self._store, now)
        with self._store.transaction():
            for delivery in deliveries:
                if not self._ended and not self.roster.overtaken:
                    self._take(delivery, now)
        self._hang_up_if_overtaken()

    def _hang_up_if_overtaken(self) -> None:
        """Begin again where another process of the profile is: it has seen the relay restarted, with another log."""
        if self.roster.overtaken and (self.attached or self._attaching):
            self.disconnected()
            self._emit(HangUp())

    def _take(self, delivery: ev.Delivery, now: int) -> None:
        match delivery:
            case ev.Accepted(ids):
                for identifier in ids:
                    self._accepted(identifier, now)
                self.outbox.flush_held_back(now)
            case ev.Refused(identifier, reason):
                self._refused(identifier, from_code(reason), now)
            case ev.Statement() if delivery.room == self._room.id:
                self._statement(delivery, now)
            case ev.Card() if delivery.room == self._room.id:
                self._adopt(now)
                self._card(delivery.card, now)
            case ev.Presence() if delivery.room == self._room.id:
                self.roster.presence(whole=delivery.whole, online=delivery.online, offline=delivery.offline)
            case ev.Message() if delivery.room == self._room.id:
                self._message(delivery, now)
            case ev.Attached() if delivery.id == self._attaching and self._woke is None:
                self._attached(delivery, now)
            case ev.Closed() if delivery.room == self._room.id and self._attached_since is not None:
                self._attached_since = None
                self.outbox.detached()
                self._attach()

    # -- the attachment -----------------------------------------------------------------------------------------------

    def _statement(self, delivery: ev.Statement, now: int) -> None:
        restarted = self._welcome is not None and self._welcome.incarnation != self.roster.incarnation
        self._shown = delivery.index
        self.roster.statement(delivery.index, delivery.statement, now, restarted=restarted)
        self._follow_log(now)

    def _follow_log(self, now: int) -> None:
        """Do what the growth of the log makes possible, or necessary."""
        membership = self.roster.membership
        if membership is None or not self.attached or membership.index == self._followed:
            return
        self._followed = membership.index
        self.inbox.retry(("head",), now)
        self.outbox.flush(now)
        if membership.closed:
            self._end(RoomClosed())
        elif self.roster.me in membership.banned:
            self._end(Banned())
        elif not self.roster.is_member(self.roster.me):
            self._end(NotMember())

    def _adopt(self, now: int) -> None:
        if self._welcome is not None:
            self.roster.adopt(self._welcome.incarnation, now)

    def _message(self, delivery: ev.Message, now: int) -> None:
        self._adopt(now)
        room, aside = self._cursors
        if delivery.direct:
            self._cursors = (room, max(aside or 0, delivery.number))
        else:
            self._cursors = (max(room or 0, delivery.number), aside)
        self.inbox.message(delivery, now, backlog=not self._caught_up)

    def _attached(self, delivery: ev.Attached, now: int) -> None:
        welcome = self._welcome
        if welcome is None:
            return None
        self._adopt(now)
        if self.roster.overtaken:
            return None
        named = Anchor(delivery.index, delivery.head)  # type: ignore[arg-type]
        held = self.roster.membership
        if held is None or not held.agrees(named) or named.index < self._shown:
            self.roster.sound(AlarmKind.LOG, b"", "The relay names another state of the room than it showed.", now)
        membership = self.roster.membership
        if membership is None or (self._expected and not membership.agrees(self._expected)):
            return self._end(BadInvite("the relay shows another room than the one it was made for"))
        self._expected = None
        self._attaching, self.waiting_for = b"", None
        self._pace.accepted()
        restarted = welcome.incarnation != self._incarnation
        self._incarnation = welcome.incarnation
        self._cursors = (delivery.room_number, delivery.aside_number)
        self._attached_since = now
        self._caught_up = True
        self._followed = delivery.index
        self.roster.attached(self._incarnation, now)
        if self._entered:
            self._entered = False
            self.roster.begin()
        self._visits.note(self._incarnation, now)
        self.inbox.attached(now)
        self._insistence.attached(self._incarnation, now)
        if restarted or self._restoring.done:
            self._publication.bring_back(now)
        self._publication.publish(now)
        self.outbox.attached(welcome.incarnation, now)
        if self._reading is not Reading.NOTHING and not self._told:
            self._told = True
            for warning in self.roster.warnings():
                if _subject(warning) not in self._told_early:
                    self._emit(Show(warning))
        self._emit(Ready())
        return None

    # -- cards --------------------------------------------------------------------------------------------------------

    def _card(self, raw: bytes, now: int) -> None:
        card = self.roster.take_card(raw, now, asked=self._fetching.asks_for(raw[:32]))
        if card is None:
            return
        self._publication.shown(card)
        if card.owner == self.roster.me:
            self._own_card(card.generation, now)
        self.inbox.retry(("card", card.owner, card.generation), now)

    def _own_card(self, generation: int, now: int) -> None:
        newest = self.keys.newest()
        if newest is None or generation > newest.generation:
            what = "Somebody else signs cards with your identity: its profile was copied or stolen."
            self.roster.sound(AlarmKind.CARD, self.roster.me, what, now)
        else:
            self.keys.was_accepted(generation, self._retention, now)

    @property
    def _retention(self) -> int:
        return self._welcome.retention_s * limits.SECOND if self._welcome else limits.RETENTION_CAP

    # -- answers ------------------------------------------------------------------------------------------------------

    def _accepted(self, identifier: bytes, now: int) -> None:
        if self.outbox.accepted(identifier):
            return
        if identifier == self._opening_id:
            self._opened()
        if (generation := self._publication.accepted(identifier)) is not None:
            self.keys.was_accepted(generation, self._retention, now)
            self.outbox.flush(now)
        elif self._insistence.accepted(identifier, self._incarnation):
            return
        elif identifier in self._submitted:
            self._submitted.discard(identifier)
            self._emit(Answered(identifier))
        elif identifier in self._fetching:
            self.inbox.unavailable(*self._fetching.accepted(identifier), now)

    def _refused(self, identifier: bytes, error: BackchannelError, now: int) -> None:
        if identifier == self._opening_id:
            self._opening_refused(error, now)
        elif identifier == self._attaching:
            self._attaching = b""
            self._attachment_refused(error, now)
        elif self._restoring.refused(identifier, error) or self.outbox.refused(identifier, error, now):
            return
        elif identifier in self._submitted:
            self._submitted.discard(identifier)
            self._emit(Answered(identifier, error))
        elif identifier in self._fetching:
            if missing := self._fetching.refused(identifier, error, now):
                self.inbox.unavailable(*missing, now)
        else:
            self._insistence.refused(identifier, error, now)
            self._publication.refused(identifier, error, now)

    def _attachment_refused(self, error: BackchannelError, now: int) -> None:
        if isinstance(error, Limit):
            self._begin_later(error, now)
        elif isinstance(error, UnknownRoom) and (limit := self._restoring.limit):
            self._begin_later(limit, now)
        elif isinstance(error, UnknownRoom) and self.roster.membership and not self._restoring.done:
            self._restoring.bring(self.roster.membership.log)
            self._attach()
        elif isinstance(error, NotMember) and self.roster.is_member(self.roster.me):
            self._end(NotMember("you were removed meanwhile, or the relay lost your admission in a restart"))
        else:
            self._end(error)

    def _opened(self) -> None:
        self._opening, self._opening_id, self.waiting_for = None, b"", None
        self._entered = True
        self._attach()

    def _opening_refused(self, error: BackchannelError, now: int) -> None:
        self._opening_id = b""
        if isinstance(error, AlreadyMember | AlreadyStated):
            self._opened()
        elif isinstance(error, UnknownRoom | RateLimited):
            if isinstance(error, UnknownRoom):
                self._pace.accepted()  # whoever brings the room back may come at any moment
            self._begin_later(error, now)
        else:
            self._end(error)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _wake(self, now: int) -> None:
        """Say nothing more on this connection if much time passed in which nothing was done here, or the clock was set.

        Whatever is said before the relay has shown how the log went on names a place that is long past. It would be
        sent again as it is on the next connection, and look to everybody as if the relay held its sender behind.
        A clock is held against the relay's on the next connection, before any key is made by it.
        """
        slept, self._awake = now - self._awake, now
        if not -OVERSLEPT < slept < OVERSLEPT and (self.attached or self._attaching):
            self._woke = now
            self.outbox.detached()

    def tick(self, now: int) -> None:
        """Let due things happen; call it about twice a second, and first thing after a sleep."""
        self._wake(now)
        self._hang_up_if_overtaken()
        if self._woke is not None and not 0 <= now - self._woke < _DRAINED:
            self.disconnected()
            self._emit(HangUp())
        bury(self._store, now)
        attached = 0
        if self._attached_since is not None:
            if 0 <= now - self._ticked < SLEPT:
                attached = now - max(self._ticked, self._attached_since)
            else:
                self._attached_since = (
                    now  # asleep, nothing was read: an honest relay could not have shown it meanwhile
                )
        self._ticked = now
        self.roster.tick(now)
        self._follow_log(now)
        self.outbox.tick(now)
        self.inbox.tick(now, self._attached_since, attached)
        if self._attached_since is None:
            self._try_again(now)
            return
        if self._woke is not None:
            return
        self._publication.publish(now)
        if self._reading is not Reading.NOTHING and not 0 <= now - self._visits.noted < _REFRESH:
            self._visits.note(self._incarnation, now)
        self._insistence.tick(now, self._attached_since, attached)
        self._fetching.tick(now)

    def _try_again(self, now: int) -> None:
        if not self._begins_again or self._pace.rests(now):
            return
        if self._restoring.limit:
            self.disconnected()
            self._emit(HangUp())
        else:
            self._begin()


def _subject(event: Event) -> tuple[EventKind, str | None, PeerId | None]:
    """Return by what two warnings are one, in whatever words."""
    return event.kind, event.reason, event.who.id if event.who else None
