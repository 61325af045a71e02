"""One person's programs, each of which is killed at some moment: ``python mortal.py HOME``; it is run as a script.

An order, a JSON object a line on stdin, is one life: a process that attaches as ``reading`` says, hears, and says so
many things to the room and to ``to``. It dies by SIGKILL after ``seconds``, or within the ``steps``-th hundred of
instructions of SQLite's machine: in the middle of a statement, of a transaction, of a VACUUM. One that is given neither
ends by itself. All that it hears and does is reported on stdout, an array a line, before it goes on. Everything is
imported before the first life begins, so a life costs a fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from peer import Event, Peer, Reading
from peer.api import Room
from protocol.errors import BackchannelError


def report(*what: object) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


async def live(home: Path, life: int, reading: Reading, to: str, says: int) -> None:
    async with Peer.open(home) as peer, await peer.attach("team", reading=reading, timeout=60) as room:
        report("attached", life)
        if reading is Reading.UNSHOWN:
            for item in room.ready():
                heard(life, item)
            return
        hearing = asyncio.create_task(hear(room, life))
        for number in range(says):
            for direct in (False, True):
                text = f"{'aside' if direct else 'room'} {life}.{number}"
                report("says", life, text)
                await room.send(text, to=to if direct else None, timeout=60)
                report("said", life, text)
        hearing.cancel()


async def hear(room: Room, life: int) -> None:
    while True:
        heard(life, await room.next())


def heard(life: int, item: object) -> None:
    if isinstance(item, Event):
        report("event", life, item.kind.value, item.what)
    else:
        report("heard", life, item.text, item.direct)  # type: ignore[attr-defined]  # a message


def dies_after(steps: int) -> None:
    """Let SQLite's machine kill this process when it has run so many hundreds of instructions."""
    connect, left = sqlite3.connect, [steps]

    def step() -> int:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def mortal(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)  # type: ignore[call-overload]  # whatever the store says
        connection.set_progress_handler(step, 100)
        return connection  # type: ignore[no-any-return]

    sqlite3.connect = mortal  # type: ignore[assignment]


def begin(home: Path, life: int, reading: str, to: str, says: int, steps: int = 0) -> None:
    if steps:
        dies_after(steps)
    try:
        asyncio.run(live(home, life, Reading[reading], to, says))
    except BackchannelError as error:
        report("failed", life, error.code, str(error))


def main() -> None:
    home = Path(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        seconds = order.pop("seconds", 0)
        child = os.fork()
        if not child:
            begin(home, **order)
            os._exit(0)
        if seconds:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        report("ended", order["life"], os.WIFSIGNALED(status))


if __name__ == "__main__":
    main()
