"""The room's encryption: each message once, by whoever was given its chain by then, and as its sender's alone."""

from __future__ import annotations

import dataclasses
import random as chance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import chain, limits
from protocol.chain import ReceivedChain, SendingChain, chain_id, header
from protocol.content import Action, ChainKey, Receipt, RoomMessage, Text
from protocol.errors import CannotOpen, NoKey, TooLarge
from protocol.identity import Identity, SigningKey
from protocol.ids import Anchor, Head, MessageId, RoomId
from protocol.primitives import Label, aead_encrypt, blake2b, derive, pad
from tests.protocol.builders import (
    ALICE,
    ANCHOR,
    BOB,
    EVE,
    MESSAGE,
    NOW,
    OTHER_MESSAGE,
    OTHER_ROOM,
    ROOM,
    briefly_and_for_long,
    flips,
)

CLEAR, COMMITMENT, SIGNATURE = slice(0, 74), slice(74, 106), slice(106, 170)
OVERHEAD = 170 + 24 + 16


class Line:
    """Alice's sending chain, and what she says on it."""

    def __init__(self, made_at: int = 7, room: RoomId = ROOM, who: Identity = ALICE) -> None:
        self.sending = SendingChain(room, who.id, made_at, NOW)
        self.who, self.room = who, room

    def given(self) -> ReceivedChain:
        """Return the chain as somebody gets it now."""
        return ReceivedChain(self.room, self.who.id, self.sending.share())

    def says(self, text: str = "hi", message: MessageId = MESSAGE) -> bytes:
        return self.sending.encrypt(said(text), message, ANCHOR)

    def skips(self, messages: int) -> None:
        for _ in range(messages):
            self.says("")


def said(text: str) -> RoomMessage:
    return RoomMessage(NOW, Text(text))


def refused(received: ReceivedChain, body: bytes, message: MessageId = MESSAGE) -> None:
    with pytest.raises(CannotOpen) as caught:
        received.open(body, message)
    assert type(caught.value) is CannotOpen


# -- what must work ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [Text("hi"), Text(""), Text("x" * limits.TEXT), Action("waves")])
def test_what_is_said_is_heard(content) -> None:
    line = Line()
    bob = line.given()
    message = RoomMessage(NOW, content)
    body = line.sending.encrypt(message, MESSAGE, ANCHOR)
    assert header(body) == chain.Header(line.sending.id, 0, ANCHOR)
    assert bob.open(body, MESSAGE) == message


@given(st.lists(st.text(max_size=40), max_size=12), st.randoms(use_true_random=False))
def test_messages_open_in_any_order_and_as_often_as_asked(texts, shuffled) -> None:
    """A received chain stays as it came: to show a message once is the business of whoever keeps the counters."""
    line = Line()
    bob = line.given()
    bodies = [(text, line.says(text)) for text in texts]
    assert [header(body).counter for _, body in bodies] == list(range(len(texts)))
    for _ in range(2):
        shuffled.shuffle(bodies)
        for text, body in bodies:
            assert bob.open(body, MESSAGE) == said(text)
    assert bob == ReceivedChain(ROOM, ALICE.id, bob.state)


def test_a_chain_carries_a_thousand_messages_and_no_more() -> None:
    line = Line()
    bob = line.given()
    assert not line.sending.spent(NOW)
    line.skips(limits.CHAIN_MESSAGES - 1)
    assert not line.sending.spent(NOW)
    last = line.says("last")
    assert bob.open(last, MESSAGE) == said("last")
    assert line.sending.spent(NOW)
    with pytest.raises(NoKey):
        line.says("one more")
    ended = line.given()
    assert ended.state.counter == limits.CHAIN_MESSAGES
    with pytest.raises(NoKey):
        ended.open(last, MESSAGE)


def test_a_chain_ends_after_ten_minutes_and_when_the_clock_was_set_back() -> None:
    sending = Line().sending
    assert not sending.spent(NOW + limits.CHAIN_LIFE - 1)
    assert sending.spent(NOW + limits.CHAIN_LIFE)
    assert sending.spent(NOW - 1)


