"""The world of the peers' tests, with a relay in it that can lie and members who need not be honest.

world = LyingWorld()
alice = world.create("alice"); bob, chuck = world.join("bob", "chuck")
world.lies(SwapsCard(bob.id))
assert world.alarmed(alice) == ["card"]
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from protocol import envelope as ev
from protocol.ids import PeerId
from tests.claims.hostile_member import Mallory
from tests.claims.hostile_relay import Liar, Lie, Tape
from tests.peer.world import RELAY, Person, World

L = TypeVar("L", bound=Lie)


class LyingWorld(World):
    """See the module's text. ``tape`` holds all that the relay ever heard and said."""

    core: Liar

    def __init__(self, folder: Path | None = None, **bounds: int) -> None:
        self.lie = Lie()
        self.tape = Tape()
        self.people_called: dict[PeerId, str] = {}
        """What to call those who are no ``Person``."""
        self._started = False
        super().__init__(folder, **bounds)

    def _new_core(self) -> Liar:
        incarnation = next(self._incarnations).to_bytes(16)
        core = Liar(RELAY, incarnation, self.bounds, self.now, lie=lambda: self.lie, tape=self.tape)
        core.set_clock(self.now, self.now)
        if self._started:
            self.lie.restarts(core)
        self._started = True
        return core

    def lies(self, lie: L) -> L:
        """Let the relay begin to lie."""
        self.lie = lie
        lie.begins(self.core)
        self.runs()
        return lie

    def is_honest(self) -> None:
        """Let the relay lie no more."""
        self.lie = Lie()

    def mallory(self, nick: str = "mallory") -> Mallory:
        """Let somebody hostile enter, as everybody does."""
        invite = next(iter(self.people.values())).invites()
        mallory = Mallory(self, nick)
        mallory.enters(invite)
        for person in self.people.values():
            person.forgets()
        return mallory

    def alarmed(self, person: Person) -> list[str]:
        """Return the alarms that stand at somebody: kind, and the member that each names beside the relay."""
        called = {somebody.id: somebody.name for somebody in self.people.values()} | self.people_called
        return sorted({f"{alarm.kind} {called.get(PeerId(alarm.subject), '')}".strip() for alarm in person.alarms()})

    def accepts(self, person: Person) -> None:
        """Let somebody read what the alarms say and answer them all."""
        for alarm in person.alarms():
            person.core.roster.answer(alarm.subject, person.now)

    def sealed_to(self, peer: PeerId) -> list[ev.Post]:
        """Return what anybody ever addressed to ``peer``, accepted or not."""
        return self.tape.posts(to=peer)
