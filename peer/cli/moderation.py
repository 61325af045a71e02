"""The commands about who may be in a room: role, kick, ban, revoke, leave, close; and whom to trust: verify, accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from peer.cli.options import ROOM, Profile, command
from protocol.errors import UsageError

if TYPE_CHECKING:
    from peer.cli.output import Output

WHOM = click.argument("nick")
"""Whom it is about: a nick as ``who`` shows it, an id or a fingerprint."""


@command()
@ROOM
@WHOM
@click.argument("role", type=click.Choice(["admin", "member"]))
async def role(profile: Profile, out: Output, room: str, nick: str, role: str) -> None:
    """Make a member an admin, or a plain member again.

    Admins invite, and remove plain members. Only the founder may say who is one.
    """
    from peer.core.events import Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        person = await attached.role(nick, admin=role == "admin")
        if out.json:
            out.result(next(member for member in attached.members() if member.person.id == person.id))


@command()
@ROOM
@WHOM
async def kick(profile: Profile, out: Output, room: str, nick: str) -> None:
    """Remove a member, who may come back with a new invite.

    Every invite made before ends. Whatever is sent from now on is closed to who was removed.
    """
    await _remove(profile, out, room, nick, ban=False)


@command()
@ROOM
@WHOM
async def ban(profile: Profile, out: Output, room: str, nick: str) -> None:
    """Remove a member for ever. An id also names one who has left."""
    await _remove(profile, out, room, nick, ban=True)


async def _remove(profile: Profile, out: Output, room: str, nick: str, *, ban: bool) -> None:
    from peer.core.events import Event, EventKind, Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        person = await attached.remove(nick, ban=ban)
        if out.json:
            kind, what = (EventKind.BANNED, "banned") if ban else (EventKind.KICKED, "removed")
            me = next(member.person for member in attached.members() if member.self)
            out.result(Event(attached.name, kind, f"you {what} {person.label}", who=person, by=me))
        else:
            out.note(f"Every invite to {attached.name} has ended; `backchannel invite {attached.name}` makes a new one")


@command()
@ROOM
@click.argument("invite")
async def revoke(profile: Profile, out: Output, room: str, invite: str) -> None:  # noqa: ARG001 - nothing to print
    """End an invite. INVITE is the word itself, or what `invite --json` calls invite_id, or that one's beginning."""
    from peer.core.events import Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        await attached.revoke(invite)


@command()
@ROOM
@click.option("--forget", is_flag=True, help="Forget it even if its relay can't be reached: one that is gone for good.")
async def leave(profile: Profile, out: Output, room: str, *, forget: bool) -> None:  # noqa: ARG001 - nothing to print
    """Leave a room and forget its keys. Its founder closes it instead."""
    async with profile.open() as peer:
        await peer.leave(room, forget=forget)


@command()
@ROOM
async def close(profile: Profile, out: Output, room: str) -> None:  # noqa: ARG001 - nothing to print
    """Close a room for everybody and for good. Only its founder may."""
    from peer.core.events import Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        await attached.shut()


@command()
@ROOM
@WHOM
@click.option("--accept", "number", metavar="NUMBER", help="Note that this is the number that was compared.")
async def verify(profile: Profile, out: Output, room: str, nick: str, number: str | None) -> None:
    """Show the safety number that you and a member have in common: 60 digits, the same on both sides.

    Compare it in person or on the telephone, not in this room. Then say so with --accept: a number that is not this
    identity's is refused with exit code 7.
    """
    from peer.core.events import Comparison, Reading

    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        person = attached.person(nick)
        digits = attached.safety_number(person)
        if number is not None:
            attached.verify(person, number)
        out.result(Comparison(attached.name, person, digits, verified=attached.is_verified(person)))


@command()
@ROOM
@click.argument("nick", required=False)
@click.option("--relay", is_flag=True, help="Answer the alarms that name the relay alone.")
async def accept(profile: Profile, out: Output, room: str, nick: str | None, relay: bool) -> None:
    """Answer alarms and changed keys, after reading what they say.

    Without NICK, print what waits for an answer. Until an alarm is answered nothing is sent in the room; until a nick
    that belonged to another identity is accepted, nothing is sent to it.
    """
    from peer.core.events import Reading

    if nick and relay:
        raise UsageError("answer for a member or for the relay, one at a time")
    async with profile.open() as peer, await peer.attach(room, reading=Reading.NOTHING) as attached:
        if not nick and not relay:
            for warning in attached.warnings():
                out.result(warning)
        elif not attached.accept(attached.anybody(nick) if nick else None):
            out.note("There was nothing to answer")
