"""Chat and host on a terminal, as seen on it: a pty, and what an emulator would show after all that was written to it.

A screen of our own stands for the emulator: it obeys the few sequences that prompt_toolkit uses, and complains about
any other, so a sequence that a stranger smuggled in fails the test that sees it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pexpect
import pytest

from tests.e2e.scene import PATIENCE, Person

COLUMNS, ROWS = 100, 40
PASTE = "\x1b[200~{}\x1b[201~"
DOWN_LINE = "\x15"  # Ctrl-U: empties the line


class Screen:
    """What is on the terminal now."""

    SEQUENCE = re.compile(r"\x1b\[([?>]?)([0-9;]*)([A-Za-z])|\x1b([=>()78]B?)|([\r\n\b\x07])|([^\x00-\x1f\x7f-\x9f])")

    def __init__(self) -> None:
        self.cells = [[" "] * COLUMNS for _ in range(ROWS)]
        self.row = self.column = 0
        self.bells = 0

    def feed(self, text: str) -> str:
        """Show ``text``; return what is left of it: a sequence that has not come whole."""
        at = 0
        while at < len(text):
            found = self.SEQUENCE.match(text, at)
            if not found:
                assert text[at] == "\x1b", f"not for a terminal: {text[at : at + 20]!r}"
                assert len(text) - at < 20, f"an unknown sequence: {text[at : at + 20]!r}"
                return text[at:]
            at = found.end()
            mode, numbers, command, other, control, letter = found.groups()
            if letter:
                self._put(letter)
            elif control:
                self._control(control)
            elif not mode and not other:
                self._command(command, [int(n) if n else 0 for n in numbers.split(";")])
        return ""

    def _put(self, letter: str) -> None:
        if self.column >= COLUMNS:
            self._control("\r")
            self._control("\n")
        self.cells[self.row][self.column] = letter
        self.column += 1

    def _control(self, control: str) -> None:
        match control:
            case "\r":
                self.column = 0
            case "\b":
                self.column = max(0, self.column - 1)
            case "\n" if self.row == ROWS - 1:
                self.cells = [*self.cells[1:], [" "] * COLUMNS]
            case "\n":
                self.row += 1
            case _:
                self.bells += 1

    def _command(self, command: str, numbers: list[int]) -> None:
        count = max(1, numbers[0])
        match command:
            case "A":
                self.row = max(0, self.row - count)
            case "B":
                self.row = min(ROWS - 1, self.row + count)
            case "C":
                self.column = min(COLUMNS - 1, self.column + count)
            case "D":
                self.column = max(0, self.column - count)
            case "J":
                assert numbers[0] == 0, "the screen was cleared"
                self._erase(self.row, self.column)
                for row in range(self.row + 1, ROWS):
                    self._erase(row, 0)
            case "K":
                self._erase(self.row, self.column)
            case "m":
                pass
            case _:
                raise AssertionError(f"an unknown sequence: {numbers} {command}")

    def _erase(self, row: int, column: int) -> None:
        self.cells[row][column:] = [" "] * (COLUMNS - column)

    @property
    def lines(self) -> list[str]:
        return [text for row in self.cells if (text := "".join(row).rstrip())]

    @property
    def typed(self) -> str:
        """The line that is being typed, up to the cursor."""
        return "".join(self.cells[self.row][: self.column])


class Terminal:
    """Somebody at a terminal with a command running in it."""

    def __init__(self, person: Person, *words: str, shell: str = "") -> None:
        program, *arguments = person._argv(*words)
        if shell:  # in which "$@" is the command
            program, arguments = "sh", ["-c", shell, "sh", program, *arguments]
        # An emulator that answers no questions about the cursor, like a slow line's.
        env = person.scene.env | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "LC_ALL": "C.UTF-8"}
        self.child = pexpect.spawn(
            program, arguments, env=env, dimensions=(ROWS, COLUMNS), encoding="utf-8", timeout=PATIENCE, echo=False
        )
        self.screen = Screen()
        self.written = ""
        """All that it has written, as it came."""
        self._rest = ""

    def waits(self, met: Callable[[], object]) -> None:
        """Read until ``met()``."""
        while not met():
            try:
                text = self.child.read_nonblocking(4096, timeout=PATIENCE)
            except (pexpect.TIMEOUT, pexpect.EOF):
                raise AssertionError("in vain; on the screen:\n" + "\n".join(self.screen.lines)) from None
            self.written += text
            self._rest = self.screen.feed(self._rest + text)

    def shows(self, words: str) -> None:
        self.waits(lambda: any(words in line for line in self.screen.lines))

    def types(self, text: str) -> None:
        """Type something, and wait until it is in the line."""
        self.child.send(text)
        self.waits(lambda: self.screen.typed.endswith(text))

    def enters(self, text: str = "") -> None:
        """Type a line and Enter."""
        self.child.send(text + "\r")

    def ends(self) -> int:
        """Wait for the end; return the exit code."""
        self.child.expect(pexpect.EOF)
        self._rest = self.screen.feed(self._rest + self.child.before)
        self.child.close()
        return self.child.exitstatus


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(person: Person, *words: str, shell: str = "") -> Terminal:
        started.append(Terminal(person, *words, shell=shell))
        return started[-1]

    yield start
    for one in started:
        if one.child.isalive():
            one.child.kill(signal.SIGKILL)
            one.child.wait()
        one.child.close()


@pytest.fixture
def team(scene):
    return scene.company(scene.relay(), "alice", "bob")


@pytest.fixture
def alices(team, terminal) -> Terminal:
    """Alice's chat, ready."""
    chat = terminal(team[0], "chat", "team")
    chat.shows("You are alice in team")
    chat.waits(lambda: chat.screen.typed == "team> ")
    return chat


