"""The honest simulation with each lie switched on: it raises the right alarm, and only then.

A world of people who talk, whisper, join, are cut, sleep and have several processes (``tests.peer.test_simulation``)
runs honestly for a while, and nobody has an alarm. Then the relay begins to lie; at the end everybody whom the lie
concerns has the alarm that names it, and nobody has any other. Lies about messages alone raise none: they are told as
gaps, duplicates, missed or reordered messages, and nothing is shown twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from peer.core.events import EventKind, Reading
from protocol import limits
from protocol.errors import AlarmRaised, IdentityChanged
from protocol.ids import PeerId
from tests.claims import hostile_relay as lies
from tests.claims.hostile_relay import Lie
from tests.claims.world import LyingWorld
from tests.peer import test_simulation
from tests.peer.test_simulation import Simulation
from tests.peer.world import Person, Process

RUNS = int(os.environ.get("SIMULATION_RUNS", "1"))
FIRST = int(os.environ.get("SIMULATION_SEED", "0"))
HONEST, LYING = 25, 25

ANYBODY = ("alice", "bob", "chuck", "dave")


class LyingSimulation(Simulation):
    """An honest simulation whose relay begins to lie in the middle."""

    world: LyingWorld
    trusting = False
    """Whether people accept every alarm, and go on."""

    def _says(self, process: Process, to: Person | None) -> None:
        try:
            super()._says(process, to)
        except (AlarmRaised, IdentityChanged):
            self.note(f"{process.person.name} is stopped by an alarm")

    def run(self) -> None:
        for _ in range(HONEST):
            self.step()
        self.calm()

    def calm(self) -> None:
        """Let the network be good, and everybody read."""
        self.releases()
        self.world.passes(60_000)
        for name in ANYBODY:
            person = self.world.people[name]
            if name not in self.gone and not person.processes:
                person.starts(Reading.BACKLOG)
        self.world.passes(5_000)

    def goes_on(self) -> None:
        for _ in range(LYING):
            self.step()

    # what a lie is about must not change under it
    def is_removed(self) -> None:
        pass

    def relay_is_killed(self) -> None:
        pass

    def joins(self) -> None:
        pass

    def everybody_speaks(self) -> None:
        """Let something of everybody cross to everybody, whatever alarms say."""
        for person in self.people():
            for alarm in person.alarms():
                person.process.core.roster.answer(alarm.subject, person.now)
            self._says(person.process, None)
        self.world.runs()
        self.world.passes(40_000)

    def told(self, *kinds: EventKind) -> Counter[EventKind]:
        found: Counter[EventKind] = Counter()
        for process in [*self.world.processes, *self.old]:
            found.update(event.kind for event in process.told if event.kind in kinds)
        return found

    def ever_alarmed(self) -> dict[str, set[str]]:
        """Every alarm that was ever raised, answered or not, by whom it was raised at."""
        return {
            person.name: {row["kind"] for row in person.store.rows("SELECT kind FROM alarms")}
            for person in self.people()
        }


@dataclass
class Case:
    """A lie, the alarms that it must raise at some or all, those that it may, and the events that tell of it."""

    lie: Callable[[LyingSimulation], Lie]
    must: set[str]
    may: frozenset[str] = frozenset()
    all: bool = True
    tells: tuple[EventKind, ...] = ()
    prepare: Callable[[LyingSimulation], None] = lambda simulation: None
    begins: Callable[[LyingSimulation], None] = lambda simulation: None


def of(name: str) -> Callable[[LyingSimulation], PeerId]:
    return lambda simulation: simulation.world.people[name].id


def alice_grants(simulation: LyingSimulation) -> None:
    """Let the log grow where Alice sees it."""
    simulation.releases()
    simulation.world.people["alice"].invites()


def alice_grants_long_ago(simulation: LyingSimulation) -> None:
    alice_grants(simulation)
    simulation.world.passes(limits.SETTLED + limits.MINUTE)


def alice_speaks_twice(simulation: LyingSimulation) -> None:
    """Order is a sender's own: between senders it is the relay's to say."""
    for _ in range(2):
        simulation._says(simulation.world.people["alice"].process, None)
        simulation.world.runs()


def said_by(sender: PeerId) -> lies.Wanted:
    return lambda message: lies.room_message(message) and message.sender == sender


def alice_removes_a_guest(simulation: LyingSimulation) -> None:
    world = simulation.world
    simulation.gone.add("guest")
    (guest,) = world.join("guest", reads=False)
    world.people["alice"].kicks("guest")
    assert guest.id not in world.people["alice"].membership.members
    simulation.calm()


def relay_restarts(simulation: LyingSimulation) -> None:
    simulation.releases()
    simulation.world.restart()
    simulation.calm()


def before_the_last_statement(simulation: LyingSimulation) -> Lie:
    return lies.ReplaysOldLog(simulation.world.core.room.membership.index - 1)


HELD = frozenset({"two-views"})
"""Whoever is shown less for ten minutes, and speaks, is held behind as well."""
CASES = {
    "no lie": Case(lambda s: Lie(), set()),
    "swaps a card": Case(lambda s: lies.SwapsCard(of("bob")(s)), {"card"}),
    "invents a member": Case(lambda s: lies.InventsMember(), {"log", "card"}),
    "shows a stranger": Case(lambda s: lies.ShowsStranger(), {"card"}),
    "replays a statement": Case(lambda s: lies.AddsStatement(lies.old_admit(of("bob")(s))), {"log"}),
    "hides statements from one": Case(
        lambda s: lies.TwoRooms([of(n)(s) for n in ANYBODY if n != "bob"], [of("bob")(s)]),
        {"unknown-head"},
        may=HELD,
        all=False,
        begins=alice_grants,
    ),
    "holds one behind": Case(
        lambda s: lies.HoldsBehind(of("bob")(s)), {"two-views"}, all=False, begins=alice_grants_long_ago
    ),
    "shows two rooms": Case(
        lambda s: lies.TwoRooms([of("alice")(s), of("bob")(s)], [of("chuck")(s), of("dave")(s)]),
        {"unknown-head"},
        may=HELD,
        all=False,
        begins=alice_grants,
    ),
    "lets a removed one in again": Case(
        before_the_last_statement, {"withheld"}, prepare=alice_removes_a_guest, begins=relay_restarts
    ),
    "withholds rotations": Case(lambda s: lies.WithholdsCards(of("bob")(s)), set()),
    "drops messages": Case(lambda s: lies.Drops(of("bob")(s), count=4), set(), tells=(EventKind.GAP, EventKind.MISSED)),
    "delivers twice": Case(lambda s: lies.Duplicates(of("bob")(s)), set(), tells=(EventKind.DUPLICATE,)),
    "replays": Case(lambda s: lies.Replays(of("bob")(s)), set(), tells=(EventKind.DUPLICATE,)),
    "reorders": Case(
        lambda s: lies.Reorders(of("bob")(s), said_by(of("alice")(s))),
        set(),
        begins=alice_speaks_twice,
        tells=(EventKind.REORDERED,),
    ),
    "relabels the sender": Case(
        lambda s: lies.Changes(of("bob")(s), change=lies.relabelled(of("chuck")(s))), set(), tells=(EventKind.MISSED,)
    ),
    "relabels the channel": Case(
        lambda s: lies.Changes(of("bob")(s), change=lies.turned), set(), tells=(EventKind.MISSED,)
    ),
    "takes old posts": Case(lambda s: lies.TakesOldPosts(), set()),
}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
@pytest.mark.parametrize("name", CASES)
def test_a_lie_raises_the_right_alarm_and_only_then(monkeypatch: pytest.MonkeyPatch, name: str, seed: int):
    monkeypatch.setattr(test_simulation, "World", LyingWorld)
    case = CASES[name]
    simulation = LyingSimulation(seed)
    try:
        simulation.run()
        case.prepare(simulation)
        assert not any(simulation.ever_alarmed().values()), "before any lie"
        before = simulation.told(*case.tells)
        simulation.world.lies(case.lie(simulation))
        case.begins(simulation)
        simulation.everybody_speaks()
        simulation.goes_on()
        simulation.calm()
        simulation.everybody_speaks()
        check(simulation, case, before)
    except BaseException:
        print("\n".join(simulation.log[-40:]))
        print(f"SIMULATION_SEED={seed} SIMULATION_RUNS=1")
        raise


def check(simulation: LyingSimulation, case: Case, before: Counter[EventKind]) -> None:
    raised = simulation.ever_alarmed()
    kinds = set().union(*raised.values())
    assert kinds >= case.must, raised
    assert kinds <= case.must | case.may, raised
    if case.all:
        assert all(found >= case.must for found in raised.values()), raised
    for process in [*simulation.world.processes, *simulation.old]:
        twice = [id for id, count in Counter((m.sender.id, m.id) for m in process.ever).items() if count > 1]
        assert not twice, f"{process.person.name} was shown something twice"
    if case.tells:
        assert sum((simulation.told(*case.tells) - before).values()) > 0, simulation.told(*case.tells)
