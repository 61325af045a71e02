"""Who is in the room, as this peer has verified it: the folded log, and with it cards, names, and who is online.

The relay only carries these things. A statement that does not fold, a place of the log that changes, or a second card
of one generation raises an alarm and changes nothing. Heads belong to an incarnation of the relay: after a restart a
log that differs is folded anew beside the old one, and replaces it when it is whole. What another process of the
profile has folded meanwhile is known to this one before it says anything more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from peer.core.alarms import AlarmKind, Alarms
from peer.core.cards import Cards
from peer.core.events import Event, EventKind, MemberInfo, Person
from peer.core.ghosts import Ghosts, common
from peer.core.logbook import Logbook
from peer.core.people import People
from peer.core.restrictions import Kept, Restrictions
from peer.store import Room, Store
from protocol import limits
from protocol import statement as st
from protocol.card import Card
from protocol.errors import BackchannelError, BadCard, BadProfile, BadStatement, CardConflict
from protocol.ids import Anchor, PeerId
from protocol.membership import START, Membership, Role

_NAMELESS: Final = 5 * limits.SECOND
Tell = Callable[[Event], None]


class Roster:
    """The members of one room."""

    def __init__(self, store: Store, room: Room, me: PeerId, tell: Tell, *, reads: bool = True) -> None:
        """Load what the profile knows of ``room``; events go to ``tell``, and count as told if somebody ``reads``."""
        self._store, self._room, self._tell, self._reads = store, room, tell, reads
        self.me = me
        self.alarms = Alarms(store, room.id)
        self.online: set[PeerId] = set()
        self._logbook = Logbook(store, room)
        self.incarnation = self._logbook.mark().incarnation
        """The incarnation of the relay that the log belongs to."""
        self.membership: Membership | None = self._logbook.fold()
        self._incoming: Membership | None = None
        self.overtaken = False
        """Whether another process of the profile has gone on to another log, so that this connection counts no more."""
        self.replaced = 0
        """How often another log took the place of the one before: indices from before that mean nothing."""
        self._joined: dict[PeerId, int] = {}
        """Who entered without having been announced yet."""
        self._repeated: set[tuple[AlarmKind, bytes]] = set()
        """Alarms that were answered before and are told again, once."""
        self.cards = Cards(store, room)
        self.people = People(store, room, self.cards, self._members)
        self.restrictions = Restrictions(store, room, lambda: self.membership)
        self.ghosts = Ghosts(store, room, me, lambda: self.membership)

    # -- the log ------------------------------------------------------------------------------------------------------

    @property
    def anchor(self) -> Anchor:
        """The place of the log up to which everything is folded."""
        return self.membership.anchor if self.membership else Anchor(0, START)

    def is_member(self, peer: PeerId) -> bool:
        """Say whether ``peer`` belongs to the room now."""
        return self.membership is not None and peer in self.membership.members

    def others(self) -> Iterator[PeerId]:
        """Yield the members beside oneself."""
        return (peer for peer in self._members() if peer != self.me)

    def _members(self) -> Iterable[PeerId]:
        return self.membership.members if self.membership else ()

    def connected(self, now: int) -> None:
        """Take up the log that the profile's processes have come to."""
        with self._store.transaction():
            self.overtaken, self.incarnation = False, b""  # what is written down counts, whatever relay it is of
            if not self.catch_up(now) and (log := self._logbook.fold()) is not None:
                self._replace(log, now)
            self.overtaken = False
            self.incarnation = self._logbook.mark().incarnation
            self._tell_untold(now)

    def _tell_untold(self, now: int) -> None:
        """Tell what was folded by processes that only send."""
        told = self._logbook.told
        if self._reads and self.membership is not None and told:
            for raw in self.membership.log[told:]:
                self._announce(st.decode(raw), now)
                for peer in [peer for peer in self._joined if self.cards.newest(peer)]:
                    self._welcome(peer)
        self._note_told()

    def _note_told(self) -> None:
        if self.membership is not None and (self._reads or not self._logbook.told):
            self._logbook.told = self.membership.index

    def begin(self) -> None:
        """Take all that is in the log for old: one has just entered the room."""
        if self.membership is not None:
            self._logbook.told = self.membership.index

    def catch_up(self, now: int) -> bool:
        """Fold what other processes of the profile have written down; the caller holds the profile's lock.

        Return False if they have gone on to another log, under another incarnation of the relay.
        """
        mark = self._logbook.mark()
        if mark.head == self.anchor.head or self.overtaken:
            return not self.overtaken
        log, mine = self._logbook.log(), self.membership.log if self.membership else []
        if log[: len(mine)] == mine:
            for raw in log[len(mine) :]:
                self._take_up(raw, now)
        elif mark.incarnation != self.incarnation:
            self.overtaken = True
        elif log:
            self.restrictions.keep(log[1:])
            what = "The relay showed another program of yours another log of this room."
            self.sound(AlarmKind.LOG, b"", what, now)
        return not self.overtaken

    def _take_up(self, raw: bytes, now: int) -> None:
        try:
            if self.membership is None:
                self.membership = Membership(raw)
            else:
                self._announce(self.membership.apply(raw), now)
        except BackchannelError as error:
            raise BadProfile(f"the log of {self._room.name} is damaged ({error.code})") from None
        self.people.changed()
        self._note_told()

    def statement(self, index: int, raw: bytes, now: int, *, restarted: bool) -> None:
        """Take the statement at place ``index`` (from 1).

        ``restarted``: the relay is another incarnation than the one whose log is held, so a log from the start is no
        lie.
        """
        if self._incoming is not None and index == self._incoming.index + 1:
            self._apply(self._incoming, raw, now)
        elif not self.catch_up(now):
            return
        elif self.membership is None or (index == 1 and restarted and raw == self.membership.log[0]):
            self._begin(index, raw, now)
        elif index == self.membership.index + 1:
            self._fold(self.membership, raw, now)
        elif index > self.membership.index or self.membership.log[index - 1] != raw:
            self.sound(AlarmKind.LOG, b"", "The relay showed another log of this room than before.", now)

    def _begin(self, index: int, raw: bytes, now: int) -> None:
        try:
            if index != 1 or st.room_id(raw) != self._room.id:
                raise BadStatement("another room's")
            self._incoming = Membership(raw)
        except BackchannelError as error:
            self.sound(AlarmKind.LOG, b"", f"The relay showed a log that is not this room's ({error.code}).", now)

    def _apply(self, membership: Membership, raw: bytes, now: int) -> st.Statement | None:
        try:
            return membership.apply(raw)
        except BackchannelError as error:
            self.sound(AlarmKind.LOG, b"", f"The relay showed an invalid statement ({error.code}).", now)
            return None

    def _fold(self, membership: Membership, raw: bytes, now: int) -> None:
        self.person(self.me)
        is_written = self._logbook.mark().head == membership.head
        if (statement := self._apply(membership, raw, now)) is None:
            return
        if is_written:  # else the relay shows the profile's processes two logs: the one there is as good
            self._logbook.append(membership)
        self.people.changed()
        if self.ghosts.is_let_in(statement):
            self._warn_of([statement.signer], now)
        self._announce(statement, now)
        self._note_told()

    def adopt(self, incarnation: bytes, now: int) -> None:
        """Make a log that came anew the room's log: the relay has gone on to what follows it.

        The restrictions of the old one that it lacks are kept until a relay takes them.
        """
        if self._incoming is None or not self.catch_up(now):
            return
        new, self._incoming = self._incoming, None
        self._replace(new, now)
        self._logbook.replace(new, incarnation)
        self.incarnation = incarnation

    def _replace(self, new: Membership, now: int) -> None:
        old = self.membership
        ghosts = self.ghosts.compare(old, new) if old else set()
        self.restrictions.keep(old.log[1:] if old else ())
        self.membership = new
        self.replaced += 1
        self.people.changed()
        if old:
            self._announce_changes(old, new)
            if not self._reads:
                self._logbook.told = min(self._logbook.told, common(old.log, new.log))
        self._note_told()
        self._warn_of(ghosts, now)

    def _warn_of(self, ghosts: Iterable[PeerId], now: int) -> None:
        gone = self.restrictions.gone()  # they go with what is insisted on, if the relay is honest
        for peer in ghosts:
            if peer not in gone:
                self.sound(AlarmKind.WITHHELD, peer, self._why_ghost(peer), now)

    def _why_ghost(self, peer: PeerId) -> str:
        who = self.person(peer).label
        return (
            f"{who} came in by an invite that had ended, which a restart of the relay lost: "
            f"nothing is sealed for {who} until you accept it or {who} is removed"
        )

    def attached(self, incarnation: bytes, now: int) -> None:
        """Note that the log belongs to this incarnation of the relay, which has shown all of it."""
        if self.catch_up(now) and self._logbook.mark().head == self.anchor.head:
            self._logbook.label(incarnation)
            self.incarnation = incarnation

    def _announce_changes(self, old: Membership, new: Membership) -> None:
        """Tell how the log that a restart has brought differs from the one before: nobody enters or goes unseen."""
        for peer in new.members.keys() - old.members.keys() - {self.me}:
            self._joined[peer] = 0
        for peer in old.members.keys() - new.members.keys() - {self.me}:
            who = self.person(peer)
            kind, how = (
                (EventKind.BANNED, "is banned") if peer in new.banned else (EventKind.LEFT, "is in the room no more")
            )
            self._say(kind, f"{who.label} {how}, by the log that the relay has since its restart", who=who)
        for peer in new.members.keys() & old.members.keys():
            if (role := new.members[peer].role) is not old.members[peer].role:
                who = self.person(peer)
                what = "an admin" if role is Role.ADMIN else "a plain member"
                self._say(
                    EventKind.ROLE, f"{who.label} is {what}, by the log that the relay has since its restart", who=who
                )

    def abandon(self) -> None:
        """Forget a log that came only in part."""
        self._incoming = None

    def _announce(self, statement: st.Statement, now: int) -> None:
        by = self.person(statement.signer)
        match statement:
            case st.Admit() if statement.signer != self.me:
                self._joined[statement.signer] = now
            case st.Leave():
                self._welcome(statement.signer)
                self.online.discard(statement.signer)
                self._say(EventKind.LEFT, f"{by.label} left", who=by)
            case st.Remove():
                self._welcome(statement.subject)
                who = self.person(statement.subject)
                self.online.discard(statement.subject)
                kind, done = (EventKind.BANNED, "banned") if statement.ban else (EventKind.KICKED, "removed")
                self._say(kind, f"{by.label} {done} {who.label}", who=who, by=by)
            case st.Role():
                who = self.person(statement.subject)
                what = "an admin" if statement.admin else "a plain member"
                self._say(EventKind.ROLE, f"{by.label} made {who.label} {what}", who=who, by=by)
            case st.Close():
                self._say(EventKind.CLOSED, f"{by.label} closed the room", by=by)

    def _welcome(self, peer: PeerId) -> None:
        """Tell that ``peer`` joined, now that its card says what it is called, or did not come."""
        if self._joined.pop(peer, None) is not None:
            who = self.person(peer)
            self._say(EventKind.JOINED, f"{who.label} joined", who=who)

    def tick(self, now: int) -> None:
        """Announce those whose card does not come."""
        for peer, since in list(self._joined.items()):
            if now - since >= _NAMELESS:
                self._welcome(peer)

    def _say(self, kind: EventKind, what: str, *, who: Person | None = None, by: Person | None = None) -> None:
        self._tell(Event(self._room.name, kind, what, who=who, by=by))

    def sound(self, kind: AlarmKind, subject: bytes, what: str, now: int) -> None:
        """Raise an alarm about the relay and, if ``subject`` is a peer id, a member; tell it once."""
        if self.alarms.is_known(kind, subject, now):
            # a member could else stop all sending as often as it likes, with a lie that the user has seen through
            if (kind, subject) not in self._repeated:
                self._repeated.add((kind, subject))
                self._tell(self._alarm(kind, subject, what))
        elif self.alarms.sound(kind, subject, what, now):
            self._tell(self._alarm(kind, subject, what))

    def warnings(self) -> list[Event]:
        """Return what waits for the user's answer: the alarms that stand, and members whose nick was another's."""
        alarms = [self._alarm(alarm.kind, alarm.subject, alarm.what) for alarm in self.alarms.standing()]
        impostors = [self._key_changed(peer) for peer in self.others() if self.people.is_impostor(peer)]
        return [*alarms, *impostors]

    def doubtful(self) -> list[Event]:
        """Return of which members a removal is known that no relay can take any more, if no alarm says so yet."""
        said = {alarm.subject for alarm in self.alarms.standing() if alarm.kind is AlarmKind.WITHHELD}
        out = self.restrictions.gone()
        return [
            self._alarm(AlarmKind.WITHHELD, peer, why)
            for peer, why in self.left_out().items()
            if peer not in said and not (peer in out and out[peer].fits)
        ]

    def left_out(self) -> dict[PeerId, str]:
        """Return the members for whom nothing is sealed, and why: a restart of the relay lost what keeps them out."""
        ghosts = {peer: self._why_ghost(peer) for peer in self.ghosts.present()}
        return ghosts | {peer: self.why_gone(kept) for peer, kept in self.restrictions.gone().items()}

    def why_gone(self, kept: Kept) -> str:
        """Say why nothing is sealed for a member, or what the relay does not take."""
        by = self.person(kept.signer).label
        if kept.goes is None or not kept.is_back:
            return "The relay does not take a restriction that you know of."
        who = self.person(kept.goes).label
        done = f"{who} left" if kept.goes == kept.signer else f"{by} removed {who}"
        return (
            f"{done}, a restart of the relay lost that, and {who} is in the room: "
            f"nothing is sealed for {who} until you accept it or {who} is removed again"
        )

    def answer(self, subject: PeerId | bytes, now: int) -> int:
        """Note that the user accepts what was seen of ``subject`` (empty: of the relay alone); return how much it was.

        Who accepts that the relay forgot a removal need not hear of it again.
        """
        withheld = any(a.kind is AlarmKind.WITHHELD and a.subject == subject for a in self.alarms.standing())
        kept = self.restrictions.accept(PeerId(subject) if subject else None) if subject or withheld else 0
        kept += self.ghosts.accept(PeerId(subject)) if subject else 0
        return max(self.alarms.answer(subject, now), int(kept > 0))

    def _alarm(self, kind: AlarmKind, subject: bytes, what: str) -> Event:
        who = self.person(PeerId(subject)) if subject else None
        return Event(self._room.name, EventKind.ALARM, what, who=who, reason=kind.value)

    def _key_changed(self, peer: PeerId) -> Event:
        who = self.person(peer)
        what = f"{who.label} has a nick that belonged to another identity: compare safety numbers before you accept it"
        return Event(self._room.name, EventKind.KEY_CHANGED, what, who=who)

    # -- cards --------------------------------------------------------------------------------------------------------

    def take_card(self, raw: bytes, now: int, *, asked: bool = False) -> Card | None:
        """Verify and keep a card; return it if it is valid, whether or not it is the newest.

        A relay shows no card before the statement that let its owner in, unless it was ``asked`` for.
        """
        try:
            card = self.cards.decode(raw)
        except BadCard as error:
            owner = PeerId(raw[:32])
            what = f"The relay showed a card of {self.person(owner).label} that is not valid ({error.detail})."
            self.sound(AlarmKind.CARD, owner, what, now)
            return None
        except BackchannelError as error:
            self.sound(AlarmKind.CARD, b"", f"The relay showed a card that is not valid ({error.code}).", now)
            return None
        # one from the future may be none by the relay's clock, or by its owner's: that is no alarm
        if card.generation > now + limits.CARD_AHEAD:
            return None
        if not self.belonged(card.owner):
            if not asked:
                self.sound(AlarmKind.CARD, b"", "The relay showed a card of somebody who never entered.", now)
            return None
        try:
            newest = self.cards.keep(card, now)
        except CardConflict:
            who = self.person(card.owner)
            what = f"Two different cards of one generation were signed by {who.label}: the first stands."
            self.sound(AlarmKind.CARD, card.owner, what, now)
            return None
        if newest:
            if self.people.renamed(card.owner) and card.owner != self.me:
                self._tell(self._key_changed(card.owner))
            self._welcome(card.owner)
        return card

    def belonged(self, peer: PeerId) -> bool:
        """Say whether ``peer`` is, or ever was, a member."""
        membership = self._incoming or self.membership
        return membership is not None and (peer in membership.members or peer in membership.left)

    def newest_cards(self) -> list[Card]:
        """Return the newest card of every member that has one."""
        return [card for peer in self._members() if (card := self.cards.newest(peer))]

    def person(self, peer: PeerId) -> Person:
        """Return ``peer`` with a label that no other member has."""
        return self.people.person(peer)

    # -- presence -----------------------------------------------------------------------------------------------------

    def presence(self, *, whole: bool, online: tuple[bytes, ...], offline: tuple[bytes, ...]) -> None:
        """Take what the relay says of who is present."""
        if whole:
            self.online.clear()
        self.online.update(PeerId(peer) for peer in online)
        self.online.difference_update(PeerId(peer) for peer in offline)
        if len(self.online) > limits.MEMBERS:  # no room has so many: the relay names strangers, perhaps without end
            self.online.intersection_update(self.membership.members if self.membership else ())

    def members(self, now: int) -> list[MemberInfo]:
        """Return every member, the founder first, then by label."""
        if self.membership is None:
            return []
        infos = [
            MemberInfo(
                person=self.person(peer),
                role=member.role,
                online=peer in self.online,
                reachable=(card := self.cards.newest(peer)) is not None and not card.expired(now),
                verified=self._store.is_verified(peer),
                self=peer == self.me,
            )
            for peer, member in self.membership.members.items()
        ]
        return sorted(infos, key=lambda info: (-info.role, info.person.label))

    @property
    def role(self) -> Role:
        """One's own role."""
        member = self.membership.members.get(self.me) if self.membership else None
        return member.role if member else Role.MEMBER
