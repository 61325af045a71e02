"""A message that never ends: libzmq shows none of its parts, and would hold them all."""

from __future__ import annotations

import pytest

from protocol.identity import Identity
from tests.faults.gauge import MIB, resident
from tests.hostile.zmtp import MORE, Cut, Raw


@pytest.mark.parametrize("greeted", [True, False], ids=["a greeted peer", "a stranger"])
def test_whoever_sends_parts_for_ever_is_cut_before_they_fill_the_relay(town, greeted):
    """Taken out: the call of ``Intake.look`` in the router. The memory then grows by 100 MB/s."""
    with Raw(town.address) as raw:
        if greeted:
            raw.arrives(Identity.generate())
        else:
            raw.shakes_hands()
        with pytest.raises(Cut):
            say_for_ever(raw, town)


def say_for_ever(raw, town):
    for _ in range(5_000):
        raw.says(bytes(200_000), MORE)
        assert resident(town.relay.pid) - town.weight < 500 * MIB
