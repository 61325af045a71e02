"""kill -9 of a person's programs, at any moment and many times, over one real profile.

Two programs of Bob's run at a time and die at random: after some milliseconds, or in the middle of what SQLite does. He
is talked to without a pause. After each death the profile is sound and its counters are where they were or further; in
the end everything that was said to him was heard by some life of his, nothing could not be read, nothing that a whole
``poll`` has shown was shown by a later one, and Alice was never sent a counter twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.e2e import mortal
from tests.e2e.scene import Object, Person, Process, Scene, wait

PATIENCE = 300.0
"""What was said in many deaths is much to read for one life."""
SEED = int(os.environ.get("KILL_SEED", random.randrange(1 << 30)))


class Lives:
    """One zygote of Bob's lives, and what they reported."""

    def __init__(self, scene: Scene, bob: Person) -> None:
        self.process = scene.process((sys.executable, "-P", mortal.__file__, str(bob.home)))
        self._parsed: list[list[object]] = []

    def reports(self) -> list[list[object]]:
        lines = self.process.lines[len(self._parsed) :]
        self._parsed += map(json.loads, lines)
        return self._parsed

    def begins(self, life: int, **order: object) -> None:
        self.process.writes(json.dumps({"life": life, "to": "alice", "says": 40} | order))

    def has_ended(self, life: int) -> bool:
        return any(report[:2] == ["ended", life] for report in self.reports())


@contextlib.contextmanager
def talking(chat: Process, said: list[str]) -> Iterator[None]:
    """Let Alice talk to the room and to Bob all the time."""
    quiet = Event()

    def talk() -> None:
        for number in itertools.count():
            said.extend((f"room {number}", f"aside {number}"))
            chat.writes(f"room {number}", f"/msg bob aside {number}")
            if quiet.wait(0.1):
                return

    thread = Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        quiet.set()
        thread.join()


class Autopsy:
    """Looks at the profile that a dead program left, as SQLite finds it."""

    def __init__(self, home: Path) -> None:
        self._path = home / "profile.db"
        self._last: dict[bytes, int] = {}

    def finds_it_sound(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
            last = dict(database.execute("SELECT recipient, last FROM counters"))
            for recipient, before in self._last.items():
                assert last[recipient] >= before
            self._last = last

    def makes_rotation_due(self) -> None:
        """Let the next program that reads make and publish a new key, and bury one that is overdue."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            database.execute("UPDATE sealing_keys SET made_at = made_at - 600000")
            database.execute(
                "INSERT OR IGNORE INTO sealing_keys (room, generation, secret, card, made_at, dies_at) "
                "SELECT id, 1, randomblob(32), x'', 1, 1 FROM rooms"
            )


def any_death(dice: random.Random) -> dict[str, object]:
    """Return how a life ends; one in ten lives on, for what none shows within its retention is gone."""
    if dice.random() < 0.1:
        return {"reading": "UNSHOWN"}
    if dice.random() < 0.4:
        return {"seconds": dice.uniform(0.02, 1.0)}
    return {"steps": int(10 ** dice.uniform(0, 3.5))}


@pytest.mark.parametrize("deaths", [24, pytest.param(300, marks=[pytest.mark.faults, pytest.mark.timeout(1_800)])])
def test_a_profile_survives_its_programs(scene, deaths):
    dice = random.Random(SEED)
    print(f"KILL_SEED={SEED}")
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    chat = alice.chats()
    autopsy = Autopsy(bob.home)
    both = [Lives(scene, bob), Lives(scene, bob)]
    order = itertools.count()
    polls: dict[int, set[int]] = {}
    """For each life that polls, those that had ended when it began."""
    ended: set[int] = set()
    said: list[str] = []

    def begin(lives: Lives, **how: object) -> int:
        life = next(order)
        reading = str(how.setdefault("reading", dice.choice(("LIVE", "BACKLOG", "BACKLOG", "UNSHOWN"))))
        if reading == "UNSHOWN":
            polls[life] = set(ended)
        lives.begins(life, **how)
        return life

    with talking(chat, said):
        running = {lives: begin(lives, **any_death(dice)) for lives in both}
        while len(ended) < deaths:
            dead = [lives for lives, life in running.items() if lives.has_ended(life)]
            for lives in dead:
                ended.add(running[lives])
                autopsy.finds_it_sound()
                if dice.random() < 0.3:
                    autopsy.makes_rotation_due()
                running[lives] = begin(lives, **any_death(dice))
            if not dead:
                time.sleep(0.005)
        for lives, life in running.items():
            wait(lambda lives=lives, life=life: lives.has_ended(life), PATIENCE)
    while True:  # the chat's last lines may still be on their way
        poll = begin(both[0], reading="UNSHOWN")
        wait(lambda poll=poll: both[0].has_ended(poll), PATIENCE)
        ended.add(poll)
        if set(said) <= heard(both):
            break
        assert poll < deaths + 60, sorted(set(said) - heard(both))
    autopsy.finds_it_sound()
    check(both, chat, polls)


def heard(both: list[Lives]) -> set[str]:
    return {str(report[2]) for lives in both for report in lives.reports() if report[0] == "heard"}


def check(both: list[Lives], chat: Process, polls: dict[int, set[int]]) -> None:
    reports = [report for lives in both for report in lives.reports()]
    events = [report for report in reports if report[0] == "event" and report[2] != "joined"]
    assert not events, events[:5]
    assert not [report for report in reports if report[0] == "failed"]
    whole = {report[1] for report in reports if report[0] == "ended" and not report[2]}
    shown = {life: [str(r[2]) for r in reports if r[:2] == ["heard", life]] for life in polls}
    for life, before in polls.items():
        assert len(shown[life]) == len(set(shown[life])), "twice in one life"
        for earlier in before & whole & polls.keys():
            assert not set(shown[life]) & set(shown[earlier]), (life, earlier)
    # what Bob knows that the relay took has come to Alice, once; what he may have sent when he died, at most once
    taken = {str(report[2]) for report in reports if report[0] == "said"}
    chat.waits(lambda: taken <= set(chat.texts()))
    assert max(Counter(chat.texts()).values()) == 1
    told: list[Object] = chat.events("alarm", "duplicate", "missed", "key-changed")
    assert not told, told
