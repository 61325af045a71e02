"""Who is in the room, as this peer has verified it: the folded log, the newest cards, nicks, and who is online.

The relay only carries these things. A statement that does not fold, a place of the log that changes, or a second card
of one generation raises an alarm and changes nothing. Heads belong to an incarnation of the relay: after a restart a
log that differs is folded anew beside the old one, and replaces it when it is whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from peer.core.alarms import AlarmKind, Alarms
from peer.core.events import Event, EventKind, MemberInfo, Person
from peer.store import Room, Store
from peer.text import safe_nick
from protocol import identity, limits, names
from protocol import statement as st
from protocol.card import Card, check_newer
from protocol.errors import (
    AlreadyStated,
    AmbiguousNick,
    BackchannelError,
    BadCard,
    BadProfile,
    BadStatement,
    CannotOpen,
    CardConflict,
    OlderCard,
    UnknownNick,
)
from protocol.ids import Anchor, PeerId
from protocol.membership import START, Membership, Role

_NAMELESS: Final = 5 * limits.SECOND
Tell = Callable[[Event], None]


class Roster:
    """The members of one room."""

    def __init__(self, store: Store, room: Room, me: PeerId, tell: Tell) -> None:
        """Load what the profile knows of ``room``; new events go to ``tell``."""
        self._store, self._room, self._tell = store, room, tell
        self.me = me
        self.alarms = Alarms(store, room.id)
        self.online: set[PeerId] = set()
        log = [row[0] for row in store.rows("SELECT statement FROM log WHERE room = ? ORDER BY place", room.id)]
        try:
            self.membership: Membership | None = Membership.fold(log) if log else None
        except BackchannelError as error:
            raise BadProfile(f"the log of {room.name} is damaged ({error.code})") from None
        self._incoming: Membership | None = None
        self._joined: dict[PeerId, int] = {}
        """Who entered without having been announced yet."""
        self._cards: dict[PeerId, Card | None] = {}
        self._nicks: dict[PeerId, str] = {}
        self._labels: dict[PeerId, str] | None = None
        self._repeated: set[tuple[AlarmKind, bytes]] = set()
        """Alarms that were answered before and are told again, once."""
        self._last_labels: dict[PeerId, str] = {}
        """What everybody was called last, those included who have gone."""

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
        return (peer for peer in (self.membership.members if self.membership else ()) if peer != self.me)

    def statement(self, index: int, raw: bytes, now: int, *, restarted: bool) -> bool:
        """Take the statement at place ``index`` (from 1); say whether the log grew.

        ``restarted``: the relay is another incarnation than the one whose log is held, so a log from the start is no
        lie.
        """
        if self._incoming is not None and index == self._incoming.index + 1:
            return self._fold(self._incoming, raw, now, store=False)
        if self.membership is None or (index == 1 and restarted and raw == self.membership.log[0]):
            return self._begin(index, raw, now)
        if index == self.membership.index + 1:
            return self._fold(self.membership, raw, now, store=True)
        if index <= self.membership.index and self.membership.log[index - 1] == raw:
            return False
        self.sound(AlarmKind.LOG, b"", "The relay showed another log of this room than before.", now)
        return False

    def _begin(self, index: int, raw: bytes, now: int) -> bool:
        try:
            if index != 1 or st.room_id(raw) != self._room.id:
                raise BadStatement("another room's")
            self._incoming = Membership(raw)
        except BackchannelError as error:
            self.sound(AlarmKind.LOG, b"", f"The relay showed a log that is not this room's ({error.code}).", now)
            return False
        return True

    def _fold(self, membership: Membership, raw: bytes, now: int, *, store: bool) -> bool:
        self.person(self.me)
        try:
            statement = membership.apply(raw)
        except BackchannelError as error:
            self.sound(AlarmKind.LOG, b"", f"The relay showed an invalid statement ({error.code}).", now)
            return False
        if store:
            self._keep(membership)
            self._announce(statement, now)
        self._labels = None
        return True

    def adopt(self) -> None:
        """Make a log that came anew the room's log: the relay has gone on to what follows it.

        The restrictions of the old one that it lacks are kept until a relay takes them.
        """
        if self._incoming is None:
            return
        old, new = self.membership, self._incoming
        self.membership, self._incoming, self._labels = new, None, None
        with self._store.transaction():
            self._store.write_many(
                "INSERT OR IGNORE INTO restrictions (room, statement) VALUES (?, ?)",
                [(self._room.id, raw) for raw in (old.log[1:] if old else ()) if st.is_restriction(st.decode(raw))],
            )
            self._keep_all(new)
        if old:
            self._announce_changes(old, new)

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

    def lacking(self) -> list[bytes]:
        """Return the restrictions that were in an earlier log and that this one does not hold, but has to take.

        One whose signer lost the right to it with the earlier log binds nobody; but who was removed by it is not let
        in again for that (``gone``).
        """
        return [raw for raw, goes, fits in self._lacking() if fits or self._is_back(goes)]

    def _is_back(self, goes: PeerId | None) -> bool:
        return goes is not None and self.is_member(goes)

    def _lacking(self) -> list[tuple[bytes, PeerId | None, bool]]:
        """Return them, each with the member whom it has made go, and whether the log admits it now.

        One that fits no log now is kept: a relay that claims another restart may show one in which it matters again.
        """
        membership, found = self.membership, []
        for (raw,) in self._store.rows("SELECT statement FROM restrictions WHERE room = ?", self._room.id):
            statement = st.decode(raw)
            goes: PeerId | None = None
            if isinstance(statement, st.Remove | st.Leave):
                goes = statement.subject if isinstance(statement, st.Remove) else statement.signer
            try:
                if membership is not None:
                    membership.check(raw)
            except AlreadyStated:
                self._store.write("DELETE FROM restrictions WHERE room = ? AND statement = ?", self._room.id, raw)
            except BackchannelError:
                found.append((raw, goes, False))
            else:
                found.append((raw, goes, True))
        return found

    def gone(self) -> set[PeerId]:
        """Return the members of this log whose removal or leaving was in an earlier one, which a restart lost.

        Nothing is sealed for them until that is in the log again, or the user has accepted that the relay forgot it.
        """
        return {goes for _, goes, _ in self._lacking() if goes is not None and self.is_member(goes)}

    def taken(self, raw: bytes, incarnation: bytes) -> None:
        """Note that the relay said that it took this restriction."""
        sql = "UPDATE restrictions SET taken_by = ? WHERE room = ? AND statement = ?"
        self._store.write(sql, incarnation, self._room.id, raw)

    def was_taken(self, raw: bytes, incarnation: bytes) -> bool:
        """Say whether the relay said so, to any process, since it was started."""
        sql = "SELECT 1 FROM restrictions WHERE room = ? AND statement = ? AND taken_by = ?"
        return self._store.row(sql, self._room.id, raw, incarnation) is not None

    def abandon(self) -> None:
        """Forget a log that came only in part."""
        self._incoming = None

    def _keep(self, membership: Membership) -> None:
        """Store the statement just folded; the whole log, if another process has stored a later one meanwhile."""
        last = self._store.row(
            "SELECT place, statement FROM log WHERE room = ? ORDER BY place DESC LIMIT 1", self._room.id
        )
        if last is None or tuple(last) != (membership.index - 1, membership.log[-2]):
            self._keep_all(membership)
        else:
            self._store.write("INSERT INTO log VALUES (?, ?, ?)", self._room.id, membership.index, membership.log[-1])

    def _keep_all(self, membership: Membership) -> None:
        with self._store.transaction():
            self._store.write("DELETE FROM log WHERE room = ?", self._room.id)
            self._store.write_many(
                "INSERT INTO log VALUES (?, ?, ?)",
                [(self._room.id, place, raw) for place, raw in enumerate(membership.log, 1)],
            )

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
        impostors = [self._key_changed(peer) for peer in self.others() if self.is_impostor(peer)]
        return [*alarms, *impostors]

    def _alarm(self, kind: AlarmKind, subject: bytes, what: str) -> Event:
        who = self.person(PeerId(subject)) if subject else None
        return Event(self._room.name, EventKind.ALARM, what, who=who, reason=kind.value)

    def _key_changed(self, peer: PeerId) -> Event:
        who = self.person(peer)
        what = f"{who.label} has a nick that belonged to another identity: compare safety numbers before you accept it"
        return Event(self._room.name, EventKind.KEY_CHANGED, what, who=who)

    # -- cards --------------------------------------------------------------------------------------------------------

    def card(self, peer: PeerId) -> Card | None:
        """Return the newest card of ``peer``, or None."""
        if peer not in self._cards:
            row = self._store.row(
                "SELECT card FROM cards WHERE room = ? AND owner = ? ORDER BY generation DESC LIMIT 1",
                *(self._room.id, peer),
            )
            self._cards[peer] = self._decoded(row["card"]) if row else None
        return self._cards[peer]

    def card_of(self, peer: PeerId, generation: int) -> Card | None:
        """Return the card of ``peer`` of that generation, if it is held."""
        newest = self.card(peer)
        if newest and newest.generation == generation:
            return newest
        row = self._store.row(
            "SELECT card FROM cards WHERE room = ? AND owner = ? AND generation = ?", self._room.id, peer, generation
        )
        return self._decoded(row["card"]) if row else None

    def _decoded(self, raw: bytes) -> Card:
        """Unpack a card whenever it is from; how far ahead it may be is checked when it comes."""
        return Card.decode(raw, room=self._room.id, now=1 << 47)

    def take_card(self, raw: bytes, now: int, *, asked: bool = False) -> Card | None:
        """Verify and keep a card; return it if it is valid, whether or not it is the newest.

        A relay shows no card before the statement that let its owner in, unless it was ``asked`` for.
        """
        try:
            card = self._decoded(raw)
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
        held = self.card(card.owner)
        try:
            newer = check_newer(card, held)
        except OlderCard:
            newer = False
            same = self.card_of(card.owner, card.generation)
            if same and same.raw != card.raw:
                self._conflict(card, now)
                return None
        except CardConflict:
            self._conflict(card, now)
            return None
        self._store.write(
            "INSERT OR IGNORE INTO cards (room, owner, generation, card, seen_at) VALUES (?, ?, ?, ?, ?)",
            *(self._room.id, card.owner, card.generation, card.raw, now),
        )
        self._store.write(
            "DELETE FROM cards WHERE room = ? AND owner = ? AND generation <= (SELECT generation FROM cards "
            "WHERE room = ? AND owner = ? ORDER BY generation DESC LIMIT 1 OFFSET ?)",
            *(self._room.id, card.owner, self._room.id, card.owner, limits.CARDS),
        )
        if newer:
            self._cards[card.owner] = card
            self._nicks.pop(card.owner, None)
            self._labels = None
            self._note_nick(card.owner)
            self._welcome(card.owner)
        return card

    def belonged(self, peer: PeerId) -> bool:
        """Say whether ``peer`` is, or ever was, a member."""
        membership = self._incoming or self.membership
        return membership is not None and (peer in membership.members or peer in membership.left)

    def _conflict(self, card: Card, now: int) -> None:
        who = self.person(card.owner)
        what = f"Two different cards of one generation were signed by {who.label}: the first stands."
        self.sound(AlarmKind.CARD, card.owner, what, now)

    def newest_cards(self) -> list[Card]:
        """Return the newest card of every member that has one."""
        return [card for peer in (self.membership.members if self.membership else ()) if (card := self.card(peer))]

    # -- names --------------------------------------------------------------------------------------------------------

    def nick(self, peer: PeerId) -> str:
        """Return what ``peer`` calls itself, exactly; empty if nothing readable is known."""
        if peer not in self._nicks:
            card = self.card(peer)
            try:
                nick = names.open_nick(self._room.secret, self._room.id, peer, card.nick) if card else ""
            except CannotOpen:
                nick = ""
            self._nicks[peer] = nick
        return self._nicks[peer]

    def _note_nick(self, peer: PeerId) -> None:
        """Remember who had which nick first: a nick that was another's is shown as such until it is accepted."""
        nick = fold_nick(self.nick(peer))
        if not nick:
            return
        sql = "SELECT owner FROM nicks WHERE room = ? AND nick = ?"
        owners = {row["owner"] for row in self._store.rows(sql, self._room.id, nick)}
        if peer in owners:
            return
        self._store.write("INSERT INTO nicks VALUES (?, ?, ?, ?)", self._room.id, nick, peer, int(not owners))
        if owners and peer != self.me:
            self._labels = None
            self._tell(self._key_changed(peer))

    def is_impostor(self, peer: PeerId) -> bool:
        """Say whether the nick of ``peer`` was another identity's first, and was not accepted."""
        row = self._store.row(
            "SELECT accepted FROM nicks WHERE room = ? AND nick = ? AND owner = ?",
            *(self._room.id, fold_nick(self.nick(peer)), peer),
        )
        return row is not None and not row["accepted"]

    def accept(self, peer: PeerId) -> None:
        """Note that the user accepts that ``peer`` has that nick now."""
        self._store.write("UPDATE nicks SET accepted = 1 WHERE room = ? AND owner = ?", self._room.id, peer)
        self._labels = None

    def person(self, peer: PeerId) -> Person:
        """Return ``peer`` with a label that no other member has."""
        if self._labels is None:
            self._labels = self._label_all()
            self._last_labels |= self._labels
        label = self._labels.get(peer) or self._last_labels.get(peer)
        return Person(peer, self.nick(peer), label or self._suffixed(peer, 4))

    def _suffixed(self, peer: PeerId, letters: int) -> str:
        return f"{safe_nick(self.nick(peer))}~{identity.id_text(peer)[:letters]}"

    def _label_all(self) -> dict[PeerId, str]:
        groups: dict[str, list[PeerId]] = {}
        for peer in self.membership.members if self.membership else ():
            groups.setdefault(fold_nick(self.nick(peer)), []).append(peer)
        labels: dict[PeerId, str] = {}
        for peers in groups.values():
            if len(peers) == 1 and self.nick(peers[0]) and not self.is_impostor(peers[0]):
                labels[peers[0]] = safe_nick(self.nick(peers[0]))
                continue
            letters = 4
            while len({identity.id_text(peer)[:letters] for peer in peers}) < len(peers):
                letters += 1
            labels |= {peer: self._suffixed(peer, letters) for peer in peers}
        return labels

    def find(self, word: str) -> Person:
        """Return the member that ``word`` names: a nick, a label, an id or a fingerprint.

        A word of the shape of an id or fingerprint is never looked up as a nick. Raises ``UnknownNick``,
        ``AmbiguousNick``.
        """
        people = [self.person(peer) for peer in (self.membership.members if self.membership else ())]
        if identity.looks_like_id(word):
            found = [person for person in people if identity.matches(person.id, word)]
        else:
            nick, tilde, prefix = word.rpartition("~")
            if not tilde:
                nick = word
            # what follows ~ is always read as the beginning of an id: a nick that has one can't pass for a label
            found = [p for p in people if p.label == word] or [
                p for p in people if fold_nick(p.nick) == fold_nick(nick)
            ]
            if tilde:
                found = [p for p in found if identity.id_text(p.id).startswith(prefix.lower())]
        if not found:
            raise UnknownNick
        if len(found) > 1:
            raise AmbiguousNick(", ".join(person.label for person in found[:5]))
        return found[0]

    # -- presence -----------------------------------------------------------------------------------------------------

    def presence(self, *, whole: bool, online: tuple[bytes, ...], offline: tuple[bytes, ...]) -> None:
        """Take what the relay says of who is present."""
        if whole:
            self.online.clear()
        self.online.update(PeerId(peer) for peer in online)
        self.online.difference_update(PeerId(peer) for peer in offline)

    def members(self, now: int) -> list[MemberInfo]:
        """Return every member, the founder first, then by label."""
        if self.membership is None:
            return []
        infos = [
            MemberInfo(
                person=self.person(peer),
                role=member.role,
                online=peer in self.online,
                reachable=(card := self.card(peer)) is not None and not card.expired(now),
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


def fold_nick(nick: str) -> str:
    """Return ``nick`` as it is compared: as it is shown, without regard to case or to what only looks different."""
    return safe_nick(unicodedata.normalize("NFKC", nick)).casefold() if nick else ""
