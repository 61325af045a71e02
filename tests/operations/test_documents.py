"""docs/operations.md against the program: options, metrics, alerts and events that it names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from protocol.errors import BY_CODE, Limit
from relay.cli import command
from tests.operations.test_dashboard import NAMES, RULES

CHECKOUT: Final = Path(__file__).parents[2]
TEXT: Final = (CHECKOUT / "docs/operations.md").read_text()
FOREIGN: Final = {
    *("--now", "--unit", "--lines", "--priority", "--name", "--upgrade", "--tcp", "--numeric", "--tag", "--file"),
    *(
        "--detach",
        "--publish",
        "--volume",
        "--read-only",
        "--cap-drop",
        "--security-opt",
        "--memory",
        "--memory-swap",
        "--help",
    ),
}
"""Options of other programs."""


def test_every_option_exists():
    parameters = [parameter for sub in command.commands.values() for parameter in sub.params]
    ours = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT))
    assert named - FOREIGN <= ours


def test_the_metrics_are_those_that_exist():
    told = {
        name if name.startswith("backchannel") else f"backchannel_relay{name}"
        for row in re.findall(r"^\| (`backchannel_relay_.*?) \|", TEXT, re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)", row)
    }
    assert told == {name for name in NAMES if name.startswith("backchannel")}


def test_every_alert_is_explained():
    for alert in re.findall(r"alert: (\w+)", RULES):
        assert re.search(rf"^\|.*\b{alert}\b", TEXT, re.MULTILINE), alert


def test_every_limit_of_the_relay_is_explained():
    for code, error in BY_CODE.items():
        if issubclass(error, Limit) and code != Limit.code:
            assert f"`{code}`" in TEXT, code


def test_links_lead_somewhere():
    headings = [heading.lower() for heading in re.findall(r"^#+ (.*)", TEXT, re.MULTILINE)]
    anchors = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, fragment = target.partition("#")
        assert not path or (CHECKOUT / "docs" / path).exists(), target
        assert not fragment or fragment in anchors, target
