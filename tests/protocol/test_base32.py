"""Printed bytes: one word a value, and one value a word."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.base32 import base32, from_base32


@given(st.binary(max_size=80))
@example(b"")
@example(b"\0")
@example(b"\xff" * 5)
def test_base32_is_the_standard_library_s_in_lower_case_without_padding(data) -> None:
    word = base32(data)
    assert word == base64.b32encode(data).decode().rstrip("=").lower()
    assert from_base32(word) == from_base32(word.upper()) == data


@pytest.mark.parametrize("word", ["a", "abc", "abcdef", "0a", "1a", "8a", "9a", "a=", "aé", "ab", "az", "a b", "aaaab"])
def test_what_base32_never_prints_is_refused(word) -> None:
    with pytest.raises(ValueError, match="base32"):
        from_base32(word)


@given(st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=60) | st.text(max_size=20))
def test_every_value_has_one_word(word) -> None:
    try:
        data = from_base32(word)
    except ValueError:
        return
    assert base32(data) == word.lower()
