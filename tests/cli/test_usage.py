"""Command lines that make no sense: one sentence on stderr, the right exit code, and nothing on stdout or on disk."""

from __future__ import annotations

import json

import pytest

INVITE_LIKE = "bc1" + "a" * 300
ADDRESS = "127.0.0.1:7667/" + "a" * 51 + "a"

USAGE = [
    ([], "Missing command"),
    (["sned", "team", "hi"], "No such command 'sned'"),
    (["send"], "Missing argument 'ROOM'"),
    (["send", "team", ""], "no text to send"),
    (["send", "team", " \n "], "no text to send"),
    (["send", "team", "hi", "more"], "unexpected extra argument"),
    (["send", "team", "hi", "--wait", "forever"], "'forever' is not one of"),
    (["send", "team", "hi", "--wait", "delivered"], "needs --to"),
    (["send", "team", "hi", "--timeout", "0"], "out of range"),
    (["send", "team", "hi", "--timeout", "-1"], "is not a time"),
    (["send", "team", "hi", "--timeout", "nan"], "is not a time"),
    (["send", "team", "hi", "--timeout", "inf"], "is not a time"),
    (["send", "team", "hi", "--timeout", "1e9"], "is not a time"),
    (["send", "team", "hi", "--timeout", "99999999"], "out of range"),
    (["send", "team", "hi", "--timeout", "soon"], "is not a time"),
    (["send", "team", "hi", "--to"], "requires an argument"),
    (["send", "team", "hi", "--frm", "bob"], "No such option"),
    (["send", "team", "\udcff"], "not UTF-8"),
    (["listen", "team", "--count", "0"], "0 is not in the range"),
    (["listen", "team", "--count", "many"], "'many' is not a valid whole number"),
    (["listen", "team", "--timeout", "1y"], "is not a time"),
    (["invite", "team", "--uses", "0"], "is not in the range"),
    (["invite", "team", "--uses", "1000001"], "is not in the range"),
    (["invite", "team", "--expires", "-1h"], "is not a time"),
    (["invite", "team", "--expires", "11000d"], "out of range"),
    (["create", "team"], "Missing option '--relay'"),
    (["create", "", "--relay", ADDRESS], "printable"),
    (["create", "x" * 65, "--relay", ADDRESS], "at most 64 bytes"),
    (["create", "a\x1bb", "--relay", ADDRESS], "printable"),
    (["create", "a\udcffb", "--relay", ADDRESS], "printable"),
    (["host", "a\nb"], "printable"),
    (["join"], "Give the invite"),
    (["join", ""], "Give the invite"),
    (["join", INVITE_LIKE, "--nick", ""], "can't be empty"),
    (["join", INVITE_LIKE, "--nick", "a b"], "without spaces"),
    (["join", INVITE_LIKE, "--nick", "a\x1b[31m"], "printable"),
    (["join", INVITE_LIKE, "--nick", "a\x9bm"], "printable"),
    (["join", INVITE_LIKE, "--nick", "a\u202eb"], "printable"),
    (["join", INVITE_LIKE, "--nick", "a\udcff"], "printable"),
    (["join", INVITE_LIKE, "--nick", "x" * 33], "at most 32 bytes"),
    (["join", INVITE_LIKE, "--nick", "漢" * 11], "at most 32 bytes"),
    (["join", INVITE_LIKE, "--nick", "bob~k3f9"], "no ~"),
    (["join", INVITE_LIKE, "--nick", "/bob"], "begin with"),
    (["join", INVITE_LIKE, "--nick", "aaaa-bbbb-cccc-dddd-eeee"], "can't look like"),
    (["join", "--invite-file", "/nonexistent/invite"], "No such file"),
    (["who"], "Missing argument 'ROOM'"),
    (["host", "lobby", "--bind", "nowhere"], "'nowhere' is not HOST:PORT"),
    (["host", "lobby", "--bind", "127.0.0.1:99999"], "is not HOST:PORT"),
    (["whoami", "--home", ""], "is no folder"),
]

BAD_INPUT = [
    (["create", "team", "--relay", "127.0.0.1"], "HOST:PORT/KEY"),
    (["create", "team", "--relay", "127.0.0.1:7667"], "HOST:PORT/KEY"),
    (["create", "team", "--relay", "127.0.0.1:0/" + "a" * 52], "HOST:PORT/KEY"),
    (["create", "team", "--relay", "127.0.0.1:99999/" + "a" * 52], "HOST:PORT/KEY"),
    (["create", "team", "--relay", "127.0.0.1:7667/" + "a" * 51], "HOST:PORT/KEY"),
    (["create", "team", "--relay", "http://127.0.0.1:7667/"], "HOST:PORT/KEY"),
    (["create", "team", "--relay", ""], "HOST:PORT/KEY"),
    (["join", "hello"], "invite"),
    (["join", INVITE_LIKE], "invite"),
    (["join", "bc1"], "invite"),
    (["join", "x" * 100_000], "invite"),
    (["whoami", "--home", "/dev/null"], "/dev/null"),
    (["whoami", "--home", "/dev/null/x"], "/dev/null/x"),
]

