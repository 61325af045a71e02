"""One town for all attacks of a module: whoever is attacked twenty times has to withstand the twentieth as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.scene import Scene
from tests.hostile.town import Town


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> Iterator[Town]:
    scene = Scene(tmp_path_factory.mktemp("town"))
    try:
        yield Town(scene)
    finally:
        scene.end()


@pytest.fixture
def scene(tmp_path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    try:
        yield scene
    finally:
        scene.end()
