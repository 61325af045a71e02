"""Asides: opened by their recipient, as their sender's, in their room, once their context fits, and not otherwise.

The same key serves the outer and the inner box, and the inner one opens in both directions: so the hash of the context
inside is all that stands against the attacks below, and each part of it is taken away here once.
"""

from __future__ import annotations

import dataclasses

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import chain, limits, seal
from protocol.content import Action, Aside, Ask, ChainKey, Kind, Receipt, RoomMessage, Text, encode_aside, encode_room
from protocol.errors import BadCard, CannotOpen
from protocol.ids import MessageId, SealingKey
from protocol.primitives import pad, random
from protocol.seal import OVERHEAD, Route, Unsealed, open_box, unseal
from tests.protocol.builders import (
    ALICE,
    ANCHOR,
    BOB,
    CHUCK,
    EVE,
    MESSAGE,
    NOW,
    OTHER_MESSAGE,
    OTHER_ROOM,
    ROOM,
    Keys,
    briefly_and_for_long,
    flips,
)

alice, bob, carol, eve = Keys(ALICE, NOW), Keys(BOB, NOW + 1), Keys(CHUCK, NOW + 2), Keys(EVE, NOW + 3)
generations = st.integers(0, limits.TIME - 1)
WARNING = Aside(ANCHOR, 5, 0, NOW, Text("careful with chuck"))


def route(sender: Keys, recipient: Keys, /, **changed: object) -> Route:
    straight = Route(
        room=ROOM,
        message=MESSAGE,
        sender=sender.id,
        sender_generation=sender.generation,
        recipient=recipient.id,
        recipient_generation=recipient.generation,
    )
    return dataclasses.replace(straight, **changed)


def sealed(aside: Aside = WARNING, sender: Keys = alice, recipient: Keys = bob) -> bytes:
    return seal.seal(aside, route(sender, recipient), sender.secret, recipient.key)


def opened(body: bytes, way: Route, recipient: Keys = bob, sender_key: SealingKey = alice.key) -> Aside:
    return open_box(unseal(body, recipient.secret, recipient.key), way, recipient.secret, sender_key)


def refused(body: bytes, way: Route, recipient: Keys = bob, sender_key: SealingKey = alice.key) -> None:
    with pytest.raises(CannotOpen):
        opened(body, way, recipient, sender_key)


def wrapped(box: bytes, claimed: Keys, recipient: Keys) -> bytes:
    """Put an inner box into a new outer one that names ``claimed`` as its sender: anybody can."""
    header = claimed.id + claimed.generation.to_bytes(8)
    return recipient.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(header + box, recipient.key)


def boxed(plaintext: bytes, secret: bytes, key: bytes) -> bytes:
    nonce = random(24)
    return nonce + nacl.bindings.crypto_box(plaintext, nonce, key, secret)


# -- what must work ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        Text("hi"),
        Text(""),
        Text("x" * limits.TEXT),
        Action("waves"),
        Receipt(OTHER_MESSAGE),
        Ask(b"c" * 32),
        chain.SendingChain(ROOM, alice.id, 7, NOW).share(),
    ],
    ids=lambda content: type(content).__name__,
)
def test_what_alice_whispers_bob_hears(content) -> None:
    aside = Aside(ANCHOR, 5, 0b11, NOW, content)
    body = sealed(aside)
    assert seal.recipient_generation(body) == bob.generation
    outer = unseal(body, bob.secret, bob.key)
    assert (outer.sender, outer.sender_generation) == (alice.id, alice.generation)
    assert open_box(outer, route(alice, bob), bob.secret, alice.key) == aside


def test_one_may_whisper_to_oneself() -> None:
    assert opened(sealed(sender=bob), route(bob, bob), sender_key=bob.key) == WARNING


def test_only_bob_can_open_it() -> None:
    body = sealed()
    for other in (alice, carol, eve):
        with pytest.raises(CannotOpen):
            unseal(body, other.secret, other.key)
        with pytest.raises(CannotOpen):
            unseal(body, other.secret, bob.key)


