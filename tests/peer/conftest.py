"""A room with alice, who founded it, bob and chuck: all of them reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peer.world import Person, World


@dataclass
class Company:
    """The world, and those who are in the room."""

    world: World
    alice: Person
    bob: Person
    chuck: Person


def gather(world: World) -> Company:
    alice = world.create("alice")
    bob, chuck = world.join("bob", "chuck")
    return Company(world, alice, bob, chuck)


@pytest.fixture
def world() -> World:
    """A relay that has been up for a while, and nobody."""
    return World()


@pytest.fixture
def company() -> Company:
    """Profiles in memory."""
    return gather(World())


@pytest.fixture
def on_disk(tmp_path: Path) -> Company:
    """Profiles in files, so that several processes of one are really apart."""
    return gather(World(tmp_path))
