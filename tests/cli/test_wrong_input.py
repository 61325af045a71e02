"""What is wrong outside the command line: relays, profiles, disks. One sentence, the right code, nothing lost."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import PATIENCE, Person, Result, Scene

WORDS = {
    "send": ["send", "team", "hi"],
    "poll": ["poll", "team"],
    "listen": ["listen", "team"],
    "who": ["who", "team"],
    "invite": ["invite", "team"],
    "chat": ["chat", "team"],
}


def refused(done: Result, code: int, says: str) -> None:
    """Make sure that a command ended as it should: one sentence, nothing on stdout."""
    assert (done.code, done.out) == (code, ""), done
    lines = [line for line in done.err.splitlines() if not line.startswith("-- ")]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("backchannel: "), done.err
    assert says in lines[0]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of somebody in the room ``team`` of a relay that has ended."""
    scene = Scene(tmp_path_factory.mktemp("left"))
    try:
        relay = scene.relay()
        (alice,) = scene.people("alice")
        alice.creates(relay)
        relay.gets(signal.SIGTERM)
        assert relay.ends() == 0
        return alice.home
    finally:
        scene.end()


@pytest.fixture
def alone(scene: Scene, left: Path) -> Person:
    """Alice in the room ``team`` of a relay that has ended."""
    (alice,) = scene.people("alice")
    shutil.copytree(left, alice.home)
    return alice


