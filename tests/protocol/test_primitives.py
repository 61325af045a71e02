"""The small parts that everything rests on: labels, padding, one cipher. Each checked at every edge."""

import itertools

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import primitives
from protocol.errors import CannotOpen, TooLarge
from protocol.primitives import Label, aead_decrypt, aead_encrypt, pad, unpad

KEY = b"k" * 32

# -- labels: the table of domain separation ---------------------------------------------------------------------------


def test_labels_are_distinct_fit_the_person_of_blake2b_and_stay_so_when_padded_with_zeros() -> None:
    values = [label.value for label in Label.__members__.values()]
    assert len(set(Label)) == len(Label.__members__), "an alias serves two purposes"
    assert len(set(values)) == len(values)
    for value in values:
        assert 0 < len(value) <= 16
        assert b"\0" not in value, "the end of a label in signed bytes"


def test_every_label_gives_another_hash_and_another_key() -> None:
    hashes = {primitives.blake2b(label, b"data") for label in Label}
    keys = {primitives.derive(KEY, label) for label in Label}
    assert len(hashes) == len(keys) == len(Label)
    assert {len(each) for each in hashes | keys} == {32}


def test_hashing_is_blake2b_as_the_standard_library_has_it() -> None:
    import hashlib

    for size, key in itertools.product((5, 32, 64), (b"", KEY)):
        ours = primitives.blake2b(Label.HEAD, b"data", key=key, size=size)
        assert ours == hashlib.blake2b(b"data", digest_size=size, key=key, person=b"bc1 head").digest()


def test_random_names_do_not_repeat() -> None:
    names = {primitives.new_message_id() for _ in range(1000)}
    assert len(names) == 1000
    assert {len(name) for name in names} == {16}


# -- padding ----------------------------------------------------------------------------------------------------------

BUCKETS = [
    # the shortest and the longest plaintext of each padded size
    (0, 255, 256),
    (256, 1_023, 1_024),
    (1_024, 4_095, 4_096),
    (4_096, 16_383, 16_384),
    (16_384, 32_767, 32_768),
    (32_768, 49_151, 49_152),
    (49_152, 65_535, 65_536),
    (65_536, 81_919, 81_920),
]


@pytest.mark.parametrize(("least", "most", "padded"), BUCKETS)
def test_padding_hides_all_but_the_bucket(least, most, padded) -> None:
    for size in (least, least + 1, most - 1, most):
        plaintext = b"\x80" * (size // 2) + b"\0" * (size - size // 2)
        assert len(pad(plaintext)) == padded
        assert unpad(pad(plaintext)) == plaintext


def test_more_than_the_largest_bucket_is_refused_never_cut() -> None:
    with pytest.raises(TooLarge):
        pad(bytes(81_920))


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\x80",
        bytes(256),  # no mark of an end
        b"\xff" * 256,
        b"x" * 255,
        b"x" * 254 + b"\x80",
        pad(b"x") + b"\0",
        pad(b"x")[:-1],
        b"\x80" + bytes(1_023),  # fits 256
        b"x" * 255 + b"\x80" + bytes(768),  # 255 fit 256
        b"x" * 16_383 + b"\x80" + bytes(16_384),
        bytes(512),
        b"x" * 511 + b"\x80",  # no bucket of that size
        b"x" * 98_303 + b"\x80",
        b"x" * (1 << 20),
    ],
)
def test_what_padding_did_not_make_is_refused(padded) -> None:
    with pytest.raises(CannotOpen):
        unpad(padded)


@given(st.binary(max_size=2_000))
def test_what_was_padded_comes_back(plaintext) -> None:
    assert unpad(pad(plaintext)) == plaintext


# -- one cipher -------------------------------------------------------------------------------------------------------


def test_what_was_encrypted_opens_with_the_same_key_and_the_same_surroundings_alone() -> None:
    sealed = aead_encrypt(KEY, b"hi", b"aad")
    assert aead_decrypt(KEY, sealed, b"aad") == b"hi"
    assert len(sealed) == 40 + 2
    for key, aad in ((b"K" * 32, b"aad"), (KEY, b"aaD"), (KEY, b"")):
        with pytest.raises(CannotOpen):
            aead_decrypt(key, sealed, aad)


def test_the_nonce_is_fresh_each_time() -> None:
    assert len({aead_encrypt(KEY, b"", b"")[:24] for _ in range(100)}) == 100


@pytest.mark.parametrize("size", range(65))
def test_short_input_is_refused_like_any_other(size) -> None:
    """Attack 15: the binding raises a bare ValueError for what is shorter than a tag."""
    for data in (bytes(size), aead_encrypt(KEY, b"x" * 30, b"aad")[:size]):
        with pytest.raises(CannotOpen):
            aead_decrypt(KEY, data, b"aad")


def test_a_bit_flipped_anywhere_is_refused() -> None:
    sealed = aead_encrypt(KEY, b"hello", b"aad")
    for place in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(CannotOpen):
            aead_decrypt(KEY, bytes(damaged), b"aad")


def test_the_cipher_alone_commits_to_no_key_and_that_is_why_chains_carry_a_commitment() -> None:
    """Said here because the constant is taken for granted elsewhere: 24 bytes of nonce, 16 of tag, nothing more."""
    assert len(aead_encrypt(KEY, b"", b"")) == 24 + 16
    assert nacl.bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES == 32
