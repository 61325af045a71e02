"""What the commands have in common: the options of all of them, the types of their arguments, and how one is run.

Nothing slow is imported here: a command is declared when it is asked for, and imports what it needs when it runs.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from protocol import errors, limits

if TYPE_CHECKING:
    from peer.api import Peer

_UNITS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(ms|[smhdw]?)")


@dataclass(slots=True)
class Profile:
    """Whose profile a command uses."""

    home: Path | None = None
    ephemeral: bool = False
    json: bool = False
    """It was asked for before the command."""

    def open(self) -> Peer:
        """Return the peer, not opened yet."""
        from peer.api import Peer

        return Peer.open(self.home, ephemeral=self.ephemeral)


def duration(most_days: int) -> Callable[[str], float]:
    """Return the type of a time like ``90``, ``1.5s``, ``15m``, ``1h``, ``2d`` or ``1w``: seconds, above 0."""

    def convert(word: str) -> float:
        found = _DURATION.fullmatch(word.strip().lower())
        if not found:
            raise click.BadParameter(f"{word!r} is not a time: write seconds, or 90s, 15m, 1h, 2d")
        seconds = float(found[1]) * _UNITS[found[2]]
        if not 0 < seconds <= most_days * _UNITS["d"]:
            raise click.BadParameter(f"{word!r} is out of range: above 0, at most {most_days} days")
        return seconds

    return convert


class Count(click.IntRange):
    """The type of a number of things."""

    name = "whole number"  # what click says that a word is not


def checked(function: str) -> Callable[[str], str]:
    """Return the type of a word that the ``function`` of ``protocol.names`` checks."""

    def convert(word: str) -> str:
        from protocol import names

        check: Callable[[str], str] = getattr(names, function)
        try:
            return check(word)
        except errors.UsageError as error:
            raise click.BadParameter(error.detail) from None

    return convert


WAIT: Final = duration(30)
EXPIRY: Final = duration(3_650)
TITLE: Final = checked("check_title")
NICK: Final = click.option(
    "--nick",
    type=checked("check_nick"),
    metavar="NICK",
    help="Your nick in the room; without it the one you chose last, or your login name.",
)
ROOM: Final = click.argument("room")
RECEIPTS: Final = click.option(
    "--no-receipts",
    is_flag=True,
    envvar="BACKCHANNEL_NO_RECEIPTS",
    show_envvar=True,
    help="Tell nobody that their asides were opened.",
)


def _set_home(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value or "\0" in value:  # of an unset variable: it would make a profile of the folder one is in
            raise click.BadParameter(f"{value!r} is no folder", ctx, param)
        ctx.ensure_object(Profile).home = Path(value)


def _set_ephemeral(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Profile).ephemeral = True


HOME: Final = click.option(
    "--home",
    envvar="BACKCHANNEL_HOME",
    show_envvar=True,
    expose_value=False,
    callback=_set_home,
    metavar="DIR",
    help="The profile to use: another home is another person.",
)


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Profile).json = value


JSON: Final = click.option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON, one object a line."
)
EPHEMERAL: Final = click.option(
    "--ephemeral",
    is_flag=True,
    expose_value=False,
    callback=_set_ephemeral,
    help="Use a profile in memory, gone at the end.",
)
# Every command takes both too. Here the environment must not speak again, over what stood before the command.
_HOME_AFTER: Final = click.option(
    "--home",
    expose_value=False,
    callback=_set_home,
    metavar="DIR",
    help="The profile to use.  [env var: BACKCHANNEL_HOME]",
)
_JSON: Final = click.option("--json", is_flag=True, help="Print JSON, one object a line (see docs/cli.md).")

Work = Callable[..., Coroutine[Any, Any, None]]


def command(*, lasting: bool = False) -> Callable[[Work], click.Command]:
    """Make a click command of an async function that gets the profile, where to write, and the command's own options.

    A ``lasting`` command is one that somebody has to end: SIGTERM is then as good an end as any, with exit code 0.
    """

    def decorate(work: Work) -> click.Command:
        @functools.wraps(work)
        def run(*, json: bool, **options: object) -> None:
            from peer.cli.output import Output
            from peer.cli.running import run_to_its_end

            profile = click.get_current_context().ensure_object(Profile)
            out = Output(json=json or profile.json)
            run_to_its_end(work(profile, out, **options), out, lasting=lasting)

        return click.command()(_JSON(_HOME_AFTER(EPHEMERAL(run))))

    return decorate


def check_text(text: str) -> str:
    """Return ``text`` if it can be sent as one message; raise ``TooLarge``, or ``UsageError`` for none."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise errors.UsageError("the text is not UTF-8") from None
    if not text.strip():
        raise errors.UsageError("there is no text to send")
    if size > limits.TEXT:
        raise errors.TooLarge(f"{size} bytes; at most {limits.TEXT} fit into a message")
    return text
