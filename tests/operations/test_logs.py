"""What the relay logs: structured, bounded however much happens, and nothing of its members."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from relay import logs
from relay.core.counts import Counts, Gauges
from relay.logs import BURST, WINDOW_S, Bound, Json, Text, values
from relay.watch import LIMITS, log_changes
from tests.operations.process import PATIENCE, RelayProcess, command, environment, runs, until

GAUGES = Gauges(1, 0, 2, 1, 1, 0, 0, 3, 1)
log = logging.getLogger("relay.tests")


def record(event: str, level: int = logging.INFO, **named: object) -> logging.LogRecord:
    made = logging.LogRecord("relay", level, __file__, 1, event, (), None)
    made.created = 1_764_060_000.25
    made.values = named
    return made


def test_a_program_reads_an_object_a_line():
    line = Json().format(record("rooms", logging.WARNING, founded=1, what="ünsafe\n\x1b[2J"))
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2025-11-25T08:40:00.250Z",
        "level": "warning",
        "event": "rooms",
        "founded": 1,
        "what": "ünsafe\n\x1b[2J",
    }


def test_a_person_reads_a_sentence_and_values():
    line = Text().format(record("rooms", founded=1, open=2))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO rooms founded=1 open=2", line)


def test_an_error_of_ours_comes_with_where_it_happened():
    try:
        raise KeyError("k")
    except KeyError:
        made = record("a fault")
        made.exc_info = sys.exc_info()
    assert "test_logs.py" in json.loads(Json().format(made))["traceback"]


@pytest.mark.parametrize(
    ("level", "priority"), [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3)]
)
def test_the_journal_is_told_the_priority(level, priority):
    assert Json(prefix=True).format(record("x", level)).startswith(f'<{priority}>{{"time"')
    assert Text(prefix=True).format(record("x", level, a=1)) == f"<{priority}>{logging.getLevelName(level)} x a=1"


@pytest.fixture
def root() -> Iterator[None]:
    """The root logger, restored afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    root.handlers.clear()
    yield
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])


def test_the_format_follows_the_terminal_unless_told(root):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        logs.configure("info", "auto", terminal)
        log.info("ready", extra=values(a=1))
        terminal.flush()
        assert b"INFO ready a=1" in os.read(ours, 1_000)
        logs.configure("info", "json", terminal)
        log.info("ready", extra=values(a=1))
        terminal.flush()
        assert json.loads(os.read(ours, 1_000))["a"] == 1
    os.close(ours)
    for form, expected in (("auto", '{"time"'), ("text", "20")):
        stream = io.StringIO()
        logs.configure("INFO", form, stream)
        log.info("ready")
        log.debug("unseen")
        assert stream.getvalue().startswith(expected)
        assert stream.getvalue().count("\n") == 1


def test_the_journal_is_known_by_its_file(root, tmp_path, monkeypatch):
    with (tmp_path / "journal").open("w") as journal:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        logs.configure("info", "auto", journal)
        log.info("ready")
        journal.flush()
        assert (tmp_path / "journal").read_text().startswith("<6>{")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_of_one_kind_is_a_few_lines_and_a_number():
    clock = Clock()
    bound = Bound(clock)
    passed = [bound.filter(record("again", n=n)) for n in range(1_000)]
    assert passed.count(True) == BURST
    assert bound.filter(record("something else"))
    assert bound.filter(record("again", logging.WARNING))
    clock.now += WINDOW_S
    first, second = record("again", n=1), record("again")
    assert bound.filter(first)
    assert first.values == {"n": 1, "left_out": 1_000 - BURST}
    assert bound.filter(second)
    assert "left_out" not in second.values


def test_debugging_is_not_bounded():
    bound = Bound(Clock())
    assert all(bound.filter(record("again", logging.DEBUG)) for _ in range(100))


def test_even_a_flood_of_kinds_takes_bounded_memory():
    bound = Bound(Clock())
    for n in range(10_000):
        bound.filter(record(f"kind {n}"))
    assert len(bound._kinds) < 1_000


# -- what is worth a line ----------------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, object]]]:
    return [(r.levelname, r.getMessage(), r.values) for r in caplog.records]


def test_nothing_new_is_no_line(caplog):
    caplog.set_level("DEBUG")
    assert not log_changes(Counts(posts=1), Counts(posts=7_000, refused=Counter({"not-member": 3})), GAUGES)
    assert logged(caplog) == []


def test_rooms_are_news_and_limits_are_warnings(caplog):
    caplog.set_level("DEBUG")
    before = Counts(rooms_founded=1, refused=Counter(rate=2))
    after = Counts(
        rooms_founded=3,
        rooms_forgotten=1,
        refused=Counter({"rate": 5, "limit-rooms": 1, "not-member": 9}),
        cut=Counter(slow=1),
        evicted=Counter({"limit-x": 4}),
    )
    assert log_changes(before, after, GAUGES)
    assert logged(caplog) == [
        ("INFO", "rooms", {"founded": 2, "restored": 0, "forgotten": 1, "open": 2, "connections": 1}),
        ("WARNING", "limits reached", {"rate": 3, "limit-rooms": 1}),
        ("WARNING", "connections cut", {"slow": 1}),
        ("WARNING", "messages dropped early", {"limit-x": 4}),
    ]


def test_what_counts_as_a_limit():
    assert {"rate", "limit-connections", "limit-rooms", "limit-members", "limit-statements"} <= LIMITS
    assert "not-member" not in LIMITS


def test_a_relay_that_is_knocked_at_logs_no_addresses_at_info(tmp_path):
    with RelayProcess(tmp_path / "home") as relay:
        for _ in range(30):
            socket.create_connection((relay.address.at.host, relay.address.at.port)).close()
        assert relay.stop() == 0
    events = [json.loads(line)["event"] for line in relay.lines]
    assert events == ["listening", "memory", "ready", "stopping", "stopped"]


def test_at_debug_connections_are_numbers(tmp_path):
    with RelayProcess(tmp_path / "home", "--log-level", "debug") as relay:
        for _ in range(2):
            socket.create_connection((relay.address.at.host, relay.address.at.port)).close()
        until(lambda: len(relay.events("disconnected")) == 2)
        assert {line["connection"] for line in relay.events("accepted")} == {1, 2}
        assert set(relay.events("accepted")[0]) == {"time", "level", "event", "connection"}


def test_a_full_disk_behind_the_log_stops_nobody(tmp_path):
    words = command("run", "--home", tmp_path, "--bind", "127.0.0.1:0", "--log-level", "debug")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        relay = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=full, text=True)
    try:
        assert runs("check", relay.stdout.readline().strip()).returncode == 0
        relay.terminate()
        assert relay.wait(PATIENCE) == 0
    finally:
        relay.kill()
        relay.communicate()
