"""The systemd units: what systemd makes of them, that a relay lives within them, and who may overwrite what."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.base32 import base32, from_base32
from protocol.limits import RelayLimits
from relay import unit
from relay.ceiling import ceiling
from relay.key import public_key
from tests.operations.process import PATIENCE, RelayProcess, runs, until
from tests.operations.test_discovery import Lan
from tests.operations.test_metrics import scraped

CHECKOUT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("backchannel-relay")
FILTERED = Path(__file__).with_name("filtered.py")
EXPOSURE = 15
"""systemd's own measure, 0 (best) to 100; a service that has done nothing for its safety has 96."""

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")


def analyze(tmp_path: Path, *words: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "info"}
    how = {"capture_output": True, "text": True, "timeout": PATIENCE}
    return subprocess.run(["systemd-analyze", *map(str, words)], env=env, check=False, **how)


@needs_systemd
@pytest.mark.parametrize("home", ["/etc/backchannel-relay", "/srv/100 % \"sure\" $HOME 'x'\\"])
@pytest.mark.parametrize(("template", "how"), [(unit.SYSTEM, ()), (unit.USER, ("--user",))])
def test_systemd_has_nothing_to_object(tmp_path, template, how, home):
    path = tmp_path / unit.NAME
    path.write_text(unit.render(template, SCRIPT, Path(home)))
    done = analyze(tmp_path, "verify", *how, path)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_notices_what_is_wrong(tmp_path):
    path = tmp_path / unit.NAME
    path.write_text(unit.render(unit.SYSTEM, SCRIPT, tmp_path).replace("Restart=always", "Restart=alwais"))
    assert "alwais" in analyze(tmp_path, "verify", path).stderr


@needs_systemd
def test_the_machines_service_is_little_exposed(tmp_path):
    path = tmp_path / unit.NAME
    path.write_text(unit.render(unit.SYSTEM, SCRIPT, Path("/etc/backchannel-relay")))
    done = analyze(tmp_path, "security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE}", path)
    assert done.returncode == 0, done.stdout


@needs_systemd
@pytest.mark.parametrize("template", [unit.SYSTEM, unit.USER])
def test_a_relay_lives_within_the_filter(tmp_path, template):
    path = tmp_path / unit.NAME
    path.write_text(unit.render(template, SCRIPT, tmp_path))
    options, prefix = ("--metrics", "127.0.0.1:0", "--announce"), (sys.executable, str(FILTERED), str(path))
    with RelayProcess(tmp_path / "home", *options, prefix=prefix) as relay:
        assert runs("check", relay.address).returncode == 0
        numbers = scraped(until(lambda: relay.events("metrics"))[0]["address"])
        assert numbers["process_resident_memory_bytes"] > 0
        until(lambda: Lan("127.0.0.1", []).hears(relay.address))
        assert not relay.events("no longer announced")
        assert relay.stop() == 0


@needs_systemd
@pytest.mark.parametrize(
    "deed",
    [
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import os; os.chroot('/')",
        "import os; os.nice(1)",
    ],
)
def test_the_filter_bites(tmp_path, deed):
    path = tmp_path / unit.NAME
    path.write_text(unit.render(unit.SYSTEM, SCRIPT, tmp_path))
    command = [sys.executable, FILTERED, path, sys.executable, "-c", deed]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == -signal.SIGSYS


def test_what_is_packaged_is_what_the_command_writes():
    done = runs("install-service", "--print", "--system", "--command", "/usr/bin/backchannel-relay")
    assert done.stdout == (CHECKOUT / "packaging/systemd/backchannel-relay.service").read_text()
    assert unit.is_ours(done.stdout)


