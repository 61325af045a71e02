"""What a member may say about the room itself: invite, promote, remove, revoke, leave, close; verify and accept people.

Each is a signed statement that the relay appends to the log if the room's rules admit it; what admits or promotes
names the newest head, and is signed again when the room changed meanwhile. Verifying and accepting stay in this
profile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from peer.core.events import Event, InviteInfo, Person
from peer.core.room import RoomCore
from peer.link import Link
from peer.store import Room as StoredRoom
from peer.store import Store
from protocol import identity as ids
from protocol import limits
from protocol import statement as st
from protocol.address import HostPort
from protocol.base32 import base32
from protocol.errors import (
    FounderStays,
    NotFound,
    StaleAnchor,
    UnknownNick,
    UsageError,
    WrongNumber,
)
from protocol.identity import SigningKey
from protocol.ids import Anchor, InviteId, PeerId
from protocol.invite import Invite, is_word
from protocol.membership import Role


class Moderated:
    """The part of a room that is about who belongs to it."""

    def __init__(self, store: Store, room: StoredRoom, core: RoomCore, link: Link) -> None:
        """Speak about ``room`` over ``link``."""
        self._store, self._room, self._core, self._link = store, room, core, link

    def person(self, word: str) -> Person:
        """Return the member that a nick, label, id or fingerprint names; raise ``UnknownNick``, ``AmbiguousNick``."""
        return self._core.roster.people.find(word)

    # -- statements ---------------------------------------------------------------------------------------------------

    async def invite(self, *, uses: int = 0, expires_in: float | None = None, timeout: float = 10.0) -> InviteInfo:
        """Grant an invite for ``uses`` entries (0: no bound) within ``expires_in`` seconds (None: for ever).

        Raises ``NotAllowed`` if one's role does not allow it, ``UsageError`` for numbers out of range.
        """
        if not 0 <= uses <= limits.INVITE_USES:
            raise UsageError(f"uses: 1 to {limits.INVITE_USES}, or 0 for no bound")
        if expires_in is not None and not 1 <= expires_in <= 10 * 365 * 86_400:
            raise UsageError("an invite expires after 1 second to 10 years")
        expires_at = self._link.now() + int(expires_in * limits.SECOND) if expires_in is not None else 0
        key = SigningKey.generate()
        identity = self._store.identity()

        def sign(anchor: Anchor) -> bytes:
            return st.grant(identity, self._room.id, anchor, InviteId(key.public), uses, expires_at)

        anchor = await self._state(sign, timeout)
        word = Invite(self._room.relay, self._room.id, key.seed, self._room.secret, anchor, self._addresses()).encode()
        return InviteInfo(self._room.name, word, InviteId(key.public), uses, expires_at or None)

    async def _state(self, sign: Callable[[Anchor], bytes], timeout: float) -> Anchor:
        """Submit what ``sign`` makes for the newest anchor until it is in the log; return the place just after it."""
        deadline = self._link.now() + int(timeout * limits.SECOND)
        while True:
            raw = sign(self._core.roster.anchor)
            request = self._core.submit(raw)
            self._link.kick()
            left = (deadline - self._link.now()) / limits.SECOND
            try:
                await self._link.wait(lambda: self._link.answered(request), left)  # noqa: B023 - awaited here
                await self._link.wait(lambda: self._place(raw) is not None, left)  # noqa: B023
            except StaleAnchor:
                continue
            finally:
                self._link.forget(request)
            place = self._place(raw)
            if place is not None:
                return place

    def _place(self, raw: bytes) -> Anchor | None:
        membership = self._core.roster.membership
        if membership is None or raw not in membership.log:
            return None
        index = membership.log.index(raw) + 1
        return Anchor(index, membership.heads[index])

    def _addresses(self) -> tuple[HostPort, ...]:
        return tuple(HostPort.parse(address) for address in self._room.addresses)

    async def role(self, word: str, *, admin: bool, timeout: float = 10.0) -> Person:
        """Make a member an admin, or a plain member again. Only the founder may (``NotAllowed``)."""
        person = self.person(word)
        me, room = self._store.identity(), self._room.id
        await self._state(lambda anchor: st.role(me, room, anchor, person.id, admin), timeout)
        return person

    async def remove(self, word: str, *, ban: bool, timeout: float = 10.0) -> Person:
        """Remove a member, with ``ban`` for ever; every invite granted before it ends.

        An id also names somebody who has left. Raises ``NotAllowed`` for who may not, ``FounderStays``.
        """
        person = self.anybody(word)
        me, room = self._store.identity(), self._room.id
        await self._state(lambda anchor: st.remove(me, room, anchor, person.id, ban), timeout)
        return person

    def anybody(self, word: str) -> Person:
        """Return whom ``word`` names, as ``person`` does; an id may also be that of one who has left."""
        try:
            return self.person(word)
        except UnknownNick:
            with suppress(ValueError):
                return self._core.roster.person(ids.parse_id(word))
            for warning in self.warnings():
                if warning.who and word in {warning.who.label, warning.who.nick}:
                    return warning.who
            raise

    async def revoke(self, invite: str, *, timeout: float = 10.0) -> InviteId:
        """End the live invite whose id (52 letters) is ``invite`` or begins with it, or which is the word ``invite``.

        Raises ``NotFound`` if there is none, ``BadInvite`` for a damaged word.
        """
        if is_word(invite):
            invite = base32(Invite.decode(invite).id)
        membership = self._core.roster.membership
        live = membership.grants if membership else {}
        found = [identifier for identifier in live if invite and base32(identifier).startswith(invite.lower())]
        if len(found) != 1:
            raise NotFound("no live invite has that id" if not found else "several invites begin like that")
        me, room = self._store.identity(), self._room.id
        await self._state(lambda anchor: st.revoke(me, room, anchor, found[0]), timeout)
        return found[0]

    async def leave(self, *, timeout: float = 10.0) -> None:
        """Leave the room, and forget its keys; raise ``FounderStays`` for its founder."""
        if self._core.roster.role is Role.FOUNDER:
            raise FounderStays
        me, room = self._store.identity(), self._room.id
        await self._state(lambda anchor: st.leave(me, room, anchor), timeout)
        self._store.leave_room(room)

    async def shut(self, *, timeout: float = 10.0) -> None:
        """Close the room for everybody and for good; only its founder may."""
        me, room = self._store.identity(), self._room.id
        await self._state(lambda anchor: st.close(me, room, anchor), timeout)
        self._store.leave_room(room)

    # -- people -------------------------------------------------------------------------------------------------------

    def safety_number(self, person: Person) -> str:
        """Return the 60 digits to compare with ``person`` over another way: both sides see the same.

        Raises ``UsageError`` for oneself.
        """
        if person.id == self._core.roster.me:
            raise UsageError("that is you: there is nothing to compare")
        return ids.safety_number(self._store.identity().id, person.id)

    def verify(self, person: Person, number: str) -> None:
        """Note that ``number`` was compared with exactly this identity; raise ``WrongNumber`` if it is another's.

        What is no safety number at all is a slip of whoever typed it, a ``UsageError``, and accuses nobody.
        """
        if not (digits := "".join(number.split())).isdecimal() or len(digits) != 60:
            raise UsageError("a safety number is 60 digits, in groups of five or not")
        if "".join(number.split()) != "".join(self.safety_number(person).split()):
            raise WrongNumber
        self._store.verify(person.id, self._link.now())

    def is_verified(self, person: Person) -> bool:
        """Say whether the safety number with ``person`` was compared."""
        return self._store.is_verified(person.id)

    def warnings(self) -> list[Event]:
        """Return what waits for an answer: alarms, which stop all sending here, and nicks that were another's."""
        return [*self._core.roster.warnings(), *self._core.roster.doubtful()]

    def accept(self, person: Person | None) -> int:
        """Answer what was seen of ``person``, a changed key or alarms (None: of the relay alone); return how many."""
        roster = self._core.roster
        subject = person.id if person else PeerId(b"")
        answered = roster.answer(subject, self._link.now())
        if person and roster.people.is_impostor(person.id):
            roster.people.accept(person.id)
            answered += 1
        return answered