def test_a_chain_names_the_one_before_so_that_a_lost_tail_shows() -> None:
    first = Line()
    first.skips(3)
    second = SendingChain(ROOM, ALICE.id, 8, NOW, (first.sending.id, first.sending.counter))
    assert (second.share().previous, second.share().previous_count) == (first.sending.id, 3)
    assert (first.given().state.previous, first.given().state.previous_count) == (bytes(32), 0)
    assert second.share().made_at == 8


def test_the_name_of_a_chain_is_of_its_room_its_sender_and_its_key() -> None:
    names = {
        chain_id(room, sender, key)
        for room in (ROOM, OTHER_ROOM)
        for sender in (ALICE.id, BOB.id)
        for key in (b"1" * 32, b"2" * 32)
    }
    assert len(names) == 8
    assert Line().sending.id != Line().sending.id
    assert len(Line().sending.share().key) == 32
    line = Line()
    assert line.given().id == line.sending.id == chain_id(ROOM, ALICE.id, line.sending.share().verify_key)


def test_only_the_bucket_of_a_text_s_length_shows() -> None:
    line = Line()
    assert {len(line.says("x" * size)) for size in (0, 1, 100, 200)} == {OVERHEAD + 256}
    assert len(line.says("x" * 300)) == OVERHEAD + 1_024
    assert len(line.says("x" * limits.TEXT)) == OVERHEAD + 81_920


def test_the_same_words_never_look_the_same() -> None:
    line = Line()
    one, other = line.says(), line.says()
    assert one[170:194] != other[170:194], "nonce"
    assert one[COMMITMENT] != other[COMMITMENT]


def test_no_secret_shows_in_a_repr() -> None:
    line = Line()
    key = line.sending.share().key
    for shown in (repr(line.sending), repr(line.given())):
        assert key.hex() not in shown
        assert repr(key)[2:-1] not in shown


def test_what_cannot_be_sent_moves_nothing() -> None:
    line = Line()
    message = said("")
    object.__setattr__(message.content, "text", "x" * 90_000)
    before = line.sending.share()
    with pytest.raises(TooLarge):
        line.sending.encrypt(message, MESSAGE, ANCHOR)
    assert line.sending.share() == before


# -- what must not ----------------------------------------------------------------------------------------------------


def test_attack_12_a_body_shown_again_is_the_same_message_and_never_another() -> None:
    """Its chain, counter and id are signed: whoever deduplicates by them sees one message, under no second name."""
    line = Line()
    bob = line.given()
    body = line.says("once")
    assert bob.open(body, MESSAGE) == bob.open(body, MESSAGE)
    refused(bob, body, OTHER_MESSAGE)
    renumbered = body[:32] + (1).to_bytes(2) + body[34:]
    refused(bob, renumbered)


@pytest.mark.parametrize("counter", [1_000, 1_001, 0x7FFF, 0xFFFF])
def test_attack_13_a_counter_of_a_thousand_or_more_is_refused_in_constant_work(counter) -> None:
    line = Line()
    body = line.says()
    far = body[:32] + counter.to_bytes(2) + body[34:]
    with pytest.raises(CannotOpen, match="range"):
        header(far)
    refused(line.given(), far)


def test_attack_13_nobody_but_the_chain_s_owner_makes_a_receiver_step_at_all(monkeypatch) -> None:
    """The signature is verified before any key is derived; and the owner gets 999 steps at most."""
    line = Line()
    bob, body = line.given(), line.says()
    steps = []
    monkeypatch.setattr(chain, "derive", lambda key, label: steps.append(label) or derive(key, label))
    refused(bob, body[:32] + (999).to_bytes(2) + body[34:])
    refused(bob, body[:-1] + bytes([body[-1] ^ 1]))
    assert steps == []

    line.skips(998)
    last = line.says("last")
    steps.clear()
    assert header(last).counter == 999
    assert bob.open(last, MESSAGE) == said("last")
    assert len(steps) == 1_000  # 999 of the chain, and the message key


def test_attack_22_a_chain_shared_later_opens_nothing_from_before() -> None:
    """Not by this code, and not by any: the key that was shared is one-way away from the ones before."""
    line = Line()
    bodies = [line.says(f"{n}") for n in range(5)]
    dave = line.given()
    later = line.says("welcome")
    assert dave.state.counter == 5
    assert dave.open(later, MESSAGE) == said("welcome")
    for body in bodies:
        with pytest.raises(NoKey):
            dave.open(body, MESSAGE)
        cheating = ReceivedChain(ROOM, ALICE.id, dataclasses.replace(dave.state, counter=0))
        refused(cheating, body)