@pytest.mark.parametrize("template", [unit.SYSTEM, unit.USER])
def test_the_limits_hold_before_the_kernel_does(template):
    (most,) = re.findall(r"^MemoryMax=(\d+)G$", template, re.MULTILINE)
    bounds = RelayLimits()
    memory = ceiling(bounds, bounds.connections + bounds.connections // 4 + 64)
    assert memory.total + memory.kernel < int(most) << 30


# -- install-service ---------------------------------------------------------------------------------------------------


def test_it_writes_a_unit_and_a_key_and_says_what_is_next(tmp_path):
    home, into = tmp_path / "home", tmp_path / "units"
    done = runs("install-service", "--user", "--home", home, "--into", into)
    assert done.returncode == 0, done.stderr
    path = into / "backchannel-relay.service"
    assert done.stdout == f"{path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert f"ExecStart={SCRIPT} run --home {home}\n" in path.read_text()
    public = base32(public_key(from_base32((home / "relay.key").read_text().strip())))
    assert f"HOST:7667/{public}" in done.stderr
    assert "systemctl --user enable --now backchannel-relay" in done.stderr
    assert [entry.name for entry in into.iterdir()] == [path.name]


def test_the_machines_service_gets_its_key_as_a_credential(tmp_path):
    home = tmp_path / "a home"
    words = (
        "install-service",
        "--system",
        "--home",
        home,
        "--into",
        tmp_path,
        "--command",
        "/opt/b/bin/backchannel-relay",
    )
    done = runs(*words)
    text = (tmp_path / unit.NAME).read_text()
    assert f"LoadCredential=relay.key:{home}/relay.key\n" in text
    assert "ExecStart=/opt/b/bin/backchannel-relay run\n" in text
    assert "    systemctl enable --now backchannel-relay\n" in done.stderr
    assert "linger" not in done.stderr


def test_to_print_is_to_do_nothing_else(tmp_path):
    done = runs("install-service", "--print", "--user", "--home", tmp_path / "home", "--into", tmp_path / "units")
    assert done.stdout.startswith("# Written by")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_unit_of_ours_is_replaced_and_any_other_left(tmp_path):
    words = ("install-service", "--user", "--home", tmp_path / "home", "--into", tmp_path)
    assert runs(*words).returncode == 0
    path = tmp_path / unit.NAME
    first = path.read_text()
    assert runs(*words, "--command", "/opt/new").returncode == 0
    assert "ExecStart=/opt/new run" in path.read_text()
    for foreign in ("[Service]\nExecStart=/bin/true\n", first.replace("8G", "9G"), "", "\0\xff"):
        path.write_text(foreign)
        done = runs(*words)
        assert done.returncode == 8
        assert "drop-in" in done.stderr
        assert done.stdout == ""
        assert path.read_text() == foreign


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    done = runs("install-service", "--user", "--home", tmp_path / "home", "--into", tmp_path / "file")
    assert done.returncode == 8
    assert done.stderr.count("\n") == 1


def test_what_the_machines_service_could_not_see_is_refused(tmp_path, monkeypatch):
    assert unit.hidden(Path("/home/alice/venv/bin/backchannel-relay"))
    assert unit.hidden(Path("/opt/../root/bin/backchannel-relay"))
    link = tmp_path / "link"
    link.symlink_to("/usr/bin/python3")
    assert unit.hidden(link) == link.is_relative_to("/tmp")
    assert not unit.hidden(Path("/usr/local/bin/backchannel-relay"))


def test_a_command_out_of_sight_is_refused(tmp_path, monkeypatch, capsys):
    from relay import cli

    (tmp_path / "home/alice").mkdir(parents=True)
    (tmp_path / "home/alice/backchannel-relay").write_text("")
    monkeypatch.setattr(unit, "_HIDDEN", (tmp_path / "home",))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "home/alice/python"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["install-service", "--system", "--home", str(tmp_path / "key"), "--into", str(tmp_path / "units")])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"so not {tmp_path}/home/alice/backchannel-relay: install into /opt" in told
    assert not (tmp_path / "key").exists()
    assert not (tmp_path / "units").exists()


def test_a_python_out_of_sight_is_named(tmp_path, monkeypatch, capsys):
    from relay import cli

    for folder in ("opt", "root"):
        (tmp_path / folder).mkdir()
    (tmp_path / "opt/backchannel-relay").write_text("")
    (tmp_path / "root/python3.11").write_text("")
    (tmp_path / "opt/python").symlink_to(tmp_path / "root/python3.11")
    monkeypatch.setattr(unit, "_HIDDEN", (tmp_path / "root",))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "opt/python"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["install-service", "--system", "--home", str(tmp_path / "key"), "--into", str(tmp_path / "units")])
    assert ended.value.code == 2
    assert f"so not {tmp_path}/opt/python, which is {tmp_path}/root/python3.11" in capsys.readouterr().err


def test_without_a_command_beside_python_the_path_is_searched(tmp_path, monkeypatch, capsys):
    from relay import cli

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    words = ["install-service", "--print", "--user", "--home", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "--command" in capsys.readouterr().err
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/backchannel-relay").write_text("#!/bin/sh\n")
    (tmp_path / "bin/backchannel-relay").chmod(0o755)
    with pytest.raises(SystemExit):
        cli.main(words)
    assert f"ExecStart={tmp_path}/bin/backchannel-relay run" in capsys.readouterr().out
