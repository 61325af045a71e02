"""Announces a relay on the LAN by multicast DNS, in a process of its own.

Whoever announces also listens to what everybody on the LAN shouts. That is kept out of the process that forwards
messages: there it would take turns with the loop, and what a flood of it costs would be the members' cost. So
``run --announce`` starts ``announce`` as a child, which ends when its stdin does. It follows this machine's addresses:
when they change, what was announced is taken back and said again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Self

from protocol import announcement
from protocol.errors import BadInput
from relay import addresses
from relay.logs import values

if TYPE_CHECKING:
    from types import TracebackType

    from protocol.address import RelayAddress

log = logging.getLogger("relay")

LOOKED_AT_EVERY_S: Final = 2.0
"""How soon a change of this machine's addresses is noticed."""
_ENDS_WITHIN_S: Final = 3.0


class CannotAnnounce(BadInput):
    """Multicast DNS is not to be had here."""

    code = "cannot-announce"
    sentence = "The relay can't be announced on this network."


async def announce(address: RelayAddress, *, every_s: float = LOOKED_AT_EVERY_S) -> None:
    """Announce the relay at ``address`` until stdin, SIGTERM or SIGINT ends it; raise ``CannotAnnounce``.

    A host that means all addresses of this machine stands for those that it has, as they change.
    """
    ended = asyncio.Event()
    _end_with_stdin_or_signals(ended)
    try:
        at = addresses.resolve(address.at.host)
    except OSError as error:
        raise CannotAnnounce(f"{address.at.host}: {(error.strerror or 'unknown').lower()}") from None
    while not ended.is_set():
        hosts = addresses.hosts(at)
        async with _announced(address, hosts):
            log.info("announced", extra=values(addresses=" ".join(hosts)))
            while not ended.is_set() and addresses.hosts(at) == hosts:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), every_s)


def _end_with_stdin_or_signals(ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def read() -> None:
        if not os.read(0, 4_096):
            loop.remove_reader(0)
            ended.set()

    with contextlib.suppress(OSError):  # of a file, such as /dev/null, nobody waits for the end
        loop.add_reader(0, read)


@contextlib.asynccontextmanager
async def _announced(address: RelayAddress, hosts: list[str]) -> AsyncIterator[None]:
    from zeroconf import Error, IPVersion  # noqa: PLC0415 - slow, and only for this
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf  # noqa: PLC0415

    info = AsyncServiceInfo(
        announcement.SERVICE,
        announcement.instance(address.key),
        parsed_addresses=hosts,
        port=address.at.port,
        properties=announcement.txt(address.key),
        server=announcement.host(address.key),
    )
    v4 = [host for host in hosts if ipaddress.ip_address(host).version == 4]
    try:
        # Only where the relay listens; of an address of both kinds, the packets go by the older.
        zeroconf = AsyncZeroconf(interfaces=v4 or hosts, ip_version=IPVersion.V4Only if v4 else IPVersion.V6Only)
    except (OSError, Error, RuntimeError) as error:
        raise CannotAnnounce(type(error).__name__) from None
    try:
        try:
            await (await zeroconf.async_register_service(info, allow_name_change=True))
        except (OSError, Error) as error:
            raise CannotAnnounce(type(error).__name__) from None
        yield
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


class Announcer:
    """The child of a relay that announces it, while it is entered."""

    def __init__(self, address: RelayAddress) -> None:
        """Start it: the relay need not wait until anybody has heard."""
        self._child: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-P", "-m", "relay", "announce", str(address)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def look(self) -> None:
        """Say so, once, if it has ended: the relay goes on without."""
        if self._child and (code := self._child.poll()) is not None:
            log.warning("no longer announced", extra=values(code=code))
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child is None:
            return
        assert self._child.stdin
        self._child.stdin.close()
        try:
            self._child.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
