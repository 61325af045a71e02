"""A relay as an operator runs it: a process with options and an environment, watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from protocol.address import RelayAddress

PATIENCE = 60.0


def until(met: Callable[[], object], what: str = "it") -> object:
    """Wait until ``met()`` is true of something; return that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return found


def environment(**more: str) -> dict[str, str]:
    """This process's, without what could change what a relay does."""
    foreign = ("BACKCHANNEL_", "NOTIFY_", "WATCHDOG_", "CREDENTIALS_", "JOURNAL_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | more


def command(*words: object) -> list[str]:
    return [sys.executable, "-P", "-m", "relay", *map(str, words)]


def runs(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        command(*words), env=environment(**env), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


class RelayProcess:
    """`backchannel-relay run`, from its first line on stdout to its end."""

    def __init__(self, home: Path, *options: object, prefix: tuple[str, ...] = (), **env: str) -> None:
        bind = () if "--bind" in options else ("--bind", "127.0.0.1:0")
        self.child = subprocess.Popen(
            [*prefix, *command("run", "--home", home, *bind, *options)],
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(map(str.rstrip, self.child.stderr)))
        self._reader.start()
        first = self.child.stdout.readline()
        assert first, self.ended() and self.lines
        self.address = RelayAddress.parse(first)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.ended()

    def events(self, name: str) -> list[dict[str, object]]:
        """Return what it has logged of that name."""
        return [record for record in map(json.loads, list(self.lines)) if record["event"] == name]

    def stop(self) -> int:
        self.child.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        code = self.child.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self.child.stdout, self.child.stderr):
            stream.close()
        return code
