"""A relay from its start to its end: key, limits of the process, core, router, signals, and its address on stdout."""

from __future__ import annotations

import gc
import logging
import os
import resource
import secrets
import signal
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from platformdirs import user_data_path

import protocol
from protocol.address import HostPort, RelayAddress
from protocol.base32 import base32
from protocol.errors import BackchannelError
from relay import addresses, key
from relay.announce import Announcer
from relay.ceiling import ceiling
from relay.core.core import Core
from relay.founders import BadAllowFile, Founders
from relay.logs import values
from relay.router import CannotListen, Router, monotonic_ms
from relay.service import ServiceManager
from relay.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from protocol.limits import RelayLimits

log = logging.getLogger("relay")


class CannotPrint(BackchannelError):
    """Stdout takes no more: a full disk, or nobody who reads it."""

    code = "cannot-print"
    exit_code = 1
    sentence = "The relay's address could not be written to stdout."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a relay is told when it starts."""

    bind: HostPort
    bounds: RelayLimits
    home: Path | None = None
    """Where the key is, unless a file or a credential of systemd holds it; by default the user's data folder."""
    key_file: Path | None = None
    leash: int | None = None
    """A descriptor; the relay stops when reading from it comes to its end."""
    allow: Path | None = None
    """The file that says who may found rooms; SIGHUP has it read again."""
    announce: bool = False
    """Tell the LAN where the relay is, by multicast DNS."""
    metrics: HostPort | None = None
    """Where to serve the numbers for Prometheus: on the loopback."""
    all_addresses: bool = False
    """Print every address, not the likeliest alone."""


def serve(settings: Settings) -> None:
    """Serve until a signal; raise ``BadKeyFile``, ``BadAllowFile`` or ``CannotListen``."""
    bounds = settings.bounds
    founders = Founders.load(settings.allow) if settings.allow else None
    most = _set_process_limits(bounds)
    secret = _load_key(settings)
    public = key.public_key(secret)
    at = _resolve(settings.bind)
    core = Core(public, secrets.token_bytes(16), bounds, monotonic_ms())
    core.let_found(founders)
    manager = ServiceManager()
    with ExitStack() as open_until_the_end:
        open_until_the_end.enter_context(closing(manager))
        router = open_until_the_end.enter_context(Router(core, at, secret, most))
        signal.set_wakeup_fd(router.wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: router.stop())
        signal.signal(signal.SIGHUP, _hangup(router, core, settings.allow))
        if settings.leash is not None:
            router.stop_at_end_of(settings.leash)
        watch = Watch(core, router, manager)
        if settings.metrics:
            from relay.metrics import Exporter  # noqa: PLC0415 - a tenth of a second that others need not wait

            exporter = open_until_the_end.enter_context(Exporter(settings.metrics, lambda: watch.latest, bounds))
            log.info("metrics", extra=values(address=exporter.at))
        places = [RelayAddress(HostPort(host, router.port), base32(public)) for host in addresses.hosts(at.host)]
        for place in places:
            log.info("listening", extra=values(address=place.at))
        _print(places if settings.all_addresses else places[:1])
        manager.ready()
        memory = ceiling(bounds, most)
        log.info("memory", extra=values(mib=memory.total >> 20, retained_mib=memory.retained >> 20, connections=most))
        log.info("ready", extra=values(version=protocol.RELEASE, connections=min(bounds.connections, most)))
        looks = [watch.look]
        if settings.announce:
            announcer = Announcer(RelayAddress(HostPort(at.host, router.port), base32(public)))
            looks.append(open_until_the_end.enter_context(announcer).look)

        def each_second() -> None:
            for look in looks:
                look()

        gc.freeze()  # what is there now stays: the collector need not look at it again
        router.run(each_second=each_second, when_stopping=lambda: _say_stopping(manager))
    log.info("stopped")


def _print(places: Sequence[RelayAddress]) -> None:
    """Print where the relay is; raise ``CannotPrint`` if stdout takes nothing."""
    try:
        click.echo("\n".join(map(str, places)))
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python would else try again at its end, and complain
        raise CannotPrint((error.strerror or "nobody reads it").lower()) from None


def _load_key(settings: Settings) -> bytes:
    if settings.key_file:
        return key.load(settings.key_file)
    if credential := key.credential(os.environ):
        return key.load_credential(credential)
    return key.load_or_create(settings.home or user_data_path("backchannel-relay", appauthor=False))


def _resolve(bind: HostPort) -> HostPort:
    try:
        return HostPort(addresses.resolve(bind.host), bind.port)
    except OSError as error:
        raise CannotListen(f"{bind.host}: {(error.strerror or 'unknown').lower()}") from None


def _say_stopping(manager: ServiceManager) -> None:
    manager.stopping()
    log.info("stopping")


def _hangup(router: Router, core: Core, allow: Path | None) -> Callable[[int, object], None]:
    """Return what SIGHUP does: it has ``allow`` read again, but stops a relay whose terminal was closed."""
    terminals = [fd for fd in range(3) if os.isatty(fd)]

    def reload() -> None:
        if allow is None:
            log.info("there is no file to read again")
            return
        try:
            founders = Founders.load(allow)
        except BadAllowFile as error:
            log.error("who may found rooms stays as it was", extra=values(reason=error.detail))  # noqa: TRY400
        else:
            core.let_found(founders)
            log.info("who may found rooms was read again", extra=values(identities=len(founders)))

    def hangup(_number: int, _frame: object) -> None:
        if terminals and not any(map(os.isatty, terminals)):
            router.stop()
        else:
            router.run_errand(reload)

    return hangup


def _set_process_limits(bounds: RelayLimits) -> int:
    """Leave no core dump, and make room for descriptors; return how many connections may be open at once."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # An eighth more, so that one over the limit hears why it is refused, and what is only accepted has room.
    wanted = bounds.connections + bounds.connections // 8 + 64
    spare, storm = 64, 512  # what is accepted, and not seen and cut yet, takes descriptors too
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + storm:
        soft = wanted + storm if hard == resource.RLIM_INFINITY else min(wanted + storm, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted + spare:
            most = max(1, soft - spare)
            log.warning("too few open files are allowed (ulimit -n)", extra=values(connections=most))
            return most
    return wanted
