"""The address of a relay, one shell-safe word: ``HOST:PORT/KEY``.

The last colon before the slash splits host and port, so an IPv6 host needs no brackets; KEY is the relay's CURVE public
key in lower-case base32. Host and port are where to look; the key is who must answer. No cryptography is imported here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from protocol.errors import BadAddress

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._-]{1,15})?")
_KEY: Final = re.compile(r"[A-Za-z2-7]{51}[AQaq]")  # 260 bits for 256: of the last letter only the highest counts


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where something listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, word: str) -> HostPort:
        """Read ``HOST:PORT`` (port 0 to 65535); raise ``BadAddress``."""
        host, colon, port = word.rpartition(":")
        if not colon or not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
            raise BadAddress
        return cls(host, int(port))

    @property
    def endpoint(self) -> str:
        """The same as a ZeroMQ endpoint."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return ``HOST:PORT``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where a relay listens, and the 52 letters of the key that it must prove to hold."""

    at: HostPort
    key: str

    @classmethod
    def parse(cls, word: str) -> RelayAddress:
        """Read ``HOST:PORT/KEY``; raise ``BadAddress``."""
        at, slash, key = word.strip().partition("/")
        if not slash or not _KEY.fullmatch(key):
            raise BadAddress
        where = HostPort.parse(at)
        if where.port == 0:
            raise BadAddress("port 0")
        return cls(where, key.lower())

    def __str__(self) -> str:
        """Return the word."""
        return f"{self.at}/{self.key}"
