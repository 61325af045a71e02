"""A room with alice, who founded it, bob and chuck, all of them reading, at a relay that can lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.claims.world import LyingWorld
from tests.peer.conftest import closed  # noqa: F401 - a fixture that every test here uses
from tests.peer.world import Person


@dataclass
class Company:
    """The world, and those who are in the room."""

    world: LyingWorld
    alice: Person
    bob: Person
    chuck: Person

    @property
    def people(self) -> list[Person]:
        return [self.alice, self.bob, self.chuck]


def gather(world: LyingWorld) -> Company:
    """Let them meet, and say a word, so that everybody has everybody's chain."""
    alice = world.create("alice")
    bob, chuck = world.join("bob", "chuck")
    for person in (alice, bob, chuck):
        person.says("hello")
    for person in (alice, bob, chuck):
        person.forgets()
    return Company(world, alice, bob, chuck)


@pytest.fixture
def company() -> Company:
    """Profiles in memory."""
    return gather(LyingWorld())


@pytest.fixture
def on_disk(tmp_path: Path) -> Company:
    """Profiles in files."""
    return gather(LyingWorld(tmp_path))
