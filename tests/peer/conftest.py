"""A room with alice, who founded it, bob and chuck: all of them reading."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peer.world import Person, World


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close every profile that a test has opened, killed processes' too: Python 3.13 warns of those that are not."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    yield
    for connection in opened:
        connection.close()


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
