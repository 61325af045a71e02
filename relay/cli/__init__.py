"""The command `backchannel-relay`: options in, a served relay or one sentence about what is wrong out.

The sub-commands are in modules of their own, one a family. When a relay is ready its address is printed, one word on
stdout; everything else goes to stderr. What takes time to import is imported when it is needed, and a usage error never
needs it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from protocol.errors import BackchannelError, UsageError
from relay.cli.announcing import announce
from relay.cli.checking import check
from relay.cli.installing import install_service
from relay.cli.serving import run

PROGRAM: Final = "backchannel-relay"

log = logging.getLogger("relay")


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="backchannel", message="%(prog)s %(version)s")
@click.pass_context
def command(context: click.Context) -> None:
    """Relay of Backchannel: forwards end-to-end encrypted messages on a LAN, and can read none of them."""
    if context.invoked_subcommand is None:
        raise click.UsageError("Missing command.", context)


command.add_command(run)
command.add_command(announce)
command.add_command(check)
command.add_command(install_service)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0, or the error's code with one sentence on stderr."""
    try:
        code = command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else PROGRAM
        _fail(f"{error.format_message().rstrip('.')}: see `{path} --help`.", error.exit_code)
    except UsageError as error:
        _fail(f"{error.detail[:1].upper()}{error.detail[1:]}.", error.exit_code)
    except BackchannelError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        log.debug("where it happened:", exc_info=True)
        _fail(f"{BackchannelError.sentence} ({type(error).__name__})", BackchannelError.exit_code)
    sys.exit(code or 0)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"{PROGRAM}: {sentence}", err=True)
    sys.exit(code)
