"""The Python API, which the commands themselves use: a ``Peer`` is a profile, a ``Room`` one attached room.

    async with Peer.open() as peer:
        room = await peer.attach("team")
        await room.send("careful with chuck", to="bob", wait=State.DELIVERED)
        async for message in room:
            print(message.sender.label, message.shown)

Times are in seconds where they are waited for and in ms since 1970 where they are told. Every failure is one of
``protocol.errors``; a time-out leaves nothing half done. Not for several threads.
"""

from __future__ import annotations

import getpass
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from peer.core.events import (
    Event,
    IdentityInfo,
    InviteInfo,
    MemberInfo,
    Message,
    Person,
    Reading,
    RoomInfo,
    Sent,
    State,
)
from peer.core.room import RoomCore
from peer.keys import bury
from peer.link import Link, now_ms
from peer.store import Room as StoredRoom
from peer.store import Store
from peer.text import safe_text, slug
from protocol import limits, names
from protocol import statement as st
from protocol.address import HostPort, RelayAddress
from protocol.content import Action, Text
from protocol.errors import (
    StaleAnchor,
    TooLarge,
    UsageError,
)
from protocol.identity import SigningKey
from protocol.invite import Invite
from protocol.membership import Membership
from protocol.primitives import (
    Anchor,
    InviteId,
    RelayKey,
    RoomId,
    RoomSecret,
    from_base32,
)
from protocol.primitives import base32 as to_base32
from protocol.primitives import random as random_bytes

_RECEIPT_JITTER: Final = limits.SECOND
_RETRY_S: Final = 0.5


