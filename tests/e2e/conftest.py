"""What the tests with real processes share: a scene of their own, gone with everything in it when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import Scene


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests, which run many processes, more time than others: the machine may have more to do."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))


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
