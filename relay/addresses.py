"""Which addresses of this machine others can reach: what a relay that listens everywhere prints.

The standard library cannot list interfaces, so what the operating system says in several ways is put together. Nothing
is sent: connecting a datagram socket only asks which way a packet would leave.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ELSEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses for documentation (RFC 5737, RFC 3849): reached by the default route, where there is one."""
_SIOCGIFADDR: Final = 0x8915
_INTERFACES_V6: Final = Path("/proc/self/net/if_inet6")  # there even where a sandbox shows processes alone


def resolve(host: str) -> str:
    """Return ``host`` as a numeric address; raise ``OSError`` if there is none of that name."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def is_everywhere(host: str) -> bool:
    """Say whether a numeric address means all of this machine's."""
    return ipaddress.ip_address(host.partition("%")[0]).is_unspecified


def hosts(host: str) -> list[str]:
    """Return at which addresses others reach what listens at ``host``, a numeric one, the likeliest first."""
    if not is_everywhere(host):
        return [host]
    return reachable(v6=":" in host) or ["::1" if ":" in host else "127.0.0.1"]


def reachable(*, v6: bool) -> list[str]:
    """Return this machine's addresses that are neither loopback nor link-local, the likeliest first."""
    found: dict[str, None] = {}
    for source in (_outward(), _of_interfaces_v4(), _of_interfaces_v6(), _of_name()):
        for address in source:
            parsed = ipaddress.ip_address(address.partition("%")[0])
            if (parsed.version == 4 or v6) and not (
                parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
            ):
                found[str(parsed)] = None
    return list(found)


def _outward() -> Iterator[str]:
    for family, elsewhere in _ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            yield probe.getsockname()[0]


def _of_interfaces_v4() -> Iterator[str]:
    """Yield each interface's first address: on Linux alone."""
    try:
        import fcntl  # noqa: PLC0415 - not on every system
    except ImportError:  # pragma: no cover - not where the tests run
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                reply = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                yield socket.inet_ntoa(reply[20:24])


def _of_interfaces_v6() -> Iterator[str]:
    """Yield every IPv6 address: on Linux alone."""
    with contextlib.suppress(OSError):
        for line in _INTERFACES_V6.read_text(encoding="ascii").splitlines():
            yield str(ipaddress.IPv6Address(int(line.split()[0], 16)))


def _of_name() -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
            yield str(entry[4][0])
