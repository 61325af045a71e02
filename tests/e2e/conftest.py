"""What the tests with real processes share: a scene of their own, gone with everything in it when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An empty scene."""
    scene = Scene(tmp_path)
    try:
        yield scene
    finally:
        scene.end()


@pytest.fixture
def scene_of(tmp_path: Path) -> Iterator[Callable[[], Scene]]:
    """Makes scenes, for a test that plays the same in several."""
    made: list[Scene] = []

    def make() -> Scene:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Scene(folder))
        return made[-1]

    try:
        yield make
    finally:
        for scene in made:
            scene.end()