def test_the_envelope_shows_nothing_of_who_sent_it_and_no_two_are_alike() -> None:
    body, again = sealed(), sealed()
    for part in (alice.id, alice.key, alice.generation.to_bytes(8), bob.id, bob.key, b"careful"):
        assert part not in body
    assert body[:8] == again[:8] == bob.generation.to_bytes(8)
    pieces, others = ({seen[n : n + 16] for n in range(8, 300, 16)} for seen in (body, again))
    assert pieces.isdisjoint(others)


@pytest.mark.parametrize(
    ("shortest", "longest", "padded"),
    [
        ("", "x" * 100, 256),
        ("x" * 300, "x" * 850, 1_024),
        ("x" * 1_100, "x" * 3_900, 4_096),
        ("x" * 4_500, "x" * 16_000, 16_384),
    ],
)
def test_only_the_bucket_of_its_length_shows(shortest, longest, padded) -> None:
    for text in (shortest, longest):
        assert len(sealed(Aside(ANCHOR, 5, 0, NOW, Text(text)))) == OVERHEAD + padded


def test_claim_7_bob_can_make_any_aside_from_alice_to_bob_that_he_could_show() -> None:
    """So an aside proves nothing to anybody but Bob: what he makes up alone opens exactly as what she sent.

    He uses nothing but his own secret key and what is on Alice's card.
    """
    never_said = Aside(ANCHOR, 6, 0, NOW, Text("I, Alice, hate Chuck"))
    way = route(alice, bob)
    inner = boxed(pad(encode_aside(way.context(Kind.TEXT), never_said)), bob.secret, alice.key)
    forged, genuine = wrapped(inner, alice, bob), sealed()
    assert opened(forged, way) == never_said
    assert opened(genuine, way) == WARNING
    assert len(forged) == len(genuine)
    outer_forged, outer_genuine = (unseal(body, bob.secret, bob.key) for body in (forged, genuine))
    assert (outer_forged.sender, outer_forged.sender_generation) == (
        outer_genuine.sender,
        outer_genuine.sender_generation,
    )


def test_a_body_without_a_plaintext_is_not_too_short_to_say_whose_it_is() -> None:
    assert seal.recipient_generation(bob.generation.to_bytes(8) + bytes(OVERHEAD - 8)) == bob.generation
    with pytest.raises(CannotOpen, match="too short"):
        seal.recipient_generation(bob.generation.to_bytes(8) + bytes(OVERHEAD - 9))


# -- what must not ----------------------------------------------------------------------------------------------------

ELSEWHERE = {
    # every field of a route, and what an attacker would like it to be
    "room": OTHER_ROOM,
    "message": OTHER_MESSAGE,
    "sender": eve.id,
    "sender_generation": NOW - 1,
    "recipient": carol.id,
    "recipient_generation": NOW - 1,
}


def test_every_field_of_a_route_is_taken_away_below() -> None:
    assert set(ELSEWHERE) == {field.name for field in dataclasses.fields(Route)}