def test_a_message_that_comes_does_not_damage_the_line(team, alices):
    _, bob = team
    alices.types("a half-typed tho")
    bob.says("good morning")
    alices.shows("<bob> good morning")
    alices.waits(lambda: alices.screen.typed == "team> a half-typed tho")
    bob.whispers("alice", "careful")
    alices.shows("[aside] <bob> careful")
    alices.waits(lambda: alices.screen.typed == "team> a half-typed tho")
    alices.types("ught")
    alices.enters()
    while bob.polls() != ["a half-typed thought"]:
        pass
    shown = "\n".join(alices.screen.lines)
    assert shown.index("good morning") < shown.index("careful") < shown.index("a half-typed thought")


def test_strangers_texts_are_inert(team, alices):
    _, bob = team
    alices.types("still here")
    bob.runs("send", "team", stdin="a\x1b]0;owned\x07b\x1b[2J\x1b[Hc\x9b2Jd\re\u202ef\n<alice> forged")
    alices.shows("a␛]0;owned␇b␛[2J␛[Hc\\x9b2Jd␍ef")
    alices.shows("      | <alice> forged")
    alices.waits(lambda: alices.screen.typed == "team> still here")


def test_lines_go_where_they_say(team, alices):
    _, bob = team
    for line in ("hello", "/me waves", "/msg bob careful", "//slash"):
        alices.enters(line)
    alices.enters("/who")
    alices.shows("founder")
    alices.enters("/help")
    alices.shows("say something to one member alone")
    alices.enters("/quit")
    assert alices.ends() == 0
    assert [(m["text"], m["direct"], m["action"]) for m in bob.poll()] == [
        ("hello", False, False),
        ("waves", False, True),
        ("careful", True, False),
        ("/slash", False, False),
    ]


def test_an_unknown_command_reaches_nobody_and_comes_back_to_be_mended(team, alices):
    _, bob = team
    alices.enters("/mgs bob secret")
    alices.shows("no command /mgs")
    alices.waits(lambda: alices.screen.typed == "team> /mgs bob secret")
    alices.enters(f"{DOWN_LINE}/msg bob secret")
    alices.enters("done")
    while not (came := bob.poll()) or came[-1]["text"] != "done":
        pass
    assert [(m["text"], m["direct"]) for m in came] == [("secret", True), ("done", False)]


def test_a_line_that_cannot_be_sent_comes_back(team, alices):
    alices.enters("/msg dave are you there")
    alices.shows("Nobody of that name")
    alices.waits(lambda: alices.screen.typed == "team> /msg dave are you there")


