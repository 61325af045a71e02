"""What comes in: stories of honest people first, then of bytes that no honest program sends."""

from __future__ import annotations

import pytest

from protocol import envelope as ev
from protocol import limits, seal
from protocol.primitives import new_message_id, random

JUNK = [bytes([fill]) * size for size in (0, 1, 8, 39, 64, 160, 161, 300, 4_096) for fill in (0, 0x7F, 0xFF)]


@pytest.mark.parametrize("direct", [True, False], ids=["aside", "room"])
def test_rubbish_in_a_body_is_missed_and_nothing_more(company, direct):
    """Attack 15: bodies of 0 to 64 bytes, and longer ones, from a member through an honest relay."""
    c = company
    for body in JUNK:
        to = c.bob.id if direct else None
        post = ev.Post(new_message_id(), c.world.room, to, c.alice.membership.index, 0, body)
        c.alice.process.outgoing.append(post.encode())
        c.world.runs()
    c.world.passes(limits.UNRESOLVED + 1_000)
    c.alice.says("still there?")
    assert c.bob.hears() == ["alice: still there?"]


def test_a_generation_that_nobody_can_have_does_not_cut_the_recipient_off(company):
    """The sender's generation is inside: a recipient that asked the relay for its card would be cut, again and again."""
    c = company
    card = c.alice.core.roster.card(c.bob.id)
    header = c.alice.id + ((1 << 64) - 1).to_bytes(8)
    import nacl.bindings

    body = card.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(header + random(300), card.sealing_key)
    post = ev.Post(new_message_id(), c.world.room, c.bob.id, c.alice.membership.index, 0, body)
    assert len(body) >= seal.OVERHEAD
    c.alice.process.outgoing.append(post.encode())
    c.world.runs()
    assert c.bob.process.connection
    assert c.bob.notes() == ["missed alice 1 cannot-open"]
