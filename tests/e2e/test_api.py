"""The Python API, used as its users would: a script of theirs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.e2e.scene import PATIENCE

EXAMPLE = """\
import asyncio

from peer import Peer


async def main():
    async with Peer.open() as peer:
        room = await peer.attach("team")
        await room.send("hi", to="bob")
        async for message in room:
            print(message.sender.nick, message.direct, message.text)
            break


asyncio.run(main())
"""

TWO_IN_ONE = """\
import asyncio, sys

from peer import Peer
from peer.api import Reading, State


async def main(relay):
    async with Peer.open(ephemeral=True) as alice, Peer.open(ephemeral=True) as bob:
        invite = await alice.create("team", relay, nick="alice")
        name = await bob.join(invite.word, nick="bob")
        async with await bob.attach(name, reading=Reading.BACKLOG) as bobs, await alice.attach("team") as alices:
            (sent,) = await alices.send("psst", to="bob", wait=State.DELIVERED)
            assert sent.state is State.DELIVERED and sent.to.nick == "bob"
            async for message in bobs:
                print(message.sender.nick, message.direct, message.text)
                break


asyncio.run(main(sys.argv[1]))
"""


WAKES = """\
import asyncio, logging, sys, time

from peer import Peer
from peer.api import State

asleep = 0
attached = []


class Noted(logging.Handler):
    def emit(self, record):
        attached.append(record.getMessage())


async def main(relay):
    global asleep
    logging.getLogger("backchannel").addHandler(Noted())
    logging.getLogger("backchannel").setLevel(logging.INFO)
    clock = lambda: time.time_ns() // 1_000_000 + asleep
    async with Peer.open(ephemeral=True, clock=clock) as alice:
        await alice.create("team", relay, nick="alice")
        async with await alice.attach("team") as room:
            await room.send("good night", wait=State.RELAYED)
            attached.clear()
            asleep = 90_000
            (sent,) = await room.send("good morning", wait=State.RELAYED)
            print(sent.state.value, attached)


asyncio.run(main(sys.argv[1]))
"""


def script(scene, text: str, *words: str) -> list[str]:
    """Return the command of a script; it has no home but the platform's."""
    (scene.folder / "script.py").write_text(text)
    return [sys.executable, str(scene.folder / "script.py"), *words]


def test_the_example(scene):
    """Alice's script shares the home that her commands use where none is given."""
    relay = scene.relay()
    bob = scene.person("bob")

    def alices(*words: str, stdin: str = "") -> str:
        argv = [*bob.program, *words]
        return subprocess.run(
            argv,
            env=scene.env,
            cwd=scene.folder,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    assert bob.joins(alices("create", "team", "--relay", relay.word, "--nick", "alice").strip()) == "team"
    running = scene.process(script(scene, EXAMPLE))
    bobs = bob.listens()
    bobs.hears("hi")
    assert bobs.heard()[0]["direct"] is True
    bob.whispers("alice", "hi yourself")
    assert running.ends() == 0, running
    assert running.lines == ["bob True hi yourself"]


def test_two_peers_in_one_process_and_no_disk(scene):
    relay = scene.relay()
    running = scene.process(script(scene, TWO_IN_ONE, relay.word))
    assert running.ends() == 0, running
    assert running.lines == ["alice True psst"]
    assert [path.name for path in (scene.folder / "data").iterdir()] == []


def test_who_woke_speaks_on_another_connection(scene):
    """A clock that jumps is what a program sees of a sleep; nothing is said before the log was shown again."""
    relay = scene.relay()
    running = scene.process(script(scene, WAKES, relay.word))
    assert running.ends() == 0, running
    assert running.lines == ["relayed ['attached to team']"]