def test_a_line_that_fails_later_does_not_take_the_place_of_what_is_typed(team, scene, alices):
    relay = next(process for process in scene._kept if "run" in process.argv)
    relay.killed()
    alices.shows("The connection to the relay was lost")
    alices.enters("for later")
    alices.types("what I am typing")
    alices.shows("backchannel: The relay cannot be reached")
    alices.waits(lambda: alices.screen.typed == "team> what I am typing")
    alices.enters(DOWN_LINE)
    alices.waits(lambda: alices.screen.typed == "team> for later")


def test_what_was_not_sent_is_shown_at_the_end(team, scene, alices):
    relay = next(process for process in scene._kept if "run" in process.argv)
    relay.killed()
    alices.shows("The connection to the relay was lost")
    alices.enters("one for later")
    alices.enters("two for later")
    alices.shows("team> two for later")
    alices.waits(lambda: alices.screen.typed == "team> ")  # from here on Ctrl-C is a key, not a signal
    alices.child.send("\x03")
    assert alices.ends() == 130
    shown = alices.screen.lines
    assert [line for line in shown if line.startswith("Not sent")] == [
        "Not sent: one for later",
        "Not sent: two for later",
    ]


def test_a_paste_is_one_message_and_no_line_of_it_a_command(team, alices):
    _, bob = team
    alices.child.send(PASTE.format("one\n/quit\r\n/msg bob two"))
    alices.waits(lambda: alices.screen.typed.endswith("/msg bob two"))
    alices.enters()
    while not (came := bob.polls()):
        pass
    assert came == ["one\n/quit\n/msg bob two"]


def test_ctrl_z_gives_the_terminal_back_to_the_shell_until_it_is_fetched(team, terminal):
    alice, bob = team
    chat = terminal(alice, "chat", "team", shell='set -m; "$@"; echo it is stopped; read for_the_shell; fg >/dev/null')
    chat.waits(lambda: chat.screen.typed == "team> ")
    chat.types("half a line")
    chat.child.send("\x1a")
    chat.shows("it is stopped")
    bob.says("meanwhile")
    chat.child.send("for the shell\n")
    chat.shows("<bob> meanwhile")
    chat.waits(lambda: chat.screen.typed == "team> half a line")
    chat.enters()
    while not (came := bob.polls()):
        pass
    assert came == ["half a line"]
    chat.child.send("\x04")
    assert chat.ends() == 0


def test_the_ends(team, terminal):
    alice, _ = team

    def ended(how: Callable[[Terminal], object]) -> int:
        chat = terminal(alice, "chat", "team")
        chat.waits(lambda: chat.screen.typed == "team> ")
        how(chat)
        return chat.ends()

    assert ended(lambda chat: chat.child.send("\x04")) == 0
    assert ended(lambda chat: chat.child.send("\x03")) == 130
    assert ended(lambda chat: chat.child.kill(signal.SIGTERM)) == 0
    assert ended(lambda chat: chat.child.kill(signal.SIGINT)) == 130


def test_colours_are_for_who_wants_them(scene, team, terminal):
    alice, bob = team
    seen = []
    for wish in ({}, {"NO_COLOR": "1"}):
        scene.env.update(wish)
        bob.whispers("alice", "careful")
        chat = terminal(alice, "chat", "team")
        chat.shows("careful")
        chat.waits(lambda chat=chat: chat.screen.typed == "team> ")
        seen.append("\x1b[35m" in chat.written)
        chat.child.send("\x04")
        chat.child.expect(pexpect.EOF)
    assert seen == [True, False]


def test_host_prints_the_invite_and_talks(scene, terminal):
    alice, bob = scene.people("alice", "bob")
    host = terminal(alice, "host", "lobby", "--nick", "alice", "--bind", "127.0.0.1:0")
    host.waits(lambda: host.screen.typed == "lobby> ")
    shown = "".join(line.ljust(COLUMNS) if len(line) == COLUMNS else line + "\n" for line in host.screen.lines)
    invite = next(word for word in shown.split() if word.startswith("bc1"))
    assert bob.joins(invite) == "lobby"
    host.shows("-- bob joined")
    bob.says("hello", room="lobby")
    host.shows("<bob> hello")
    host.enters("welcome")
    while bob.polls("lobby") != ["welcome"]:
        pass
    host.child.send("\x03")
    assert host.ends() == 130