@pytest.mark.parametrize(("field", "value"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_attack_18_an_aside_opens_on_its_own_route_alone(field, value) -> None:
    """In room A and not in room B, under its own id, between its own people, for its own generations."""
    refused(sealed(), route(alice, bob, **{field: value}))


@pytest.mark.parametrize(("field", "value"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_attack_18_the_context_inside_holds_by_itself_when_all_outside_was_made_to_fit(field, value) -> None:
    """The outer box is remade so that nothing outside betrays the change: only the hash of the context is left."""
    way = route(alice, bob, **{field: value})
    genuine = unseal(sealed(), bob.secret, bob.key)
    with pytest.raises(CannotOpen, match="context"):
        open_box(Unsealed(way.sender, way.sender_generation, genuine.box), way, bob.secret, alice.key)


def test_attack_1_bob_seals_alice_s_words_again_for_carol() -> None:
    """He cannot make her box open for Carol; what he can make is a box of his own, and it is his."""
    box = unseal(sealed(), bob.secret, bob.key).box
    refused(wrapped(box, alice, carol), route(alice, carol), recipient=carol)
    plaintext = encode_aside(route(alice, carol).context(Kind.TEXT), WARNING)
    remade = wrapped(boxed(pad(plaintext), bob.secret, carol.key), alice, carol)
    refused(remade, route(alice, carol), recipient=carol)


def test_attack_1_bob_reflects_alice_s_words_to_her() -> None:
    """Box opens in both directions: Alice's own words, sent back to her as Bob's, fail by their context alone."""
    box = unseal(sealed(), bob.secret, bob.key).box
    reflected = wrapped(box, bob, alice)
    outer = unseal(reflected, alice.secret, alice.key)
    nacl.bindings.crypto_box_open(outer.box[24:], outer.box[:24], bob.key, alice.secret)  # it does open
    with pytest.raises(CannotOpen, match="context"):
        open_box(outer, route(bob, alice), alice.secret, bob.key)


def test_attack_2_eve_publishes_alice_s_sealing_key_as_hers() -> None:
    """The box opens with "her" key too, but it says inside that it is Alice's: attribution never changes."""
    eve_with_alice_s_key = alice.key
    box = unseal(sealed(), bob.secret, bob.key).box
    with pytest.raises(CannotOpen, match="context"):
        opened(wrapped(box, eve, bob), route(eve, bob), sender_key=eve_with_alice_s_key)
    with pytest.raises(CannotOpen, match="another sender"):
        opened(sealed(), route(eve, bob), sender_key=eve_with_alice_s_key)


def test_attack_2_eve_names_alice_in_a_box_of_her_own() -> None:
    """The key comes from Alice's card, never from the aside."""
    plaintext = pad(encode_aside(route(alice, bob).context(Kind.TEXT), WARNING))
    refused(wrapped(boxed(plaintext, eve.secret, bob.key), alice, bob), route(alice, bob))
    refused(wrapped(boxed(plaintext, eve.secret, bob.key), eve, bob), route(alice, bob), sender_key=eve.key)


def test_attack_3_a_kind_that_says_it_is_another_is_refused() -> None:
    """The kind is part of the context: a text whose context was made for an action is neither."""
    for claimed in set(Kind) - {Kind.TEXT}:
        plaintext = encode_aside(route(alice, bob).context(claimed), WARNING)
        refused(wrapped(boxed(pad(plaintext), alice.secret, bob.key), alice, bob), route(alice, bob))


def test_attack_3_a_room_message_is_no_aside() -> None:
    sending = chain.SendingChain(ROOM, alice.id, 7, NOW)
    refused(sending.encrypt(RoomMessage(NOW, Text("hi")), MESSAGE, ANCHOR), route(alice, bob))
    inner = boxed(pad(encode_room(RoomMessage(NOW, Text("hi")))), alice.secret, bob.key)
    refused(wrapped(inner, alice, bob), route(alice, bob))


def test_attack_10_nothing_that_alice_signs_is_in_an_aside_and_no_context_is_what_she_signs() -> None:
    """A context is a hash under its own label: it equals no hash or signed bytes of any other purpose."""
    contexts = {route(alice, bob).context(kind) for kind in Kind}
    assert len(contexts) == len(Kind)
    assert contexts.isdisjoint({route(bob, alice).context(kind) for kind in Kind})
    assert contexts.isdisjoint({chain.chain_id(ROOM, alice.id, key) for key in (alice.id, bob.id, alice.key)})


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_attack_14_a_low_order_key_harms_whoever_published_it_and_nobody_else(key) -> None:
    """As recipient it is refused with an error of ours; as sender's key it opens nothing."""
    with pytest.raises(BadCard):
        seal.seal(WARNING, route(alice, bob), alice.secret, SealingKey(key))
    refused(sealed(), route(alice, bob), sender_key=SealingKey(key))


@pytest.mark.parametrize("size", range(65))
def test_attack_15_short_bodies_are_refused(size) -> None:
    for body in (bytes(size), b"\xff" * size, sealed()[:size]):
        refused(body, route(alice, bob))
        with pytest.raises(CannotOpen):
            seal.recipient_generation(body)


def test_attack_15_every_cut_of_a_body_is_refused() -> None:
    body = sealed()
    for end in range(len(body)):
        refused(body[:end], route(alice, bob))
    refused(body + b"\0", route(alice, bob))


def test_attack_15_every_short_inside_is_refused() -> None:
    """Who holds Bob's public key can seal any bytes for him, and Alice can box any."""
    for size in range(100):
        body = bob.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(
            (alice.id + NOW.to_bytes(8) + bytes(99))[:size], bob.key
        )
        refused(body, route(alice, bob))
        refused(wrapped(boxed(bytes(size), alice.secret, bob.key), alice, bob), route(alice, bob))


def test_a_bit_flipped_anywhere_is_refused() -> None:
    """In the clear generation it is for another key, which the caller asks for by that number."""
    for damaged in flips(sealed()[8:]):
        refused(bob.generation.to_bytes(8) + damaged, route(alice, bob))
    for damaged in flips(unseal(sealed(), bob.secret, bob.key).box):
        refused(wrapped(damaged, alice, bob), route(alice, bob))


def test_the_generation_in_clear_cannot_lie_about_the_one_inside() -> None:
    body = (bob.generation + 1).to_bytes(8) + sealed()[8:]
    claimed = seal.recipient_generation(body)
    refused(body, route(alice, bob, recipient_generation=claimed))


@pytest.mark.parametrize("absurd", [limits.TIME, 1 << 63, (1 << 64) - 1])
def test_a_generation_that_no_card_can_have_is_refused_before_anybody_looks_it_up(absurd) -> None:
    """A database that is asked for it would fail with an error of its own."""
    body = absurd.to_bytes(8) + sealed()[8:]
    with pytest.raises(CannotOpen, match="range"):
        seal.recipient_generation(body)
    with pytest.raises(CannotOpen, match="range"):
        unseal(wrapped(bytes(300), Keys(ALICE, absurd), bob), bob.secret, bob.key)
    last = wrapped(bytes(300), Keys(ALICE, limits.TIME - 1), bob)
    assert unseal(last, bob.secret, bob.key).sender_generation == limits.TIME - 1


@given(
    st.text(max_size=300),
    st.binary(min_size=16, max_size=16).map(MessageId),
    generations,
    generations,
)
def test_every_aside_comes_back_on_its_route(text, message, one, other) -> None:
    way = route(alice, bob, message=message, sender_generation=one, recipient_generation=other)
    aside = Aside(ANCHOR, 5, 0, NOW, Text(text))
    body = seal.seal(aside, way, alice.secret, bob.key)
    assert seal.recipient_generation(body) == other
    assert opened(body, way) == aside


@briefly_and_for_long
@given(
    inner=st.binary(max_size=400),
    box=st.binary(max_size=300) | st.binary(max_size=255).map(pad),
    body=st.binary(max_size=400),
)
def test_whatever_bytes_are_sealed_only_our_own_errors_leave(drawn, inner, box, body) -> None:
    sealed_by_anybody = bob.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(inner, bob.key)
    boxed_by_alice = wrapped(boxed(box, alice.secret, bob.key), alice, bob)
    for hostile in (body, sealed_by_anybody, boxed_by_alice):
        refused(hostile, route(alice, bob))


def test_chain_keys_are_all_of_one_size() -> None:
    chains = [
        ChainKey(random(32), count, random(32), made_at, random(32), count)
        for count in (0, limits.CHAIN_MESSAGES)
        for made_at in (0, limits.COUNTER - 1)
    ]
    assert {len(sealed(Aside(ANCHOR, 5, 0, NOW, key))) for key in chains} == {OVERHEAD + 256}
