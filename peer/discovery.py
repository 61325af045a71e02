"""Finds relays on the LAN by multicast DNS: all for `discover`, one by its key for a link whose relay has moved.

Whatever answers is a stranger, and what it says a hint: no more than ``_NAMES`` names are looked at, what they say is
read by ``protocol.announcement``, nothing of it is shown but numeric addresses and keys, and a relay is believed to be
somewhere when it has proven its key there. What is asked is the same whichever relay is looked for, so nobody on the
LAN learns which. ``$BACKCHANNEL_MDNS`` says on which of this machine's addresses to ask, or ``off``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from protocol import announcement
from protocol.address import RelayAddress
from protocol.base32 import base32
from protocol.errors import BackchannelError, UsageError
from protocol.ids import RelayKey

VARIABLE: Final = "BACKCHANNEL_MDNS"
LOOKING_S: Final = 3.0
"""How long an answer is waited for; most come within a fraction of a second."""
_AGAIN_S: Final = 30.0
"""How long a link waits before it looks once more."""
_NAMES: Final = 64
_DETAILS_MS: Final = 2_000
"""How long the one that answered may take to say the rest."""
_log: Final = logging.getLogger("backchannel")


class CannotAsk(BackchannelError):
    """Multicast DNS is not to be had here."""

    code = "cannot-ask"
    exit_code = 3
    sentence = "This network can't be asked for relays: it has no multicast."


@dataclass(frozen=True, slots=True)
class FoundRelay:
    """A relay that says it is on the LAN; whether it is, its key will prove."""

    addresses: tuple[RelayAddress, ...]

    @property
    def key(self) -> str:
        """The 52 letters of its key."""
        return self.addresses[0].key


async def discover(timeout: float = LOOKING_S) -> list[FoundRelay]:
    """Return the relays that answer within ``timeout`` seconds, by address; raise ``CannotAsk`` or ``UsageError``."""
    by_key: dict[str, FoundRelay] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout), contextlib.aclosing(_answers()) as answers:
            async for relay in answers:
                by_key.setdefault(relay.key, relay)
    return sorted(by_key.values(), key=lambda relay: str(relay.addresses[0]))


async def find(key: RelayKey, timeout: float = LOOKING_S) -> tuple[RelayAddress, ...]:
    """Return where a relay that claims to have ``key`` says it is; nothing if none does within ``timeout`` seconds."""
    wanted = base32(key)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout), contextlib.aclosing(_answers()) as answers:
            async for relay in answers:
                if relay.key == wanted:
                    return relay.addresses
    return ()


class Search:
    """Looks for one relay in the background, now and then, for a link that cannot reach it."""

    def __init__(self, key: RelayKey) -> None:
        """Nothing is sent before ``start``."""
        self._key = key
        self._task: asyncio.Task[None] | None = None
        self._again_at = 0.0
        self.found: tuple[str, ...] = ()
        """HOST:PORT of the latest answer."""
        self.fresh = asyncio.Event()
        """Set when there is an answer; whoever tries it clears this."""

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Look, unless that is being done or was done just now."""
        now = asyncio.get_running_loop().time()
        if not self.busy and now >= self._again_at:
            self._again_at = now + _AGAIN_S
            self._task = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        try:
            found = await find(self._key)
        except BackchannelError as error:
            _log.debug("%s", error)
            return
        if found:
            self.found = tuple(str(address.at) for address in found)
            self.fresh.set()


def _interfaces() -> list[str] | None:
    """Return on which addresses to ask: None for all, none for not at all; raise ``UsageError`` for no addresses."""
    words = os.environ.get(VARIABLE, "").replace(",", " ").split()
    if words == ["off"]:
        return []
    try:
        return [str(ipaddress.ip_address(word)) for word in words] or None
    except ValueError:
        raise UsageError(f"{VARIABLE} is neither off nor a list of addresses of this machine") from None


async def _answers() -> AsyncGenerator[FoundRelay, None]:
    """Yield what answers, for ever."""
    interfaces = _interfaces()
    if interfaces == []:
        return
    from zeroconf import DNSQuestionType, Error, InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf  # noqa: PLC0415
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf  # noqa: PLC0415

    # An answer to us alone would go to whichever program of this machine has the port of multicast DNS open, too.
    to_all = DNSQuestionType.QM
    found: asyncio.Queue[FoundRelay] = asyncio.Queue()
    asked: dict[str, asyncio.Task[None]] = {}

    async def ask(name: str) -> None:
        info = AsyncServiceInfo(announcement.SERVICE, name)
        if await info.async_request(asker.zeroconf, _DETAILS_MS, question_type=to_all):
            addresses = announcement.read(info.properties, info.parsed_addresses(), info.port)
            if addresses:
                found.put_nowait(FoundRelay(addresses))

    def hear(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:  # noqa: ARG001
        if name not in asked and len(asked) < _NAMES:
            asked[name] = asyncio.create_task(ask(name))

    only_v6 = interfaces is not None and all(":" in address for address in interfaces)
    try:
        asker = AsyncZeroconf(
            interfaces=InterfaceChoice.All if interfaces is None else interfaces,
            ip_version=IPVersion.V6Only if only_v6 else IPVersion.V4Only,
        )
    except (OSError, Error, RuntimeError) as error:
        raise CannotAsk(type(error).__name__) from None
    try:
        browser = AsyncServiceBrowser(asker.zeroconf, announcement.SERVICE, handlers=[hear], question_type=to_all)
        while True:
            yield await found.get()
    finally:
        await browser.async_cancel()
        for task in asked.values():
            task.cancel()
        await asyncio.gather(*asked.values(), return_exceptions=True)
        await asker.async_close()
