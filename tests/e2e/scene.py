"""A scene for the tests with real processes: one folder, relays and people in it, each command a child of its own.

    alice, bob = scene.company(scene.relay(), "alice", "bob")
    alice.says("hi")
    assert bob.polls() == ["hi"]

Nothing here waits for a time: a command ends, or a process writes what is waited for, within ``PATIENCE`` seconds. Only
what a scene started does it end, and it ends all of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from peer.api import Peer
from protocol.address import RelayAddress

PATIENCE = 60.0
PEER = (sys.executable, "-P", "-m", "peer")
RELAY = (sys.executable, "-P", "-m", "relay")

T = TypeVar("T")
Object = dict[str, object]


def tampered(what: str, which: str) -> tuple[str, ...]:
    """Return the peer's or the relay's command line with one thing changed in it: see ``tampered.py``."""
    return (sys.executable, str(Path(__file__).with_name("tampered.py")), what, which)


def wait(met: Callable[[], T], patience: float = PATIENCE) -> T:
    """Ask ``met`` again and again until what it returns is true; return that."""
    deadline = time.monotonic() + patience
    while not (found := met()):
        assert time.monotonic() < deadline, f"in vain: {met}"
        time.sleep(0.02)
    return found


class Process:
    """A child that goes on: what it writes is read as it comes, a line at a time."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.argv = argv
        self.child = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._changed = threading.Condition()
        self._parsed: list[Object] = []
        assert self.child.stdout
        assert self.child.stderr
        self._readers = [
            threading.Thread(target=self._read, args=(self.child.stdout, self.lines)),
            threading.Thread(target=self._read, args=(self.child.stderr, self.errors)),
        ]
        self._reading = len(self._readers)
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], into: list[str]) -> None:
        for line in stream:
            with self._changed:
                into.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._reading -= 1
            self._changed.notify_all()

    def __str__(self) -> str:
        return "\n".join([" ".join(self.argv[-8:]), *self.lines[-20:], "stderr:", *self.errors[-20:]])

    # -- what it writes -----------------------------------------------------------------------------------------------

    def waits(self, met: Callable[[], T]) -> T:
        """Return what ``met()`` returns as soon as that is true; it is asked again whenever something was written."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not (found := met()):
                assert self._reading, f"it has ended: {self}"
                left = deadline - time.monotonic()
                assert left > 0, f"in vain: {self}"
                self._changed.wait(left)
            return found

    def first_line(self) -> str:
        return self.waits(lambda: self.lines and self.lines[0])

    def heard(self) -> list[Object]:
        """Return the messages that it printed with ``--json``."""
        return [thing for thing in self._objects() if thing["type"] == "message"]

    def texts(self) -> list[object]:
        """Return the texts of the messages."""
        return [message["text"] for message in self.heard()]

    def hears(self, *texts: str) -> None:
        """Wait until each of ``texts`` was printed."""
        self.waits(lambda: set(texts) <= set(self.texts()))

    def events(self, *kinds: str) -> list[Object]:
        """Return the events that it printed with ``--json``, of ``kinds`` alone if there are any."""
        found = [thing for thing in self._objects() if thing["type"] == "event"]
        return [event for event in found if not kinds or event["event"] in kinds]

    def _objects(self) -> list[Object]:
        self._parsed += map(json.loads, self.lines[len(self._parsed) :])
        return self._parsed

    def writes(self, *lines: str) -> None:
        """Type some lines."""
        assert self.child.stdin
        self.child.stdin.write("".join(f"{line}\n" for line in lines))
        self.child.stdin.flush()

    # -- its end ------------------------------------------------------------------------------------------------------

    def closes_stdin(self) -> None:
        assert self.child.stdin
        self.child.stdin.close()

    def gets(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def ends(self) -> int:
        """Wait for its end and return the exit code; everything that it wrote has been read then."""
        code = self.child.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream and not stream.closed:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return code

    def killed(self) -> None:
        """End it at once, as kill -9 does."""
        self.child.kill()
        self.ends()


class Relay(Process):
    """A relay that listens."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        super().__init__(argv, env, cwd)
        self.word = self.first_line()
        self.address = RelayAddress.parse(self.word)

    @property
    def pid(self) -> int:
        return self.child.pid


class Reachable(Protocol):
    """A relay, or what stands before one."""

    word: str


@dataclass
class Result:
    """What a command that has ended left."""

    code: int
    out: str
    err: str


