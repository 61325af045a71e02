"""Tells the service manager how the relay is: that it is ready, that its loop turns, that it stops.

The protocol is systemd's ``sd_notify``: one datagram of ``NAME=VALUE`` lines to the socket that ``$NOTIFY_SOCKET``
names; without that variable nobody asked, and nothing is said. What is told once a second is told by the loop itself,
so a watchdog that hears nothing knows that no message is forwarded either. Nothing here may fail or wait for long: a
service manager in trouble must not become the members' trouble.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

_PATIENCE_S: Final = 1.0
"""How long READY and STOPPING may wait for a service manager that is busy; the watchdog's word waits for nothing."""


class ServiceManager:
    """Whoever started this process, if it asked to be told."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take the variables that systemd sets: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watches = watched and environment.get("WATCHDOG_USEC", "0") != "0"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address[:1] in ("/", "\0") else None
        self._said = ""

    def ready(self) -> None:
        """Say that whoever connects from now on is served."""
        self._tell("READY=1")

    def alive(self, status: str) -> None:
        """Say that the loop turns, and in one line what there is, if that has changed."""
        lines = ["WATCHDOG=1"] if self._watches else []
        if status != self._said:
            lines.append(f"STATUS={status}")
            self._said = status
        if lines:
            self._tell(*lines, wait=False)

    def stopping(self) -> None:
        """Say that the relay was asked to stop and is doing so."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket:
            self._socket.close()

    def _tell(self, *lines: str, wait: bool = True) -> None:
        if self._socket:
            self._socket.settimeout(_PATIENCE_S if wait else 0.0)
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)
