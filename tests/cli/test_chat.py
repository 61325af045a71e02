"""The chat in pipes: lines in, messages out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.scene import PATIENCE


@pytest.fixture
def team(scene):
    return scene.company(scene.relay(), "alice", "bob")


def test_lines_go_where_they_say(team):
    alice, bob = team
    said = alice.tries("chat", "team", stdin="hello\n\n/me waves\n/msg bob careful\n//slash\n  indented\r\nlast")
    assert (said.code, said.out) == (0, "")
    assert [(m["text"], m["direct"], m["action"]) for m in bob.poll()] == [
        ("hello", False, False),
        ("waves", False, True),
        ("careful", True, False),
        ("/slash", False, False),
        ("  indented", False, False),
        ("last", False, False),
    ]


def test_what_comes_is_printed_and_counts_as_shown(team):
    alice, bob = team
    alice.says("before")
    bobs = bob.starts("chat", "team")
    bobs.waits(lambda: bobs.lines)
    alice.whispers("bob", "careful")
    bobs.waits(lambda: len(bobs.lines) == 2)
    bobs.closes_stdin()
    assert bobs.ends() == 0
    assert [line[6:] for line in bobs.lines] == ["<alice> before", "[aside] <alice> careful"]
    assert bob.polls() == []


def test_two_talk(team):
    alice, bob = team
    chats = alices, bobs = alice.chats(), bob.chats()
    for asks, hears, text in ((alices, bobs, "ping"), (bobs, alices, "pong")):
        asks.writes(text)
        hears.hears(text)
    alices.writes("/who", "/help", "/quit")
    assert alices.ends() == 0
    members = [thing for thing in map(json.loads, alices.lines) if thing["type"] == "member"]
    assert [(m["nick"], m["online"]) for m in members] == [("alice", True), ("bob", True)]
    bobs.closes_stdin()
    assert bobs.ends() == 0
    assert [chat.texts() for chat in chats] == [["pong"], ["ping"]]


WRONG = [
    (b"/mgs bob secret\n", 2, "no command /mgs"),
    (b" /msgbob secret\n", 2, "no command /msgbob"),
    (b"/msg bob\n", 2, "needs a nick and a text"),
    (b"/msg dave secret\n", 5, "Nobody of that name"),
    (b"/msg alice secret\n", 2, "That is you"),
    (b"\xff\xfe secret\n", 2, "not UTF-8"),
    (b"s" * 65_537 + b"\n", 6, "too large"),
    (b"s" * 1_000_000, 6, "too large"),
    (b"/mgs bob secret\n/msg dave secret\n", 2, "no command /mgs"),
]


def test_what_is_wrong_reaches_nobody_and_decides_the_exit_code(team):
    alice, bob = team
    argv = [*alice.program, "--home", str(alice.home), "chat", "team"]
    for lines, code, says in WRONG:
        given = lines + b"after\n"
        done = subprocess.run(
            argv, env=alice.scene.env, input=given, capture_output=True, timeout=PATIENCE, check=False
        )
        assert (done.returncode, done.stdout) == (code, b""), lines[:40]
        complaints = [line for line in done.stderr.decode().splitlines() if not line.startswith("-- ")]
        assert says in complaints[0]
        assert "secret" not in done.stderr.decode()
    assert bob.polls() == ["after"] * (len(WRONG) - 1)  # what follows a million bytes is of their line


def test_a_line_too_long_costs_no_line_before_or_after_it(team):
    alice, bob = team
    said = alice.tries("chat", "team", stdin="before\n" + "x" * 400_000 + "\nafter\n")
    assert (said.code, said.out, said.err.count("too large")) == (6, "", 1)
    assert bob.polls() == ["before", "after"]
    assert alice.tries("chat", "team", stdin="y" * 400_000).code == 6


def test_lines_may_come_from_a_file_or_from_nowhere(team, tmp_path):
    alice, bob = team
    file = tmp_path / "lines"
    file.write_text("one\ntwo\n")
    argv = [*alice.program, "--home", str(alice.home), "chat", "team"]
    for source in (file, Path(os.devnull)):
        with source.open() as stdin:
            done = subprocess.run(argv, env=alice.scene.env, stdin=stdin, timeout=PATIENCE, check=False)
        assert done.returncode == 0
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], env=alice.scene.env, timeout=PATIENCE, check=False
    )
    assert closed.returncode == 0
    assert bob.polls() == ["one", "two"]


def test_a_room_that_closes_ends_the_chat(team):
    alice, bob = team
    bobs = bob.chats()
    bobs.writes("here")
    while alice.polls() != ["here"]:
        pass
    alice.runs("close", "team")
    assert bobs.ends() == 6
    assert json.loads(bobs.errors[-1])["code"] == "closed"
