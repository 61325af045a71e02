"""What a line of the chat means: a text for the room, an aside, a command, or a mistake. Pure, and never generous.

A secret typed after a mistyped command must not reach the room, so whatever begins with a slash (after spaces, too)
and is no command is a mistake; ``//`` begins a text with a slash. A pasted text of several lines is one line here: its
beginning alone decides, and no later line is a command.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty line."""


@dataclass(frozen=True, slots=True)
class Say:
    """A text or action for the room, or for one member alone."""

    text: str
    to: str | None = None
    action: bool = False


@dataclass(frozen=True, slots=True)
class Who:
    """Show the members."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the commands."""


@dataclass(frozen=True, slots=True)
class Quit:
    """End the chat."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Nothing that can be done; ``why`` says what is wrong, in words of ours and the command's name."""

    why: str


Meaning = Nothing | Say | Who | Help | Quit | Mistake

HELP = """\
/msg NICK TEXT   say something to one member alone: an aside
/me TEXT         say what you do
/who             list the members
/quit            leave the chat (as does Ctrl-D)
//TEXT           say a text that begins with a slash
Anything else is said to the room."""

_ALONE: dict[str, Meaning] = {"who": Who(), "help": Help(), "quit": Quit()}


def parse(line: str) -> Meaning:
    """Return what ``line`` means: one line, or a pasted text of several."""
    line = line.rstrip()
    start = line.lstrip()
    if not start:
        return Nothing()
    if not start.startswith("/"):
        return Say(line)
    if start.startswith("//"):
        return Say(start[1:])
    words = start[1:].split(maxsplit=1)
    name = words[0].lower() if words and not start[1].isspace() else ""
    rest = words[1] if len(words) > 1 else ""
    if name in _ALONE:
        return Mistake(f"/{name} stands alone") if rest else _ALONE[name]
    if name == "me":
        return Say(rest, action=True) if rest else Mistake("/me needs a text: /me waves")
    if name == "msg":
        nick, *text = rest.split(maxsplit=1) or [""]
        return Say(text[0], to=nick) if text else Mistake("/msg needs a nick and a text: /msg bob hello")
    return Mistake(f"there is no command /{name}; /help lists them, and // begins a text with a slash")
