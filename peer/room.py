"""One attached room: send, and iterate over what comes."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from peer.core.events import Event, MemberInfo, Message, Person, Sent, State
from peer.core.room import RoomCore
from peer.link import Link
from peer.moderation import Moderated
from peer.store import Room as StoredRoom
from peer.store import Store
from peer.text import slug
from protocol import limits, names
from protocol.content import Action, Text
from protocol.errors import TimedOut, TooLarge, UsageError

_REACHED: Final = {State.SENT: 0, State.RELAYED: 1, State.DELIVERED: 2}
_WRITES: Final = 256
"""How many messages are handed out before the profile is told that they were shown."""


class Room(Moderated):
    """One attached room. Iterating it yields messages as they come; ``next`` yields events too."""

    def __init__(
        self, store: Store, room: StoredRoom, core: RoomCore, link: Link, closed: Callable[[Room], None]
    ) -> None:
        """Use ``Peer.attach``."""
        super().__init__(store, room, core, link)
        self._closed = closed
        self._handed: list[tuple[bytes, bytes]] = []
        self._last: Message | None = None
        """What ``next`` returned last: who does not ask for more may have failed to show it."""

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
        """Close the room; with an error, what ``next`` returned last counts as not shown."""
        if error is not None:
            self._last = None
        await self.close()

    async def begin(self, timeout: float) -> None:
        """Attach."""
        self._link.start()
        await self._link.ready(timeout)

    async def enter(self, timeout: float) -> None:
        """Attach for the first time, publish a card, and take the room into the profile under its title."""
        await self.begin(timeout)
        await self._link.wait(lambda: self._core.keys.accepted() is not None, timeout)
        found = self._core.roster.membership.found if self._core.roster.membership else None
        if found is not None and not self._room.title:
            title = names.open_title(self._room.secret, found.signer, found.salt, found.title)
            name = self._store.rename_room(self._room.id, slug(title), title)
            self._room.name, self._room.title = name, title

    async def close(self) -> None:
        """Let receipts leave (they are jittered by up to a second), then detach."""
        self._hand_out_last()
        self._mark_shown()
        await self._link.close()
        self._closed(self)

    # -- people -------------------------------------------------------------------------------------------------------

    def members(self) -> list[MemberInfo]:
        """Return the members, the founder first."""
        return self._core.roster.members(self._link.now())

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
        try:
            if wait is not State.SENT:
                await self._link.wait(
                    lambda: all(_REACHED[self._link.state(m) or State.SENT] >= _REACHED[wait] for m in ids), timeout
                )
        except TimedOut:
            raise TimedOut(self._unreached(people, [self._link.state(message) for message in ids])) from None
        else:
            recipients: list[Person | None] = [*people] or [None]
            states = [self._link.state(message) or State.SENT for message in ids]
            return [Sent(m, person, state) for m, person, state in zip(ids, recipients, states, strict=True)]
        finally:
            for message in ids:
                if wait is not State.SENT:
                    self._core.outbox.give_up(message)
                self._link.forget(message)

    @staticmethod
    def _unreached(people: Sequence[Person], states: Sequence[State | None]) -> str:
        """Say how far a message got that was waited for in vain."""
        if any(state in {None, State.SENT} for state in states):
            return "the relay has not confirmed it, and it is not sent again"
        late = [person.label for person, state in zip(people, states, strict=True) if state is State.RELAYED]
        return f"the relay has it, and it is not opened yet by {', '.join(late)}: it need not be sent again"

    def ready(self, *, direct: bool = False) -> Iterator[Message | Event]:
        """Yield what has come so far: events, then messages merged by the relay's time, the room's first.

        A message counts as shown when the next thing is asked for: who fails to show one gets it, and the rest, again.
        With ``direct`` the room's messages are passed over, and count as not shown.
        """
        items = list(self._link.items)
        self._link.items.clear()
        events = [item for item in items if isinstance(item, Event)]
        room = [item for item in items if isinstance(item, Message) and not item.direct and not direct]
        asides = [item for item in items if isinstance(item, Message) and item.direct]
        yield from events
        # merged, not sorted: the relay's word for the time changes nobody's order within a stream
        for message in heapq.merge(room, asides, key=lambda message: message.received_at):
            yield message
            self._hand_out(message)

    async def next(self, *, direct: bool = False) -> Message | Event:
        """Wait for the next message or event; raise what ended the room.

        A message counts as shown when the next thing is asked for, or the room is closed without an error. With
        ``direct`` the room's messages are passed over, and count as not shown.
        """
        self._hand_out_last()
        while True:
            if not self._link.items:
                self._mark_shown()
                await self._link.wait(lambda: bool(self._link.items), None)
            item = self._link.items.popleft()
            if isinstance(item, Event):
                return item
            if item.direct or not direct:
                self._last = item
                return item

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield messages as they come, for ever; what ends the room is raised."""
        while True:
            item = await self.next()
            if isinstance(item, Message):
                yield item

    def _hand_out_last(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            self._hand_out(last)

    def _hand_out(self, message: Message) -> None:
        self._handed.append((message.sender.id, message.id))
        if len(self._handed) >= _WRITES:
            self._mark_shown()

    def _mark_shown(self) -> None:
        """Tell the profile's other processes what need not be shown by ``poll``."""
        handed, self._handed = self._handed, []
        if handed:
            self._store.write_many(
                "UPDATE seen SET shown = 1 WHERE room = ? AND sender = ? AND message = ?",
                [(self._room.id, sender, message) for sender, message in handed],
            )
