r"""The one place where strangers' text is made safe for a terminal, once, when a message object is made.

A terminal obeys what it is sent, so a control character is shown as a sign and never passed on: those of ASCII as
their control pictures (``␛``), the 8-bit ones (which some terminals obey as well) as ``\x9b``. Nothing here looks for
whole escape sequences: an incomplete one is as dangerous as a complete one. What reorders the text around it (bidi
overrides and their kin) and what is invisible is dropped. Nicks and names of rooms are held to more. All three
functions are idempotent, and none is for programs: those get the exact text, escaped as JSON.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""Zero-width, but spelling: Persian, Indic scripts and most families of emoji need them."""
_SIGNS: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Format characters that are seen: signs of Arabic, Syriac and Kaithi numbers."""
_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and one symbol that show nothing."""
_UNSEEN_MARKS: Final = "\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f"
_LINES: Final = {"\u2028": "\n", "\u2029": "\n"}
_SURROGATE: Final = "\ufffd"

_COLUMNS: Final = 32
_MARKS: Final = 2
"""Combining marks on one letter of a name; more only serve to draw over other lines."""
_FILL: Final = "_"
_FINGERPRINT: Final = re.compile(r"[a-z2-7]{4}(-[a-z2-7]{4}){4}", re.IGNORECASE)


def safe_text(text: str) -> str:
    """Return ``text`` with nothing in it that a terminal obeys, or that hides or reorders what stands around it.

    Newlines and tabs stay: whoever prints more than one line has to make plain where the text ends.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def safe_nick(nick: str) -> str:
    """Return ``nick`` as it may be shown: printable, without spaces or ``~``, at most 32 columns, never empty.

    What a nick can't have is shown as ``_``. One that looks like a fingerprint gets other dashes, and one as long as an
    id is cut, so that neither can pass for what it is not.
    """
    name = _bounded(_plain(nick), _COLUMNS)
    if name[:1] in ("-", "/"):
        name = _FILL + name[1:]
    if _FINGERPRINT.fullmatch(name):
        name = name.replace("-", _FILL)
    return name or "?"


def slug(title: str) -> str:
    """Return a name for a room that needs no quotes in a shell: letters, digits, ``.``, ``_`` and ``-``, in any script.

    It begins with a letter or digit, has at most 32 columns, and is ``room`` if nothing is left.
    """
    words = "-".join(title.split())
    name = "".join(c if c.isalnum() or c in "._" or _is_mark(c) else "-" for c in _plain(words))
    name = re.sub("-+", "-", name)
    begin = next((place for place, c in enumerate(name) if c.isalnum()), len(name))
    return _bounded(name[begin:], _COLUMNS, cut="").rstrip("-") or "room"


def width(text: str) -> int:
    """Return the columns that ``text`` takes once it was made safe."""
    return sum(0 if _is_mark(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _visible(c: str) -> str:
    if c.isprintable() or c in "\n\t":
        return c
    match unicodedata.category(c):
        case "Cc" if c < " ":
            return chr(0x2400 + ord(c))
        case "Cc":
            return "\u2421" if c == "\x7f" else f"\\x{ord(c):02x}"
        case "Cf":
            return c if c in _JOINERS or c in _SIGNS else ""
        case "Cs":
            return _SURROGATE
        case _:
            return _LINES.get(c, c)


def _plain(name: str) -> Iterable[str]:
    """Yield ``name`` normalised, without what is invisible, and with ``_`` for what no name can have."""
    return _unstacked(unicodedata.normalize("NFC", "".join(map(_named, name))))


def _named(c: str) -> str:
    if c in _BLANKS or c == "~" or c.isspace():
        return _FILL
    if unicodedata.category(c) == "Cf" or _is_selector(c):
        return ""
    return c if c.isprintable() else _FILL


def _is_selector(c: str) -> bool:
    """Say whether ``c`` is a mark that is never seen: variation selectors, joiners, vowels without a form."""
    return "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef" or c in _UNSEEN_MARKS


def _is_mark(c: str) -> bool:
    return unicodedata.category(c).startswith("M")


def _unstacked(name: str) -> Iterable[str]:
    """Drop the marks that have no letter, and those that are too many on one."""
    room = 0
    for c in name:
        room = room - 1 if _is_mark(c) else _MARKS
        if room >= 0:
            yield c


def _bounded(name: Iterable[str], columns: int, cut: str = "…") -> str:
    """Return as much of ``name`` as fits, with ``cut`` at its end if something is missing."""
    kept: list[str] = []
    used = 0
    for c in name:
        kept.append(c)
        used += width(c)
        if used > columns:
            while used + len(cut) > columns:
                used -= width(kept.pop())
            return "".join(kept) + cut
    return "".join(kept)
