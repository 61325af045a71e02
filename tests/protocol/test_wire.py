"""One bounded reader for everything that comes from outside: exactly the arrays we know, or ``Malformed``."""

from __future__ import annotations

import time

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits, wire
from protocol.errors import BackchannelError, Malformed, TooLarge
from tests.protocol.builders import briefly_and_for_long

MOST = 1_024

NOT_ONE_ARRAY = [
    # what, bytes
    ("nothing", b""),
    ("nil", b"\xc0"),
    ("the unused byte", b"\xc1"),
    ("the unused byte in an array", b"\x91\xc1"),
    ("an integer", b"\x01"),
    ("a text", b"\xa1a"),
    ("bytes", b"\xc4\x01a"),
    ("two arrays", b"\x90\x90"),
    ("an array and rubbish", b"\x90\x00"),
    ("an array and half another", b"\x90\x91"),
    ("half an array", b"\x92\x00"),
    ("an array of half a string", b"\x91\xc4\x05abcd"),
    ("a map", b"\x80"),
    ("a map with an entry", b"\x81\xa1a\x02"),
    ("a map in an array", b"\x91\x81\xa1a\x02"),
    ("text that is not UTF-8", b"\x91\xa1\xff"),
    ("text with a surrogate", b"\x91\xa3\xed\xa0\x80"),
    ("an extension", b"\x91\xd4\x05a"),
    ("a timestamp", b"\x91\xd6\xff\x00\x00\x00\x01"),
    ("a timestamp of wrong length", b"\x91\xc7\x00\xff"),
    ("an array that claims 2^32 - 1 items", b"\xdd\xff\xff\xff\xff"),
    ("an array that claims 4,097 items", b"\xdc\x10\x01" + bytes(4_097)),
    ("bytes that claim 4 GiB", b"\x91\xc6\xff\xff\xff\xffa"),
    ("a text that claims 4 GiB", b"\x91\xdb\xff\xff\xff\xffa"),
    ("an extension that claims 4 GiB", b"\x91\xc9\xff\xff\xff\xff\x01a"),
    ("a map that claims 4 Gi entries", b"\x91\xdf\xff\xff\xff\xff"),
    ("arrays five deep", b"\x91" * 4 + b"\x90"),
    ("arrays 1,000 deep", b"\x91" * 999 + b"\x90"),
    ("arrays without an end", b"\x91" * 1_000),
]


@pytest.mark.parametrize(("what", "data"), NOT_ONE_ARRAY, ids=[what for what, _ in NOT_ONE_ARRAY])
def test_what_is_not_exactly_one_array_is_malformed(what, data) -> None:
    with pytest.raises(Malformed):
        wire.unpack(data, 8_192)


def test_arrays_may_stand_four_deep() -> None:
    assert wire.unpack(b"\x91\x91\x91\x90", MOST) == ((((),),),)


def test_values_come_back_as_they_were_and_never_as_lists() -> None:
    values = (0, 2**64 - 1, -(2**63), b"bytes", "text", None, True, False, (1, (b"2",)))
    assert wire.unpack(wire.pack(*values), MOST) == values
    assert wire.unpack(wire.pack(1, [2, [3]]), MOST) == (1, (2, (3,)))


def test_more_than_was_asked_for_is_too_large_before_it_is_looked_at() -> None:
    with pytest.raises(TooLarge):
        wire.unpack(b"\xc1" * (MOST + 1), MOST)
    with pytest.raises(TooLarge):
        list(wire.unpack_all(b"\xc1" * (MOST + 1), MOST))
    assert wire.unpack(wire.pack(bytes(MOST - 4)), MOST)


def test_several_arrays_are_yielded_up_to_the_first_that_is_damaged() -> None:
    reader = wire.unpack_all(b"\x91\x01\x91\x02\xc1\x91\x03", MOST)
    assert (next(reader), next(reader)) == ((1,), (2,))
    with pytest.raises(Malformed):
        next(reader)


