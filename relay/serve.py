"""A relay from its start to its end: key, limits of the process, core, router, signals, and its address on stdout."""

from __future__ import annotations

import gc
import logging
import resource
import secrets
import signal
import sys
from typing import TYPE_CHECKING

import click
from platformdirs import user_data_path

from protocol.address import HostPort, RelayAddress
from protocol.primitives import base32
from relay import addresses, key
from relay.core.core import Core
from relay.router import CannotListen, Router, monotonic_ms

if TYPE_CHECKING:
    from pathlib import Path

    from protocol.limits import RelayLimits

log = logging.getLogger("relay")


def serve(
    bind: HostPort, home: Path | None, bounds: RelayLimits, leash: int | None = None, *, all_addresses: bool = False
) -> None:
    """Serve at ``bind`` until a signal, or until reading from the descriptor ``leash`` ends.

    Raises ``BadKeyFile`` and ``CannotListen``.
    """
    most = _set_process_limits(bounds)
    if home is None:
        home = user_data_path("backchannel-relay", appauthor=False)
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