@dataclass
class Person:
    """Somebody with a home of their own, and the commands that they type."""

    scene: Scene
    nick: str
    home: Path
    program: Sequence[str] = PEER

    def _argv(self, *words: str) -> list[str]:
        return [*self.program, "--home", str(self.home), *words]

    def tries(self, *words: str, stdin: str = "") -> Result:
        """Run a command to its end, whatever that is."""
        done = subprocess.run(
            self._argv(*words),
            env=self.scene.env,
            cwd=self.scene.folder,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def runs(self, *words: str, stdin: str = "") -> str:
        """Run a command that succeeds; return what it printed."""
        result = self.tries(*words, stdin=stdin)
        assert result.code == 0, f"{self.nick}: {words}: {result}"
        return result.out

    def starts(self, *words: str) -> Process:
        """Start a command that goes on."""
        return self.scene.keep(Process(self._argv(*words), self.scene.env, self.scene.folder))

    # -- the usual ----------------------------------------------------------------------------------------------------

    def creates(self, relay: Relay, room: str = "team") -> str:
        """Open a room; return the invite."""
        return self.runs("create", room, "--relay", relay.word, "--nick", self.nick).strip()

    def joins(self, invite: str) -> str:
        """Enter a room; return its local name."""
        return self.runs("join", "-", "--nick", self.nick, stdin=invite).strip()

    def says(self, text: str, *how: str, room: str = "team") -> None:
        assert self.runs("send", room, *how, "--", text) == ""

    def whispers(self, to: str, text: str, *how: str, room: str = "team") -> None:
        self.says(text, "--to", to, *how, room=room)

    def poll(self, room: str = "team") -> list[Object]:
        """Return the messages that were not shown yet."""
        return messages(self.runs("poll", room, "--json").splitlines())

    def polls(self, room: str = "team") -> list[object]:
        """Return the texts of the messages that were not shown yet."""
        return [message["text"] for message in self.poll(room)]

    def listens(self, *how: str, room: str = "team") -> Process:
        """Listen from the beginning of what is retained, so that nobody needs to know when it began."""
        return self.starts("listen", room, "--json", "--backlog", *how)

    def chats(self, room: str = "team") -> Process:
        return self.starts("chat", room, "--json")

    def members(self, room: str = "team") -> dict[object, Object]:
        """Return the members by nick."""
        return {m["nick"]: m for m in objects(self.runs("who", room, "--json").splitlines(), "member")}


def objects(lines: Sequence[str], kind: str) -> list[Object]:
    """Return the JSON objects of one type."""
    return [thing for line in lines if (thing := json.loads(line))["type"] == kind]


def messages(lines: Sequence[str]) -> list[Object]:
    return objects(lines, "message")


async def _meet(relay: str, people: Sequence[Person]) -> str:
    """Create homes that are members of a room ``team``; return the invite."""
    founder, *others = people
    async with Peer.open(founder.home) as peer:
        invite = (await peer.create("team", relay, nick=founder.nick, timeout=PATIENCE)).word
    for other in others:
        async with Peer.open(other.home) as peer:
            await peer.join(invite, nick=other.nick, timeout=PATIENCE)
    return invite


class Scene:
    """One folder, and everything that runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("home", "tmp", "data"):
            (folder / name).mkdir()
        # Nothing of the test's own words (its name, say) may come into a child by the environment.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "BACKCHANNEL_", "XDG_"))}
        self.env = kept | {
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "XDG_DATA_HOME": str(folder / "data"),
            "BACKCHANNEL_MDNS": "off",
        }
        self.invite = ""
        self._kept: list[Process] = []
        self._ports: list[socket.socket] = []

    def keep(self, process: Process) -> Process:
        """End ``process`` with the scene, if it lives so long."""
        self._kept.append(process)
        return process

    def process(self, argv: Sequence[str]) -> Process:
        """Start any other command."""
        return self.keep(Process(argv, self.env, self.folder))

    def person(self, nick: str, program: Sequence[str] = PEER) -> Person:
        return Person(self, nick, self.folder / f"{nick}-at-home", program)

    def people(self, *nicks: str, program: Sequence[str] = PEER) -> list[Person]:
        return [self.person(nick, program) for nick in nicks]

    def relay(
        self, *options: str, name: str = "relay", bind: str = "127.0.0.1:0", program: Sequence[str] = RELAY
    ) -> Relay:
        """Start a relay with its key in the folder ``name``; it does not outlive this process, whatever happens.

        Where it may choose its port on the loopback, it gets one that is nobody else's until the scene ends: it may
        come back there.
        """
        if bind == "127.0.0.1:0":
            bind = f"127.0.0.1:{self._port()}"
        argv = [*program, "run", "--bind", bind, "--home", str(self.folder / name), "--until-eof", *options]
        relay = Relay(argv, self.env, self.folder)
        self.keep(relay)
        return relay

    def _port(self) -> int:
        """Return a port that the system gives to nobody any more, except to who asks for it: so a relay can."""
        holds = socket.socket()
        holds.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holds.bind(("127.0.0.1", 0))
        self._ports.append(holds)
        return int(holds.getsockname()[1])

    def company(self, relay: Reachable, *nicks: str, program: Sequence[str] = PEER) -> list[Person]:
        """Let people meet in the room ``team``; the first of them founds it. ``invite`` lets others in.

        How one creates and joins is for other tests: here it is done through the API, much faster than by commands.
        """
        people = self.people(*nicks, program=program)
        self.invite = asyncio.run(_meet(relay.word, people))
        return people

    def end(self) -> None:
        """End everything that still runs: the relays last, so that the others can say goodbye."""
        for some in (
            [process for process in self._kept if not isinstance(process, Relay)],
            [process for process in self._kept if isinstance(process, Relay)],
        ):
            for process in some:
                if process.child.poll() is None:
                    process.child.terminate()
            for process in some:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.child.wait(10)
                process.killed()
        for holds in self._ports:
            holds.close()