CASES = [(2, *case) for case in USAGE] + [(8, *case) for case in BAD_INPUT]


@pytest.mark.parametrize(("code", "words", "says"), CASES, ids=[repr(case[1])[:60] for case in CASES])
def test_one_sentence_and_nothing_else(run, tmp_path, code, words, says):
    done = run(*words)

    assert (done.exit_code, done.stdout) == (code, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("backchannel: ")
    assert says in sentence
    assert sentence.isprintable()
    if code == 2:
        assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("code", "words", "says"), CASES, ids=[repr(case[1])[:60] for case in CASES])
def test_with_json_it_is_an_object(run, code, words, says):
    if not words or words[-1] == "--to":  # --json belongs to a command; --to takes it for a name
        return
    done = run(*words, "--json")

    assert (done.exit_code, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    error = json.loads(line)
    assert (error["v"], error["type"]) == (1, "error")
    assert error["code"] == "usage" if code == 2 else error["code"].startswith("bad-")
    assert says in error["message"]


@pytest.mark.parametrize("words", [["poll"], ["listen"], ["send", "--", "hi"], ["who"], ["chat"], ["invite"]])
def test_a_room_that_is_not_there(run, words):
    command, *rest = words
    done = run(command, "team", *rest)

    assert (done.exit_code, done.stdout) == (5, "")
    assert "No such room" in done.stderr
    assert len(done.stderr.splitlines()) == 1


class TestWhatIsSent:
    """``send`` in a room that is not there: the text is looked at before."""

    @pytest.mark.parametrize(
        ("given", "code", "says"),
        [
            (b"hi\n", 5, "No such room"),
            (b"", 2, "no text to send"),
            (b"\n", 2, "no text to send"),
            (b"\r\n", 2, "no text to send"),
            (b"\xff\xfe", 2, "not UTF-8"),
            (b"x" * 65_536, 5, "No such room"),
            (b"x" * 65_536 + b"\n", 5, "No such room"),
            (b"x" * 65_537, 6, "too large"),
            (b"x" * 1_000_000, 6, "too large"),
            ("ä".encode() * 32_769, 6, "too large"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    @pytest.mark.parametrize("dash", [["-"], []])
    def test_from_stdin(self, run, given, code, says, dash):
        done = run("send", "team", *dash, input=given)

        assert (done.exit_code, done.stdout) == (code, "")
        assert says in done.stderr

    def test_as_an_argument(self, run):
        assert run("send", "team", "x" * 65_536).exit_code == 5
        assert run("send", "team", "x" * 65_537).exit_code == 6


class TestInvites:
    def test_from_stdin_a_file_and_the_environment(self, run, tmp_path):
        """All three are read: each is refused as the damaged invite that it is, not as missing."""
        file = tmp_path / "invite"
        file.write_text(INVITE_LIKE + "\n")

        for done in (
            run("join", "-", input=INVITE_LIKE + "\n"),
            run("join", "--invite-file", str(file)),
            run("join", "--invite-file", "-", input=INVITE_LIKE),
            run("join", env={"BACKCHANNEL_INVITE": INVITE_LIKE}),
        ):
            assert (done.exit_code, done.stdout) == (8, "")

    def test_bytes_that_are_no_text(self, run, tmp_path):
        file = tmp_path / "invite"
        file.write_bytes(b"bc1\xff\xfe")

        assert run("join", "--invite-file", str(file)).exit_code == 8
        assert run("join", "-", input=b"bc1\xff\xfe").exit_code == 8


class TestHomes:
    def test_before_the_command_after_it_and_from_the_environment(self, run, tmp_path):
        def home(*words: str) -> object:
            return json.loads(run(*words, "--json").stdout)["home"]

        one, two = str(tmp_path / "one"), str(tmp_path / "two")
        assert home("whoami") == str(tmp_path / "home")
        assert home("--home", one, "whoami") == one
        assert home("whoami", "--home", one) == one
        assert home("--home", two, "whoami", "--home", one) == one

    def test_two_homes_are_two_people(self, run, tmp_path):
        ids = {json.loads(run("whoami", "--json", "--home", str(tmp_path / n)).stdout)["id"] for n in "aabb"}
        assert len(ids) == 2

    @pytest.mark.parametrize("words", [["--ephemeral", "whoami"], ["whoami", "--ephemeral"]])
    def test_an_ephemeral_profile_leaves_nothing(self, run, tmp_path, words):
        done = run(*words, "--json")

        assert json.loads(done.stdout)["home"] is None
        assert list(tmp_path.iterdir()) == []

    def test_no_rooms_are_no_lines(self, run):
        assert run("rooms").stdout == run("rooms", "--json").stdout == ""


def test_a_bug_is_one_sentence_too(run, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nzero\x1b[2J")

    monkeypatch.setattr("peer.cli.options.Profile.open", broken)
    done = run("whoami")

    assert (done.exit_code, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert "ZeroDivisionError: by zero␛[2J" in sentence

    monkeypatch.setenv("BACKCHANNEL_DEBUG", "1")
    assert "Traceback" in run("whoami").stderr
