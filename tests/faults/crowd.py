"""A crowd: people in one room, each a voice in a child process, and the ledger of all that they say.

crowd = Crowd(scene, relay, "alice", "bob")
crowd.talk("alice", every=0.02)
...
crowd.balances()
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.scene import PATIENCE, Person, Process, Reachable, Scene
from tests.faults.ledger import TAKEN, Ledger

T = TypeVar("T")

VOICES = (sys.executable, str(Path(__file__).with_name("voices.py")))
EACH_LIFE = 1_000_000
"""What a person says after having been killed is numbered from the next multiple of this."""


class Booth(Process):
    """A child in which some voices are; what they report goes to the ledger."""

    def __init__(self, crowd: Crowd, names: Sequence[str]) -> None:
        self.names = names
        self._crowd = crowd
        super().__init__(VOICES, crowd.scene.env, crowd.scene.folder)

    def _read(self, stream: Any, into: list[str]) -> None:
        if into is self.lines:
            for line in stream:
                self._crowd.hears(line)
        super()._read(stream, into)

    @property
    def pid(self) -> int:
        return self.child.pid

    def orders(self, verb: str, name: str, **options: object) -> None:
        self.writes(json.dumps([verb, name, options]))


class Crowd:
    """See the module's text. ``apart`` are those who get a process of their own (default: all), ``how`` they enter."""

    def __init__(
        self,
        scene: Scene,
        relay: Reachable,
        *names: str,
        apart: Iterable[str] | None = None,
        how: Mapping[str, dict[str, object]] | None = None,
    ) -> None:
        self.scene = scene
        self.ledger = Ledger()
        self.reports: list[list[Any]] = []
        self._changed = threading.Condition()
        self._lives = dict.fromkeys(names, 0)
        self.people: dict[str, Person] = {person.nick: person for person in scene.company(relay, *names)}
        self.booths: dict[str, Booth] = {}
        self._how = how or {}
        alone = set(names if apart is None else apart)
        together = [name for name in names if name not in alone]
        for group in [[name] for name in names if name in alone] + ([together] if together else []):
            self._open(group)
        self.waits(lambda: self.ledger.present >= set(names))

    @property
    def names(self) -> list[str]:
        return list(self._lives)

    def _open(self, names: Sequence[str]) -> None:
        booth = Booth(self, names)
        self.scene.keep(booth)
        for name in names:
            self.booths[name] = booth
            first = self._lives[name] * EACH_LIFE
            self._lives[name] += 1
            booth.orders("enter", name, home=str(self.people[name].home), first=first, **self._how.get(name, {}))

    # -- what is reported ---------------------------------------------------------------------------------------------

    def hears(self, line: str) -> None:
        """Enter a report; the booths' threads call this."""
        with self._changed:
            report = json.loads(line)
            self.reports.append(report)
            self.ledger.take(*report)
            self._changed.notify_all()

    def waits(self, met: Callable[[], T], patience: float = PATIENCE) -> T:
        """Return what ``met()`` returns as soon as that is true; the ledger does not change while it is asked."""

        deadline = time.monotonic() + patience
        with self._changed:
            while not (found := met()):
                left = deadline - time.monotonic()
                assert left > 0, f"in vain: {met}; {self.ledger.summary()}"
                self._changed.wait(min(left, 0.5))
            return found

    def reported(self, what: str, who: str, since: int = 0) -> list[list[Any]]:
        return [report for report in self.reports[since:] if report[:2] == [what, who]]

    def asks(self, verb: str, who: str, answer: str, **options: object) -> list[Any]:
        """Give an order and wait for the report that answers it."""
        with self._changed:
            since = len(self.reports)
        self.booths[who].orders(verb, who, **options)
        return self.waits(lambda: self.reported(answer, who, since))[0]

    def goes_on(self, more: int = 20) -> None:
        """Wait until so much more was heard by everybody."""
        with self._changed:
            before = {who: len(self.ledger.ears[who].heard) for who in self.ledger.present}
        self.waits(lambda: all(len(self.ledger.ears[who].heard) >= count + more for who, count in before.items()))

    def speaks_on(self, more: int) -> None:
        """Wait until so much more was said."""
        with self._changed:
            before = len(self.ledger.said)
        self.waits(lambda: len(self.ledger.said) >= before + more)

    def is_taken(self, more: int) -> None:
        """Wait until the relay has taken so much more."""
        with self._changed:
            before = self._taken()
        self.waits(lambda: self._taken() >= before + more)

    def _taken(self) -> int:
        return sum(said.fate in TAKEN for said in self.ledger.said.values())

    # -- orders -------------------------------------------------------------------------------------------------------

    def talk(self, who: str, **how: object) -> None:
        self.booths[who].orders("talk", who, **how)

    def hush(self, *who: str, end: bool = True) -> None:
        """Let them stop, and wait until everything that they said has met its fate."""
        names = who or self.names
        with self._changed:
            since = len(self.reports)
        for name in names:
            self.booths[name].orders("hush", name, end=end)
        self.waits(lambda: all(self.reported("quiet", name, since) for name in names), 2 * PATIENCE)

    def members(self, who: str) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = self.asks("members", who, "members")[2]
        return found

    def roles(self, who: str) -> dict[str, str]:
        return {nick: role for nick, (role, _) in self.members(who).items()}

    def acts(self, who: str, verb: str, *words: object, **how: object) -> str:
        """Let somebody do something in the room; return the word that came of it."""
        answer: str = self.asks("act", who, "acted", words=[verb, *words], **how)[3]
        return answer

    def rounds(self, speakers: Sequence[str], count: int, tag: str, among: Iterable[str]) -> None:
        """Let speakers say so much in turn, each waiting until all of ``among`` have heard it."""
        ears = set(among)
        for who, _ in zip(itertools.cycle(speakers), range(count), strict=False):
            with self._changed:
                before = len(self.reports)
            self.booths[who].orders("say", who, tag=tag)
            says = self.waits(lambda before=before, who=who: self.reported("says", who, before))[0]
            key = (who, says[2])
            self.waits(lambda key=key: all(key in self.ledger.ears[ear].took for ear in ears - {key[0]}))

    # -- ends ---------------------------------------------------------------------------------------------------------

    def kills(self, who: str) -> None:
        """End somebody's process as kill -9 does: nobody can be told what became of what they had just said."""
        self.booths[who].killed()

    def returns(self, who: str) -> None:
        """Let who was killed come back, with the same profile."""
        lives = self.ledger.ears[who].lives
        self._open(self.booths[who].names)
        self.waits(lambda: self.ledger.ears[who].lives > lives)

    def balances(
        self, *, whole: bool = False, patience: float = PATIENCE, speakers: Iterable[str] | None = None
    ) -> None:
        """End all talk, let everybody (or ``speakers``) say a last word to everybody, and hold the ledger to account.

        Who lost the end of what was said learns of it by the next message: that is what the last words are for.
        """
        self.hush()
        for who in speakers or self.names:
            for to in (None, *self.names):
                if to != who:
                    self.booths[who].orders("say", who, to=to, tag="last")
        self.hush(end=False)
        assert not (late := [said for said in self.ledger.lost() if said.tag == "last"]), late
        if wrong := self._settles(whole=whole, patience=patience):
            raise AssertionError("\n".join([self.ledger.summary(), *wrong[:40]]))

    def _settles(self, *, whole: bool, patience: float) -> list[str]:
        def settled() -> bool:
            unheard = any(said.tag == "last" for who in self.names for said in self.ledger.missing(who))
            return not unheard and not self.ledger.unbalanced(whole=whole)

        try:
            self.waits(settled, patience)
        except AssertionError:
            with self._changed:
                unheard = [
                    f"{who} did not hear {said.speaker}'s last word to {said.to or 'all'}"
                    for who in self.names
                    for said in self.ledger.missing(who)
                    if said.tag == "last"
                ]
                return self.ledger.unbalanced(whole=whole) + unheard
        return []
