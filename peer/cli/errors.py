"""How a command fails: one sentence on stderr, or with ``--json`` an ``error`` object there, and an exit code.

Every error of the program is a ``BackchannelError`` with code, exit code and sentence; click's are translated here.
What is neither is a bug, and says so in one sentence as well: the traceback is for whoever sets
``BACKCHANNEL_DEBUG``.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import sys
import traceback
from typing import Final

import click

from peer.text import safe_text
from protocol.errors import BackchannelError, UsageError

CANCELLED: Final = 130
"""Ended by Ctrl-C."""
CLOSED_PIPE: Final = 141
"""Ended because nobody reads stdout any more."""


class ClosedPipe(Exception):
    """Whoever read stdout has gone."""


class CannotWrite(BackchannelError):
    """Stdout takes no more: a full disk, or nothing there at all."""

    code = "cannot-write"
    exit_code = 1
    sentence = "The result could not be written."


def report(error: Exception, *, json: bool) -> int:
    """Say on stderr what went wrong, in one line, and return the exit code."""
    if os.environ.get("BACKCHANNEL_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    code, exit_code, message = _explained(error)
    if json:
        line = jsonlib.dumps({"v": 1, "type": "error", "code": code, "message": message})
    else:
        line = f"backchannel: {message}"
    complain(line)
    return exit_code


def complain(line: str) -> None:
    """Write a line to stderr; if stderr is gone there is nobody to tell."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def give_up_stdout() -> None:
    """Lead stdout to nowhere: Python would else try again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(AttributeError, OSError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _explained(error: Exception) -> tuple[str, int, str]:
    """Return code, exit code and a sentence in one safe line."""
    match error:
        case UsageError(detail=detail) if detail:
            code, exit_code, message = error.code, error.exit_code, f"{detail[0].upper()}{detail[1:]}."
        case BackchannelError():
            code, exit_code, message = error.code, error.exit_code, str(error)
        case click.ClickException():
            code, exit_code, message = UsageError.code, UsageError.exit_code, _usage(error)
        case _:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            bug = BackchannelError(f"{what[:200]}; BACKCHANNEL_DEBUG=1 shows more")
            code, exit_code, message = bug.code, bug.exit_code, str(bug)
    return code, exit_code, " ".join(safe_text(message).split())


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    if not message.endswith((".", "?", "!")):
        message += "."
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} See `{context.command_path if context else 'backchannel'} --help`."
