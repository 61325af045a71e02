"""Relays that announce themselves, commands that look for them, and peers whose relay has moved.

Multicast stays on the loopback, or in a network namespace that the test makes: each is told where to ask. Other tests
may announce on the same loopback at the same time, so relays are told apart by their keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from zeroconf import ServiceInfo, Zeroconf

from peer.discovery import VARIABLE, discover, find
from protocol import announcement
from protocol.address import HostPort, RelayAddress
from protocol.base32 import base32, from_base32
from protocol.ids import RelayKey
from relay.key import public_key
from tests.operations.process import PATIENCE, RelayProcess, command, environment, runs, until

PEER = (sys.executable, "-P", "-m", "peer")
_numbers = itertools.count()


@dataclasses.dataclass
class Lan:
    """Where relays run, and from where they are looked for."""

    asks_at: str
    hosts: list[str]
    """What a relay can be bound to, one after the other."""
    prefix: tuple[str, ...] = ()
    _move: Callable[[int], None] = lambda _: None

    def relay(self, home: Path, at: int = 0, *options: object) -> RelayProcess:
        bind = ("--bind", f"{self.hosts[at]}:0")
        return RelayProcess(home, *bind, "--announce", *options, prefix=self.prefix)

    def run(self, home: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        where = {"BACKCHANNEL_HOME": str(home), "BACKCHANNEL_MDNS": self.asks_at}
        how = {"capture_output": True, "text": True, "timeout": PATIENCE}
        return subprocess.run([*PEER, *map(str, words)], env=environment(**where) | env, check=False, **how)

    def gets_through(self, home: Path, *words: object) -> str:
        """Run a command that has to find its relay by multicast, again if it was too late; return what it says."""
        done = until(lambda: (done := self.run(home, *words)).returncode == 0 and done, f"{words}")
        return done.stdout

    def discovers(self, *words: object) -> list[str]:
        done = self.run(Path("/nowhere"), "discover", "--timeout", "2s", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def hears(self, address: RelayAddress) -> bool:
        """Say whether somebody claims that a relay is there."""
        os.environ[VARIABLE] = self.asks_at
        try:
            return address in asyncio.run(find(RelayKey(from_base32(address.key)), 3.0))
        finally:
            os.environ[VARIABLE] = "off"

    def move(self, at: int) -> None:
        """Give the relay's machine another address."""
        self._move(at)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=PATIENCE)


@contextlib.contextmanager
def namespace() -> Iterator[Lan]:
    """A machine of the relay's own, on a cable to ours."""
    name = f"bcd{os.getpid() % 100_000}{next(_numbers)}"
    ours, theirs = f"{name}a", f"{name}b"
    net = f"10.{random.randrange(150, 200)}.{random.randrange(250)}"
    hosts = [f"{net}.2", f"{net}.3"]

    def move(at: int) -> None:
        ip("-n", name, "addr", "flush", "dev", theirs)
        ip("-n", name, "addr", "add", f"{hosts[at]}/24", "dev", theirs)

    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "link", "set", theirs, "up")
        move(0)
        yield Lan(f"{net}.1", hosts, ("ip", "netns", "exec", name), move)
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", ours)
        ip("netns", "del", name)


def makes_namespaces() -> bool:
    try:
        with namespace():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@pytest.fixture(
    params=[
        "loopback",
        pytest.param(
            "namespace",
            marks=pytest.mark.skipif(not makes_namespaces(), reason="no network namespaces here, only the loopback"),
        ),
    ]
)
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    if request.param == "namespace":
        with namespace() as lan:
            yield lan
    else:
        yield Lan("127.0.0.1", ["127.0.0.1", "127.0.0.2"])


def test_relays_are_found_and_gone_when_they_stop(lan, tmp_path):
    with lan.relay(tmp_path / "1") as one, lan.relay(tmp_path / "2") as two:
        until(lambda: lan.hears(one.address) and lan.hears(two.address))
        (found,) = until(
            lambda: [said for said in map(json.loads, lan.discovers("--json")) if said["relay"] == str(one.address)]
        )
        assert found == {"v": 1, "type": "relay", "relay": str(one.address), "addresses": [str(one.address)]}
        (child,) = children(one.child.pid)
        assert one.stop() == 0
        until(lambda: not Path(f"/proc/{child}").exists())
        until(lambda: lan.hears(two.address))
        assert not lan.hears(one.address)


