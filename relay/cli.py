"""The command `backchannel-relay`: options in, a served relay or one sentence about what is wrong out.

Every option may also stand in the environment (``BACKCHANNEL_RELAY_…``) or in one TOML file. When the relay is ready
its address is printed, one word on stdout; everything else goes to stderr. What takes time to import is imported when
it is needed, and a usage error never needs it.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from protocol.address import HostPort, RelayAddress
from protocol.errors import BackchannelError, BadAddress
from protocol.limits import RelayLimits

PROGRAM: Final = "backchannel-relay"
DEFAULT_BIND: Final = "0.0.0.0:7667"

log = logging.getLogger("relay")

_LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "retention_s": ("--retention", "How long messages are kept for those who are away."),
    "idle_close_s": ("--idle-close", "After how long without anybody attached a room is forgotten."),
    "connections": ("--connections", "Connections at one time."),
    "connections_per_identity": ("--connections-per-identity", "Connections of one identity."),
    "connections_per_address": ("--connections-per-address", "Connections from one network address."),
    "rooms": ("--rooms", "Open rooms."),
    "rooms_per_founder": ("--rooms-per-founder", "Open rooms of one founder."),
    "members": ("--members", "Members of a room."),
    "statements": ("--statements", "Statements in a room's log."),
    "bytes_per_sender": ("--bytes-per-sender", "Bytes of room messages kept for one sender in one room."),
    "bytes_per_pair": ("--bytes-per-pair", "Bytes of asides kept from one sender to one recipient."),
    "posts_per_s": ("--posts-per-s", "Requests a second, lasting, from one identity."),
    "posts_burst": ("--posts-burst", "Requests at once from one identity."),
    "bytes_per_s": ("--bytes-per-s", "Bytes a second, lasting, from one identity."),
    "bytes_burst": ("--bytes-burst", "Bytes at once from one identity."),
    "slow_cut_s": ("--slow-cut", "After how long a connection that takes nothing is cut."),
}
"""For each field of ``RelayLimits`` its option and what it bounds."""


def _parameter(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _limit_options(function: Callable[..., None]) -> Callable[..., None]:
    for field in reversed(dataclasses.fields(RelayLimits)):
        option, text = _LIMITS[field.name]
        seconds = field.name.endswith("_s") and not field.name.endswith("_per_s")
        function = click.option(
            option,
            type=click.IntRange(1, 10**9),
            metavar="SECONDS" if seconds else "N",
            default=field.default,
            help=text,
        )(function)
    return function


def _read_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take the defaults of all other options from a TOML file."""
    if path is None:
        return None
    import tomllib  # noqa: PLC0415

    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path}: {(error.strerror or 'not readable').lower()}.") from None
    except ValueError as error:
        raise click.BadParameter(f"{path} is not valid TOML: {error}.") from None
    named = {_parameter(key): value for key, value in settings.items()}
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="backchannel", message="%(prog)s %(version)s")
@click.pass_context
def command(context: click.Context) -> None:
    """Relay of Backchannel: forwards end-to-end encrypted messages on a LAN, and can read none of them."""
    if context.invoked_subcommand is None:
        raise click.UsageError("Missing command.", context)


@command.command(context_settings={"auto_envvar_prefix": "BACKCHANNEL_RELAY", "show_default": True})
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
@_limit_options
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
    bounds = RelayLimits(**{field: options[_parameter(option)] for field, (option, _) in _LIMITS.items()})
    serve(bind, home, bounds, leash=sys.stdin.fileno() if until_eof else None, all_addresses=all_addresses)


def serve(
    bind: HostPort, home: Path | None, bounds: RelayLimits, leash: int | None = None, *, all_addresses: bool = False
) -> None:
    """Serve at ``bind`` until a signal, or until reading from the descriptor ``leash`` ends.

    Raises ``BadKeyFile`` and ``CannotListen``.
    """
    import gc  # noqa: PLC0415
    import secrets  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from protocol.primitives import base32  # noqa: PLC0415
    from relay import addresses, key  # noqa: PLC0415
    from relay.core.core import Core  # noqa: PLC0415
    from relay.router import CannotListen, Router, monotonic_ms  # noqa: PLC0415

    most = _set_process_limits(bounds)
    if home is None:
        from platformdirs import user_data_path  # noqa: PLC0415

        home = user_data_path(PROGRAM, appauthor=False)
    secret = key.load_or_create(home)
    public = key.public_key(secret)
    try:
        host = addresses.resolve(bind.host)
    except OSError as error:
        raise CannotListen(f"{bind.host}: {(error.strerror or 'unknown').lower()}") from None
    core = Core(public, secrets.token_bytes(16), bounds, monotonic_ms())
    with Router(core, HostPort(host, bind.port), secret, most) as router:
        signal.set_wakeup_fd(router.wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: router.stop())
        if leash is not None:
            router.stop_at_end_of(leash)
        hosts = [host]
        if addresses.is_everywhere(host):
            hosts = addresses.reachable(v6=":" in host) or ["::1" if ":" in host else "127.0.0.1"]
        for place in hosts:
            log.info("listening at %s", HostPort(place, router.port))
        printed = hosts if all_addresses else hosts[:1]
        click.echo("\n".join(str(RelayAddress(HostPort(place, router.port), base32(public))) for place in printed))
        sys.stdout.flush()
        gc.freeze()  # what is there now stays: the collector need not look at it again
        router.run()
        log.info("stopping")


def _set_process_limits(bounds: RelayLimits) -> int:
    """Leave no core dump, and make room for descriptors; return how many connections may be open at once."""
    import resource  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A quarter more, so that one over the limit hears why it is refused.
    wanted = bounds.connections + bounds.connections // 4 + 64
    spare = 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + spare:
        soft = wanted + spare if hard == resource.RLIM_INFINITY else min(wanted + spare, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted + spare:
            log.warning("room for %d connections alone: raise the limit of open files (ulimit -n)", soft - spare)
            return max(1, soft - spare)
    return wanted


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0, or the error's code with one sentence on stderr."""
    try:
        code = command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else PROGRAM
        _fail(f"{error.format_message().rstrip('.')}: see `{path} --help`.", error.exit_code)
    except BackchannelError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        log.debug("where it happened:", exc_info=True)
        _fail(f"{BackchannelError.sentence} ({type(error).__name__})", BackchannelError.exit_code)
    sys.exit(code or 0)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"{PROGRAM}: {sentence}", err=True)
    sys.exit(code)
