"""A person's program that bears witness to its own memory: ``python witness.py HOME``; it is run as a script.

It lives by the clock of the file ``$CLOCK``, reads the room ``team``, and takes orders, one a line on stdin:
``say TEXT``, ``whisper NICK TEXT``, ``generation``, ``notes``, ``search``. It answers each with one JSON value a line,
and tells what it hears as ``{"heard": …}``. Every secret that it makes is noted, masked; ``notes`` hands the notes out,
and ``search`` says which of those that were handed out still live in its memory, by kind.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from peer import Message, Peer, Reading
from peer.api import Room
from tests.claims.clock import Clock
from tests.claims.thief import Noted, Vault, live_bytes, search


def tell(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def hear(room: Room) -> None:
    while True:
        if isinstance(item := await room.next(), Message):
            tell({"heard": item.text})


async def obey(room: Room, vault: Vault, orders: asyncio.StreamReader) -> None:
    handed: list[Noted] = []
    while line := await orders.readline():
        match line.decode().split():
            case ["say", text]:
                await room.send(text)
                tell("said")
            case ["whisper", nick, text]:
                await room.send(text, to=nick)
                tell("said")
            case ["generation"]:
                pair = room._core.keys.accepted()
                tell(pair.generation if pair else 0)
                del pair
            case ["notes"]:
                handed = list(vault.noted)
                tell([[note.kind, note.mask.hex(), note.masked.hex()] for note in handed])
            case ["search"]:
                tell([note.kind for note in search(handed, live_bytes())])


async def live(home: Path, vault: Vault) -> None:
    clock = Clock(Path(os.environ["CLOCK"]))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with Peer.open(home, clock=clock.now_ms) as peer:
        room = await peer.attach("team", reading=Reading.BACKLOG, present=True, timeout=60)
        tell("attached")
        hearing = asyncio.create_task(hear(room))
        await obey(room, vault, orders)
        hearing.cancel()


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch, Vault().taps(patch) as vault:
        asyncio.run(live(Path(sys.argv[1]), vault))
