"""What is inside a message: each kind in its own channel, and nothing made that could not be read."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import content, limits, wire
from protocol.content import (
    Action,
    Aside,
    Ask,
    ChainKey,
    Receipt,
    RoomMessage,
    Text,
    decode_aside,
    decode_room,
    encode_aside,
    encode_room,
)
from protocol.errors import CannotOpen, TooLarge, UsageError
from protocol.ids import Anchor
from protocol.primitives import pad
from tests.protocol.builders import ANCHOR, MESSAGE, NOW, briefly_and_for_long

CONTEXT = b"c" * 32
CHAIN_KEY = ChainKey(b"k" * 32, 3, b"v" * 32, 7, b"p" * 32, 9)

KINDS = [
    # content, may it be said to the room?
    (Text("hi"), True),
    (Text(""), True),
    (Text("a\nb\x1b\u202e\0"), True),
    (Action("waves"), True),
    (Receipt(MESSAGE), False),
    (CHAIN_KEY, False),
    (Ask(b"c" * 32), False),
]


def test_the_table_has_every_kind() -> None:
    assert {kind.KIND for kind, _ in KINDS} == set(content.Kind)


@pytest.mark.parametrize(("kind", "_public"), KINDS)
def test_every_kind_comes_back_from_an_aside(kind, _public) -> None:
    aside = Aside(ANCHOR, 5, 0b101, NOW, kind)
    assert decode_aside(encode_aside(CONTEXT, aside)) == (CONTEXT, aside)


@pytest.mark.parametrize(("kind", "public"), KINDS)
def test_attack_3_a_kind_in_the_wrong_channel_is_refused(kind, public) -> None:
    message = RoomMessage(NOW, kind)
    if public:
        assert decode_room(encode_room(message)) == message
    else:
        with pytest.raises(CannotOpen):
            decode_room(encode_room(message))


def test_attack_3_an_aside_is_no_room_message_and_the_reverse() -> None:
    with pytest.raises(CannotOpen):
        decode_room(encode_aside(CONTEXT, Aside(ANCHOR, 1, 0, NOW, Text("hi"))))
    with pytest.raises(CannotOpen):
        decode_aside(encode_room(RoomMessage(NOW, Text("hi"))))


GOOD_HEAD = (CONTEXT, 7, b"h" * 32, 5, 0, NOW)

BAD_ASIDES = [
    # the array of an aside, wrong somewhere
    (),
    GOOD_HEAD,
    (*GOOD_HEAD, 1),
    (*GOOD_HEAD, 1, "hi", "ho"),
    (*GOOD_HEAD, 0, "hi"),
    (*GOOD_HEAD, 6, "a kind of tomorrow"),
    (*GOOD_HEAD, 16, "hi"),
    (*GOOD_HEAD, True, "hi"),
    (*GOOD_HEAD, 1, b"hi"),
    (*GOOD_HEAD, 1, None),
    (*GOOD_HEAD, 1, "x" * (limits.TEXT + 1)),
    (*GOOD_HEAD, 3, b"m" * 15),
    (*GOOD_HEAD, 4, b"k" * 31, 3, b"v" * 32, 7, b"p" * 32, 9),
    (*GOOD_HEAD, 4, b"k" * 32, limits.CHAIN_MESSAGES + 1, b"v" * 32, 7, b"p" * 32, 9),
    (*GOOD_HEAD, 4, b"k" * 32, 3, b"v" * 32, 7, b"p" * 32, limits.CHAIN_MESSAGES + 1),
    (*GOOD_HEAD, 4, b"k" * 32, 3, b"v" * 32, -1, b"p" * 32, 9),
    (*GOOD_HEAD, 5, b"c" * 33),
    (b"c" * 31, *GOOD_HEAD[1:], 1, "hi"),
    (CONTEXT, -1, *GOOD_HEAD[2:], 1, "hi"),
    (CONTEXT, limits.COUNTER, *GOOD_HEAD[2:], 1, "hi"),
    (CONTEXT, 7, b"h" * 33, *GOOD_HEAD[3:], 1, "hi"),
    (*GOOD_HEAD[:3], limits.COUNTER, 0, NOW, 1, "hi"),
    (*GOOD_HEAD[:3], 5, -1, NOW, 1, "hi"),
    (*GOOD_HEAD[:5], limits.TIME, 1, "hi"),
    (*GOOD_HEAD[:5], 1.5, 1, "hi"),
]


@pytest.mark.parametrize("values", BAD_ASIDES, ids=range(len(BAD_ASIDES)))
def test_an_aside_that_is_wrong_anywhere_is_refused(values) -> None:
    with pytest.raises(CannotOpen):
        decode_aside(wire.pack(*values))


@pytest.mark.parametrize("kind", [Text, Action])
def test_a_text_is_64_kib_of_utf_8_and_what_is_longer_is_refused_never_cut(kind) -> None:
    assert kind("é" * (limits.TEXT // 2)).text
    with pytest.raises(TooLarge):
        kind("é" * (limits.TEXT // 2) + "x")
    longer = wire.pack(NOW, kind.KIND.value, "x" * (limits.TEXT + 1))
    with pytest.raises(CannotOpen):
        decode_room(longer)


@pytest.mark.parametrize("kind", [Text, Action])
def test_a_text_that_has_no_utf_8_is_refused_when_it_is_made(kind) -> None:
    """The shell hands such over when an argument is not UTF-8."""
    with pytest.raises(UsageError):
        kind("\udcff")


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x91", b"\x80", bytes(64), b"\xff" * 64, b"\x91" * 10_000, bytes(82_000)]
)
def test_rubbish_is_refused(data) -> None:
    for decode in (decode_room, decode_aside):
        with pytest.raises(CannotOpen):
            decode(data)


def test_chain_keys_and_receipts_are_all_of_the_smallest_size() -> None:
    """No chain key stands out among the others, and no receipt among short texts (attack 20)."""
    longest = Anchor(limits.COUNTER - 1, b"h" * 32)
    most = ChainKey(b"k" * 32, limits.CHAIN_MESSAGES, b"v" * 32, limits.COUNTER - 1, b"p" * 32, limits.CHAIN_MESSAGES)
    for kind in (CHAIN_KEY, most, Receipt(MESSAGE), Ask(b"c" * 32), Text("no"), Action("waves")):
        for aside in (
            Aside(Anchor(0, b"h" * 32), 0, 0, 0, kind),
            Aside(longest, limits.COUNTER - 1, (1 << limits.SKIPPED) - 1, limits.TIME - 1, kind),
        ):
            assert len(pad(encode_aside(CONTEXT, aside))) == 256


def test_a_chain_key_never_shows_in_a_repr() -> None:
    assert "kkkk" not in repr(CHAIN_KEY)
    assert "kkkk" not in repr(Aside(ANCHOR, 1, 0, NOW, CHAIN_KEY))


def exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


count, index = st.integers(0, limits.CHAIN_MESSAGES), st.integers(0, limits.COUNTER - 1)
spoken = st.builds(Text, st.text()) | st.builds(Action, st.text())
whispered = (
    spoken
    | st.builds(Receipt, exactly(16))
    | st.builds(ChainKey, exactly(32), count, exactly(32), index, exactly(32), count)
    | st.builds(Ask, exactly(32))
)
times = st.integers(0, limits.TIME - 1)
asides = st.builds(
    Aside, st.builds(Anchor, index, exactly(32)), index, st.integers(0, (1 << limits.SKIPPED) - 1), times, whispered
)


@given(exactly(32), asides, st.builds(RoomMessage, times, spoken))
def test_what_is_said_comes_back(context, aside, message) -> None:
    assert decode_aside(encode_aside(context, aside)) == (context, aside)
    assert decode_room(encode_room(message)) == message


@briefly_and_for_long
@given(data=st.binary(max_size=300) | asides.map(lambda aside: encode_aside(CONTEXT, aside)), at=st.integers(0, 300))
def test_whatever_is_inside_only_our_own_errors_leave(drawn, data, at) -> None:
    for damaged in (data, data[:at] + data[at + 1 :], data[:at] + b"\xc0" + data[at + 1 :]):
        for decode in (decode_room, decode_aside):
            with suppress(CannotOpen):
                decode(damaged)
