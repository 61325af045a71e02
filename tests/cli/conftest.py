"""What the tests of the commands share: a command run in this process, for what needs no relay, and the e2e scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from peer.cli import cli
from tests.e2e.conftest import scene

__all__ = ["run", "scene"]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command in a home that does not exist yet."""

    def run(*words: str, env: dict[str, str] | None = None, **how: object) -> Result:
        ours = {"BACKCHANNEL_HOME": str(tmp_path / "home"), "BACKCHANNEL_INVITE": None, "NO_COLOR": None}
        return CliRunner().invoke(cli, words, env=ours | (env or {}), prog_name="backchannel", **how)

    return run
