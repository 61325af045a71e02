"""Our relay as a process, with a lie in its core: ``python lying_relay.py run …``; it is run as a script.

It is honest until the file that ``$LIE`` names exists. That holds one JSON object: the name of a lie of
``hostile_relay`` under ``lie``, and its arguments: strings are hex, and an object names something of that module.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import relay.core.core
from protocol.ids import RelayKey
from protocol.limits import RelayLimits
from relay.cli import main
from tests.claims import hostile_relay
from tests.claims.hostile_relay import Liar, Lie


class Switched(Liar):
    """A core that begins to lie when it is told to."""

    def __init__(self, key: RelayKey, incarnation: bytes, bounds: RelayLimits, now: int) -> None:
        super().__init__(key, incarnation, bounds, now, lie=lambda: self._now)
        self._now = Lie()
        self._switch = Path(os.environ["LIE"])

    def tick(self, now: int) -> None:
        super().tick(now)
        if type(self._now) is Lie and self._switch.exists():
            said = json.loads(self._switch.read_text())
            self._now = getattr(hostile_relay, said["lie"])(*map(_read, said["arguments"]))
            self._now.begins(self)


def _read(said):  # type: ignore[no-untyped-def]  # whatever JSON holds
    match said:
        case {"name": name}:
            return getattr(hostile_relay, name)
        case list():
            return [_read(value) for value in said]
        case str():
            return bytes.fromhex(said)
    return said


if __name__ == "__main__":
    relay.core.core.Core = Switched  # type: ignore[misc]
    main(sys.argv[1:])