class TestRelays:
    def test_one_that_is_not_there(self, alone):
        started = [alone.starts(*words) for words in WORDS.values()]
        for process in started:
            result = Result(process.ends(), "".join(process.lines), "\n".join(process.errors))
            refused(result, 3, "cannot be reached")

    def test_one_that_is_not_there_for_create_and_join(self, scene):
        relay = scene.relay()
        alice, bob = scene.people("alice", "bob")
        invite = alice.creates(relay)
        relay.gets(signal.SIGTERM)
        relay.ends()
        refused(bob.tries("join", "-", stdin=invite), 3, "cannot be reached")
        refused(bob.tries("create", "den", "--relay", relay.word), 3, "cannot be reached")
        assert bob.runs("rooms") == ""

    def test_with_json_the_error_is_an_object(self, alone):
        done = alone.tries("send", "team", "hi", "--json")
        assert (done.code, done.out) == (3, "")
        assert json.loads(done.err)["code"] == "unreachable"

    def test_one_with_another_key(self, scene):
        """What listens at that address now is another relay."""
        relay = scene.relay()
        alice, bob = scene.people("alice", "bob")
        invite = alice.creates(relay)
        relay.gets(signal.SIGTERM)
        relay.ends()
        scene.relay(name="impostor", bind=str(relay.address.at))
        refused(bob.tries("join", "-", stdin=invite), 3, "another key")
        refused(bob.tries("create", "den", "--relay", relay.word), 3, "another key")
        refused(alice.tries("send", "team", "hi"), 3, "another key")

    @pytest.fixture
    def stranger(self) -> Iterator[int]:
        """A port where something listens that is no relay: it greets, and says nothing more."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def greet() -> None:
                while True:
                    try:
                        connection, _ = server.accept()
                    except OSError:
                        return
                    with connection:
                        connection.sendall(b"220 mail.example ESMTP\r\n")

            threading.Thread(target=greet, daemon=True).start()
            yield server.getsockname()[1]
            server.shutdown(socket.SHUT_RDWR)

    def test_something_that_is_no_relay(self, scene, stranger):
        (alice,) = scene.people("alice")
        done = alice.tries("create", "team", "--relay", f"127.0.0.1:{stranger}/{'a' * 52}")
        refused(done, 3, "")
        assert alice.runs("rooms") == ""

    def test_a_name_that_nobody_has(self, scene):
        (alice,) = scene.people("alice")
        refused(alice.tries("create", "team", "--relay", f"no-such-host.invalid:7667/{'a' * 52}"), 3, "")

    def test_a_room_that_the_relay_forgot_and_nobody_brings_back(self, scene):
        relay = scene.relay()
        alice, bob = scene.people("alice", "bob")
        invite = alice.creates(relay)
        relay.gets(signal.SIGTERM)
        relay.ends()
        scene.relay(bind=str(relay.address.at))
        refused(bob.tries("join", "-", stdin=invite), 5, "No such room")
        assert alice.tries("send", "team", "hi", "--timeout", "60").code == 0  # it comes back with its founder
        assert bob.joins(invite) == "team"


class TestInvites:
    @pytest.mark.parametrize("damage", ["a letter", "the end", "the beginning", "two of them"])
    def test_a_damaged_one(self, scene, damage):
        relay = scene.relay()
        alice, bob = scene.people("alice", "bob")
        invite = alice.creates(relay)
        other = "b" if invite[50] == "a" else "a"
        word = {
            "a letter": invite[:50] + other + invite[51:],
            "the end": invite[:-1],
            "the beginning": invite[1:],
            "two of them": invite * 2,
        }[damage]
        refused(bob.tries("join", "-", stdin=word), 8, "whole, undamaged invite")

    def test_one_that_is_used_up(self, scene):
        relay = scene.relay()
        alice, bob, carol = scene.people("alice", "bob", "carol")
        alice.creates(relay)
        invite = alice.runs("invite", "team", "--uses", "1").strip()
        bob.joins(invite)
        refused(carol.tries("join", "-", stdin=invite), 6, "used up")
        assert carol.runs("rooms") == ""

    def test_who_may_not_invite(self, scene):
        _, bob = scene.company(scene.relay(), "alice", "bob")
        refused(bob.tries("invite", "team"), 6, "role")


class TestProfiles:
    def database(self, person: Person) -> Path:
        (file,) = person.home.glob("*.db")
        return file

    @pytest.mark.parametrize(
        "rubbish",
        [b"this is no database\n" * 100, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 8000],
        ids=["text", "zeros", "a torn header"],
    )
    @pytest.mark.parametrize("command", ["send", "rooms", "whoami", "poll"])
    def test_one_that_is_damaged(self, alone, rubbish, command):
        file = self.database(alone)
        file.write_bytes(rubbish)
        refused(alone.tries(*WORDS.get(command, [command])), 8, str(alone.home))
        assert file.read_bytes() == rubbish

    def test_one_with_a_hole(self, alone):
        file = self.database(alone)
        whole = file.read_bytes()
        torn = whole[:4096] + b"\xa5" * 8192 + whole[12288:]
        file.write_bytes(torn)
        done = alone.tries("send", "team", "hi")
        refused(done, 8, str(alone.home))

    def test_one_that_a_newer_program_wrote(self, alone):
        file = self.database(alone)
        with sqlite3.connect(file) as database:
            database.execute("PRAGMA user_version = 1000000")
        database.close()
        written = file.read_bytes()
        for words in (["whoami"], ["rooms"], WORDS["send"]):
            refused(alone.tries(*words), 8, "newer version")
        assert file.read_bytes() == written

    def test_a_home_that_is_a_file(self, scene, tmp_path):
        (alice,) = scene.people("alice")
        alice.home.write_text("mine")
        refused(alice.tries("whoami"), 8, f"{alice.home} is no folder")
        assert alice.home.read_text() == "mine"

    def test_a_database_that_is_a_folder(self, alone):
        file = self.database(alone)
        file.unlink()
        file.mkdir()
        refused(alone.tries("whoami"), 8, str(alone.home))

    @pytest.mark.parametrize("command", ["whoami", "send"])
    def test_a_home_that_cannot_be_written(self, alone, command):
        file = self.database(alone)
        before = file.read_bytes()
        alone.home.chmod(0o555)
        file.chmod(0o444)
        refused(limited(alone, bound_by_modes, *WORDS.get(command, [command])), 8, str(alone.home))
        assert file.read_bytes() == before

    def test_a_home_that_cannot_be_made(self, scene):
        (alice,) = scene.people("alice")
        alice.home = Path("/proc/nowhere/alice")
        refused(alice.tries("whoami"), 8, "/proc/nowhere/alice")


def bound_by_modes() -> None:
    """Have even root obey the modes of files, from the next program on."""
    if os.getuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def limited(person: Person, before: Callable[[], None], *words: str) -> Result:
    """Run a command after ``before`` was called in its process: by itself, as coverage writes files too."""
    done = subprocess.run(
        person._argv(*words),
        env={name: value for name, value in person.scene.env.items() if not name.startswith("COVERAGE_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=before,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class TestFullDisks:
    """A limit on the size of files stands for a disk that is full."""

    def with_files_of(self, size: int, person: Person, *words: str) -> Result:
        return limited(person, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)), *words)

    def test_a_profile_cannot_be_made(self, scene):
        (alice,) = scene.people("alice")
        refused(self.with_files_of(4096, alice, "whoami"), 8, str(alice.home))
        assert alice.runs("whoami") == alice.runs("whoami")

    def test_a_room_is_not_half_made(self, scene):
        (alice,) = scene.people("alice")
        relay = scene.relay()
        me = alice.runs("whoami")
        for size in (512, 4096, 16384):
            refused(self.with_files_of(size, alice, "create", "team", "--relay", relay.word), 8, str(alice.home))
        assert alice.runs("whoami") == me
        assert alice.runs("rooms") == ""
        assert alice.creates(relay).startswith("bc1")

    def test_a_message_is_sent_or_not_but_nothing_is_lost(self, scene):
        alice, bob = scene.company(scene.relay(), "alice", "bob")
        done = self.with_files_of(512, alice, "send", "team", "hi")
        if done.code:
            refused(done, 8, str(alice.home))
        assert alice.tries("send", "team", "later").code == 0
        assert bob.polls()[-1] == "later"
