"""The Containerfile, as far as it can be tried without an engine: its files are there, and its commands work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.operations.process import PATIENCE, RelayProcess, environment, until

CHECKOUT: Final = Path(__file__).parents[2]
LINES: Final = [
    tuple(line.split(maxsplit=1))
    for line in (CHECKOUT / "packaging/Containerfile").read_text().splitlines()
    if line and not line.startswith("#")
]


def instruction(name: str) -> str:
    (found,) = (rest for word, rest in LINES if word == name)
    return found


def test_it_has_known_instructions_alone():
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENV", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in LINES} <= known | {"HEALTHCHECK"}


def test_what_it_copies_is_there_and_all_that_the_build_needs(tmp_path):
    copied = [word for word, rest in LINES if word == "COPY" and not rest.startswith("--from")]
    assert copied
    for word, rest in LINES:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            for source in sources:
                assert (CHECKOUT / source).exists()
                (tmp_path / source).symlink_to(CHECKOUT / source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert built.returncode == 0, built.stdout + built.stderr


def test_it_runs_as_nobody_of_the_machine():
    user, group = instruction("USER").split(":")
    assert int(user) > 1_000
    assert f"--owner={user} --group={group} {instruction('VOLUME')}" in " ".join(rest for _, rest in LINES)


def test_its_command_serves_and_its_health_check_says_so(tmp_path):
    assert json.loads(instruction("ENTRYPOINT")) == ["/opt/backchannel/bin/backchannel-relay"]
    first, *options = json.loads(instruction("CMD"))
    assert first == "run"
    told = dict(zip(options[::2], options[1::2], strict=True))
    assert told["--home"] == instruction("VOLUME")
    assert instruction("EXPOSE") == told["--bind"].rpartition(":")[2] + "/tcp"
    health = re.search(r"CMD (\[.*)", instruction("HEALTHCHECK"))
    _, flag, code = json.loads(health[1])
    assert flag == "-c"
    with RelayProcess(tmp_path, "--metrics", "127.0.0.1:0") as relay:
        address = until(lambda: relay.events("metrics"))[0]["address"]
        code = code.replace(told["--metrics"], address)
        assert address in code
        asked = [sys.executable, "-c", code]
        how = {"env": environment(), "timeout": PATIENCE, "capture_output": True}
        assert subprocess.run(asked, check=False, **how).returncode == 0
        assert relay.stop() == 0
        assert subprocess.run(asked, check=False, **how).returncode != 0
