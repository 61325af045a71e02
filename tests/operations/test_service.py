"""What the relay tells a service manager: the test is the manager, at the other end of $NOTIFY_SOCKET."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.base32 import base32
from relay.key import BadKeyFile, credential, load, load_credential, public_key
from relay.service import ServiceManager
from tests.operations.process import PATIENCE, RelayProcess, runs, until

SECRET = bytes(range(1, 33))


class Manager:
    """The socket of a service manager."""

    def __init__(self, address: str) -> None:
        self.name = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(PATIENCE)

    def hears(self) -> list[str]:
        """Wait for the next datagram; return its lines."""
        return self.socket.recv(4_096).decode().splitlines()

    def waits(self, line: str) -> list[str]:
        """Wait for a datagram with that line; return all lines until then."""
        heard: list[str] = []
        while line not in heard:
            heard += self.hears()
        return heard


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@backchannel-test-{os.getpid()}")
    yield manager
    manager.socket.close()


def test_the_manager_hears_of_a_whole_life(manager, tmp_path):
    with RelayProcess(tmp_path / "home", NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="10000000") as relay:
        assert manager.hears() == ["READY=1"]
        with socket.create_connection((relay.address.at.host, relay.address.at.port), timeout=PATIENCE):
            pass
        heard = manager.hears()
        assert heard == ["WATCHDOG=1", "STATUS=0 connections, 0 rooms"]
        assert manager.hears() == ["WATCHDOG=1"]
        relay.child.send_signal(signal.SIGTERM)
        assert set(manager.waits("STOPPING=1")) <= {"WATCHDOG=1", "STOPPING=1"}
        assert relay.ended() == 0
    assert [name for name in ("ready", "stopping", "stopped") if relay.events(name)] == ["ready", "stopping", "stopped"]


def test_a_loop_that_does_not_turn_tells_no_watchdog(manager, tmp_path):
    with RelayProcess(tmp_path / "home", NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="10000000") as relay:
        manager.waits("WATCHDOG=1")
        relay.child.send_signal(signal.SIGSTOP)
        until(lambda: "T" in Path(f"/proc/{relay.child.pid}/stat").read_text().rpartition(")")[2].split()[0])
        manager.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while manager.hears():  # what was said before
                pass
        manager.socket.settimeout(1.5)
        with pytest.raises(TimeoutError):
            manager.hears()
        manager.socket.settimeout(PATIENCE)
        relay.child.send_signal(signal.SIGCONT)
        manager.waits("WATCHDOG=1")


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}])
def test_whom_no_watchdog_is_meant_for_feeds_none(manager, watchdog):
    ours = ServiceManager({"NOTIFY_SOCKET": manager.name} | watchdog)
    ours.alive("no connections")
    ours.alive("no connections")
    ours.alive("1 connection")
    ours.close()
    assert [manager.hears(), manager.hears()] == [["STATUS=no connections"], ["STATUS=1 connection"]]
    manager.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.hears()


@pytest.mark.parametrize("name", ["", "/no/such/socket", "vsock:2:1234"])
def test_without_a_manager_nothing_is_said_and_nothing_fails(name):
    alone = ServiceManager({"NOTIFY_SOCKET": name} if name else {})
    alone.ready()
    alone.alive("all is well")
    alone.stopping()
    alone.close()


def test_a_manager_that_reads_nothing_holds_nobody_up(manager):
    ours = ServiceManager({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "1000000"})
    for count in range(5_000):
        ours.alive(f"{count} connections")
    ours.close()
    assert manager.hears()


# -- the key that systemd keeps ----------------------------------------------------------------------------------------


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """What LoadCredential makes: a folder with the key, readable by the service through an access control list."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "relay.key").write_text(base32(SECRET) + "\n")
    (folder / "relay.key").chmod(0o440)
    return folder


def test_a_credential_is_the_key_and_nothing_is_written(credentials, tmp_path):
    with RelayProcess(tmp_path / "home", CREDENTIALS_DIRECTORY=str(credentials)) as relay:
        assert relay.address.key == base32(public_key(SECRET))
    assert not (tmp_path / "home").exists()


def test_a_key_file_goes_before_a_credential(credentials, tmp_path):
    (tmp_path / "mine").write_text(base32(bytes(range(2, 34))))
    (tmp_path / "mine").chmod(0o600)
    options = ("--key-file", tmp_path / "mine")
    with RelayProcess(tmp_path / "home", *options, CREDENTIALS_DIRECTORY=str(credentials)) as relay:
        assert relay.address.key == base32(public_key(bytes(range(2, 34))))


def test_a_key_file_is_never_made(tmp_path):
    done = runs("run", "--bind", "127.0.0.1:0", "--key-file", tmp_path / "none")
    assert done.returncode == 8
    assert "no such file" in done.stderr
    assert not (tmp_path / "none").exists()


def test_credentials_without_a_key_are_somebody_elses(tmp_path):
    assert credential({"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    assert credential({}) is None


@pytest.mark.parametrize("mode", [0o444, 0o460, 0o602])
def test_a_credential_that_others_can_read_or_write_is_refused(credentials, mode):
    path = credentials / "relay.key"
    path.chmod(mode)
    with pytest.raises(BadKeyFile):
        load_credential(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_key_file_of_ones_own_is_for_oneself_alone(credentials):
    assert load_credential(credentials / "relay.key") == SECRET
    with pytest.raises(BadKeyFile):
        load(credentials / "relay.key")
