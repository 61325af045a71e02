"""The command ``backchannel``: its names and one-line helps, how it ends, and nothing that is slow to import.

The commands are in modules of their own, one a family, imported when one of them is asked for; what they need in
turn (sockets, keys, the event loop) is imported when one runs. So ``backchannel --help`` costs little more than click.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TextIO

import click

from peer.cli.errors import CANCELLED, CLOSED_PIPE, ClosedPipe, give_up_stdout, report
from peer.cli.options import EPHEMERAL, HOME, JSON, Profile
from protocol.errors import BackchannelError

COMMANDS: Final = {
    "host": ("hosting", "Start a relay of your own and open a room on it."),
    "create": ("rooms", "Open a new room and print its first invite."),
    "invite": ("rooms", "Make and print a new invite to a room."),
    "join": ("rooms", "Enter a room with an invite, and print its local name."),
    "rooms": ("rooms", "List your rooms."),
    "moved": ("rooms", "Say where a relay is now."),
    "whoami": ("rooms", "Show who you are."),
    "who": ("rooms", "List the members of a room."),
    "send": ("messages", "Send one message to a room, or to some of its members alone."),
    "listen": ("messages", "Print messages as they come."),
    "poll": ("messages", "Print what is retained for you and was not shown yet, and exit."),
    "chat": ("chat", "Talk in a room."),
    "verify": ("moderation", "Show the safety number to compare with a member."),
    "accept": ("moderation", "Answer alarms and changed keys, after reading them."),
    "role": ("moderation", "Make a member an admin, or a plain member again."),
    "kick": ("moderation", "Remove a member."),
    "ban": ("moderation", "Remove a member for ever."),
    "revoke": ("moderation", "End an invite."),
    "leave": ("moderation", "Leave a room."),
    "close": ("moderation", "Close a room for everybody and for good."),
    "discover": ("discovery", "List the relays that announce themselves on the LAN."),
}
"""The module of each command, and what it does in one line; in the order of a first day."""


class Commands(click.Group):
    """A group that knows its commands by name, and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"peer.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - click's signature
        **extra: object,
    ) -> NoReturn:
        """Run a command and exit with its code; click's own ``main`` has other codes and prints more."""
        args = list(sys.argv[1:] if args is None else args)
        prog_name = prog_name or "backchannel"
        self._main_shell_completion(dict(extra), prog_name, complete_var)

        def run() -> None:
            with self.make_context(prog_name, args) as ctx:
                self.invoke(ctx)

        sys.exit(exit_code(run, json="--json" in args))


def exit_code(run: Callable[[], None], *, json: bool) -> int:
    """Call ``run``, report what it raises in one sentence on stderr, and return the exit code."""
    try:
        run()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return CANCELLED
    except (ClosedPipe, BrokenPipeError):  # the latter from click, which prints the help
        give_up_stdout()
        return CLOSED_PIPE
    except click.ClickException as error:
        return report(error, json=json)
    except BackchannelError as error:
        return report(error, json=json)
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody shall see a traceback who did not ask for one
        return report(error, json=json)
    return 0


@click.command(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@HOME
@EPHEMERAL
@JSON
@click.version_option(package_name="backchannel", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """End-to-end encrypted chat for a LAN.

    A first room: `backchannel host lobby` prints an invite word, and whoever gets it says `backchannel join INVITE`.
    """
    ctx.ensure_object(Profile)


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.disable()  # what imports make is no garbage; to look for some takes a tenth of a short command's time
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_letters(stream)
    cli.main()


def _never_fail_on_letters(stream: TextIO | None) -> None:
    """Make a terminal that knows few letters get escapes instead of ending the command."""
    if stream is not None and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
