"""The commands that send and read messages and then end: send, listen, poll."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from peer.cli.options import RECEIPTS, ROOM, WAIT, Count, Profile, check_text, command
from protocol import limits
from protocol.errors import TimedOut, TooLarge, UsageError

if TYPE_CHECKING:
    from peer.api import Room
    from peer.cli.output import Output

_WAITS = {"none": "sent", "relayed": "relayed", "delivered": "delivered"}
_PATIENCE = "10s"


def _text(ctx: click.Context, param: click.Parameter, value: str | None) -> str:  # noqa: ARG001 - click's signature
    """Return the text to send; read here because a read that blocks would keep an event loop from seeing Ctrl-C."""
    return check_text(_stdin_text() if value is None or value == "-" else value)


def _stdin_text() -> str:
    """Return all of stdin without the newline at its end; of what is too long anyway, enough to refuse it."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("give the text, or pipe it in")
    try:
        data = sys.stdin.buffer.read(limits.TEXT + 8)
    except OSError as error:
        raise UsageError(f"stdin can't be read: {error.strerror}") from None
    if len(data) > limits.TEXT + 2:
        raise TooLarge(f"more than {limits.TEXT} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the text is not UTF-8") from None


@command()
@ROOM
@click.argument("text", required=False, callback=_text)
@click.option("--to", multiple=True, metavar="NICK|ID", help="Whom alone, instead of the room; can be repeated.")
@click.option("--me", is_flag=True, help="Send an action: what you do, not what you say.")
@click.option("--wait", type=click.Choice(list(_WAITS)), default="relayed", show_default=True, help="What to wait for.")
@click.option(
    "--timeout", "seconds", type=WAIT, default=_PATIENCE, show_default=True, metavar="TIME", help="For how long."
)
async def send(
    profile: Profile, out: Output, room: str, text: str, to: tuple[str, ...], me: bool, wait: str, seconds: float
) -> None:
    """Send one message to a room, or to some of its members alone.

    TEXT is read from stdin if it is - or, where stdin is no terminal, not there. Nothing is printed; the exit code says
    whether the message got as far as --wait asks: to the relay, or into the recipient's program.
    """
    if wait == "delivered" and not to:
        raise UsageError("--wait delivered needs --to: only somebody can receive, not a room")
    import asyncio

    from peer.core.events import Reading, State

    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    async with (
        profile.open() as peer,
        await peer.attach(room, reading=Reading.NOTHING, timeout=seconds) as attached,
    ):
        recipients = list(dict.fromkeys(to)) or None
        left = max(deadline - loop.time(), 0.001)
        sent = await attached.send(text, to=recipients, action=me, wait=State(_WAITS[wait]), timeout=left)
        if out.json:
            for one in sent:
                out.result(one)


@command(lasting=True)
@ROOM
@click.option("--count", type=Count(min=1), help="End after so many messages.")
@click.option(
    "--timeout",
    "seconds",
    type=WAIT,
    metavar="TIME",
    help="End after this time; with --count an error if it is too few.",
)
@click.option("--backlog", is_flag=True, help="Begin with what the relay still has.")
@click.option("--direct", is_flag=True, help="Print asides alone, not the room's messages.")
@RECEIPTS
async def listen(  # an argument for each option
    profile: Profile,
    out: Output,
    room: str,
    count: int | None,
    seconds: float | None,
    *,
    backlog: bool,
    direct: bool,
    no_receipts: bool,
) -> None:
    """Print messages as they come, until Ctrl-C.

    What happens beside the messages (somebody joins, an alarm) goes to stderr, or with --json to stdout as `event`
    objects.
    """
    import asyncio

    from peer.cli.running import reader_gone
    from peer.core.events import Reading

    reading = Reading.BACKLOG if backlog else Reading.LIVE
    async with (
        profile.open() as peer,
        await peer.attach(room, reading=reading, present=True, receipts=not no_receipts) as attached,
    ):
        with reader_gone():
            try:
                async with asyncio.timeout(seconds):
                    await _print_messages(attached, out, count, direct=direct)
            except TimeoutError:
                if count is not None:
                    raise TimedOut(f"fewer than {count} messages came") from None


async def _print_messages(room: Room, out: Output, count: int | None, *, direct: bool) -> None:
    """Print what comes, until ``count`` messages were printed."""
    from peer.core.events import Message

    printed = 0
    for thing in room.ready(direct=direct):
        if printed == count:
            return  # only now: the one before has been shown
        printed += isinstance(thing, Message)
        out.happening(thing)
    while printed != count:
        thing = await room.next(direct=direct)
        printed += isinstance(thing, Message)
        out.happening(thing)


@command()
@ROOM
@RECEIPTS
async def poll(profile: Profile, out: Output, room: str, *, no_receipts: bool) -> None:
    """Print what is retained for you and was not shown yet, and exit.

    That is the room's messages and the asides to you, in the relay's order, each once in the life of your profile.
    """
    from peer.core.events import Reading

    async with (
        profile.open() as peer,
        await peer.attach(room, reading=Reading.UNSHOWN, receipts=not no_receipts) as attached,
    ):
        for thing in attached.ready():
            out.happening(thing)