def test_an_array_longer_than_each_may_be_is_too_large_though_all_together_are_not() -> None:
    small, large = wire.pack(bytes(90)), wire.pack(bytes(100))
    assert len(list(wire.unpack_all(small * 5, MOST, each=100))) == 5
    with pytest.raises(TooLarge):
        list(wire.unpack_all(small + large, MOST, each=100))


def nested(item: bytes, header: bytes) -> bytes:
    return (header * (limits.FRAME // len(header)))[: limits.FRAME - len(item)] + item


@pytest.mark.parametrize(
    "bomb",
    [
        nested(b"", b"\x91"),
        nested(b"\x90", b"\x91"),
        nested(b"", b"\xdc\x10\x00"),  # each level claims 4,096 items
        nested(b"", b"\xdd\xff\xff\xff\xff"),
        nested(b"", b"\x81\x91"),
        nested(b"", b"\x9f"),
        b"\xdc\x10\x00" + b"\x93\x90\x90\x90" * 4_096,
        b"\xc6\x00\x03\xff\xfb" + bytes(limits.FRAME - 5),
        b"\xdb\x00\x03\xff\xfb" + b"\xff" * (limits.FRAME - 5),
        b"\x91\xcf" * (limits.FRAME // 2),
    ],
    ids=["deep", "deep, whole", "deep, wide", "wide", "maps", "fifteens", "many", "bytes", "bad text", "halves"],
)
def test_attack_26_a_frame_that_is_a_bomb_is_refused_at_once(bomb) -> None:
    begun = time.process_time()
    try:
        for array in wire.unpack_all(bomb, limits.FRAME):
            wire.fields(array, (wire.exactly(32),))
    except BackchannelError:
        pass
    else:
        pytest.fail("accepted")
    assert time.process_time() - begun < 0.5


# -- checks of one value ----------------------------------------------------------------------------------------------

CHECKS = [
    # check, what passes, what does not
    (wire.exactly(3), [b"abc"], [b"ab", b"abcd", b"", "abc", None, 3, (97, 98, 99), True]),
    (wire.upto(3), [b"", b"abc"], [b"abcd", "abc", None, 3, ()]),
    (wire.text(3), ["", "abc", "aé"], ["abcd", "éé", b"abc", None, 3, ()]),
    (wire.number(10), [0, 9], [10, -1, True, False, 1.0, "1", b"1", None, (), 2**64 - 1]),
    (wire.number(10, least=-5), [-5, 9], [-6, 10]),
    (wire.boolean, [True, False], [0, 1, None, "true", b"", ()]),
    (wire.optional(wire.number(2)), [None, 0, 1], [2, False, ()]),
    (wire.several(wire.number(2), 3), [(), (1,), (0, 1, 0)], [(0, 0, 0, 0), (2,), [0], 0, None, (None,), ((0,),)]),
]


@pytest.mark.parametrize(("check", "good", "bad"), CHECKS)
def test_a_check_passes_what_it_is_for_unchanged_and_nothing_else(check, good, bad) -> None:
    for value in good:
        assert check(value) is value or check(value) == value
    for value in (*bad, 1.5, {}, msgpack.ExtType(5, b""), [b"abc"], bytearray(b"abc"), memoryview(b"abc")):
        with pytest.raises(Malformed):
            check(value)


def test_fields_are_as_many_as_their_checks() -> None:
    checks = (wire.boolean, wire.number(5))
    assert wire.fields((True, 4), checks) == (True, 4)
    for values in ((), (True,), (True, 4, None), (4, True), (True, 5)):
        with pytest.raises(Malformed):
            wire.fields(values, checks)


# -- anything at all --------------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)


@briefly_and_for_long
@given(data=st.binary(max_size=200) | anything.map(msgpack.packb) | st.lists(anything, max_size=5).map(msgpack.packb))
def test_any_bytes_are_arrays_or_malformed(drawn, data) -> None:
    try:
        arrays = list(wire.unpack_all(data, MOST))
    except BackchannelError:
        return
    assert {type(array) for array in arrays} <= {tuple}
    packed = b"".join(wire.pack(*array) for array in arrays)
    again = wire.unpack_all(packed, 10 * MOST)
    assert b"".join(wire.pack(*array) for array in again) == packed  # as bytes: no NaN equals itself
