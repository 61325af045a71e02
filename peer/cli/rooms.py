"""The commands about rooms and who is in them: create, invite, join, rooms, moved, whoami, who."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from peer.cli.options import EXPIRY, NICK, ROOM, TITLE, Count, Profile, command
from protocol import limits
from protocol.errors import BadInvite, UsageError

if TYPE_CHECKING:
    from peer.cli.output import Output

_INVITE_MOST = 16 * 1024


@command()
@click.argument("room", type=TITLE)
@click.option("--relay", required=True, metavar="HOST:PORT/KEY", help="The relay, as it prints its address.")
@NICK
async def create(profile: Profile, out: Output, room: str, relay: str, nick: str | None) -> None:
    """Open a new room and print its first invite.

    The invite is one word that lets anybody in, any number of times, until it is revoked or somebody is removed. Hand
    it over by a way that you trust. You are the founder of the room.
    """
    from protocol.address import RelayAddress

    address = str(RelayAddress.parse(relay))
    async with profile.open() as peer:
        invite = await peer.create(room, address, nick=nick)
        if invite.room != room:
            out.note(f"The room's name here is {invite.room}")
        out.result(invite)


@command()
@ROOM
@click.option("--uses", type=Count(1, limits.INVITE_USES), help="How many it lets in; without it any number.")
@click.option("--expires", type=EXPIRY, metavar="TIME", help="How long it is good: 30m, 1h, 2d; without it, always.")
async def invite(profile: Profile, out: Output, room: str, uses: int | None, expires: float | None) -> None:
    """Make and print a new invite to a room."""
    from peer.core.events import Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        out.result(await attached.invite(uses=uses or 0, expires_in=expires))


# Both are read here because a read that blocks would keep an event loop from seeing Ctrl-C.
def _invite(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001 - click's signature
    return _read(sys.stdin) if value == "-" else value


def _invite_in_file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "-":
        return _invite(ctx, param, value)
    try:
        with Path(value).open(encoding="ascii") as file:
            return _read(file)
    except (OSError, ValueError) as error:
        raise click.BadParameter(
            f"{value!r}: {getattr(error, 'strerror', '') or 'no file name'}.", ctx, param
        ) from None


def _read(file: TextIO | None) -> str:
    if file is None:
        raise BadInvite("stdin is closed")
    try:
        return (file.readline if file.isatty() else file.read)(_INVITE_MOST)
    except OSError as error:
        raise BadInvite(error.strerror or "it can't be read") from None
    except UnicodeDecodeError:
        raise BadInvite from None


@command()
@click.argument("invite", required=False, envvar="BACKCHANNEL_INVITE", callback=_invite)
@click.option("--invite-file", metavar="FILE", callback=_invite_in_file, help="Read the invite from a file.")
@NICK
async def join(profile: Profile, out: Output, invite: str | None, invite_file: str | None, nick: str | None) -> None:
    """Enter a room with an invite, and print its local name.

    INVITE is the word, or - to read it from stdin. It lets anybody in, so it is better not said on a command line that
    other users of the machine can see: use stdin, a file, or the variable BACKCHANNEL_INVITE.
    """
    word = invite_file or invite
    if not word:
        raise UsageError("give the invite, - to read it from stdin, --invite-file, or BACKCHANNEL_INVITE")
    async with profile.open() as peer:
        name = await peer.join(word, nick=nick)
        if out.json:
            out.result(next(room for room in peer.rooms() if room.name == name))
        else:
            out.write(name)


@command()
async def rooms(profile: Profile, out: Output) -> None:
    """List your rooms: name, your role, relay."""
    async with profile.open() as peer:
        out.table(peer.rooms())


@command()
@click.argument("relay", metavar="HOST:PORT/KEY")
async def moved(profile: Profile, out: Output, relay: str) -> None:
    """Say where a relay is now, and list your rooms on it.

    They are looked for there from now on, and their new invites lead there. Nothing is sent: that it is the same relay
    its key has to prove whenever a room is used.
    """
    from protocol.address import RelayAddress
    from protocol.errors import UnknownRoom

    key = RelayAddress.parse(relay).key
    async with profile.open() as peer:
        peer.relay_at(relay)
        there = [room for room in peer.rooms() if room.relay.rpartition("/")[2] == key]
        if not there:
            raise UnknownRoom("none of them is on a relay with that key")
        out.table(there)


@command()
async def whoami(profile: Profile, out: Output) -> None:
    """Show who you are: nick, fingerprint, and where your profile is."""
    async with profile.open() as peer:
        out.result(peer.whoami())


@command()
@ROOM
async def who(profile: Profile, out: Output, room: str) -> None:
    """List the members of a room.

    A line each: nick, fingerprint, role, online or not, verified or not. One who is unreachable has not been there for
    a day; asides can't be sent to it until it comes back.
    """
    from peer.core.events import Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        out.table(attached.members())
        for warning in attached.warnings():
            out.happening(warning)
