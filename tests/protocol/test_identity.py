"""Identities sign under labels; their printed forms are for people to compare and never to be imitated."""

from __future__ import annotations

import hashlib
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import identity
from protocol.errors import BadSignature
from protocol.identity import Identity, SigningKey, fingerprint, hello_content, id_text, safety_number, verify
from protocol.ids import PeerId, RelayKey
from protocol.primitives import Label
from tests.protocol.builders import ALICE, BOB, flips

ids = st.binary(min_size=32, max_size=32).map(PeerId)

ORDER = 2**252 + 27742317777372353535851937790883648493

SMALL_ORDER_POINTS = [
    # every encoding of a point of Ed25519 whose order divides 8: who "has" such a key can sign nothing, or everything
    bytes(32),
    b"\1" + bytes(31),
    bytes(31) + b"\x80",
    b"\1" + bytes(30) + b"\x80",
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xec" + b"\xff" * 31,
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 31,
    b"\xee" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 31,
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
]


def test_a_signature_is_its_key_s_its_label_s_and_its_content_s_alone() -> None:
    signature = ALICE.sign(Label.CARD, b"content")
    verify(ALICE.public, Label.CARD, b"content", signature)
    for public, label, content in (
        (BOB.public, Label.CARD, b"content"),
        (ALICE.public, Label.HELLO, b"content"),
        (ALICE.public, Label.CARD, b"content "),
        (ALICE.public, Label.CARD, b""),
    ):
        with pytest.raises(BadSignature):
            verify(public, label, content, signature)


def test_attack_10_a_signature_made_for_one_purpose_never_serves_another() -> None:
    """Above all HELLO, which a hostile relay has signed at will over a key that it chose itself."""
    for made_for, shown_as in itertools.permutations(Label, 2):
        signature = ALICE.sign(made_for, b"content")
        with pytest.raises(BadSignature):
            verify(ALICE.public, shown_as, b"content", signature)


def test_attack_10_no_content_can_move_into_the_label() -> None:
    """No label begins with another one and the byte that ends it, so no two pairs are the same signed bytes."""
    for one, other in itertools.permutations(Label, 2):
        assert not (other.value + b"\0").startswith(one.value + b"\0")


def test_a_hello_is_for_one_relay_and_one_connection() -> None:
    content = hello_content(RelayKey(b"r" * 32), b"t" * 32)
    signature = ALICE.sign(Label.HELLO, content)
    verify(ALICE.public, Label.HELLO, content, signature)
    for relay, transport in ((b"R" * 32, b"t" * 32), (b"r" * 32, b"T" * 32), (b"t" * 32, b"r" * 32)):
        with pytest.raises(BadSignature):
            verify(ALICE.public, Label.HELLO, hello_content(RelayKey(relay), transport), signature)


def test_a_bit_flipped_anywhere_in_a_signature_or_key_is_refused() -> None:
    signature = ALICE.sign(Label.CARD, b"content")
    for damaged in flips(signature):
        with pytest.raises(BadSignature):
            verify(ALICE.public, Label.CARD, b"content", damaged)
    for damaged in flips(ALICE.public):
        with pytest.raises(BadSignature):
            verify(damaged, Label.CARD, b"content", signature)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 65, 128])
def test_keys_and_signatures_of_another_length_are_refused(size) -> None:
    with pytest.raises(BadSignature):
        verify(ALICE.public, Label.CARD, b"", bytes(size))
    with pytest.raises(BadSignature):
        verify(bytes(size), Label.CARD, b"", bytes(64))


def test_bytes_do_not_move_between_key_signature_and_content() -> None:
    """libsodium takes pointers: without a check of lengths it would read a longer key as its beginning."""
    signature = ALICE.sign(Label.CARD, b"content")
    with pytest.raises(BadSignature):
        verify(ALICE.public + b"\0", Label.CARD, b"content", signature)
    with pytest.raises(BadSignature):
        verify(ALICE.public[:31], Label.CARD, b"content", signature)
    longer = ALICE._key.sign(b"x" + Label.CARD.value + b"\0content").signature + b"x"
    with pytest.raises(BadSignature):
        verify(ALICE.public, Label.CARD, b"content", longer)