def test_attack_22_a_new_chain_has_nothing_in_common_with_the_one_before() -> None:
    """Chuck was removed; Alice makes a new chain. All he had opens nothing on it."""
    before = Line()
    chuck = before.given()
    after = Line(made_at=9)
    body = after.says("without chuck")
    refused(chuck, body)
    refused(
        dataclasses.replace(chuck, state=dataclasses.replace(chuck.state, verify_key=after.given().state.verify_key)),
        body,
    )
    assert before.sending.share().key != after.sending.share().key


def crafted(received: ReceivedChain, signer: SigningKey, key: bytes, commitment: bytes, *, message=MESSAGE) -> bytes:
    """Return a room message with everything right but what is given here: what a chain's hostile owner can make."""
    clear = received.id + bytes(2) + ANCHOR.index.to_bytes(8) + ANCHOR.head
    aad = received.room + received.sender + message + clear
    body = aead_encrypt(key, pad(b"\x93\x00\x01\xa2hi"), aad)
    return clear + commitment + signer.sign(Label.ROOM_MESSAGE, aad + commitment + body) + body


def commitment_to(key: bytes, received: ReceivedChain, message: MessageId = MESSAGE) -> bytes:
    clear = received.id + bytes(2) + ANCHOR.index.to_bytes(8) + ANCHOR.head
    return blake2b(Label.COMMITMENT, received.room + received.sender + message + clear, key=key)


def test_attack_25_a_body_commits_to_one_key() -> None:
    """Who shares two keys of one chain could make a body that says different things under each.

    The cipher alone allows it. The commitment does not: a body whose commitment is for another key than the one that
    opens it is refused, although the cipher would open it.
    """
    signer = SigningKey(b"c" * 32)
    for_bob, for_carol = (
        ReceivedChain(ROOM, ALICE.id, ChainKey(key * 32, 0, signer.public, 7, chain.NOTHING[0], 0))
        for key in (b"1", b"2")
    )
    assert for_bob.id == for_carol.id
    bob_key, carol_key = (derive(each.state.key, Label.MESSAGE_KEY) for each in (for_bob, for_carol))
    fair = crafted(for_bob, signer, bob_key, commitment_to(bob_key, for_bob))
    assert for_bob.open(fair, MESSAGE) == RoomMessage(0, Text("hi"))
    refused(for_carol, fair)

    two_faced = crafted(for_bob, signer, bob_key, commitment_to(carol_key, for_carol))
    with pytest.raises(CannotOpen, match="commitment"):
        for_bob.open(two_faced, MESSAGE)
    with pytest.raises(CannotOpen, match="authentication"):
        for_carol.open(two_faced, MESSAGE)


def test_a_commitment_is_to_its_place_too() -> None:
    signer = SigningKey(b"c" * 32)
    bob = ReceivedChain(ROOM, ALICE.id, ChainKey(b"1" * 32, 0, signer.public, 7, chain.NOTHING[0], 0))
    key = derive(bob.state.key, Label.MESSAGE_KEY)
    with pytest.raises(CannotOpen, match="commitment"):
        bob.open(crafted(bob, signer, key, commitment_to(key, bob, OTHER_MESSAGE)), MESSAGE)


def test_attack_18_a_message_opens_in_its_room_as_its_sender_s_under_its_id_alone() -> None:
    line = Line()
    bob, body = line.given(), line.says()
    refused(ReceivedChain(OTHER_ROOM, ALICE.id, bob.state), body)
    refused(ReceivedChain(ROOM, EVE.id, bob.state), body)
    refused(bob, body, OTHER_MESSAGE)


@pytest.mark.parametrize(("room", "sender"), [(OTHER_ROOM, ALICE), (ROOM, EVE)])
def test_attack_18_nor_with_the_name_of_the_chain_made_to_fit(room, sender) -> None:
    """Eve hands on Alice's chain as hers, or in another room, and names it in the body: the signature covers both."""
    line = Line()
    received = ReceivedChain(room, sender.id, line.sending.share())
    body = line.says()
    with pytest.raises(CannotOpen, match="signature"):
        received.open(received.id + body[32:], MESSAGE)