def test_whose_relay_has_moved_finds_it_by_its_key(lan, tmp_path):
    with lan.relay(tmp_path / "relay") as before:
        done = lan.run(tmp_path / "alice", "create", "team", "--relay", before.address, "--nick", "alice")
        assert done.returncode == 0, done.stderr
        invite = done.stdout.strip()
        assert before.stop() == 0
    lan.move(1)
    with lan.relay(tmp_path / "relay", 1) as after:
        assert after.address.key == before.address.key
        assert after.address.at != before.address.at
        until(lambda: lan.hears(after.address))
        lan.gets_through(tmp_path / "alice", "send", "team", "here I am")
        (room,) = map(json.loads, lan.run(tmp_path / "alice", "rooms", "--json").stdout.splitlines())
        assert room["relay"] == str(after.address)
        # It is known now, so nobody has to ask again; and an old invite leads there as well.
        assert lan.run(tmp_path / "alice", "who", "team", BACKCHANNEL_MDNS="off").returncode == 0
        assert lan.gets_through(tmp_path / "bob", "join", invite, "--nick", "bob") == "team\n"


def test_who_may_not_ask_finds_nothing():
    assert os.environ[VARIABLE] == "off"
    assert asyncio.run(find(RelayKey(bytes(32)), PATIENCE)) == ()
    assert asyncio.run(discover(PATIENCE)) == []


def test_a_machine_that_gets_another_address_announces_it(tmp_path):
    if not makes_namespaces():
        pytest.skip("no network namespaces here, and the loopback has always the same address")
    with namespace() as lan:
        everywhere = dataclasses.replace(lan, hosts=["0.0.0.0"])
        with everywhere.relay(tmp_path) as relay:
            key, port = relay.address.key, relay.address.at.port
            assert relay.address.at.host == lan.hosts[0]
            until(lambda: lan.hears(RelayAddress(HostPort(lan.hosts[0], port), key)))
            lan.move(1)
            until(lambda: lan.hears(RelayAddress(HostPort(lan.hosts[1], port), key)))
            until(lambda: not lan.hears(RelayAddress(HostPort(lan.hosts[0], port), key)))


# -- who lies ----------------------------------------------------------------------------------------------------------


class Liar:
    """Somebody on the loopback who announces what it likes."""

    def __init__(self) -> None:
        self._zeroconf = Zeroconf(interfaces=["127.0.0.1"])

    def says(self, name: str, port: int, properties: dict[str | bytes, str | bytes | None], *hosts: str) -> None:
        info = ServiceInfo(
            announcement.SERVICE,
            f"{name}.{announcement.SERVICE}",
            parsed_addresses=list(hosts or ("127.0.0.1",)),
            port=port,
            properties=properties,
            server=f"{name.replace(' ', '-')}.local.",
        )
        self._zeroconf.register_service(info, allow_name_change=True)

    def close(self) -> None:
        self._zeroconf.close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    liar = Liar()
    yield liar
    liar.close()


def test_a_liar_with_the_relays_key_on_its_tongue_is_not_believed(liar, tmp_path):
    lan = Lan("127.0.0.1", ["127.0.0.1"])
    with lan.relay(tmp_path / "relay") as relay:
        lan.run(tmp_path / "alice", "create", "team", "--relay", relay.address, "--nick", "alice")
    with RelayProcess(tmp_path / "another") as another:
        liar.says("Backchannel", another.address.at.port, announcement.txt(relay.address.key))
        lied = RelayAddress(another.address.at, relay.address.key)
        until(lambda: lan.hears(lied))
        done = lan.run(tmp_path / "alice", "send", "team", "hello?")
        assert done.returncode == 3
        (room,) = map(json.loads, lan.run(tmp_path / "alice", "rooms", "--json").stdout.splitlines())
        assert room["relay"] == str(relay.address)


