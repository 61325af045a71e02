"""The command `backchannel-relay` as a process: what it prints where, how it ends, and what it leaves behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import pytest

from protocol import limits
from protocol.address import HostPort, RelayAddress
from protocol.base32 import base32
from protocol.ids import RelayKey
from relay import cli, serve
from relay.cli.limits import LIMITS
from relay.key import public_key
from relay.links import Links

PATIENCE = 60


def command(*arguments: object, **environment: str) -> dict:
    """What starts a relay, with nothing of this environment that could change what it does."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("BACKCHANNEL_")}
    return {
        "args": [sys.executable, "-P", "-m", "relay", *map(str, arguments)],
        "env": env | environment,
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def runs(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(**command(*arguments, **environment), timeout=PATIENCE, check=False)


def fails(*arguments: object, **environment: str) -> tuple[int, str]:
    """Run a command that must fail in one sentence; return the exit code and the sentence."""
    done = runs(*arguments, **environment)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("backchannel-relay: ")
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


@contextlib.contextmanager
def serving(*arguments: object, **options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A relay that serves; yield it and the line that it printed."""
    process = subprocess.Popen(**command("run", *arguments, **options), stdin=subprocess.PIPE)
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_when_ready_it_prints_its_address_alone(home):
    with serving("--bind", "127.0.0.1:0", "--home", home) as (process, line):
        address = RelayAddress.parse(line)
        assert line == f"{address}\n"
        with socket.create_connection((address.at.host, address.at.port), timeout=PATIENCE):
            pass
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert stdout == ""
    assert "Traceback" not in stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told_to(home, number):
    with serving("--bind", "127.0.0.1:0", "--home", home) as (process, _):
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0


def test_it_stops_with_whoever_started_it(home):
    with serving("--bind", "127.0.0.1:0", "--home", home, "--until-eof") as (process, _):
        process.stdin.write("not yet\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        process.stdin = None


def test_a_second_run_has_the_same_key(home):
    keys = set()
    for _ in range(2):
        with serving("--bind", "127.0.0.1:0", "--home", home) as (_, line):
            keys.add(RelayAddress.parse(line).key)
    assert len(keys) == 1
    secret = (home / "relay.key").read_text().strip()
    assert secret not in keys


def test_it_writes_its_key_and_nothing_else(home):
    with serving("--bind", "127.0.0.1:0", "--home", home) as (process, _):
        core = Path(f"/proc/{process.pid}/limits").read_text()
        assert next(line for line in core.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
    assert [path.name for path in home.iterdir()] == ["relay.key"]
    assert stat.S_IMODE((home / "relay.key").stat().st_mode) == 0o600


def test_listening_everywhere_it_names_an_address_that_others_can_use(home):
    with serving("--bind", "0.0.0.0:0", "--home", home) as (process, line):
        address = RelayAddress.parse(line)
        assert address.at.host != "0.0.0.0"
        process.terminate()
        _, stderr = process.communicate(timeout=PATIENCE)
    assert {"event": "listening", "address": str(address.at)}.items() <= json.loads(stderr.splitlines()[0]).items()


@pytest.mark.parametrize("bind", ["::1:0", "[::1]:0", "localhost:0"])
def test_other_ways_to_write_an_address(home, bind):
    with serving("--bind", bind, "--home", home) as (_, line):
        assert RelayAddress.parse(line).at.host in ("::1", "127.0.0.1")


def test_settings_come_from_a_file_the_environment_and_the_command_line_in_rising_order(home, tmp_path, monkeypatch):
    config = tmp_path / "relay.toml"
    config.write_text(
        f'bind = "127.0.0.1:0"\nhome = "{home}"\nretention = 10\nidle-close = 20\nrooms_per_founder = 30\n'
    )
    seen = []
    monkeypatch.setattr(serve, "serve", lambda *a, **k: seen.append((a, k)))
    monkeypatch.setenv("BACKCHANNEL_RELAY_CONFIG", str(config))
    monkeypatch.setenv("BACKCHANNEL_RELAY_IDLE_CLOSE", "21")
    monkeypatch.setenv("BACKCHANNEL_RELAY_ROOMS_PER_FOUNDER", "31")
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--rooms-per-founder", "32"])
    assert ended.value.code == 0
    (told,) = [arguments[0] for arguments, _ in seen]
    assert str(told.bind) == "127.0.0.1:0"
    assert told.home == home
    assert told.bounds == limits.RelayLimits(retention_s=10, idle_close_s=20 + 1, rooms_per_founder=32)


def test_every_limit_has_an_option():
    fields = {field: option for field, (option, _) in LIMITS.items()}
    assert set(fields) == set(limits.RelayLimits.__dataclass_fields__)


def test_version_and_help():
    assert runs("--version").stdout == f"backchannel-relay {version('backchannel')}\n"
    assert "--retention SECONDS" in runs("run", "--help").stdout
    assert runs("--help").returncode == 0


def test_the_list_of_commands_is_whole_sentences():
    listed = runs("--help").stdout.partition("Commands:")[2]
    assert "install-service" in listed
    assert "..." not in listed


@pytest.mark.parametrize("option", ["--home", "--key-file", "--allow", "--config"])
def test_an_option_of_an_unset_variable_names_nothing(tmp_path, option):
    code, sentence = fails("run", option, "")
    assert code == 2
    assert "names nothing" in sentence


def test_who_cannot_be_told_the_address_is_told_why(home):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            **command("run", "--bind", "127.0.0.1:0", "--home", home, "--log-level", "warning") | {"stdout": full},
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "could not be written to stdout. (no space left on device)" in done.stderr


def test_help_needs_nothing_slow():
    how = command() | {"args": [sys.executable, "-P", "-X", "importtime", "-m", "relay", "run", "--help"]}
    how["env"] = {key: value for key, value in how["env"].items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(**how, timeout=PATIENCE, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"zmq", "nacl", "msgpack", "tomllib", "platformdirs"} & imported


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "--bind", "nonsense"], "'nonsense' is not HOST:PORT"),
        (["run", "--bind", "127.0.0.1:65536"], "is not HOST:PORT"),
        (["run", "--retention", "0"], "0 is not in the range"),
        (["run", "--retention", "soon"], "'soon' is not a valid whole number"),
        (["check", "127.0.0.1:1/key", "--timeout", "1s"], "'1s' is not a valid number of seconds"),
        (["run", "--log-level", "loud"], "'loud' is not one of"),
        (["run", "--nonsense"], "No such option"),
        (["run", "more"], "unexpected extra argument"),
        (["walk"], "No such command"),
        ([], "Missing command"),
    ],
)
def test_usage_errors_are_one_sentence(arguments, reason):
    code, sentence = fails(*arguments)
    assert code == 2
    assert reason in sentence
    assert "--help" in sentence


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("retention = ", "is not valid TOML"),
        ("retension = 1", "sets 'retension', which is no option"),
        ("config = 'x'", "which is no option"),
        ("retention = 'soon'", "'soon' is not a valid whole number"),
        ("bind = 7667", "is not HOST:PORT"),
        ("[limits]\nrooms = 1", "sets 'limits'"),
    ],
)
def test_a_config_file_that_makes_no_sense(tmp_path, text, reason):
    config = tmp_path / "relay.toml"
    config.write_text(text)
    code, sentence = fails("run", "--config", config)
    assert code == 2
    assert reason in sentence


def test_a_config_file_that_is_not_there(tmp_path):
    code, sentence = fails("run", "--config", tmp_path / "relay.toml")
    assert code == 2
    assert "no such file" in sentence


def test_a_port_that_is_taken(home):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, sentence = fails("run", "--bind", f"127.0.0.1:{other.getsockname()[1]}", "--home", home)
    assert code == 8
    assert "address already in use" in sentence


def test_an_address_that_is_not_ours(home):
    assert fails("run", "--bind", "192.0.2.99:0", "--home", home)[0] == 8
    assert fails("run", "--bind", "no.such.host.invalid:0", "--home", home)[0] == 8


def test_a_key_that_is_damaged(home):
    home.mkdir()
    (home / "relay.key").write_text("damaged")
    (home / "relay.key").chmod(0o600)
    code, sentence = fails("run", "--bind", "127.0.0.1:0", "--home", home)
    assert code == 8
    assert "is damaged" in sentence
    assert (home / "relay.key").read_text() == "damaged"


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    code, sentence = fails("run", "--bind", "127.0.0.1:0", "--home", tmp_path / "file" / "home")
    assert code == 8
    assert "not a directory" in sentence


# -- the same in this process, where what is rare can be made to happen ------------------------------------------------


def ends(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return ended.value.code, capsys.readouterr().err


def test_whatever_goes_wrong_is_one_sentence(capsys, monkeypatch):
    def fault(*_: object, **__: object) -> None:
        raise KeyError("what nobody should read")

    monkeypatch.setattr(serve, "serve", fault)
    code, sentence = ends(capsys, "run")
    assert code == 1
    assert "KeyError" in sentence
    assert "what nobody should read" not in sentence


def test_an_interruption_while_starting(capsys, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "serve", interrupted)
    assert ends(capsys, "run")[0] == 130


class FakeRouter:
    """What `serve` needs of a router; it stops at once, and remembers how it was made."""

    made: ClassVar[list[FakeRouter]] = []
    port = 1234
    links = Links()
    wakeup_fd = -1

    def __init__(self, core, at, secret, connections):
        self.core, self.at, self.secret, self.connections = core, at, secret, connections
        self.leash = None
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def stop_at_end_of(self, fd):
        self.leash = fd

    def run(self, *, each_second, when_stopping):
        each_second()
        when_stopping()


def settings(bind: str, **others: object) -> serve.Settings:
    return serve.Settings(bind=HostPort.parse(bind), bounds=limits.RelayLimits(), **others)


@pytest.fixture
def fake(monkeypatch):
    """`serve` with everything of the process left alone."""
    import resource

    monkeypatch.setattr("relay.serve.Router", FakeRouter)
    monkeypatch.setattr(FakeRouter, "made", [])
    monkeypatch.setattr("signal.set_wakeup_fd", lambda *_, **__: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("gc.freeze", lambda: None)
    limits_set = {}
    monkeypatch.setattr(resource, "setrlimit", limits_set.__setitem__)
    return limits_set


def test_the_default_home_is_the_users_data_folder(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    serve.serve(settings("127.0.0.1:0", leash=7))
    (router,) = FakeRouter.made
    assert router.leash == 7
    assert public_key(router.secret) == RelayKey(bytes(public_key(router.secret)))
    assert capsys.readouterr().out == f"127.0.0.1:1234/{base32(public_key(router.secret))}\n"
    assert len(list(tmp_path.rglob("relay.key"))) == 1


def test_all_addresses_on_request(fake, home, monkeypatch, capsys):
    monkeypatch.setattr("relay.addresses.reachable", lambda *, v6: ["10.0.0.1", "10.0.0.2"])
    serve.serve(settings("0.0.0.0:0", home=home))
    assert [RelayAddress.parse(line).at.host for line in capsys.readouterr().out.splitlines()] == ["10.0.0.1"]
    serve.serve(settings("0.0.0.0:0", home=home, all_addresses=True))
    hosts = [RelayAddress.parse(line).at.host for line in capsys.readouterr().out.splitlines()]
    assert hosts == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize("v6", [True, False])
def test_without_a_network_it_names_the_loopback(fake, home, monkeypatch, capsys, v6):
    monkeypatch.setattr("relay.addresses.reachable", lambda *, v6: [])
    serve.serve(settings(":::0" if v6 else "0.0.0.0:0", home=home))
    assert capsys.readouterr().out.startswith("::1:1234/" if v6 else "127.0.0.1:1234/")


@pytest.mark.parametrize(
    ("soft", "hard", "set_to", "connections"),
    [
        (100_000, 100_000, None, 1_189),
        (-1, -1, None, 1_189),
        (1_024, 100_000, 1_701, 1_189),
        (1_024, -1, 1_701, 1_189),
        (1_024, 1_100, 1_100, 1_036),
        (10, 10, 10, 1),
    ],
)
def test_room_for_descriptors(fake, monkeypatch, soft, hard, set_to, connections):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    assert serve._set_process_limits(limits.RelayLimits(connections=1_000)) == connections
    assert fake.get(resource.RLIMIT_NOFILE) == (set_to and (set_to, hard))
    assert fake[resource.RLIMIT_CORE] == (0, 0)


def test_the_document_has_every_limit_with_its_default():
    rows = [line for line in Path("docs/limits.md").read_text().splitlines() if line.startswith("|")]
    for field in dataclasses.fields(limits.RelayLimits):
        option, default = LIMITS[field.name][0], field.default
        forms = [f"{default}", f"{default // 3600} h", f"{default >> 20} MiB", f"{default >> 20} MiB/s"]
        assert any(f"`{option}`" in row and any(form in row for form in forms) for row in rows), option
