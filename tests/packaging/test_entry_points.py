"""Both commands begin by making sure that `protocol` is theirs, and know which version they are."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import protocol
from peer.__main__ import foreign_protocol as foreign_for_the_peer
from relay.__main__ import foreign_protocol as foreign_for_the_relay

COMMANDS = ("backchannel", "backchannel-relay")
MODULES = {"backchannel": "peer", "backchannel-relay": "relay"}


def run(command: list[str], path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def script(command: str) -> list[str]:
    return [str(Path(sys.executable).with_name(command))]


def module(command: str) -> list[str]:
    return [sys.executable, "-P", "-m", MODULES[command]]


@pytest.mark.parametrize("start", [script, module])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "contents",
    [
        pytest.param("VERSION = 1", id="another distribution's"),
        pytest.param("print 'python 2'", id="one that is no Python 3"),
        pytest.param("raise SystemError('no')", id="one that fails"),
    ],
)
def test_a_foreign_protocol_package_is_named_and_refused(command, start, contents, tmp_path) -> None:
    package = tmp_path / "protocol"
    package.mkdir()
    (package / "__init__.py").write_text(contents)

    done = run([*start(command), "--help"], path=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"{command}: the package 'protocol'")
    assert "pipx" in sentence
    if contents == "VERSION = 1":
        assert str(package) in sentence


@pytest.mark.parametrize("foreign_protocol", [foreign_for_the_peer, foreign_for_the_relay])
def test_a_bare_folder_is_foreign_and_our_own_package_is_not(foreign_protocol, tmp_path, monkeypatch) -> None:
    assert foreign_protocol() is None

    bare = ModuleType("protocol")
    bare.__file__, bare.__path__ = None, [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "protocol", bare)
    assert foreign_protocol() == str(tmp_path)


@pytest.mark.parametrize("start", [script, module])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_version_is_that_of_the_installed_distribution(command, start) -> None:
    done = run([*start(command), "--version"])
    assert (done.returncode, done.stderr) == (0, "")
    assert version("backchannel") in done.stdout.split()
    assert version("backchannel") == protocol.RELEASE


@pytest.mark.parametrize("start", [script, module])
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_it_is_still_being_imported_says_nothing(command, start, tmp_path) -> None:
    package = tmp_path / "protocol"
    package.mkdir()
    (package / "__init__.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)")

    done = run([*start(command), "--help"], path=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
