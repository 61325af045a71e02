"""The invite word: whole or refused, however it was copied, and whoever made it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits, wire
from protocol.address import HostPort
from protocol.base32 import base32, from_base32
from protocol.errors import BadInvite
from protocol.ids import Anchor, Head, InviteId, RelayKey, RoomId, RoomSecret
from protocol.invite import Invite
from protocol.primitives import Label, blake2b
from tests.protocol.builders import briefly_and_for_long

INVITE = Invite(
    RelayKey(b"k" * 32),
    RoomId(b"r" * 32),
    b"i" * 32,
    RoomSecret(b"s" * 32),
    Anchor(2, Head(b"h" * 32)),
    (HostPort("192.168.1.5", 7667), HostPort("fe80::1%eth0", 7667)),
)
WORD = INVITE.encode()
GOOD = (b"k" * 32, b"r" * 32, b"i" * 32, b"s" * 32, 2, b"h" * 32, ("192.168.1.5:7667",))


def word_of(packed: bytes) -> str:
    """Return a word around anything, with its right checksum: the work of a hostile inviter."""
    return "bc1" + base32(packed + blake2b(Label.INVITE_CHECK, packed, size=5))


def refused(word: str) -> None:
    with pytest.raises(BadInvite) as caught:
        Invite.decode(word)
    assert type(caught.value) is BadInvite
    assert caught.value.exit_code == 8
    assert not caught.value.detail, "nothing of a word is ever repeated: it may be nearly right, and is a secret"


def test_a_word_comes_back_as_the_invite_it_was() -> None:
    assert Invite.decode(WORD) == INVITE
    assert WORD.isalnum()
    assert WORD.islower()


def test_an_invite_holds_the_key_that_admits() -> None:
    assert InviteId(INVITE.key.public) == INVITE.id
    assert INVITE.key.seed == INVITE.seed


def test_its_secrets_never_show() -> None:
    shown = repr(INVITE)
    assert "iiii" not in shown
    assert "ssss" not in shown


@pytest.mark.parametrize(
    "copied",
    [
        WORD.upper(),
        WORD.capitalize(),
        WORD.swapcase(),
        f"  {WORD}\r\n",
        "\n".join(WORD[n : n + 40] for n in range(0, len(WORD), 40)),
        " ".join(WORD),
        "\u00a0" + WORD + "\u3000",
        WORD + "\n" * 4_000,
    ],
)
def test_white_space_and_capitals_do_no_harm(copied) -> None:
    assert Invite.decode(copied) == INVITE


def test_damage_at_any_character_is_noticed() -> None:
    for place, was in enumerate(WORD):
        for letter in "al27z01-é":
            if letter != was:
                refused(WORD[:place] + letter + WORD[place + 1 :])


def test_a_character_lost_doubled_or_swapped_is_noticed() -> None:
    for place in range(len(WORD)):
        refused(WORD[:place] + WORD[place + 1 :])
        doubled = WORD[:place] + WORD[place] + WORD[place:]
        refused(doubled)
        swapped = WORD[:place] + WORD[place + 1 : place + 2] + WORD[place] + WORD[place + 2 :]
        if swapped != WORD:
            refused(swapped)


def test_a_word_cut_anywhere_is_noticed() -> None:
    for end in range(len(WORD)):
        refused(WORD[:end])
        refused(WORD[end + 1 :])


@pytest.mark.parametrize(
    "word",
    [
        "",
        " ",
        "bc1",
        "bc",
        "BC1a",
        "hello",
        "bc1" + "a" * 8,
        "bc1" + "a" * 5_000,
        "x" * 10_000_000,
        "\ud800",
        "bc1\0",
        WORD * 2,
    ],
)
def test_what_is_no_invite_is_refused(word) -> None:
    refused(word)


HOSTILE = [
    # an array that is wrong somewhere, well packed and with its right checksum
    (),
    GOOD[:-1],
    (*GOOD, 1),
    *((*GOOD[:place], b"x" * 31, *GOOD[place + 1 :]) for place in range(7)),
    *((*GOOD[:place], None, *GOOD[place + 1 :]) for place in range(7)),
    (*GOOD[:4], -1, *GOOD[5:]),
    (*GOOD[:4], limits.COUNTER, *GOOD[5:]),
    (*GOOD[:6], ("host:1",) * 9),
    (*GOOD[:6], ("host",)),
    (*GOOD[:6], ("host:1", "")),
    (*GOOD[:6], ("host:0",)),
    (*GOOD[:6], ("host:65536",)),
    (*GOOD[:6], ("$(reboot):1",)),
    (*GOOD[:6], ("ho\nst:1",)),
    (*GOOD[:6], ("x" * 301,)),
    (*GOOD[:6], (b"host:1",)),
    (*GOOD[:6], "host:1"),
]


@pytest.mark.parametrize("values", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_invite_with_a_right_checksum_is_refused(values) -> None:
    refused(word_of(wire.pack(*values)))


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x90\x90", wire.pack(*GOOD) + b"\0", b"\x91" * 500, bytes(2_500)])
def test_hostile_bytes_with_a_right_checksum_are_refused(packed) -> None:
    refused(word_of(packed))


def test_the_words_of_good_arrays_are_taken_so_the_refusals_above_mean_something() -> None:
    assert Invite.decode(word_of(wire.pack(*GOOD))).addresses == (HostPort("192.168.1.5", 7667),)
    with pytest.raises(BadInvite):
        Invite.decode(word_of(wire.pack(*GOOD[:6], ())))


def test_of_many_addresses_the_first_eight_are_kept() -> None:
    many = tuple(HostPort(f"10.0.0.{n}", 7667) for n in range(12))
    assert Invite.decode(dataclasses.replace(INVITE, addresses=many).encode()).addresses == many[:8]


def test_the_longest_honest_word_is_read() -> None:
    longest = tuple(HostPort("x" * 254, 65_535) for _ in range(8))
    invite = dataclasses.replace(INVITE, addresses=longest, anchor=Anchor(limits.COUNTER - 1, Head(b"h" * 32)))
    assert Invite.decode(invite.encode()) == invite


def test_the_last_bits_of_a_word_are_not_loose() -> None:
    stray = (len(WORD) - 3) * 5 % 8
    last = "abcdefghijklmnopqrstuvwxyz234567".index(WORD[-1])
    for low in range(1, 1 << stray):
        refused(WORD[:-1] + "abcdefghijklmnopqrstuvwxyz234567"[last | low])
    assert len(from_base32(WORD[3:])) * 8 + stray == (len(WORD) - 3) * 5


@briefly_and_for_long
@given(
    word=st.text(max_size=200)
    | st.binary(max_size=300).map(word_of)
    | st.binary(max_size=99).map(lambda b: "bc1" + base32(b))
)
def test_any_word_is_an_invite_or_refused(drawn, word) -> None:
    refused(word)
