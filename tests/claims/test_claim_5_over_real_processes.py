"""Claim 5 once more, with a relay and two peers that are real processes, and a clock that moves for all three.

The thief has the bytes of the profiles' files, and looks for live key objects from within each peer's process. What is
in-memory in ``test_claim_5_yesterdays_keys``, and goes further there, is here the product as it runs: its tick, its
link, its SQLite file, and a relay that takes its rotations over a socket.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import limits
from tests.claims import later_relay, witness
from tests.claims.clock import Clock
from tests.claims.thief import Noted, search
from tests.e2e.scene import Person, Process, Scene, wait

STEP = limits.CARD_ROTATION + 30 * limits.SECOND


class Witness:
    """A person's witness, as the test talks to it."""

    def __init__(self, scene: Scene, person: Person) -> None:
        self.home = person.home
        self._process: Process = scene.process((sys.executable, "-P", witness.__file__, str(person.home)))
        self._answered = 0
        assert self._answer() == "attached"

    def answers(self, *order: str) -> object:
        self._process.writes(" ".join(order))
        return self._answer()

    def _answer(self) -> object:
        def answers() -> list[object]:
            told = [json.loads(line) for line in self._process.lines]
            return [answer for answer in told if not isinstance(answer, dict)][self._answered :]

        (answer, *_) = self._process.waits(answers)
        self._answered += 1
        return answer

    def hears(self, *texts: str) -> None:
        heard = {json.dumps({"heard": text}) for text in texts}
        self._process.waits(lambda: heard <= set(self._process.lines))

    def notes(self) -> list[Noted]:
        """Return every secret that it has made so far; from now on ``lives`` is about these."""
        notes = self.answers("notes")
        assert isinstance(notes, list)
        return [Noted(bytes.fromhex(mask), bytes.fromhex(masked), kind) for kind, mask, masked in notes]

    def lives(self) -> object:
        """Return the kinds of those that are in its memory."""
        return self.answers("search")

    def disk(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.home.iterdir()) if path.is_file()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.env["CLOCK"] = str(tmp_path / "clock")
    try:
        yield scene
    finally:
        scene.end()


def test_yesterdays_keys_are_neither_in_the_files_nor_in_the_memory_of_who_was_there_all_the_time(scene: Scene):
    clock = Clock(Path(scene.env["CLOCK"]))
    people = scene.company(scene.relay(program=(sys.executable, later_relay.__file__)), "alice", "bob")
    alice, bob = (Witness(scene, person) for person in people)

    def talk(when: str) -> None:
        for one, other, nick in ((alice, bob, "bob"), (bob, alice, "alice")):
            assert one.answers("say", f"{when}-to-all") == "said"
            assert one.answers("whisper", nick, f"{when}-to-{nick}") == "said"
            other.hears(f"{when}-to-all", f"{when}-to-{nick}")

    def rotates() -> None:
        before = {one: one.answers("generation") for one in (alice, bob)}
        clock.goes_on(STEP)
        for one, generation in before.items():
            wait(lambda one=one, generation=generation: one.answers("generation") > generation)  # type: ignore[misc]

    rotates()  # what ``scene`` has made is not noted: from here on, all is
    talk("yesterday")
    secrets = {one: one.notes() for one in (alice, bob)}
    for one, made in secrets.items():
        assert {note.kind for note in made} == {"sealing", "chain", "CHAIN_STEP", "MESSAGE_KEY"}
        assert "sealing" in {note.kind for note in search(made, one.disk())}, "the search finds what is alive"
    assert "CHAIN_STEP" in str(alice.lives()), "and what lives in memory alone"

    for when in ("later", "later still", "now"):
        rotates()
        talk(when.replace(" ", "-"))

    everything = [note for made in secrets.values() for note in made]
    for one in (alice, bob):
        wait(lambda one=one: search(everything, one.disk()) == [])  # type: ignore[misc]
        assert one.lives() == []