def default_nick() -> str:
    """Return the system's name of the user, made fit to be a nick."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = ""
    fit = "".join(c for c in name if c.isalnum() or c in "._-").lstrip("-")[: limits.NICK // 4]
    try:
        return names.check_nick(fit)
    except UsageError:
        return "peer"


class Peer:
    """A profile: an identity and its rooms. Open it with ``async with Peer.open() as peer``."""

    def __init__(self, home: Path | None, clock: Callable[[], int] = now_ms) -> None:
        """Use ``open``."""
        self._home, self._clock = home, clock
        self._opened: Store | None = None
        self._rooms: list[Room] = []

    @classmethod
    def open(cls, home: Path | None = None, *, ephemeral: bool = False, clock: Callable[[], int] = now_ms) -> Peer:
        """Return the profile in the folder ``home`` (default: the platform's data folder), to be entered.

        ``ephemeral`` keeps it in memory. Entering it makes the profile if there is none; it raises ``BadProfile`` or
        ``ProfileTooNew`` if it cannot be used.
        """
        if ephemeral:
            return cls(None, clock)
        if home is None:
            from platformdirs import user_data_path  # noqa: PLC0415 - not needed where a home is given

            home = user_data_path("backchannel", appauthor=False)
        return cls(home, clock)

    async def __aenter__(self) -> Self:
        """Open the profile; what is overdue in it dies first."""
        nick = default_nick()
        self._opened = Store.open(self._home, nick) if self._home else Store.in_memory(nick)
        bury(self._opened, self._clock())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the rooms that are still open, and the profile."""
        await self.close()

    async def close(self) -> None:
        """Close the rooms that are still open, and the profile."""
        for room in list(self._rooms):
            await room.close()
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _store(self) -> Store:
        if self._opened is None:
            raise UsageError("the peer is not open")
        return self._opened

    def whoami(self) -> IdentityInfo:
        """Return who this profile is."""
        home = str(self._home) if self._home else None
        return IdentityInfo(self._store.nick, self._store.identity().id, home)

    def rooms(self) -> list[RoomInfo]:
        """Return the rooms of this profile, by local name."""
        return [_room_info(self._store, room) for room in self._store.rooms()]

    async def create(self, title: str, relay: str, *, nick: str | None = None, timeout: float = 10.0) -> InviteInfo:
        """Found a room called ``title`` on the relay at HOST:PORT/KEY; return its first invite.

        Raises ``UsageError`` for a name that is taken or no name, ``BadAddress``, ``UnreachableError``, ``Refused``.
        """
        address = RelayAddress.parse(relay)
        name = slug(names.check_title(title))
        if any(room.name == name for room in self._store.rooms()):
            raise UsageError(f"there is a room called {name} already; choose another name")
        identity = self._store.identity()
        salt, secret = random_bytes(16), RoomSecret(random_bytes(32))
        sealed = names.seal_title(secret, identity.id, salt, title)
        found = st.found(identity, salt, self._clock(), False, sealed)
        room = self._store.add_room(
            st.room_id(found),
            name=name,
            title=title,
            nick=self._nick(nick),
            secret=secret,
            relay=RelayKey(from_base32(address.key)),
            addresses=[str(address.at)],
        )
        self._store.write("INSERT INTO log VALUES (?, 1, ?)", room.id, found)
        async with self._entering(room, opening=found, timeout=timeout) as entered:
            return await entered.invite(timeout=timeout)

    async def join(self, word: str, *, nick: str | None = None, timeout: float = 10.0) -> str:
        """Enter the room that an invite word leads to; return its local name.

        Raises ``BadInvite``, ``InviteEnded`` and its kin, ``Banned``, ``UnreachableError``, ``UnknownRoom`` if the
        relay does not know the room (it comes back with any of its members).
        """
        invite = Invite.decode(word)
        identity = self._store.identity()
        known = self._store.room_by_id(invite.room)
        anchor = invite.anchor
        if known and known.attached_at:
            membership = Membership.fold(_log(self._store, known.id))
            if identity.id in membership.members:
                return known.name
            anchor = max(anchor, membership.anchor, key=lambda place: place.index)
        else:
            chosen = self._nick(nick)
            known = self._store.add_room(
                invite.room,
                name="room",
                title="",
                nick=chosen,
                secret=invite.secret,
                relay=invite.relay,
                addresses=[str(address) for address in invite.addresses],
            )
        admit = st.admit(identity, invite.room, anchor, invite.key)
        async with self._entering(known, opening=admit, expected=invite.anchor, timeout=timeout) as entered:
            return entered.name

    @asynccontextmanager
    async def _entering(
        self, room: StoredRoom, *, opening: bytes, timeout: float, expected: Anchor | None = None
    ) -> AsyncIterator[Room]:
        """Attach to a room for the first time; forget it again if that fails."""
        new = not room.attached_at
        core = RoomCore(
            self._store,
            room,
            self._store.identity(),
            reading=Reading.NOTHING,
            publishes=True,
            opening=opening,
            expected=expected,
        )
        entered = Room(self, self._store, room, core, Link(core, room, self._store.identity(), self._clock))
        try:
            await entered._enter(timeout)  # noqa: SLF001 - the other half of this class
        except BaseException:
            await entered.close()
            if new:
                self._store.forget_room(room.id)
            raise
        try:
            yield entered
        finally:
            await entered.close()

    async def attach(
        self,
        room: str,
        *,
        reading: Reading = Reading.LIVE,
        present: bool = False,
        receipts: bool = True,
        timeout: float = 10.0,
    ) -> Room:
        """Attach to the room with the local name ``room``; what is retained was taken in when this returns.

        ``present`` shows the others that one is online. Raises ``UnknownRoom``, ``UnreachableError``, ``TimedOut``,
        ``NotMember``, ``Banned``, ``RoomClosed``.
        """
        stored = self._store.room(room)
        identity = self._store.identity()
        core = RoomCore(self._store, stored, identity, reading=reading, present=present)
        if receipts and reading is not Reading.NOTHING:
            core.inbox.receipts = lambda: random.randrange(_RECEIPT_JITTER)  # noqa: S311 - no secret
        attached = Room(self, self._store, stored, core, Link(core, stored, identity, self._clock))
        self._rooms.append(attached)
        try:
            await attached._attach(timeout)  # noqa: SLF001 - the other half of this class
        except BaseException:
            await attached.close()
            raise
        return attached

    def _nick(self, nick: str | None) -> str:
        return names.check_nick(nick) if nick is not None else self._store.nick

    def _forget(self, room: Room) -> None:
        if room in self._rooms:
            self._rooms.remove(room)


class Room:
    """One attached room. Iterating it yields messages as they come; ``next`` yields events too."""

    def __init__(self, peer: Peer, store: Store, room: StoredRoom, core: RoomCore, link: Link) -> None:
        """Use ``Peer.attach``."""
        self._peer, self._store, self._room, self._core, self._link = peer, store, room, core, link
        self._handed: list[tuple[bytes, bytes]] = []

    @property
    def name(self) -> str:
        """The room's local name."""
        return self._room.name

    async def __aenter__(self) -> Self:
        """Return the room."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the room."""
        await self.close()

    async def _attach(self, timeout: float) -> None:
        self._link.start()
        await self._link.ready(timeout)

    async def _enter(self, timeout: float) -> None:
        """Attach for the first time, publish a card, and take the room into the profile under its title."""
        await self._attach(timeout)
        await self._link.wait(lambda: self._core.keys.accepted() is not None, timeout)
        found = self._core.roster.membership.found if self._core.roster.membership else None
        if found is not None and not self._room.title:
            title = names.open_title(self._room.secret, found.signer, found.salt, found.title)
            name = self._store.rename_room(self._room.id, slug(title), title)
            self._room.name, self._room.title = name, title

    async def close(self) -> None:
        """Let receipts leave (they are jittered by up to a second), then detach."""
        self._mark_shown()
        await self._link.close()
        self._peer._forget(self)  # noqa: SLF001 - the other half of this class

    # -- people -------------------------------------------------------------------------------------------------------

    def members(self) -> list[MemberInfo]:
        """Return the members, the founder first."""
        return self._core.roster.members(self._link.now())

    def person(self, word: str) -> Person:
        """Return the member that a nick, label, id or fingerprint names; raise ``UnknownNick``, ``AmbiguousNick``."""
        return self._core.roster.find(word)

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
        return InviteInfo(self.name, word, InviteId(key.public), uses, expires_at or None)

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

    # -- messages -----------------------------------------------------------------------------------------------------

    async def send(
        self,
        text: str,
        *,
        to: str | Sequence[str] | None = None,
        action: bool = False,
        wait: State = State.RELAYED,
        timeout: float = 10.0,
    ) -> list[Sent]:
        """Send ``text`` (at most 64 KiB) to the room, or to each member that ``to`` names, sealed for it alone.

        Returns what became of it for each recipient once all got as far as ``wait``. Raises ``UsageError``,
        ``TooLarge``, ``UnknownNick``, ``Expired``, ``AlarmRaised``, ``IdentityChanged``, ``Refused``; ``TimedOut``
        after ``timeout`` seconds, and then no more of it is sent.
        """
        words = [to] if isinstance(to, str) else list(to or ())
        if not text:
            raise UsageError("there is no text to send")
        if len(text.encode("utf-8", "surrogatepass")) > limits.TEXT:
            raise TooLarge(f"a text has at most {limits.TEXT} bytes")
        if wait is State.DELIVERED and not words:
            raise UsageError("only a message to somebody can be waited for until it is delivered")
        people = list(dict.fromkeys(self.person(word) for word in words))
        if any(person.id == self._core.roster.me for person in people):
            raise UsageError("that is you")
        content = (Action if action else Text)(text.encode("utf-8", "replace").decode())
        ids = self._core.send(content, [person.id for person in people], self._link.now())
        self._link.kick()
        reached = {State.SENT: 0, State.RELAYED: 1, State.DELIVERED: 2}
        try:
            if wait is not State.SENT:
                await self._link.wait(
                    lambda: all(reached[self._link.state(m) or State.SENT] >= reached[wait] for m in ids), timeout
                )
            recipients: list[Person | None] = [*people] or [None]
            states = [self._link.state(message) or State.SENT for message in ids]
            return [Sent(m, person, state) for m, person, state in zip(ids, recipients, states, strict=True)]
        finally:
            for message in ids:
                if wait is not State.SENT:
                    self._core.outbox.give_up(message)
                self._link.forget(message)

    def ready(self) -> list[Message | Event]:
        """Return what has come so far without waiting, messages merged by the relay's time, the room's first."""
        items = list(self._link.items)
        self._link.items.clear()
        events = [item for item in items if isinstance(item, Event)]
        messages = [item for item in items if isinstance(item, Message)]
        messages.sort(key=lambda message: (message.received_at, message.direct))
        for message in messages:
            self._hand_out(message)
        return [*events, *messages]

    async def next(self) -> Message | Event:
        """Wait for the next message or event; raise what ended the room."""
        if not self._link.items:
            self._mark_shown()
            await self._link.wait(lambda: bool(self._link.items), None)
        item = self._link.items.popleft()
        if isinstance(item, Message):
            self._hand_out(item)
        return item

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield messages as they come, for ever; what ends the room is raised."""
        while True:
            item = await self.next()
            if isinstance(item, Message):
                yield item

    def _hand_out(self, message: Message) -> None:
        self._handed.append((message.sender.id, message.id))
        if len(self._handed) >= 256:
            self._mark_shown()

    def _mark_shown(self) -> None:
        """Tell the profile's other processes what need not be shown by ``poll``."""
        handed, self._handed = self._handed, []
        if handed:
            self._store.write_many(
                "UPDATE seen SET shown = 1 WHERE room = ? AND sender = ? AND message = ?",
                [(self._room.id, sender, message) for sender, message in handed],
            )


def _log(store: Store, room: RoomId) -> list[bytes]:
    return [row["statement"] for row in store.rows("SELECT statement FROM log WHERE room = ? ORDER BY place", room)]


def _room_info(store: Store, room: StoredRoom) -> RoomInfo:
    membership = Membership.fold(_log(store, room.id))
    member = membership.members.get(store.identity().id)
    relay = f"{room.addresses[0]}/{to_base32(room.relay)}"
    return RoomInfo(room.name, safe_text(room.title), relay, member.role if member else None)