@pytest.mark.parametrize("point", SMALL_ORDER_POINTS, ids=lambda point: point.hex()[:8] + point.hex()[-2:])
def test_nobody_is_called_by_a_small_order_point(point) -> None:
    """Under such a key the signature (point, 0) would verify for many contents, or for all."""
    for first, scalar in itertools.product(SMALL_ORDER_POINTS, (bytes(32), ORDER.to_bytes(32, "little"))):
        for content in (b"", b"1", b"2", b"3"):
            with pytest.raises(BadSignature):
                verify(point, Label.CARD, content, first + scalar)


def test_a_signature_has_no_second_form() -> None:
    """S + L verifies in careless implementations; the same statement would then have two sets of bytes."""
    signature = ALICE.sign(Label.CARD, b"content")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(BadSignature):
        verify(ALICE.public, Label.CARD, b"content", signature[:32] + scalar.to_bytes(32, "little"))


def test_a_key_never_shows_itself() -> None:
    for key in (ALICE, SigningKey(ALICE.seed)):
        for shown in (repr(key), str(key), f"{key}"):
            assert ALICE.seed.hex() not in shown
            assert repr(ALICE.seed) not in shown
            assert identity.base32(ALICE.seed) not in shown
    assert repr(ALICE).startswith("<Identity ")


def test_fresh_identities_differ_and_come_back_from_their_seeds() -> None:
    one, other = Identity.generate(), Identity.generate()
    assert type(one) is Identity
    assert one.id != other.id
    assert Identity(one.seed).id == one.id == one.public
    assert type(SigningKey.generate()) is SigningKey


# -- printed forms ----------------------------------------------------------------------------------------------------


@given(ids)
def test_an_id_and_its_fingerprint_are_recognised_in_either_case(peer) -> None:
    for word in (id_text(peer), fingerprint(peer), id_text(peer).upper(), fingerprint(peer).upper()):
        assert identity.looks_like_id(word)
        assert identity.matches(peer, word)
    assert len(id_text(peer)) == 52
    assert identity.parse_id(id_text(peer)) == identity.parse_id(id_text(peer).upper()) == peer
    assert id_text(peer).startswith(fingerprint(peer).replace("-", ""))
    assert len(fingerprint(peer)) == 24


@given(ids, ids)
def test_a_word_that_is_one_s_id_is_not_another_s(one, other) -> None:
    assert identity.matches(one, id_text(other)) == (one == other)
    assert identity.matches(one, fingerprint(other)) == (one[:12] == other[:12] and one[12] >> 4 == other[12] >> 4)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "a",
        "bob",
        "bob~k3f9",
        "k3f9",
        "k3f9-",
        "aaaa-aaaa-aaaa-aaaa",
        "aaaa-aaaa-aaaa-aaaa-aaa",
        "aaaa-aaaa-aaaa-aaaa-aaaa\n",
        "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa",
        "a" * 51,
        "a" * 53,
    ],
)
def test_nothing_else_looks_like_an_id(word) -> None:
    assert not identity.looks_like_id(word)
    assert not identity.matches(ALICE.id, word)


@pytest.mark.parametrize(
    "word", ["", "bob", "a" * 51, "a" * 53, "a" * 51 + "b", "a" * 50 + "1a", fingerprint(ALICE.id)]
)
def test_what_is_no_whole_id_is_not_read_as_one(word) -> None:
    with pytest.raises(ValueError, match=r"id|base32"):
        identity.parse_id(word)


def test_a_word_of_megabytes_is_refused_as_fast_as_a_short_one() -> None:
    """It is looked at before it is converted: that costs the square of its length."""
    begun = time.process_time()
    with pytest.raises(ValueError, match="id"):
        identity.parse_id("z" * 400_000)
    assert time.process_time() - begun < 0.5


@given(ids, ids)
def test_a_safety_number_is_sixty_digits_the_same_on_both_sides(one, other) -> None:
    number = safety_number(one, other)
    assert number == safety_number(other, one)
    groups = number.split(" ")
    assert [len(group) for group in groups] == [5] * 12
    assert number.replace(" ", "").isdecimal()


def test_a_safety_number_is_of_these_two_and_no_others() -> None:
    others = [PeerId(bytes([n]) * 32) for n in range(100)]
    assert len({safety_number(ALICE.id, other) for other in others}) == 100
    assert safety_number(ALICE.id, BOB.id) != safety_number(ALICE.id, ALICE.id)
    digest = hashlib.blake2b(b"".join(sorted((ALICE.id, BOB.id))), person=b"bc1 safety").digest()
    first = int.from_bytes(digest[:5]) % 100_000
    assert safety_number(ALICE.id, BOB.id).startswith(f"{first:05} ")