def test_a_body_that_names_another_chain_is_refused_though_the_owner_of_both_signed_it() -> None:
    """Otherwise it would count as a message of the chain that it names, or open twice."""
    line = Line()
    bob = line.given()
    line.sending.id = Line().sending.id
    with pytest.raises(CannotOpen, match="another chain"):
        bob.open(line.says(), MESSAGE)


def test_a_member_cannot_speak_on_another_s_chain() -> None:
    """Bob has Alice's chain key, so he can encrypt and commit; he cannot sign."""
    line = Line()
    bob = line.given()
    key = derive(bob.state.key, Label.MESSAGE_KEY)
    with pytest.raises(CannotOpen, match="signature"):
        bob.open(crafted(bob, BOB, key, commitment_to(key, bob)), MESSAGE)


def test_the_anchor_is_signed_with_the_message() -> None:
    line = Line()
    bob, body = line.given(), line.says()
    refused(bob, body[:34] + (8).to_bytes(8) + body[42:])
    refused(bob, body[:42] + b"H" * 32 + body[74:])


@pytest.mark.parametrize("size", [*range(65), 73, 74, 105, 106, 169, 170])
def test_attack_15_short_bodies_are_refused(size) -> None:
    line = Line()
    bob, body = line.given(), line.says()
    for short in (bytes(size), b"\xff" * size, body[:size]):
        refused(bob, short)
        with pytest.raises(CannotOpen):
            header(short)


def test_attack_15_every_cut_and_every_flipped_bit_is_refused() -> None:
    line = Line()
    bob, body = line.given(), line.says()
    for damaged in [*(body[:end] for end in range(len(body))), *flips(body), body + b"\0"]:
        refused(bob, damaged)


def test_attack_15_a_signed_body_with_a_short_ciphertext_is_refused() -> None:
    signer = SigningKey(b"c" * 32)
    bob = ReceivedChain(ROOM, ALICE.id, ChainKey(b"1" * 32, 0, signer.public, 7, chain.NOTHING[0], 0))
    key = derive(bob.state.key, Label.MESSAGE_KEY)
    clear = bob.id + bytes(2) + ANCHOR.index.to_bytes(8) + ANCHOR.head
    aad, commitment = ROOM + ALICE.id + MESSAGE + clear, commitment_to(key, bob)
    for size in range(65):
        body = bytes(size)
        refused(bob, clear + commitment + signer.sign(Label.ROOM_MESSAGE, aad + commitment + body) + body)


def test_attack_3_what_is_no_room_message_is_refused_though_its_owner_encrypted_it() -> None:
    line = Line()
    bob = line.given()
    refused(bob, line.sending.encrypt(RoomMessage(NOW, Receipt(OTHER_MESSAGE)), MESSAGE, ANCHOR))
    refused(bob, line.sending.encrypt(RoomMessage(NOW, line.sending.share()), MESSAGE, ANCHOR))


def test_a_clear_part_out_of_range_is_refused() -> None:
    body = Line().says()
    with pytest.raises(CannotOpen):
        header(body[:34] + b"\xff" * 8 + body[42:])
    with pytest.raises(CannotOpen, match="range"):
        header(body[:34] + limits.COUNTER.to_bytes(8) + body[42:])
    edge = body[:34] + (limits.COUNTER - 1).to_bytes(8) + body[42:]
    assert header(edge).anchor == Anchor(limits.COUNTER - 1, Head(ANCHOR.head))


hostile_line = Line()
hostile_bob, hostile_body = hostile_line.given(), hostile_line.says()


@briefly_and_for_long
@given(data=st.binary(max_size=500), at=st.integers(0, len(hostile_body)), cut=st.integers(0, 40))
def test_whatever_comes_only_our_own_errors_leave(drawn, data, at, cut) -> None:
    for body in (data, hostile_body[:at] + data, hostile_body[:at] + data + hostile_body[at + cut :]):
        if body != hostile_body:
            refused(hostile_bob, body)


def test_a_lost_message_costs_no_other() -> None:
    line = Line()
    bob = line.given()
    bodies = [line.says(f"{n}") for n in range(20)]
    for n in chance.Random(1).sample(range(20), 10):
        assert bob.open(bodies[n], MESSAGE) == said(f"{n}")