def test_a_relay_that_is_announced_falsely_is_found_where_it_was(liar, tmp_path):
    lan = Lan("127.0.0.1", ["127.0.0.1"])
    home, options = tmp_path / "relay", ("--bind", "127.0.0.1:0")
    with RelayProcess(home, *options) as relay, RelayProcess(tmp_path / "another") as another:
        lan.run(tmp_path / "alice", "create", "team", "--relay", relay.address, "--nick", "alice")
        liar.says("Backchannel", another.address.at.port, announcement.txt(relay.address.key))
        assert relay.stop() == 0
        until(lambda: lan.hears(RelayAddress(another.address.at, relay.address.key)))
        sending = threading.Thread(
            target=lambda: results.append(lan.run(tmp_path / "alice", "send", "team", "hello?", "--timeout", "30s"))
        )
        results: list[subprocess.CompletedProcess[str]] = []
        sending.start()
        with RelayProcess(home, "--bind", str(relay.address.at)):
            sending.join(PATIENCE)
            assert results[0].returncode == 0, results[0].stderr


def test_rubbish_is_not_listed(liar):
    key = base32(public_key(bytes(range(7, 39))))
    good = announcement.txt(key)
    said = [
        ("fine", 7_001, good),
        ("wrong version", 7_002, good | {"v": "99"}),
        ("no key", 7_003, {"v": "1"}),
        ("short key", 7_004, good | {"key": key[:-1]}),
        ("escape", 7_005, good | {"key": "\x1b[2J" + key[4:]}),
        ("no port", 0, good),
        ("nowhere", 7_006, good, "0.0.0.0", "224.0.0.1"),
        ("long", 7_007, {"key": "k" * 200, "x" * 100: "y" * 100}),
    ]
    with ThreadPoolExecutor(len(said)) as together:
        list(together.map(lambda words: liar.says(*words), said))
    lan = Lan("127.0.0.1", [])
    lines = until(lambda: f"127.0.0.1:7001/{key}" in (lines := lan.discovers()) and lines)
    assert all(str(RelayAddress.parse(line)) == line for line in lines)
    assert [line for line in lines if any(f":{port}/" in line for port in (0, *range(7_001, 7_008)))] == [
        f"127.0.0.1:7001/{key}"
    ]


# -- commands ----------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_nobody_there_is_no_error(tmp_path):
    done = Lan("127.0.0.1", []).run(tmp_path, "discover", "--timeout", "0.2s", BACKCHANNEL_MDNS="off")
    assert (done.returncode, done.stdout) == (0, "")
    assert "No relay announces itself here" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["nonsense", "127.0.0.1 on", "127.0.0.1,eth0"])
def test_where_to_ask_must_be_an_address(tmp_path, word):
    done = Lan("127.0.0.1", []).run(tmp_path, "discover", BACKCHANNEL_MDNS=word)
    assert done.returncode == 2
    assert "BACKCHANNEL_MDNS" in done.stderr


def test_an_address_that_is_not_this_machines(tmp_path):
    done = Lan("127.0.0.1", []).run(tmp_path, "discover", BACKCHANNEL_MDNS="192.0.2.99")
    assert done.returncode == 3
    assert "can't be asked" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_relay_goes_on_without_its_announcer(tmp_path):
    with RelayProcess(tmp_path, "--announce") as relay:
        (child,) = until(lambda: children(relay.child.pid))
        os.kill(child, signal.SIGKILL)
        (warning,) = until(lambda: relay.events("no longer announced"))
        assert warning["code"] == -signal.SIGKILL
        assert runs("check", relay.address).returncode == 0
        assert relay.stop() == 0


def test_an_announcer_dies_with_its_relay(tmp_path):
    with RelayProcess(tmp_path, "--announce") as relay:
        (child,) = until(lambda: children(relay.child.pid))
        relay.child.kill()
        until(lambda: not Path(f"/proc/{child}").exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_announcer_of_its_own_says_where_another_relay_is(number):
    lan, key = Lan("127.0.0.1", []), base32(public_key(bytes(range(3, 35))))
    words = command("announce", f"localhost:7777/{key}")
    how = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    announcing = subprocess.Popen(words, **how)
    try:
        until(lambda: lan.hears(RelayAddress.parse(f"127.0.0.1:7777/{key}")))
        announcing.send_signal(number)
        _, said = announcing.communicate(timeout=PATIENCE)
        assert (announcing.returncode, said) == (0, "")
    finally:
        announcing.kill()
        announcing.wait()


@pytest.mark.parametrize(
    ("address", "code"), [("nonsense", 8), (f"192.0.2.99:7667/{'a' * 52}", 8), (f"no.such.invalid:1/{'a' * 52}", 8)]
)
def test_what_cannot_be_announced(address, code):
    done = runs("announce", address)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
