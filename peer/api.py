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
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from peer.core.events import Event, IdentityInfo, InviteInfo, Message, Reading, RoomInfo, State
from peer.core.room import RoomCore
from peer.keys import bury
from peer.link import Link, now_ms
from peer.room import Room
from peer.store import Room as StoredRoom
from peer.store import Store
from peer.text import safe_text, slug
from protocol import limits, names
from protocol import statement as st
from protocol.address import RelayAddress
from protocol.base32 import base32 as to_base32
from protocol.base32 import from_base32
from protocol.errors import (
    BackchannelError,
    Banned,
    NotMember,
    RoomClosed,
    StaleAnchor,
    TimedOut,
    UnreachableError,
    UsageError,
)
from protocol.ids import Anchor, RelayKey, RoomId, RoomSecret
from protocol.invite import Invite
from protocol.membership import Membership, Role
from protocol.primitives import random as random_bytes

__all__ = ["Event", "Message", "Peer", "Reading", "Room", "State"]

_LEAVING_S: Final = 2.0
_RECEIPT_JITTER: Final = limits.SECOND
_ADDRESSES: Final = 8
"""Of a relay, the newest first: older ones are forgotten."""


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
        try:
            bury(self._opened, self._clock())
        except BaseException:
            self._opened.close()
            raise
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
            if self._home is None:
                await self._leave_all()
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

    def relay_at(self, relay: str | Sequence[str]) -> None:
        """Take in where a relay listens now, as HOST:PORT/KEY or several of them, the likeliest first.

        Rooms on it are looked for there from now on, and their invites say so. Raises ``BadAddress``, ``UsageError``.
        """
        key, addresses = _relay(relay)
        self._store.write("UPDATE rooms SET addresses = ? WHERE relay = ?", " ".join(addresses), key)

    async def create(
        self, title: str, relay: str | Sequence[str], *, nick: str | None = None, timeout: float = 10.0
    ) -> InviteInfo:
        """Found a room called ``title`` on the relay at HOST:PORT/KEY (or several of them); return its first invite.

        Raises ``UsageError`` for a name that is taken or no name, ``BadAddress``, ``UnreachableError``, ``Refused``.
        """
        key, addresses = _relay(relay)
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
            relay=key,
            addresses=addresses,
        )
        self._store.write("INSERT INTO log VALUES (?, 1, ?)", room.id, found)
        async with self._entering(room, opening=found, timeout=timeout) as entered:
            self._remember(nick)
            return await entered.invite(timeout=timeout)

    async def join(self, word: str, *, nick: str | None = None, timeout: float = 10.0) -> str:
        """Enter the room that an invite word leads to; return its local name.

        Raises ``BadInvite``, ``InviteEnded`` and its kin, ``Banned``, ``UnreachableError``, ``UnknownRoom`` if the
        relay does not know the room (it comes back with any of its members).
        """
        invite = Invite.decode(word)
        try:
            return await self._join(invite, nick, timeout, rejoins=True)
        except StaleAnchor:
            # what this profile last saw of the room may be lost with a restart of the relay
            return await self._join(invite, nick, timeout, rejoins=False)

    async def _join(self, invite: Invite, nick: str | None, timeout: float, *, rejoins: bool) -> str:
        """Enter by an invite, anchored where it says or, for one who ``rejoins``, where one's own log ends."""
        identity = self._store.identity()
        known = self._store.room_by_id(invite.room)
        anchor = invite.anchor
        if rejoins and known and (log := _log(self._store, known.id)):
            membership = Membership.fold(log)
            if identity.id not in membership.members:
                # who left must have seen that, and the invite may be older
                anchor = max(anchor, membership.anchor, key=lambda place: place.index)
        if known is None or not known.attached_at:
            known = self._store.add_room(
                invite.room,
                name=invite.room.hex(),
                title="",
                nick=self._nick(nick),
                secret=invite.secret,
                relay=invite.relay,
                addresses=[str(address) for address in invite.addresses],
            )
        elif known.relay == invite.relay:  # which may have moved since
            addresses = dict.fromkeys((*map(str, invite.addresses), *known.addresses))
            known.addresses = tuple(addresses)[:_ADDRESSES]
        admit = st.admit(identity, invite.room, anchor, invite.key)
        async with self._entering(known, opening=admit, expected=invite.anchor, timeout=timeout) as entered:
            self._store.write("UPDATE rooms SET addresses = ? WHERE id = ?", " ".join(known.addresses), known.id)
            self._remember(nick)
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
        entered = self._attached(room, core)
        try:
            await entered.enter(timeout)
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
        attached = self._attached(stored, core)
        self._rooms.append(attached)
        try:
            await attached.begin(timeout)
        except BaseException:
            await attached.close()
            raise
        return attached

    async def leave(self, name: str, *, forget: bool = False, timeout: float = 10.0) -> None:
        """Leave a room and forget its keys; one that was closed, or removed one, is only forgotten.

        So is, with ``forget``, one whose relay cannot be reached: for the others one is still a member there.
        """
        room = self._store.room(name)
        try:
            async with await self.attach(name, reading=Reading.NOTHING, timeout=timeout) as attached:
                await attached.leave(timeout=timeout)
        except (NotMember, RoomClosed, Banned):
            self._store.leave_room(room.id)
        except (UnreachableError, TimedOut):
            if not forget:
                raise
            self._store.leave_room(room.id)

    async def _leave_all(self) -> None:
        """Leave every room that one may: nobody can ever be this identity again."""
        for room in self.rooms():
            if room.role is not Role.FOUNDER:
                with suppress(BackchannelError):
                    await self.leave(room.name, timeout=_LEAVING_S)

    def _attached(self, room: StoredRoom, core: RoomCore) -> Room:
        def moved(at: str) -> None:
            room.addresses = tuple(dict.fromkeys((at, *room.addresses)))[:_ADDRESSES]
            addresses = " ".join(room.addresses)
            self._store.write("UPDATE rooms SET addresses = ? WHERE relay = ?", addresses, room.relay)

        link = Link(core, room, self._store.identity(), self._clock, moved)
        return Room(self._store, room, core, link, self._forget)

    def _remember(self, nick: str | None) -> None:
        """Take a nick that was chosen for a room as the profile's."""
        if nick is not None:
            self._store.write("UPDATE profile SET nick = ?", nick)

    def _nick(self, nick: str | None) -> str:
        return names.check_nick(nick) if nick is not None else self._store.nick

    def _forget(self, room: Room) -> None:
        if room in self._rooms:
            self._rooms.remove(room)


def _log(store: Store, room: RoomId) -> list[bytes]:
    return [row["statement"] for row in store.rows("SELECT statement FROM log WHERE room = ? ORDER BY place", room)]


def _room_info(store: Store, room: StoredRoom) -> RoomInfo:
    membership = Membership.fold(_log(store, room.id))
    member = membership.members.get(store.identity().id)
    relay = f"{room.addresses[0]}/{to_base32(room.relay)}"
    return RoomInfo(room.name, safe_text(room.title), relay, member.role if member else None)


def _relay(words: str | Sequence[str]) -> tuple[RelayKey, list[str]]:
    """Return the key and the addresses HOST:PORT of one relay; raise ``BadAddress``, or ``UsageError`` for several."""
    parsed = [RelayAddress.parse(word) for word in ([words] if isinstance(words, str) else words)]
    keys = {address.key for address in parsed}
    if len(keys) != 1:
        raise UsageError("all addresses of a relay have its one key")
    return RelayKey(from_base32(keys.pop())), [str(address.at) for address in parsed]
