"""How a command runs and is ended from outside: the event loop, Ctrl-C, SIGTERM and SIGHUP.

Each of them cancels the command, which then closes what it opened in good order: the profile, the connection, a child.
A second one cuts that short.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import stat
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import click

from peer.cli.errors import ClosedPipe
from peer.cli.output import Output


class _Connection(logging.Handler):
    """Tells a person that the relay was lost, and that it is back."""

    def __init__(self, out: Output) -> None:
        super().__init__(logging.INFO)
        self._out = out
        self._lost = False

    def emit(self, record: logging.LogRecord) -> None:
        lost = record.levelno > logging.INFO
        if lost:
            self._out.note(f"-- {record.getMessage()} It is tried again.")
        elif self._lost:
            self._out.note(f"-- {record.getMessage()}")
        self._lost = lost


def run_to_its_end(work: Coroutine[Any, Any, None], out: Output, *, lasting: bool) -> None:
    """Run ``work``; raise click's ``Exit`` when a signal ended it, with the code that a shell would give.

    A ``lasting`` command exits with 0 on SIGTERM and SIGHUP: it was asked to end and did.
    """
    _quiet_logs(out, lasting=lasting)
    if lasting:
        gc.enable()
    try:
        asyncio.run(_ended_by_signals(work, lasting=lasting))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _quiet_logs(out: Output, *, lasting: bool) -> None:
    """Keep logs off stderr, which is for sentences; a command that lasts says when its relay comes and goes."""
    if not os.environ.get("BACKCHANNEL_DEBUG"):
        logging.getLogger().addHandler(logging.NullHandler())
    log = logging.getLogger("backchannel")
    log.setLevel(logging.INFO)
    log.handlers = [_Connection(out)] if lasting else []


async def _ended_by_signals(work: Coroutine[Any, Any, None], *, lasting: bool) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup asked for that
            loop.add_signal_handler(number, end, number)
    try:
        await work
    except asyncio.CancelledError:
        if not received:
            raise
        raise click.exceptions.Exit(0 if lasting else 128 + received[0]) from None


@contextlib.contextmanager
def reader_gone() -> Iterator[None]:
    """Raise ``ClosedPipe`` in the command as soon as nobody reads stdout, not only when there is something to write."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    pipe = _stdout_pipe()
    gone = False

    def end() -> None:
        nonlocal gone
        gone = True
        loop.remove_reader(pipe)
        task.cancel()

    if pipe >= 0:
        loop.add_reader(pipe, end)  # the end of a pipe that is only written becomes "readable" by its error
    try:
        yield
    except asyncio.CancelledError:
        if gone:
            raise ClosedPipe from None
        raise
    finally:
        if pipe >= 0:
            loop.remove_reader(pipe)


def _stdout_pipe() -> int:
    """Return the file descriptor of stdout if it is a pipe that is only written, else -1."""
    try:
        number = sys.stdout.fileno()
        write_only = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        return number if write_only and stat.S_ISFIFO(os.fstat(number).st_mode) else -1
    except (AttributeError, OSError, ValueError):
        return -1


async def first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one has ended; then cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
