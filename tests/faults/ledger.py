"""The ledger: what was said with which fate, and what every ear got of it. It balances if nothing vanished in silence.

A message is known by its speaker and its number. It is accounted for, at each of its addressees, if that one heard it
exactly once, or its speaker was told that it was lost, or the addressee was told of as many messages of that speaker
that did not come (a gap, or missed). Hearing twice, out of order, or what was for somebody else is never right, and
neither is an alarm: all of them are honest here. (Who is not in the ledger is not; what it says counts for nothing.)
Who was killed and comes back may hear again what it was just
hearing: nobody can say whether it was shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

TAKEN = ("relayed", "delivered")
UNKNOWN = "unknown"
"""The fate of what nobody was told about, because its speaker was killed."""


@dataclass(slots=True)
class Said:
    """One message."""

    speaker: str
    number: int
    to: str | None
    due: frozenset[str]
    """Who was in the room to hear it."""
    tag: str = ""
    fate: str = UNKNOWN
    waited: int = 0
    """Until the relay had taken it, in µs."""


@dataclass(slots=True)
class Ear:
    """What one person got."""

    lives: int = 0
    heard: list[tuple[int, str, int, bool]] = field(default_factory=list)
    """In which of its lives, of whom, which, and whether it was an aside."""
    took: dict[tuple[str, int], int] = field(default_factory=dict)
    """How long each message took from the mouth to this ear, in µs."""
    lacking: Counter[str] = field(default_factory=Counter)
    """How many messages of each speaker it was told not to have got."""
    told: list[str] = field(default_factory=list)
    """And how that was said."""
    odd: list[str] = field(default_factory=list)


class Ledger:
    """See the module's text. ``take`` is given the reports of ``voices`` in the order in which they come."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, int], Said] = {}
        self.ears: dict[str, Ear] = defaultdict(Ear)
        self.present: set[str] = set()
        """Who is in the room: what is said now is due to them."""

    def take(self, what: str, who: str, *rest: Any) -> None:
        """Enter one report."""
        match what, *rest:
            case "entered", *_:
                self.present.add(who)
                self.ears[who].lives += 1
            case "says", number, to, tag:
                due = frozenset((self.present - {who}) if to is None else {to})
                self.said[who, number] = Said(who, number, to, due, tag)
            case "fate", number, fate, waited:
                self.said[who, number].fate = fate
                self.said[who, number].waited = waited
            case "heard", speaker, *_ if speaker not in self.ears:
                pass
            case "told", "gap" | "missed", speaker, *_ if speaker not in self.ears:
                pass
            case "heard", speaker, number, direct, took:
                self.ears[who].heard.append((self.ears[who].lives, speaker, number, direct))
                self.ears[who].took[speaker, number] = took
            case "told", "gap" | "missed" as kind, speaker, count, reason:
                self.ears[who].lacking[speaker] += count
                self.ears[who].told.append(f"{kind}: {count} of {speaker}: {reason}")
            case "told", "alarm" | "duplicate" | "reordered" | "key-changed" as kind, about, _, reason:
                self.ears[who].odd.append(f"{kind} about {about}: {reason}")

    # -- the balance --------------------------------------------------------------------------------------------------

    def missing(self, ear: str) -> list[Said]:
        """Return what the relay took for ``ear``, as its speaker was told, and ``ear`` did not hear."""
        heard = {(speaker, number) for _, speaker, number, _ in self.ears[ear].heard}
        return [said for key, said in self.said.items() if ear in said.due and said.fate in TAKEN and key not in heard]

    def unbalanced(self, *, whole: bool = False) -> list[str]:
        """Return, a sentence each, what does not balance; with ``whole``, whatever was lost at all."""
        wrong = []
        for who, ear in sorted(self.ears.items()):
            wrong += [f"{who} was told: {odd}" for odd in ear.odd]
            wrong += self._misheard(who, ear)
            missing = Counter(said.speaker for said in self.missing(who))
            wrong += [
                f"{who} was told of {ear.lacking[speaker]} of {speaker}'s {count} messages that did not come"
                for speaker, count in missing.items()
                if ear.lacking[speaker] < count or whole
            ]
            if whole:
                wrong += [f"{who} was told {said}" for said in ear.told]
        if whole:
            wrong += [f"{said.speaker}'s {said.number} met {said.fate}" for said in self.lost()]
        return wrong

    def lost(self) -> list[Said]:
        """Return what its speaker was told to be lost, or was never told about."""
        return [said for said in self.said.values() if said.fate not in TAKEN]

    def _misheard(self, who: str, ear: Ear) -> Iterable[str]:
        times = Counter((life, speaker, number) for life, speaker, number, _ in ear.heard)
        for (_, speaker, number), count in times.items():
            if count > 1:
                yield f"{who} heard {speaker}'s {number} {count} times"
        latest: dict[tuple[int, str, bool], int] = {}
        for life, speaker, number, direct in ear.heard:
            said = self.said.get((speaker, number))
            if said is None or who not in said.due or direct != (said.to is not None):
                yield f"{who} heard {speaker}'s {number}, which was not for them"
            if latest.get((life, speaker, direct), -1) > number:
                yield f"{who} heard {speaker}'s {number} after a later one"
            latest[life, speaker, direct] = number

    # -- figures ------------------------------------------------------------------------------------------------------

    def took(self, ears: Iterable[str], tag: str) -> list[int]:
        """Return how long the messages with ``tag`` took to reach ``ears``, in µs, sorted."""
        return sorted(
            took
            for ear in ears
            for key, took in self.ears[ear].took.items()
            if key in self.said and self.said[key].tag == tag
        )

    def summary(self) -> str:
        """Return a line about what happened."""
        heard = sum(len(ear.heard) for ear in self.ears.values())
        lacking = sum(ear.lacking.total() for ear in self.ears.values())
        missing = sum(len(self.missing(ear)) for ear in self.ears)
        lost = len(self.lost())
        return f"{len(self.said)} said, {heard} heard, {lost} lost to the speaker, {missing} missing, {lacking} told"
