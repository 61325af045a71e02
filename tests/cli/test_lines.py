"""What a line of the chat means: a table, and that nothing which looks like a command ever reaches the room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.cli.lines import Help, Mistake, Nothing, Quit, Say, Who, parse


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("hello", Say("hello")),
        ("  indented", Say("  indented")),
        ("hello  \n", Say("hello")),
        ("a /quit b", Say("a /quit b")),
        ("", Nothing()),
        (" \t\n", Nothing()),
        ("/me waves", Say("waves", action=True)),
        ("/ME waves", Say("waves", action=True)),
        ("/msg bob careful with chuck", Say("careful with chuck", to="bob")),
        ("/MSG bob careful", Say("careful", to="bob")),
        ("/msg  bob   careful", Say("careful", to="bob")),
        ("/msg\tbob\tcareful", Say("careful", to="bob")),
        (" /msg bob careful", Say("careful", to="bob")),
        ("/msg bob /quit", Say("/quit", to="bob")),
        ("/msg bob //x", Say("//x", to="bob")),
        ("/msg bob~k3f9 hi", Say("hi", to="bob~k3f9")),
        ("/who", Who()),
        ("/who ", Who()),
        ("/help", Help()),
        ("/quit", Quit()),
        ("//etc/passwd", Say("/etc/passwd")),
        ("//", Say("/")),
        ("  //x", Say("/x")),
        # pasted
        ("one\ntwo", Say("one\ntwo")),
        ("one\n/quit\n/msg bob x", Say("one\n/quit\n/msg bob x")),
        ("\n/quit", Quit()),
        ("/msg bob one\ntwo", Say("one\ntwo", to="bob")),
        ("/msg bob\none", Say("one", to="bob")),
        ("/me one\ntwo", Say("one\ntwo", action=True)),
        ("//one\n/two", Say("/one\n/two")),
    ],
)
def test_what_a_line_means(line, meaning):
    assert parse(line) == meaning


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/mgs bob secret", "no command /mgs"),
        (" /mgs bob secret", "no command /mgs"),
        ("\t/mgs bob secret", "no command /mgs"),
        ("/", "no command /"),
        ("/ msg bob secret", "no command /"),
        ("/msgbob secret", "no command /msgbob"),
        ("/msg", "needs a nick and a text"),
        ("/msg bob", "needs a nick and a text"),
        ("/msg bob  ", "needs a nick and a text"),
        ("/me", "needs a text"),
        ("/who bob", "stands alone"),
        ("/quit now", "stands alone"),
        ("/quit\nnow", "stands alone"),
        ("/help me", "stands alone"),
        ("/etc/passwd", "no command /etc/passwd"),
    ],
)
def test_mistakes(line, why):
    meaning = parse(line)
    assert isinstance(meaning, Mistake)
    assert why in meaning.why
    assert "secret" not in meaning.why


@given(st.text(" \t\n"), st.text())
def test_what_begins_with_one_slash_is_never_said_to_the_room(before, after):
    meaning = parse(f"{before}/{after}")

    if isinstance(meaning, Say) and meaning.to is None and not meaning.action:
        assert after.startswith("/")
        assert meaning.text == after.rstrip()


@given(st.text())
def test_what_does_not_begin_with_a_slash_is_said_as_it_is(line):
    if line.lstrip().startswith("/") or not line.strip():
        return
    assert parse(line) == Say(line.rstrip())
