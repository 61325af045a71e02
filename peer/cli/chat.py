"""The command chat in its plain form: messages as they come, and lines that are typed or piped in.

``talk`` is the same with and without a terminal; where lines come from, and where one goes back to that was not sent,
is a ``Lines``: ``peer.cli.stdin`` or ``peer.cli.terminal``. What a line means is for ``peer.cli.lines`` alone to say.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, Self

import click

from peer.cli import lines
from peer.cli.options import RECEIPTS, ROOM, Profile, check_text, command
from protocol.errors import BackchannelError, TooLarge, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from peer.api import Event, Message, Room
    from peer.cli.output import Output

    Also = Callable[[Message | Event], Awaitable[None]]

_WAITING = 64
"""Lines that may wait to be sent before no more are read."""


class Lines(Protocol):
    """Where lines come from."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *ended: object) -> None: ...

    async def next(self) -> str | None:
        """Wait for a line, None at the end; ``UsageError`` or ``TooLarge`` for one that can't be sent."""

    def give_back(self, line: str) -> None:
        """Offer a line again that was not sent."""


@command(lasting=True)
@ROOM
@RECEIPTS
async def chat(profile: Profile, out: Output, room: str, *, no_receipts: bool) -> None:
    """Talk in a room.

    Lines go to the room; /msg NICK TEXT says something to one member alone, and /help lists what else there is. Without
    a terminal lines are read from stdin, messages are printed on stdout, and the exit code is that of the first line
    that failed.
    """
    from peer.core.events import Reading

    async with (
        profile.open() as peer,
        await peer.attach(room, reading=Reading.CONTINUED, present=True, receipts=not no_receipts) as attached,
    ):
        code = await talk(attached, out, terminal=on_terminal(out))
    raise click.exceptions.Exit(code)


def on_terminal(out: Output) -> bool:
    """Say whether there is a terminal to talk in."""
    return not out.json and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


async def talk(room: Room, out: Output, *, terminal: bool, also: Also | None = None) -> int:
    """Talk until the lines end; return 0 or, without a terminal, the exit code of the first line that failed.

    ``also`` is done with everything that comes, after it was shown.
    """
    from peer.cli.running import first_to_end
    from peer.cli.stdin import Stdin

    source: Lines
    if terminal:
        from peer.cli.terminal import Prompt

        source = Prompt(f"{room.name}> ")
        nick = next(member.person.label for member in room.members() if member.self)
        out.note(f"You are {nick} in {room.name}; /help lists what you can do.")
    else:
        source = Stdin()
    talking = _Talk(room, out, source, also)
    with source:
        try:
            await first_to_end(talking.receive(), talking.read(), talking.send())
        finally:
            if terminal:
                talking.show_unsent()
    return 0 if terminal else talking.code


class _Talk:
    """One run of the chat: what was read and not sent yet, and what has failed."""

    def __init__(self, room: Room, out: Output, source: Lines, also: Also | None) -> None:
        import asyncio

        self._room = room
        self._out = out
        self._source = source
        self._also = also
        self._waiting: asyncio.Queue[tuple[str, lines.Say]] = asyncio.Queue(_WAITING)
        self._leaving: str | None = None
        self.code = 0

    async def receive(self) -> None:
        """Show what comes, until the room ends."""
        for thing in self._room.ready():
            self._out.happening(thing)
        while True:
            thing = await self._room.next()
            self._out.happening(thing)
            if self._also:
                await self._also(thing)

    async def read(self) -> None:
        """Do what the lines say, until they end and all are sent."""
        while True:
            try:
                line = await self._source.next()
            except (UsageError, TooLarge) as error:
                self._failed(error)
                continue
            match lines.Quit() if line is None else lines.parse(line):
                case lines.Say() as say:
                    await self._waiting.put((line or "", say))
                case lines.Who():
                    self._out.table(self._room.members())
                case lines.Help():
                    self._out.note(lines.HELP)
                case lines.Mistake(why):
                    self._failed(UsageError(why), line)
                case lines.Quit():
                    await self._waiting.join()
                    return
                case lines.Nothing():
                    pass

    async def send(self) -> None:
        """Send what was read, one after the other; what fails goes back to where it came from."""
        while True:
            self._leaving, say = await self._waiting.get()
            try:
                await self._room.send(check_text(say.text), to=say.to, action=say.action)
            except BackchannelError as error:
                self._failed(error, self._leaving)
            self._leaving = None
            self._waiting.task_done()

    def show_unsent(self) -> None:
        """Show what was typed and not sent, at an end that came from elsewhere."""
        unsent = [] if self._leaving is None else [self._leaving]
        while not self._waiting.empty():
            unsent.append(self._waiting.get_nowait()[0])
        for line in unsent:
            self._out.note(f"Not sent: {line}")

    def _failed(self, error: BackchannelError, line: str | None = None) -> None:
        code = self._out.error(error)
        self.code = self.code or code
        if line is not None:
            self._source.give_back(line)
