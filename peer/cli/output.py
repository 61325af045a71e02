"""What commands print: the JSON contract of docs/cli.md, and the same for people.

stdout carries the result alone, a line at a time, flushed at once, so that a pipe sees each message when it comes. With
``--json`` a line is one object in ASCII, with exact text; without, a text that is safe on a terminal: every stranger's
word in it was made safe when its object was made (``Message.shown``, ``Person.label``, ``Event.what``), or is here.
"""

from __future__ import annotations

import datetime as dt
import json as jsonlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

import click

from peer.cli.errors import CannotWrite, ClosedPipe, complain, give_up_stdout, report
from peer.core.events import Comparison, Event, IdentityInfo, InviteInfo, MemberInfo, Message, Person, RoomInfo, Sent
from peer.discovery import FoundRelay
from peer.text import safe_text, width
from protocol.base32 import base32
from protocol.identity import fingerprint, id_text
from protocol.membership import Role

Thing = Message | Event | Sent | MemberInfo | RoomInfo | IdentityInfo | InviteInfo | Comparison | FoundRelay
"""Whatever a command can print."""

VERSION: Final = 1
"""Of the JSON contract: raised when a field changes its meaning or goes, not when one is added."""
_CONTINUED: Final = "      | "
"""Begins every line but the first of a message: no text can look like the next message."""


def json_object(thing: Thing) -> dict[str, object]:
    """Return the object of the contract for ``thing``."""
    match thing:
        case Message():
            return _tagged(
                "message",
                room=thing.room,
                direct=thing.direct,
                id=thing.id.hex(),
                **{"from": _person(thing.sender)},
                to=_person(thing.to),
                text=thing.text,
                action=thing.action,
                sent_at=iso(thing.sent_at),
                received_at=iso(thing.received_at),
                late=thing.late,
            )
        case Event():
            given = {
                "who": _person(thing.who),
                "by": _person(thing.by),
                "count": thing.count,
                "reason": thing.reason,
            }
            needed = {name: value for name, value in given.items() if value is not None}
            return _tagged("event", room=thing.room, event=thing.kind.value, what=thing.what, **needed)
        case Sent():
            return _tagged("sent", id=thing.id.hex(), to=_person(thing.to), state=thing.state.value)
        case MemberInfo():
            return _tagged(
                "member",
                nick=thing.person.nick,
                id=id_text(thing.person.id),
                role=thing.role.name.lower(),
                online=thing.online,
                reachable=thing.reachable,
                verified=thing.verified,
                self=thing.self,
            )
        case RoomInfo():
            return _tagged("room", room=thing.name, title=thing.title, relay=thing.relay, role=_role(thing.role))
        case IdentityInfo():
            return _tagged("identity", nick=thing.nick, id=id_text(thing.id), home=thing.home)
        case FoundRelay():
            return _tagged("relay", relay=str(thing.addresses[0]), addresses=list(map(str, thing.addresses)))
        case Comparison():
            return _tagged(
                "safety-number",
                room=thing.room,
                nick=thing.person.nick,
                id=id_text(thing.person.id),
                number=thing.number,
                verified=thing.verified,
            )
        case InviteInfo():
            return _tagged(
                "invite",
                room=thing.room,
                invite=thing.word,
                invite_id=base32(thing.id),
                uses=thing.uses or None,
                expires_at=None if thing.expires_at is None else iso(thing.expires_at),
            )


