"""Who may found rooms: the file, what the core makes of it, and a running relay that reads it again."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pexpect
import pytest

from protocol import envelope, limits
from protocol import statement as st
from protocol.identity import Identity, fingerprint, id_text
from relay import founders
from relay.founders import BadAllowFile, Founders
from tests.relay.test_cli import PATIENCE, command, fails, serving

ALICE, BOB, EVE = (Identity(bytes([number]) * 32) for number in (1, 2, 3))


@pytest.fixture
def allow(tmp_path: Path) -> Path:
    return tmp_path / "allowed"


def test_ids_and_fingerprints_with_comments(allow):
    allow.write_text(f"# us\n\n  {id_text(ALICE.id).upper()}  # alice\r\n{fingerprint(BOB.id)}# bob")
    allowed = Founders.load(allow)
    assert ALICE.id in allowed
    assert BOB.id in allowed
    assert EVE.id not in allowed
    assert "alice" not in allowed
    assert len(allowed) == 2


def test_an_empty_list_is_nobody(allow):
    allow.touch()
    assert ALICE.id not in Founders.load(allow)


@pytest.mark.parametrize(
    "line", ["alice", id_text(ALICE.id)[:-1], f"{id_text(ALICE.id)} alice", fingerprint(BOB.id) * 2, "\0", "\xff"]
)
def test_a_line_that_makes_no_sense_damns_the_file(allow, line):
    allow.write_text(f"{id_text(ALICE.id)}\n{line}\n", encoding="latin-1")
    with pytest.raises(BadAllowFile, match="line 2"):
        Founders.load(allow)


def test_a_file_that_is_too_long_or_none_at_all(allow, monkeypatch):
    with pytest.raises(BadAllowFile, match="no such file"):
        Founders.load(allow)
    monkeypatch.setattr(founders, "MOST", 10)
    allow.write_text("#" * 11)
    with pytest.raises(BadAllowFile, match="longer"):
        Founders.load(allow)


# -- in the core ----------------------------------------------------------------------------------------------------


def found(person) -> envelope.Submit:
    raw = st.found(person.identity, person.request(), person.stage.now, False, b"title")
    return envelope.Submit(person.request(), st.room_id(raw), raw)


def test_only_those_who_may_found_rooms(stage):
    alice, eve = stage.connection(), stage.connection()
    stage.core.let_found({alice.id})
    assert alice.asks(found(alice)) == "accepted"
    assert eve.asks(found(eve)) == "not-a-founder"
    assert stage.core.counts.refused == {"not-a-founder": 1}
    stage.core.let_found(None)
    assert eve.asks(found(eve)) == "accepted"


def test_everybody_else_uses_the_room_as_before(company):
    c = company
    c.stage.core.let_found({c.alice.id})
    assert c.bob.says(c.room, "hi") == "accepted"
    invite = c.alice.invites(c.room)
    assert c.stage.connection().enters(invite) == "accepted"


def test_a_room_of_who_may_not_found_any_stays_open_and_does_not_come_back(company):
    c = company
    log = tuple(c.alice.log(c.room).log)
    c.stage.core.let_found(frozenset())
    assert c.alice.says(c.room, "still here") == "accepted"
    for person in (c.alice, c.bob, c.chuck):
        person.leaves_the_net()
    c.stage.passes(c.stage.bounds.idle_close_s * limits.SECOND)
    again = c.stage.connection(c.bob.identity)
    assert again.asks(envelope.Restore(again.request(), c.room, True, log)) == "not-a-founder"


# -- a running relay ------------------------------------------------------------------------------------------------


class Talk:
    """What a process says on stderr, as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, args=(process.stderr,), daemon=True).start()

    def _listen(self, stream) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def says(self, *words: str) -> str:
        """Wait for a line with ``words`` and forget those up to it."""

        def heard() -> bool:
            return any(all(word in line for word in words) for line in self.lines)

        with self._changed:
            assert self._changed.wait_for(heard, PATIENCE), self.lines
            line = next(line for line in self.lines if all(word in line for word in words))
            del self.lines[: self.lines.index(line) + 1]
            return line


def test_a_relay_reads_the_file_again_when_told_to_and_keeps_the_old_one_if_it_is_damaged(tmp_path, allow):
    allow.write_text(f"{id_text(ALICE.id)}\n")
    with serving("--bind", "127.0.0.1:0", "--home", tmp_path, "--allow", allow) as (process, _):
        talk = Talk(process)
        allow.write_text(f"{id_text(ALICE.id)}\n{id_text(BOB.id)}\n")
        process.send_signal(signal.SIGHUP)
        talk.says("read again", 'identities": 2')
        allow.write_text("rubbish\n")
        process.send_signal(signal.SIGHUP)
        talk.says("stays as it was", "line 1 of")
        allow.write_text("")
        process.send_signal(signal.SIGHUP)
        talk.says("read again", 'identities": 0')
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_with_nothing_to_read_again_a_relay_goes_on(tmp_path):
    with serving("--bind", "127.0.0.1:0", "--home", tmp_path) as (process, _):
        talk = Talk(process)
        process.send_signal(signal.SIGHUP)
        talk.says("no file to read again")
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_relay_does_not_start_with_a_damaged_list(tmp_path, allow):
    allow.write_text("everybody\n")
    code, sentence = fails("run", "--bind", "127.0.0.1:0", "--home", tmp_path, "--allow", allow)
    assert code == 8
    assert "line 1" in sentence
    assert not (tmp_path / "relay.key").exists()


def test_a_relay_whose_terminal_is_closed_stops(tmp_path):
    start = command("run", "--bind", "127.0.0.1:0", "--home", tmp_path)
    program, *arguments = start["args"]
    relay = pexpect.spawn(program, arguments, env=start["env"], encoding="utf-8", timeout=PATIENCE)
    relay.expect(r"127\.0\.0\.1:(\d+)/")
    relay.kill(signal.SIGHUP)
    relay.expect("no file to read again")
    os.close(relay.child_fd)
    relay.closed, relay.child_fd = True, -1
    deadline = time.monotonic() + PATIENCE
    while relay.isalive():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert relay.exitstatus == 0
