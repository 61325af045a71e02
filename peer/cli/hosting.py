"""The command host: a relay of one's own, a room on it, an invite, and on a terminal the chat."""

from __future__ import annotations

import contextlib
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peer.cli.chat import on_terminal, talk
from peer.cli.options import NICK, RECEIPTS, TITLE, Profile, command
from protocol.address import HostPort
from protocol.errors import BackchannelError, BadAddress, UsageError

if TYPE_CHECKING:
    from peer.api import Peer, Room
    from peer.cli.output import Output
    from protocol.address import RelayAddress

_PATIENCE = 30.0
"""Seconds for the room to come back on a relay that has just started, which first collects what others know of it."""


def _bind(word: str) -> HostPort:
    try:
        return HostPort.parse(word)
    except BadAddress:
        raise click.BadParameter(f"{word!r} is not HOST:PORT") from None


@command(lasting=True)
@click.argument("room", type=TITLE)
@NICK
@click.option(
    "--bind",
    type=_bind,
    default="0.0.0.0:7667",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the relay listens; port 0 is any free one.",
)
@RECEIPTS
async def host(
    profile: Profile, out: Output, room: str, nick: str | None, bind: HostPort, *, no_receipts: bool
) -> None:
    """Start a relay of your own and open a room on it.

    It prints an invite and serves until Ctrl-C; on a terminal it opens the chat as well. The relay's key is kept in
    your profile, and so is the room: the next time both are the same.
    """
    from peer.cli.running import first_to_end
    from peer.host import HostedRelay

    with contextlib.ExitStack() as until_the_end:
        async with profile.open() as peer:
            home = peer.whoami().home
            place = Path(home) if home else Path(until_the_end.enter_context(tempfile.TemporaryDirectory()))
            async with HostedRelay(place / "relay", bind, out.note) as relay:
                try:
                    hosted = await _opened(peer, out, room, nick, relay.addresses, receipts=not no_receipts)
                    await first_to_end(relay.keep_running(), _serve(hosted, out))
                finally:
                    await peer.close()  # while there still is a relay to say goodbye to


async def _opened(
    peer: Peer, out: Output, title: str, nick: str | None, addresses: list[RelayAddress], *, receipts: bool
) -> Room:
    """Return the room, new or come back, and print an invite to it."""
    from peer.core.events import Reading
    from peer.text import slug

    words = [str(address) for address in addresses]
    name = slug(title)
    known = next((room for room in peer.rooms() if room.name == name), None)
    reading = Reading.CONTINUED if on_terminal(out) else Reading.LIVE
    attach = partial(peer.attach, reading=reading, present=True, receipts=receipts, timeout=_PATIENCE)
    if known is None:
        invite = await peer.create(title, words, nick=nick, timeout=_PATIENCE)
        room = await attach(invite.room)
    else:
        if known.relay.rpartition("/")[2] != addresses[0].key:
            raise UsageError(f"the room {name} is on another relay: choose another name")
        peer.relay_at(words)
        room = await attach(name)
        if nick not in (None, mine := next(member.person.nick for member in room.members() if member.self)):
            out.note(f"You are {mine} in {name}: a nick is chosen once.")
        invite = await room.invite(timeout=_PATIENCE)
    out.result(invite)
    return room


async def _serve(room: Room, out: Output) -> None:
    """Be there: with a terminal talk, without one take in what comes."""
    from peer.core.events import Event, EventKind, Message

    async def renew(thing: Message | Event) -> None:
        """Print a new invite after a removal, which ends all that were made before."""
        if isinstance(thing, Event) and thing.kind in {EventKind.KICKED, EventKind.BANNED}:
            try:
                out.result(await room.invite())
            except BackchannelError as error:
                out.error(error)

    if on_terminal(out):
        await talk(room, out, terminal=True, also=renew)
        return
    while True:
        thing = await room.next()
        if isinstance(thing, Event):
            out.note(f"-- {thing.what}")
        await renew(thing)
