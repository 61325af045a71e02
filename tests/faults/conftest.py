"""What the tests of faults share: a scene of their own, and more time than others have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import Scene


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These run many processes: the machine may have more to do."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900 if item.get_closest_marker("faults") else 300))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An empty scene."""
    scene = Scene(tmp_path)
    try:
        yield scene
    finally:
        scene.end()
