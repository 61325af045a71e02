"""``host``: a relay as a child, a room that is there again the next time, and an end that leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from protocol.invite import Invite
from tests.e2e.scene import Process, wait


def children(process: Process) -> list[int]:
    """Return the processes that ``process`` started and that still run."""
    return [
        int(pid) for pid in Path(f"/proc/{process.child.pid}/task/{process.child.pid}/children").read_text().split()
    ]


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def hosts(scene):
    """Starts alice's host."""
    alice = scene.person("alice")

    def start(*words: str, bind: str = "127.0.0.1:0") -> Process:
        return alice.starts("host", "lobby", "--nick", "alice", "--bind", bind, *words)

    return start


def test_the_invite_is_alone_on_stdout_and_lets_others_in(scene, hosts):
    host = hosts()
    bob, carol = scene.people("bob", "carol")
    assert bob.joins(host.first_line()) == "lobby"
    assert carol.joins(host.first_line()) == "lobby"
    bob.says("hello", room="lobby")
    assert carol.polls("lobby") == ["hello"]
    assert bob.members("lobby")["alice"]["online"]
    host.closes_stdin()  # which is nothing to a host
    host.gets(signal.SIGTERM)
    assert host.ends() == 0
    assert len(host.lines) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_its_relay_ends_with_it(hosts, number, code):
    host = hosts()
    host.first_line()
    (relay,) = children(host)
    host.gets(number)
    assert host.ends() == code
    assert not is_alive(relay)
    assert host.errors == []


def test_its_relay_ends_when_it_is_killed(hosts):
    host = hosts()
    host.first_line()
    (relay,) = children(host)
    host.killed()
    wait(lambda: not is_alive(relay))


def test_the_second_time_it_is_the_same_room_and_relay(scene, hosts):
    bob = scene.person("bob")
    first = hosts()
    invite = Invite.decode(first.first_line())
    bob.joins(first.first_line())
    first.gets(signal.SIGINT)
    first.ends()

    second = hosts(bind=str(invite.addresses[0]))
    again = Invite.decode(second.first_line())
    assert (again.relay, again.room) == (invite.relay, invite.room)
    assert again.seed != invite.seed
    bob.says("still here", room="lobby")
    carol = scene.person("carol")
    assert carol.joins(second.first_line()) == "lobby"
    assert set(carol.members("lobby")) == {"alice", "bob", "carol"}


def test_a_relay_at_another_address_is_found_by_the_new_invite(scene, hosts):
    bob, carol = scene.people("bob", "carol")
    first = hosts()
    bob.joins(first.first_line())
    first.gets(signal.SIGTERM)
    first.ends()
    second = hosts()
    assert carol.joins(second.first_line()) == "lobby"
    assert bob.joins(second.first_line()) == "lobby"
    bob.says("still here", room="lobby")
    assert carol.polls("lobby") == ["still here"]


def test_a_relay_at_another_address_is_found_by_being_told(scene, hosts):
    bob, stranger = scene.people("bob", "stranger")
    first = hosts()
    bob.joins(first.first_line())
    first.gets(signal.SIGTERM)
    first.ends()
    second = hosts()
    second.first_line()
    at = json.loads(scene.person("alice").runs("rooms", "--json"))["relay"]
    lost = bob.tries("who", "lobby")
    assert (lost.code, "(tried 127.0.0.1:" in lost.err) == (3, True)
    assert json.loads(bob.runs("moved", at, "--json")) == json.loads(bob.runs("rooms", "--json"))
    assert set(bob.members("lobby")) == {"alice", "bob"}
    missing = stranger.tries("moved", at)
    assert (missing.code, missing.out) == (5, "")
    assert bob.tries("moved", "127.0.0.1").code == 8


def test_a_relay_that_dies_is_started_again(scene, hosts):
    host = hosts()
    bob = scene.person("bob")
    bob.joins(host.first_line())
    (relay,) = children(host)
    os.kill(relay, signal.SIGKILL)
    wait(lambda: children(host) not in ([], [relay]))
    bob.says("still here", "--timeout", "60", room="lobby")
    host.gets(signal.SIGTERM)
    assert host.ends() == 0
    assert any("started again" in line for line in host.errors)


def test_a_removal_brings_a_new_invite(scene, hosts):
    host = hosts()
    alice, bob, carol = scene.people("alice", "bob", "carol")
    bob.joins(host.first_line())
    alice.runs("kick", "lobby", "bob")
    host.waits(lambda: len(host.lines) == 2)
    assert carol.tries("join", "-", stdin=host.lines[0]).code == 6
    assert carol.joins(host.lines[1]) == "lobby"


def test_a_port_that_is_taken(scene, hosts):
    taken = scene.relay()
    host = hosts(bind=str(taken.address.at))
    assert host.ends() == 8
    assert host.lines == []
    (sentence,) = host.errors
    assert "could not be started" in sentence
    assert "--bind" in sentence


def test_an_address_that_is_not_ours(hosts):
    host = hosts(bind="192.0.2.1:7667")
    assert host.ends() == 8
    assert host.lines == []
    assert len(host.errors) == 1


def test_a_room_of_that_name_elsewhere(scene, hosts):
    alice = scene.person("alice")
    alice.creates(scene.relay(), "lobby")
    host = hosts()
    assert host.ends() == 2
    assert host.lines == []
    (sentence,) = host.errors
    assert "on another relay" in sentence


def test_with_json_the_invite_is_an_object(scene, hosts):
    import json

    made = json.loads(hosts("--json").first_line())
    assert (made["type"], made["room"]) == ("invite", "lobby")
    assert scene.person("bob").joins(made["invite"]) == "lobby"


def test_everywhere_means_every_address(scene, hosts):
    host = hosts(bind="0.0.0.0:0")
    invite = Invite.decode(host.first_line())
    assert invite.addresses
    assert all(at.host != "0.0.0.0" for at in invite.addresses)
    assert len({at.port for at in invite.addresses}) == 1
    assert scene.person("bob").joins(host.first_line()) == "lobby"


def test_an_ephemeral_host_keeps_nothing(scene):
    alice, bob = scene.people("alice", "bob")
    host = alice.starts("--ephemeral", "host", "lobby", "--bind", "127.0.0.1:0")
    assert bob.joins(host.first_line()) == "lobby"
    host.gets(signal.SIGTERM)
    assert host.ends() == 0
    assert not alice.home.exists()
    assert list((scene.folder / "tmp").iterdir()) == []
