"""Strangers' text on a terminal: the attacks that were published, and what must hold for any text at all."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.text import safe_nick, safe_text, slug

REORDERING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

# Text of any kind, with the dangerous characters as likely as all others together; surrogates included.
dangerous = st.sampled_from(
    [chr(c) for c in (*range(0x20), *range(0x7F, 0xA0))]
    + list(REORDERING + "\u200b\u200d\ufeff\u2028\u2029\ud800\udfff~-/_ .")
)
combining = st.sampled_from("\u0300\u0301\u0323\u0489\ufe0f\u0307\u093e")
texts = st.text(st.one_of(st.characters(exclude_categories=()), dangerous, combining, st.sampled_from("ae\u00e9漢가1")))


@pytest.mark.parametrize(
    ("attack", "shown"),
    [
        pytest.param("\x1b]0;owned\x07", "␛]0;owned␇", id="window title (magic-wormhole #476)"),
        pytest.param("\x1b[2J\x1b[H", "␛[2J␛[H", id="clear the screen (gurk-rs #384)"),
        pytest.param("\x9b2J", "\\x9b2J", id="8-bit CSI"),
        pytest.param("\x9d0;owned\x9c", "\\x9d0;owned\\x9c", id="8-bit OSC and ST"),
        pytest.param("\x1b", "␛", id="an ESC alone"),
        pytest.param("tail \x1b[", "tail ␛[", id="an incomplete sequence, for the next text to end"),
        pytest.param("\x1bPq#0", "␛Pq#0", id="a DCS that never ends"),
        pytest.param("\x1b]52;c;ZXZpbA==\x07", "␛]52;c;ZXZpbA==␇", id="the clipboard"),
        pytest.param("\x1b[6n", "␛[6n", id="a question that the terminal answers as if typed"),
        pytest.param("safe\rEVIL", "safe␍EVIL", id="carriage return"),
        pytest.param("abc\b\b\bEVIL", "abc␈␈␈EVIL", id="backspace"),
        pytest.param("a\x00b\x7fc", "a␀b␡c", id="NUL and DEL"),
        pytest.param("\x0e\x0f", "␎␏", id="another character set"),
        pytest.param("\x85", "\\x85", id="NEL, which is a C1"),
        pytest.param("cod.\u202eexe.gpj", "cod.exe.gpj", id="right-to-left override"),
        pytest.param("\u2067\u2066a\u2069", "a", id="isolates"),
        pytest.param("one\u2028two\u2029three", "one\ntwo\nthree", id="other line ends"),
        pytest.param("\ud83d", "\ufffd", id="half a surrogate pair"),
        pytest.param("a\u200bb\ufeffc\u2060d\u00ade", "abcde", id="invisible"),
        pytest.param("a\U000e0041\U000e0042b", "ab", id="tags that smuggle text"),
    ],
)
def test_attacks_are_inert_and_visible(attack, shown):
    assert safe_text(attack) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "zwei\nZeilen\tund ein Tab",
        "naïve café",
        "漢字 かな 한글",
        "שלום",
        "سلام می‌خواهم",
        "👩‍👩‍👧 🏳️‍🌈",
        "‌",
        "nbsp\u00a0here",
        "\ue0b0",
    ],
)
def test_what_people_write_stays_as_it_is(text):
    assert safe_text(text) == text


@given(texts)
def test_no_text_moves_a_terminal(text):
    shown = safe_text(text)

    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert not set(shown) & set(REORDERING)
    assert safe_text(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("nick", "shown"),
    [
        ("alice", "alice"),
        ("Zoë", "Zoë"),
        ("Zoe\u0308", "Zoë"),
        ("漢字", "漢字"),
        ("", "?"),
        ("\u200b\u200d\ufe0f", "?"),
        ("\u0301", "?"),
        ("bob\u200b", "bob"),
        ("a b\tc\nd", "a_b_c_d"),
        ("bob~k3f9", "bob_k3f9"),
        ("\x1b[31mred", "_[31mred"),
        ("x\x9b2J", "x_2J"),
        ("\u202ebob", "bob"),
        ("b\u3164b", "b_b"),
        ("-rf", "_rf"),
        ("/quit", "_quit"),
        ("q\u0301\u0302\u0303\u0304\u0305algo", "q\u0301\u0302algo"),
        ("\ud800x", "_x"),
        ("k3f9".replace("9", "7") + "-aaaa-bbbb-cccc-dddd", "k3f7_aaaa_bbbb_cccc_dddd"),
        ("n" * 32, "n" * 32),
        ("n" * 33, "n" * 31 + "…"),
        ("漢" * 17, "漢" * 15 + "…"),
    ],
)
def test_nicks_are_held_to_more(nick, shown):
    assert safe_nick(nick) == shown


@given(texts)
def test_any_nick_is_one_printable_word(nick):
    shown = safe_nick(nick)

    assert shown.isprintable()
    assert shown
    assert not any(c.isspace() or c == "~" for c in shown)
    assert shown[0] not in "-/"
    assert len(shown) <= 3 * 32
    assert safe_nick(shown) == shown
    assert safe_text(shown) == shown


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("team", "team"),
        ("Team Rocket!", "Team-Rocket"),
        ("  a   b  ", "a-b"),
        ("--help", "help"),
        ("-rf /", "rf"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("$(reboot)", "reboot"),
        ("a;b|c&d>e`f'g\"h\\i*", "a-b-c-d-e-f-g-h-i"),
        ("v1.2_x", "v1.2_x"),
        ("Küche", "Küche"),
        ("हिन्दी", "हिन्दी"),
        ("\x1b]0;x\x07", "0-x_"),
        ("!!!", "room"),
        ("", "room"),
        ("x" * 64, "x" * 32),
    ],
)
def test_a_local_name_needs_no_quotes(title, name):
    assert slug(title) == name


@given(texts)
def test_any_title_makes_a_name(title):
    name = slug(title)

    assert name[0].isalnum()
    assert not set(name) & set(" \t\n~!\"#$%&'()*+,/:;<=>?@[\\]^`{|}")
    assert name.isprintable()
    assert slug(name) == name


def test_it_imports_nothing_slow():
    listing = "import sys; import peer.text; print(*sys.modules)"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", listing]
    modules = subprocess.run(command, env=unmeasured, capture_output=True, text=True, check=True).stdout.split()

    assert not {"zmq", "nacl", "msgpack", "asyncio", "sqlite3", "prompt_toolkit", "click"} & set(modules)