def cells(thing: Thing, *, colour: bool = False) -> Sequence[str]:
    """Return what ``thing`` is for a person: the cells of a row, one for what is not in a table."""

    def paint(text: str, **style: object) -> str:
        return click.style(text, **style) if colour else text  # type: ignore[arg-type]

    match thing:
        case Message():
            who = f"* {thing.sender.label}" if thing.action else f"<{thing.sender.label}>"
            words = [clock(thing.received_at), paint(who, bold=True)]
            if thing.direct:
                words.insert(1, paint("[aside]", fg="magenta", bold=True))
            if thing.late:
                words.insert(1, paint("[late]", fg="yellow"))
            text = thing.shown.replace("\n", f"\n{_CONTINUED}")
            return [" ".join([*words, paint(text, fg="magenta") if thing.direct else text])]
        case Event():
            return [paint(f"-- {thing.what}", dim=True)]
        case Sent():
            return [thing.id.hex(), thing.to.label if thing.to else "room", thing.state.value]
        case MemberInfo():
            return [
                thing.person.label,
                fingerprint(thing.person.id),
                thing.role.name.lower(),
                "online" if thing.online else "offline" if thing.reachable else "unreachable",
                "self" if thing.self else "verified" if thing.verified else "unverified",
            ]
        case RoomInfo():
            return [thing.name, _role(thing.role) or "not a member", thing.relay]
        case IdentityInfo():
            return [thing.nick, fingerprint(thing.id), thing.home or "in memory"]
        case FoundRelay():
            return [str(thing.addresses[0])]
        case Comparison(number=text) | InviteInfo(word=text):
            return [text]


def iso(ms: int) -> str:
    """Return a time in ms since 1970 as UTC ISO 8601 with milliseconds and Z; after the year 9999 its last moment."""
    try:
        moment = dt.datetime.fromtimestamp(ms // 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59.999Z"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def clock(ms: int) -> str:
    """Return hour and minute here."""
    try:
        return f"{dt.datetime.fromtimestamp(ms // 1000).astimezone():%H:%M}"
    except (ValueError, OverflowError, OSError):
        return "--:--"


def wants_colour(stream: TextIO | None) -> bool:
    """Say whether ``stream`` is a terminal whose user has not asked for no colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream is not None and stream.isatty()


class Output:
    """Where a command prints what it has: to stdout results, to stderr what else there is to say."""

    def __init__(self, *, json: bool = False, colour: bool | None = None) -> None:
        """Print JSON or text; in ``colour`` or not, by default as the terminal and its user like it."""
        self.json = json
        self._colour = wants_colour(sys.stdout) if colour is None else colour

    def result(self, thing: Thing) -> None:
        """Print one result on stdout."""
        self.write(_dumped(thing) if self.json else "  ".join(cells(thing, colour=self._colour)))

    def table(self, things: Iterable[Thing]) -> None:
        """Print several results, for people in columns."""
        if self.json:
            for thing in things:
                self.result(thing)
            return
        rows = [cells(thing) for thing in things]
        widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            padded = [cell + " " * (most - width(cell)) for cell, most in zip(row, widths, strict=True)]
            self.write("  ".join(padded).rstrip())

    def happening(self, thing: Message | Event) -> None:
        """Print what happened in a room: messages on stdout, and what is beside them there with JSON alone."""
        if self.json or isinstance(thing, Message):
            self.result(thing)
        else:
            complain("  ".join(cells(thing, colour=self._colour and wants_colour(sys.stderr))))

    def note(self, text: str) -> None:
        """Say something on stderr, to people alone."""
        if not self.json:
            complain(safe_text(text))

    def error(self, error: Exception) -> int:
        """Report an error that does not end the command; return the exit code that it would have."""
        return report(error, json=self.json)

    def write(self, line: str) -> None:
        """Write a line to stdout and flush it; raise ``ClosedPipe`` or ``CannotWrite``."""
        if sys.stdout is None:
            raise CannotWrite("there is no standard output")
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            give_up_stdout()
            raise CannotWrite(error.strerror or "") from None


def _tagged(kind: str, **fields: object) -> dict[str, object]:
    return {"v": VERSION, "type": kind, **fields}


def _role(role: Role | None) -> str | None:
    return None if role is None else role.name.lower()


def _person(person: Person | None) -> dict[str, str] | None:
    return None if person is None else {"nick": person.nick, "id": id_text(person.id)}


def _dumped(thing: Thing) -> str:
    return jsonlib.dumps(json_object(thing))
