"""A command that only shows its help loads nothing slow, and the table of commands is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from peer.cli import COMMANDS, cli

SLOW = {"zmq", "nacl", "msgpack", "asyncio", "sqlite3", "prompt_toolkit", "platformdirs", "ssl", "importlib.metadata"}
LISTING = """
import sys
from peer.cli import cli
try:
    cli.main({words!r})
except SystemExit as end:
    assert not end.code, end.code
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_slow(words):
    # Coverage, which would measure the child too, imports much itself.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", LISTING.format(words=words)], env=env, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("Usage: backchannel")
    assert not SLOW & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_is_about_what_is_there(name):
    command = cli.get_command(click.Context(cli), name)

    assert command.name == name
    assert command.help.split()[0] == COMMANDS[name][1].split()[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_common_options(name):
    options = {option for parameter in cli.get_command(click.Context(cli), name).params for option in parameter.opts}

    assert {"--home", "--ephemeral", "--json"} <= options


def test_json_may_stand_before_the_command(run):
    before, after = run("--json", "whoami"), run("whoami", "--json")
    assert before.stdout == after.stdout
    assert json.loads(before.stdout)["type"] == "identity"


def test_help_names_every_command(run):
    shown = run("--help")

    assert shown.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert name in shown.stdout
        assert line.split()[0] in shown.stdout


def test_help_that_nobody_reads():
    asked = subprocess.Popen(
        [sys.executable, "-P", "-m", "peer", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    asked.stdout.close()
    with asked.stderr as errors:
        assert errors.read() == ""
    assert asked.wait() == 141


def test_a_shell_completes_the_commands():
    asked = {"_BACKCHANNEL_COMPLETE": "bash_complete", "COMP_WORDS": "backchannel se", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from peer.cli import cli; cli.main(prog_name='backchannel')"],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["plain,send"]


def test_version(run):
    shown = run("--version")

    assert shown.exit_code == 0
    assert shown.stdout.startswith("backchannel ")
