"""A soak: people talk, whisper, die, come back, join and leave for a while, and neither relay nor people grow.

``make soak SECONDS=3600`` makes the while longer. Memory is compared between the second third of the time, when all
that is retained and cached for long is there (retention is a short one here), and the last.
"""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tests.faults.crowd import Crowd
from tests.faults.gauge import MIB, resident

SECONDS = float(os.environ.get("SECONDS", "60"))
GROWTH = 3 * MIB
"""What noise may add, beside a twentieth of what is there."""


@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 2 + 300)
def test_memory_stays_flat(scene):
    relay = scene.relay("--retention", "10")
    crowd = Crowd(scene, relay, "alice", "bob", "carol", how={"carol": {"reading": "UNSHOWN"}})
    visitors = (scene.person(f"visitor{number}") for number in itertools.count())
    for place, who in enumerate(crowd.names):
        crowd.talk(who, every=0.2)
        crowd.talk(who, to=crowd.names[place - 1], every=0.3)
    weights: list[dict[str, int]] = []
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        crowd.goes_on(30)
        visitor = next(visitors)
        visitor.joins(scene.invite)
        visitor.runs("leave", "team")
        weights.append({"relay": resident(relay.pid)} | {who: resident(crowd.booths[who].pid) for who in crowd.names})
    third = len(weights) // 3
    assert third
    grown = []
    for what in weights[0]:
        middle = max(weight[what] for weight in weights[third : 2 * third])
        last = min(weight[what] for weight in weights[2 * third :])
        print(f"{what}: {weights[0][what] / MIB:.1f} MiB, then {middle / MIB:.1f}, at last {last / MIB:.1f}")
        if last >= middle * 1.05 + GROWTH:
            grown.append(what)
    crowd.balances(whole=True)
    print(crowd.ledger.summary())
    assert not grown
