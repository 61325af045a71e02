"""People who come and go by the thousands: what they leave in the relay is what the log must hold, and no more."""

from __future__ import annotations

import itertools
import os

import pytest

from protocol import envelope as ev
from protocol import statement as st
from protocol.identity import Identity, SigningKey
from protocol.membership import Membership
from protocol.primitives import new_message_id
from tests.e2e.wire import Wire, now_ms
from tests.faults.gauge import MIB, descriptors, resident, worked
from tests.hostile.zmtp import Raw

STATEMENT = 700
"""What a statement of the log may cost the relay, in bytes, whatever it takes to fold it."""


@pytest.mark.parametrize("times", [200, pytest.param(10_000, marks=pytest.mark.faults)])
def test_joins_and_leaves(scene, times):
    """Each is a connection, an identity, an ADMIT and a LEAVE; the last costs no more than the first."""
    relay = scene.relay("--statements", str(3 * times + 10))
    with Wire(relay.address) as founder:
        found = st.found(founder.identity, os.urandom(16), now_ms(), False, bytes(100))
        log = Membership(found)
        room = log.room
        key = SigningKey.generate()

        assert founder.asks(ev.Submit(new_message_id(), room, found)) == "accepted"
        grant = st.grant(founder.identity, room, log.anchor, key.public, 0, 0)
        assert founder.asks(ev.Submit(new_message_id(), room, grant)) == "accepted"
        log.apply(grant)

        def submits(raw: Raw, statement: bytes) -> None:
            raw.says(ev.Submit(new_message_id(), room, statement).encode())
            assert [type(answer) for answer in ev.decode_deliveries(raw.hears())] == [ev.Accepted]
            log.apply(statement)

        open_files = descriptors(relay.pid)
        marks = []
        for number in range(times):
            identity = Identity.generate()
            with Raw(relay.address) as raw:
                raw.arrives(identity)
                submits(raw, st.admit(identity, room, log.anchor, key))
                submits(raw, st.leave(identity, room, log.anchor))
            if (number + 1) % (times // 4) == 0:
                marks.append((resident(relay.pid), worked(relay.pid)))
    weights = [weight for weight, _ in marks]
    quarters = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(marks)]
    print("MiB:", [round(weight / MIB, 1) for weight in weights], "s of CPU a quarter:", quarters)
    assert weights[-1] - weights[0] < 8 * MIB + STATEMENT * 2 * times
    assert quarters[-1] < 2 * quarters[0] + 0.5
    assert descriptors(relay.pid) <= open_files + 2
