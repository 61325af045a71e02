"""The objects of the JSON contract against docs/cli.md, field by field, and the texts for people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.cli.errors import CannotWrite, ClosedPipe
from peer.cli.output import Output, cells, clock, iso, json_object, wants_colour
from peer.core.events import (
    Comparison,
    Event,
    EventKind,
    IdentityInfo,
    InviteInfo,
    MemberInfo,
    Message,
    Person,
    RoomInfo,
    Sent,
    State,
)
from peer.discovery import FoundRelay
from peer.text import safe_text
from protocol.address import RelayAddress
from protocol.membership import Role

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
ALICE = Person(bytes([1] * 32), "alice\x1b[31m", "alice␛[31m")
BOB = Person(bytes([2] * 32), "bob", "bob~k3f9")
ALICE_ID = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq"
BOB_ID = "aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba"


def text(words: str = "hi", to: Person | None = None, **more: object) -> Message:
    fields = {"action": False, "sent_at": 1_700_000_000_007, "received_at": 1_700_000_001_000} | more
    return Message("team", bytes(range(16)), ALICE, to, words, safe_text(words), **fields)


THINGS = {
    "message": text("careful\x1b", BOB),
    "sent": Sent(bytes(16), None, State.RELAYED),
    "member": MemberInfo(BOB, Role.ADMIN, online=True, reachable=True, verified=False, self=False),
    "room": RoomInfo("team", "Team!", "h:1/k", Role.FOUNDER),
    "relay": FoundRelay((RelayAddress.parse(f"10.0.0.1:7667/{'a' * 52}"), RelayAddress.parse(f"fd00::1:1/{'a' * 52}"))),
    "identity": IdentityInfo("bob", BOB.id, "/home/bob"),
    "invite": InviteInfo("team", "bc1x", bytes(32), 5, 1_700_000_000_000),
    "safety-number": Comparison("team", BOB, "12345 67890", verified=True),
    "event": Event("team", EventKind.GAP, "2 messages did not arrive", who=BOB, by=ALICE, count=2, reason="away"),
}


def section(kind: str) -> str:
    found = re.search(rf"^### `{kind}`\n(.*?)(?=^##)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no section about {kind}"
    return found[1]


def documented(kind: str) -> list[str]:
    table = section(kind).split("| field |")[1].split("\n\n")[0]
    return re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("kind", THINGS)
def test_each_object_has_exactly_the_documented_fields(kind):
    made = json_object(THINGS[kind])

    assert (made["v"], made["type"]) == (1, kind)
    assert list(made)[2:] == documented(kind)


@pytest.mark.parametrize("kind", [*THINGS, "error"])
def test_each_documented_example_is_one(kind):
    (example,) = re.findall(r"```json\n(.*)\n```", section(kind))
    shown = json.loads(example)

    assert (shown["v"], shown["type"]) == (1, kind)
    assert set(shown) - {"v", "type"} <= set(documented(kind))
    assert example == json.dumps(shown)


def test_every_event_and_state_and_role_is_documented():
    for word in (*EventKind, *State, *(role.name.lower() for role in Role)):
        assert f"`{word}`" in DOCUMENT


def test_every_exit_code_is_documented():
    from protocol.errors import BY_CODE

    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE)}
    assert codes == {0, 130, 141} | {error.exit_code for error in BY_CODE.values()}


def test_a_message():
    assert json_object(THINGS["message"]) == {
        "v": 1,
        "type": "message",
        "room": "team",
        "direct": True,
        "id": "000102030405060708090a0b0c0d0e0f",
        "from": {"nick": "alice\x1b[31m", "id": ALICE_ID},
        "to": {"nick": "bob", "id": BOB_ID},
        "text": "careful\x1b",
        "action": False,
        "sent_at": "2023-11-14T22:13:20.007Z",
        "received_at": "2023-11-14T22:13:21.000Z",
        "late": False,
    }


def test_what_is_not_there_is_null_or_left_out():
    assert json_object(text())["to"] is None
    assert json_object(THINGS["sent"])["to"] is None
    assert json_object(RoomInfo("a", "a", "h:1/k", None))["role"] is None
    assert json_object(IdentityInfo("bob", BOB.id, None))["home"] is None
    unbounded = json_object(InviteInfo("team", "bc1x", bytes(32), 0, None))
    assert (unbounded["uses"], unbounded["expires_at"]) == (None, None)
    plain = json_object(Event("team", EventKind.ALARM, "what"))
    assert set(plain) == {"v", "type", "room", "event", "what"}
    assert json_object(Event("team", EventKind.GAP, "what", count=0))["count"] == 0


@given(st.text(st.characters(exclude_categories=())))
def test_json_is_exact_and_one_line_of_ascii(words):
    line = json.dumps(json_object(text(words)))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["text"] == words


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (1 << 48, "9999-12-31T23:59:59.999Z"),
        (1 << 62, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times(ms, shown):
    assert iso(ms) == shown
    assert re.fullmatch(r"\d\d:\d\d|--:--", clock(ms))


class TestForPeople:
    def line(self, thing: object) -> str:
        return re.sub(r"^\d\d:\d\d ", "", "  ".join(cells(thing)))

    @pytest.mark.parametrize(
        ("thing", "shown"),
        [
            (text("hi"), "<alice␛[31m> hi"),
            (text("waves", action=True), "* alice␛[31m waves"),
            (text("careful", BOB), "[aside] <alice␛[31m> careful"),
            (text("waves", BOB, action=True), "[aside] * alice␛[31m waves"),
            (text("hi", late=True), "[late] <alice␛[31m> hi"),
            (text("one\n<bob> two"), "<alice␛[31m> one\n      | <bob> two"),
            (text("a\x1b]0;x\x07"), "<alice␛[31m> a␛]0;x␇"),
            (Event("team", EventKind.JOINED, "bob joined", who=BOB), "-- bob joined"),
            (THINGS["invite"], "bc1x"),
            (THINGS["member"], "bob~k3f9  aiba-eaqc-aiba-eaqc-aiba  admin  online  unverified"),
            (MemberInfo(BOB, Role.MEMBER, False, True, True, False), "bob~k3f9  …  member  offline  verified"),
            (MemberInfo(BOB, Role.MEMBER, False, False, False, True), "bob~k3f9  …  member  unreachable  self"),
            (THINGS["room"], "team  founder  h:1/k"),
            (RoomInfo("a", "a", "h:1/k", None), "a  not a member  h:1/k"),
            (THINGS["identity"], "bob  aiba-eaqc-aiba-eaqc-aiba  /home/bob"),
            (IdentityInfo("bob", BOB.id, None), "bob  …  in memory"),
            (THINGS["sent"], "00000000000000000000000000000000  room  relayed"),
            (THINGS["safety-number"], "12345 67890"),
        ],
    )
    def test_a_line(self, thing, shown):
        assert self.line(thing).replace("aiba-eaqc-aiba-eaqc-aiba", "…") == shown.replace(
            "aiba-eaqc-aiba-eaqc-aiba", "…"
        )

    def test_asides_differ_by_colour_too(self):
        room, aside = (cells(text("hi", to), colour=True)[0] for to in (None, BOB))

        assert "\x1b[35m" in aside
        assert "\x1b[35m" not in room
        assert "\x1b[35m" not in cells(text("\x1b[35m"), colour=True)[0]

    def test_a_table_has_columns(self, capsys):
        wide = MemberInfo(Person(ALICE.id, "漢字漢字漢字", "漢字漢字漢字"), Role.FOUNDER, True, True, True, False)
        Output().table([THINGS["member"], wide])

        one, two = capsys.readouterr().out.splitlines()
        assert one.index("aiba-") - len("bob~k3f9") == 6
        assert two.index("aeaq-") == 6 + 2

    def test_an_empty_table_is_nothing(self, capsys):
        Output().table([])
        assert capsys.readouterr().out == ""


class Closed:
    """A stream that takes nothing any more."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> None:
        raise self.error

    def fileno(self) -> int:
        raise OSError


def test_a_stdout_that_takes_nothing(monkeypatch):
    out = Output()
    monkeypatch.setattr("sys.stdout", Closed(BrokenPipeError()))
    with pytest.raises(ClosedPipe):
        out.result(text())
    monkeypatch.setattr("sys.stdout", Closed(OSError(28, "No space left on device")))
    with pytest.raises(CannotWrite, match="No space left"):
        out.result(text())
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(CannotWrite):
        out.result(text())


def test_colour_is_for_terminals_whose_user_wants_it(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert wants_colour(Terminal())
    assert not wants_colour(None)
    monkeypatch.setenv("NO_COLOR", "")
    assert wants_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())


def test_events_go_to_stderr_or_with_json_to_stdout(capsys):
    Output().happening(THINGS["event"])
    assert capsys.readouterr() == ("", "-- 2 messages did not arrive\n")
    Output(json=True).happening(THINGS["event"])
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == "gap"
    assert err == ""


def test_notes_are_for_people_alone(capsys):
    Output().note("by the way\x1b[2J")
    assert capsys.readouterr() == ("", "by the way␛[2J\n")
    Output(json=True).note("by the way")
    assert capsys.readouterr() == ("", "")
