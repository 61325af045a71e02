"""How a relay is announced on a LAN by DNS-SD (RFC 6763): the names, and what TXT says.

Anybody on the LAN can announce anything. So what is read here is only a hint where a relay with some key may be; that
it is there, it has to prove with the key, as everywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final

import protocol
from protocol.address import HostPort, RelayAddress
from protocol.errors import BadAddress

SERVICE: Final = "_backchannel._tcp.local."
PLACES: Final = 8
"""Addresses of one relay that are looked at."""
_LETTERS: Final = 16


def instance(key: str) -> str:
    """Return the name that the relay with ``key`` (52 letters) is announced under."""
    return f"Backchannel {key[:_LETTERS]}.{SERVICE}"


def host(key: str) -> str:
    """Return the host name that goes with it."""
    return f"backchannel-{key[:_LETTERS]}.local."


def txt(key: str) -> dict[str, str]:
    """Return what TXT says: ``txtvers`` (RFC 6763), the protocol's version and the relay's key."""
    return {"txtvers": "1", "v": str(protocol.VERSION), "key": key}


def read(txt: Mapping[bytes, bytes | None], hosts: Iterable[str], port: int | None) -> tuple[RelayAddress, ...]:
    """Return where the announced relay says it is: nowhere if this is no relay of our version.

    Addresses that nobody on a LAN can be reached at are left out, and so is what is more than ``PLACES``.
    """
    if txt.get(b"v") != b"%d" % protocol.VERSION:
        return ()
    found: dict[RelayAddress, None] = {}
    try:
        key = (txt.get(b"key") or b"").decode("ascii")
        for place in hosts:
            if len(found) < PLACES and _is_reachable(place):
                found[RelayAddress.parse(f"{HostPort.parse(f'{place}:{port}')}/{key}")] = None
    except (BadAddress, ValueError):
        return ()
    return tuple(found)


def _is_reachable(place: str) -> bool:
    address = ipaddress.ip_address(place)
    without_scope = address.version == 6 and address.is_link_local
    return not (address.is_unspecified or address.is_multicast or without_scope)
