"""What docs/threat-model.md says of the tests is true: the claims of SECURITY.md, tests that exist, every attack."""

from __future__ import annotations

import re

import pytest

from tests.attacks.table import rows
from tests.attacks.test_table import ROOT, pytest_of

MODEL = (ROOT / "docs" / "threat-model.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)?)`")
LINKED = re.compile(r"\]\(([^)#:]+)\)")


def squeezed(text: str) -> str:
    return " ".join(text.replace("\n> ", "\n").split())


def claims_of(text: str, pattern: str) -> list[str]:
    return [squeezed(claim) for claim in re.findall(pattern, text, re.DOTALL)]


def test_the_eight_claims_have_the_same_words_everywhere():
    model = claims_of(MODEL, r"### Claim \d\n\n> (.*?)\n\n")
    security = claims_of(SECURITY.partition("## What we claim")[2], r"\n\d\. (.*?)(?=\n\d\. |\n\n)")
    assert len(model) == 8
    assert security == model


def test_each_claim_has_tests_and_limits():
    for number in range(1, 9):
        about = MODEL.partition(f"### Claim {number}\n")[2].partition("\n#")[0]
        assert any(f"claim_{number}_" in name for name in NAMED.findall(about))
        assert "\nLimits: " in about


def test_every_published_attack_is_there_in_the_tables_words():
    table = [line for line in MODEL.splitlines() if re.match(r"\| \d+ \|", line)]
    assert table == rows()


@pytest.mark.parametrize("document", ["docs/threat-model.md", "SECURITY.md", "docs/protocol.md", "README.md"])
def test_whatever_file_is_linked_is_there(document: str):
    place = ROOT / document
    for link in LINKED.findall(place.read_text()):
        assert (place.parent / link).exists(), f"{document}: {link}"


def test_every_test_that_is_named_exists_and_is_run_by_default():
    named = set(NAMED.findall(MODEL + SECURITY))
    files = sorted({name.partition("::")[0] for name in named})
    assert all((ROOT / file).exists() for file in files)
    tested = [file for file in files if file.rpartition("/")[2].startswith("test_")]
    listed = pytest_of(ROOT, "--collect-only", *tested)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    collected = {line.partition("[")[0] for line in listed.stdout.splitlines() if "::" in line}
    assert {name for name in named if "::" in name} - collected == set()


def test_readers_are_led_to_it():
    for document in ("README.md", "SECURITY.md", "docs/architecture.md", "CONTRIBUTING.md"):
        assert "threat-model.md" in (ROOT / document).read_text(), document
