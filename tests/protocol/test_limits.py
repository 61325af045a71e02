"""The bounds agree with one another: what one of them allows, the others can carry."""

import pytest

from protocol import chain, content, envelope, limits, primitives, seal
from protocol import statement as st
from protocol.ids import Anchor, Head, InviteId
from tests.protocol.builders import ALICE, ANCHOR, BOB, MESSAGE, NOW, ROOM, Keys

LONGEST = Anchor(limits.COUNTER - 1, Head(b"h" * 32))


def test_the_longest_text_fits_an_aside_and_a_room_message_and_those_fit_an_envelope() -> None:
    text = content.Text("x" * limits.TEXT)
    alice, bob = Keys(ALICE), Keys(BOB)
    route = seal.Route(
        room=ROOM,
        message=MESSAGE,
        sender=alice.id,
        sender_generation=alice.generation,
        recipient=bob.id,
        recipient_generation=bob.generation,
    )
    most = content.Aside(LONGEST, limits.COUNTER - 1, (1 << limits.SKIPPED) - 1, limits.TIME - 1, text)
    aside = seal.seal(most, route, alice.secret, bob.key)
    said = chain.SendingChain(ROOM, alice.id, 7, NOW).encrypt(
        content.RoomMessage(limits.TIME - 1, text), MESSAGE, LONGEST
    )
    for body in (aside, said):
        assert len(body) <= limits.BODY
        post = envelope.Post(MESSAGE, ROOM, bob.id, limits.COUNTER - 1, 1, body).encode()
        message = envelope.Message(ROOM, ALICE.id, True, limits.COUNTER - 1, limits.TIME - 1, MESSAGE, body).encode()
        assert len(post) <= limits.ENVELOPE
        assert len(message) <= limits.ENVELOPE


def test_the_fullest_lists_fit_an_envelope_and_an_envelope_fits_a_frame() -> None:
    statement = st.found(ALICE, b"s" * 16, limits.TIME - 1, True, b"t" * 160)
    signed = [
        statement,
        st.grant(ALICE, ROOM, LONGEST, InviteId(b"i" * 32), limits.INVITE_USES, limits.TIME - 1),
        st.admit(BOB, ROOM, LONGEST, BOB),
        st.remove(ALICE, ROOM, LONGEST, BOB.id, True),
    ]
    longest = max(signed, key=len)
    assert len(longest) <= limits.STATEMENT
    fullest = [
        envelope.Restore(MESSAGE, ROOM, True, (longest,) * limits.RESTORED),
        envelope.Accepted((MESSAGE,) * limits.ACCEPTED),
        envelope.Presence(ROOM, True, (ALICE.id,) * limits.PRESENT, (BOB.id,) * limits.PRESENT),
        envelope.Submit(MESSAGE, ROOM, bytes(limits.STATEMENT)),
        envelope.Publish(MESSAGE, ROOM, bytes(limits.CARD)),
    ]
    assert max(len(each.encode()) for each in fullest) <= limits.ENVELOPE <= limits.FRAME
    assert limits.BODY < limits.ENVELOPE


def test_a_counter_of_a_chain_fits_the_two_bytes_it_has() -> None:
    assert limits.CHAIN_MESSAGES < 1 << 16
    assert limits.COUNTER < 1 << 64
    assert len(primitives.pad(bytes(limits.TEXT + 256))) == 5 * 16_384


def test_lifetimes_follow_from_one_another() -> None:
    assert limits.CARD_ROTATION < limits.CARD_AHEAD < limits.CARD_LIFE
    assert limits.RETENTION <= limits.RETENTION_CAP
    assert limits.BACKOFF_MOST < limits.REVIVAL, "or a peer could miss the time in which rooms come back"
    assert limits.CLOCK_SKEW < limits.CARD_AHEAD, "or a tolerated clock would make cards from the future"
    assert (limits.CARD_ROTATION, limits.CARD_LIFE) == (600_000, 86_400_000)


@pytest.mark.parametrize("name", limits.RelayLimits.__slots__)
def test_what_an_operator_may_set_is_positive_and_leaves_room_for_one_of_each(name) -> None:
    assert getattr(limits.RelayLimits(), name) > 0
    relay = limits.RelayLimits()
    assert relay.retention_s * 1000 == limits.RETENTION
    assert relay.members <= limits.MEMBERS
    assert min(relay.bytes_per_sender, relay.bytes_per_pair, relay.bytes_burst) >= limits.ENVELOPE


def test_anchors_print_no_surprise() -> None:
    index, head = ANCHOR
    assert (index, head) == (7, b"h" * 32)
