"""`backchannel-relay run`: its options, which may also stand in the environment or in one TOML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from protocol.address import HostPort
from protocol.errors import BadAddress
from relay.cli.limits import limit_options, parameter, read_limits
from relay.cli.paths import named_path

if TYPE_CHECKING:
    from relay.logs import Format

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


def _parse_place(_context: click.Context, _: click.Parameter, word: str | None) -> HostPort | None:
    if word is None:
        return None
    try:
        return HostPort.parse(word.replace("[", "").replace("]", ""))
    except BadAddress:
        raise click.BadParameter(f"{word!r} is not HOST:PORT.") from None


@click.command(context_settings={"auto_envvar_prefix": "BACKCHANNEL_RELAY", "show_default": True})
@click.option(
    "--config",
    type=named_path,
    is_eager=True,
    callback=_read_config,
    metavar="FILE",
    help="A TOML file with any of these options, by their names without the dashes.",
)
@click.option(
    "--bind", callback=_parse_place, default=DEFAULT_BIND, metavar="HOST:PORT", help="Where to listen; port 0 is any."
)
@click.option(
    "--home",
    type=named_path,
    metavar="DIR",
    help="Where the relay's key is kept, and made if there is none.  [default: the user's data folder]",
)
@click.option(
    "--key-file",
    type=named_path,
    metavar="FILE",
    help="The file with the relay's key.  [default: a credential of systemd called relay.key, or in --home]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    help="How much to say on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"], case_sensitive=False),
    default="auto",
    help="How to say it; auto is text on a terminal and else JSON, a line each.",
)
@click.option("--announce", is_flag=True, help="Tell the LAN where the relay is, by multicast DNS.")
@click.option(
    "--metrics",
    callback=_parse_place,
    metavar="HOST:PORT",
    help="Serve /metrics for Prometheus and /healthz there: on the loopback alone, 127.0.0.1:9667 for instance.",
)
@click.option("--until-eof", is_flag=True, help="Stop when stdin ends: for a program that starts a relay.")
@click.option("--all-addresses", is_flag=True, help="Print all addresses, a line each, not the likeliest.")
@click.option(
    "--allow",
    type=named_path,
    metavar="FILE",
    help="Who may found rooms: ids or fingerprints, one a line; SIGHUP has it read again.  [default: everybody]",
)
@limit_options
def run(
    *,
    config: Path | None,
    bind: HostPort,
    home: Path | None,
    key_file: Path | None,
    log_level: str,
    log_format: Format,
    announce: bool,
    metrics: HostPort | None,
    until_eof: bool,
    all_addresses: bool,
    allow: Path | None,
    **options: int,
) -> None:
    """Run a relay until it is told to stop.

    When it is ready, its address is printed: one word, HOST:PORT/KEY, for `backchannel create --relay`.

    Every option may also stand in the environment: --idle-close as BACKCHANNEL_RELAY_IDLE_CLOSE, for instance.
    """
    del config  # its callback has read it
    from relay import logs
    from relay.serve import Settings, serve

    logs.configure(log_level, log_format)
    serve(
        Settings(
            bind=bind,
            announce=announce,
            metrics=metrics,
            bounds=read_limits(options),
            home=home,
            key_file=key_file,
            leash=sys.stdin.fileno() if until_eof else None,
            all_addresses=all_addresses,
            allow=allow,
        )
    )
