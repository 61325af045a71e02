"""The line of the plain chat on a terminal: it stays whole below the messages, and gets back what could not be sent.

Everything that is printed while the line is there goes through ``patch_stdout``, raw, because our own lines carry
colours: text of strangers has been made safe long before. A paste arrives as one text (bracketed paste), newlines
included. This is the only module that imports prompt_toolkit, which takes as long as a whole command does.
"""

from __future__ import annotations

from collections import deque
from typing import Self

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from peer.cli.errors import CANCELLED


class Prompt:
    """A prompt, its history in memory alone."""

    def __init__(self, words: str) -> None:
        # without suspending, what is typed after Ctrl-Z for the shell would be said to the room
        self._session: PromptSession[str] = PromptSession(words, enable_suspend=True)
        self._returned: deque[str] = deque()
        self._patch = patch_stdout(raw=True)

    def __enter__(self) -> Self:
        self._patch.__enter__()
        return self

    def __exit__(self, *ended: object) -> None:
        self._patch.__exit__(None, None, None)

    async def next(self) -> str | None:
        """Wait for a line, beginning with one that came back; None for Ctrl-D. Ctrl-C ends the command."""
        default = self._returned.popleft() if self._returned else ""
        try:
            return await self._session.prompt_async(default=default)
        except EOFError:
            return None
        except KeyboardInterrupt:  # which would tear down the event loop if it left this task
            raise click.exceptions.Exit(CANCELLED) from None

    def give_back(self, line: str) -> None:
        """Put a line that was not sent where it can be sent again: here if nothing is being typed, else next."""
        buffer = self._session.default_buffer
        if self._session.app.is_running and not buffer.text:
            buffer.insert_text(line)
        else:
            self._returned.append(line)
