"""What the relay writes to stderr: a line for each thing that happened, for a person or as JSON for a program.

A record is a short constant sentence and named values::

    log.info("ready", extra=values(address="192.168.1.5:7667"))

    2026-11-25 08:39:34 INFO ready address=192.168.1.5:7667
    {"time": "2026-11-25T08:39:34.120Z", "level": "info", "event": "ready", "address": "192.168.1.5:7667"}

Nothing of a member is ever a value: no content, name, key, room or network address. However often something happens,
its line is written a few times a minute at most, with the number of those that were left out, so that no flood of
requests becomes one of log lines; debugging alone is not bounded. Under systemd each line begins with its priority,
so that ``journalctl --priority`` can choose.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal, TextIO

Format = Literal["auto", "text", "json"]

BURST: Final = 5
"""How many lines of one kind may be written in ``WINDOW_S`` seconds."""
WINDOW_S: Final = 60.0
_KINDS: Final = 256
"""Kinds of lines that are counted apart. They are constants of the program: there are fewer."""
_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""The levels of syslog."""


def values(**named: object) -> Mapping[str, Mapping[str, object]]:
    """Return what to give a log call as ``extra``."""
    return {"values": named}


def configure(level: str, form: Format, stream: TextIO | None = None) -> None:
    """Write records from ``level`` on to ``stream`` (stderr); ``auto`` is text for a terminal and JSON for others."""
    stream = stream or sys.stderr
    prefix = _is_journal(stream)
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Text(prefix=prefix) if as_text else Json(prefix=prefix))
    handler.addFilter(Bound())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.raiseExceptions = False  # a full disk behind stderr is no reason to print more


class Text(logging.Formatter):
    """A line for a person."""

    def __init__(self, *, prefix: bool = False) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        words = [f"{name}={value}" for name, value in _values(record).items()]
        line = " ".join([record.levelname, record.getMessage(), *words])
        # the journal has the time and the level already
        return _priority(record) + line if self._prefix else f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {line}"


class Json(logging.Formatter):
    """One JSON object in ASCII."""

    def __init__(self, *, prefix: bool = False) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        head = {"time": moment.replace("+00:00", "Z"), "level": record.levelname.lower(), "event": record.getMessage()}
        line = json.dumps(head | dict(_values(record)), default=str)
        return _priority(record) + line if self._prefix else line


class Bound(logging.Filter):
    """Lets ``BURST`` records of a kind pass in each ``WINDOW_S``; the next that passes says how many did not.

    A kind is the sentence before its values are filled in, so what a stranger sends can't make new ones.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        kind, now = f"{record.levelno} {record.msg}", self._clock()
        began, count = self._kinds.get(kind, (now, 0))
        if now - began >= WINDOW_S:
            if count > BURST:
                record.values = {**_values(record), "left_out": count - BURST}
            began, count = now, 0
        if kind in self._kinds or len(self._kinds) < _KINDS:
            self._kinds[kind] = began, count + 1
        return count < BURST


def _values(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = getattr(record, "values", {})
    if record.exc_info:
        return {**found, "traceback": logging.Formatter().formatException(record.exc_info)}
    return found


def _priority(record: logging.LogRecord) -> str:
    return f"<{_PRIORITIES.get(record.levelno, 6)}>"


def _is_journal(stream: TextIO) -> bool:
    """Say whether ``stream`` leads to systemd's journal: $JOURNAL_STREAM then names the same file."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
