"""Nicks and titles: who may be called what, and that the relay sees neither them nor their length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits, names, wire
from protocol.errors import CannotOpen, UsageError
from protocol.identity import fingerprint, id_text
from protocol.ids import RoomSecret
from protocol.primitives import Label, aead_encrypt, derive
from tests.protocol.builders import ALICE, BOB, OTHER_ROOM, ROOM, SECRET, flips

SALT = b"salt" * 4

GOOD_NICKS = [
    "a",
    "alice",
    "Alice_2",
    "a.b",
    "b/c",
    "b-c",
    "älice",
    "愛",
    "🦊",
    "é" * 16,
    "x" * 32,
    "@bob",
    "k3f9",
    "2",
]

BAD_NICKS = [
    # nick, what is wrong
    ("", "empty"),
    ("x" * 33, "32 bytes"),
    ("é" * 17, "32 bytes"),
    ("two words", "spaces"),
    ("\u00a0", "spaces"),
    ("\u3000", "spaces"),
    ("a\tb", "spaces"),
    ("a\n", "spaces"),
    ("\x1b[31mred", "printable"),
    ("a\x00", "printable"),
    ("a\x7f", "printable"),
    ("a\x9b", "printable"),
    ("a\u202eb", "printable"),
    ("a\u200b", "printable"),
    ("a\u2066b", "printable"),
    ("\ud800", "printable"),
    ("\ue000", "printable"),
    ("bob~k3f9", "~"),
    ("~", "~"),
    ("/me", "/"),
    ("-rf", "-"),
]


@pytest.mark.parametrize("nick", GOOD_NICKS)
def test_a_good_nick_is_taken_as_it_is(nick) -> None:
    assert names.check_nick(nick) == nick


@pytest.mark.parametrize(("nick", "wrong"), BAD_NICKS)
def test_a_bad_nick_is_refused_with_what_is_wrong(nick, wrong) -> None:
    with pytest.raises(UsageError, match=wrong) as caught:
        names.check_nick(nick)
    assert caught.value.detail.isprintable(), "what was typed is never repeated raw"


@pytest.mark.parametrize("word", [fingerprint(BOB.id), fingerprint(BOB.id).upper(), "k3f9-aaaa-bbbb-cccc-dddd"])
def test_attack_4_a_nick_shaped_like_a_fingerprint_is_refused(word) -> None:
    with pytest.raises(UsageError, match="id"):
        names.check_nick(word)
    with pytest.raises(UsageError):
        names.check_nick(id_text(BOB.id))  # too long besides


@pytest.mark.parametrize("title", ["team", "two words", "x" * 64, "é" * 32, "-", "/"])
def test_a_good_title_is_taken_as_it_is(title) -> None:
    assert names.check_title(title) == title


@pytest.mark.parametrize("title", ["", " ", "x" * 65, "é" * 33, "a\nb", "\x1b", "a\u202eb", "\ud800"])
def test_a_bad_title_is_refused(title) -> None:
    with pytest.raises(UsageError):
        names.check_title(title)


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_nick_or_refused(nick) -> None:
    try:
        names.check_nick(nick)
    except UsageError:
        return
    assert names.open_nick(SECRET, ROOM, ALICE.id, names.seal_nick(SECRET, ROOM, ALICE.id, nick)) == nick


@pytest.mark.parametrize("name", ["a", "alice", "x" * 31, "x" * 32, "é" * 16])
def test_sealed_names_come_back_and_are_all_of_one_size(name) -> None:
    nick = names.seal_nick(SECRET, ROOM, ALICE.id, name)
    title = names.seal_title(SECRET, ALICE.id, SALT, name + name)
    assert names.open_nick(SECRET, ROOM, ALICE.id, nick) == name
    assert names.open_title(SECRET, ALICE.id, SALT, title) == name + name
    assert len(nick) == 40 + limits.NICK + 4
    assert len(title) == 40 + limits.TITLE + 4


def test_a_name_opens_only_where_it_was_sealed_for() -> None:
    nick = names.seal_nick(SECRET, ROOM, ALICE.id, "alice")
    title = names.seal_title(SECRET, ALICE.id, SALT, "team")
    other = RoomSecret(b"S" * 32)
    for opening in (
        lambda: names.open_nick(other, ROOM, ALICE.id, nick),
        lambda: names.open_nick(SECRET, OTHER_ROOM, ALICE.id, nick),
        lambda: names.open_nick(SECRET, ROOM, BOB.id, nick),
        lambda: names.open_title(SECRET, ALICE.id, SALT, nick),
        lambda: names.open_title(other, ALICE.id, SALT, title),
        lambda: names.open_title(SECRET, BOB.id, SALT, title),
        lambda: names.open_title(SECRET, ALICE.id, b"SALT" * 4, title),
        lambda: names.open_nick(SECRET, ROOM, ALICE.id, title),
    ):
        with pytest.raises(CannotOpen):
            opening()
    for damaged in flips(nick):
        with pytest.raises(CannotOpen):
            names.open_nick(SECRET, ROOM, ALICE.id, damaged)


@pytest.mark.parametrize(
    "inside",
    [
        b"",
        bytes(36),
        b"\x91",
        b"\x90",
        b"\xa1a",
        wire.pack("a", "b"),
        wire.pack(b"a"),
        wire.pack(None),
        wire.pack("x" * 33),
        wire.pack("a") + b"\x01",
        b"\x91\xa1\xff",
        b"\x91\xc1",
        b"\x91" * 200,
        b"\x91\x81\xa1a\xa1b",
    ],
)
def test_a_member_who_seals_rubbish_is_refused(inside) -> None:
    sealed = aead_encrypt(derive(SECRET, Label.NICKS), inside, ROOM + ALICE.id)
    with pytest.raises(CannotOpen):
        names.open_nick(SECRET, ROOM, ALICE.id, sealed)


def test_what_a_stranger_chose_opens_as_it_is_and_is_not_yet_safe_to_show() -> None:
    """A peer of one's own making seals what it likes: whoever shows it must make it safe first."""
    hostile = names.seal_nick(SECRET, ROOM, ALICE.id, "\x1b]0;x\x07\u202e")
    assert names.open_nick(SECRET, ROOM, ALICE.id, hostile) == "\x1b]0;x\x07\u202e"
