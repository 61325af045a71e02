"""`backchannel-relay run`: its options, which may also stand in the environment or in one TOML file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Final

import click

from protocol.address import HostPort
from protocol.errors import BadAddress
from relay.cli.limits import limit_options, parameter, read_limits

DEFAULT_BIND: Final = "0.0.0.0:7667"


def _read_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take the defaults of all other options from a TOML file."""
    if path is None:
        return None
    import tomllib

    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path}: {(error.strerror or 'not readable').lower()}.") from None
    except ValueError as error:
        raise click.BadParameter(f"{path} is not valid TOML: {error}.") from None
    named = {parameter(key): value for key, value in settings.items()}
    known = {parameter.name for parameter in context.command.params} - {"config", "until_eof"}
    for name in named:
        if name not in known:
            raise click.BadParameter(f"{path} sets {name!r}, which is no option of a relay.")
    context.default_map = named
    return path


def _parse_bind(_context: click.Context, _: click.Parameter, word: str) -> HostPort:
    try:
        return HostPort.parse(word.replace("[", "").replace("]", ""))
    except BadAddress:
        raise click.BadParameter(f"{word!r} is not HOST:PORT.") from None


@click.command(context_settings={"auto_envvar_prefix": "BACKCHANNEL_RELAY", "show_default": True})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=_read_config,
    metavar="FILE",
    help="A TOML file with any of these options, by their names without the dashes.",
)
@click.option(
    "--bind", callback=_parse_bind, default=DEFAULT_BIND, metavar="HOST:PORT", help="Where to listen; port 0 is any."
)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the relay's key is kept.  [default: the user's data folder]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    help="How much to say on stderr.",
)
@click.option("--until-eof", is_flag=True, help="Stop when stdin ends: for a program that starts a relay.")
@click.option("--all-addresses", is_flag=True, help="Print all addresses, a line each, not the likeliest.")
@limit_options
def run(
    *,
    config: Path | None,
    bind: HostPort,
    home: Path | None,
    log_level: str,
    until_eof: bool,
    all_addresses: bool,
    **options: int,
) -> None:
    """Run a relay until it is told to stop.

    When it is ready, its address is printed: one word, HOST:PORT/KEY, for `backchannel create --relay`.

    Every option may also stand in the environment: --idle-close as BACKCHANNEL_RELAY_IDLE_CLOSE, for instance.
    """
    del config  # its callback has read it
    logging.basicConfig(stream=sys.stderr, level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    from relay.serve import serve

    bounds = read_limits(options)
    serve(bind, home, bounds, leash=sys.stdin.fileno() if until_eof else None, all_addresses=all_addresses)
