"""Every published attack has tests, they exist, and they fail when the defence that they test is taken out.

The last is what ``make attacks`` runs, in a copy of the source, one cut after the other: some minutes in all. Every
run of the tests checks the rest: that each number has its tests, that these are collected, and that each line which
would be taken out is still there, once, in the function that the table names.
"""

from __future__ import annotations

import ast
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.table import ATTACKS, Attack, Cut, Edit

ROOT = Path(__file__).parents[2]
CUTS = [
    pytest.param(attack, cut, id=f"{attack.number}-{place}")
    for attack in ATTACKS
    for place, cut in enumerate(attack.cuts, 1)
]


def pytest_of(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the source that lies in ``root``: so do the programs that its tests start."""
    env = os.environ | {"PYTHONPATH": str(root), "COVERAGE_PROCESS_START": "", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *words]
    return subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)


def span(edit: Edit, source: str) -> tuple[int, int]:
    """Return where in ``source`` the function or class begins and ends that an edit is in."""
    if not edit.where:
        return 0, len(source)
    nodes: list[ast.AST] = [ast.parse(source)]
    for name in edit.where.split("."):
        nodes = [
            child
            for node in nodes
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name == name
        ]
    assert len(nodes) == 1, f"{edit.file} has {len(nodes)} of {edit.where}"
    lines = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]
    return lines[nodes[0].lineno - 1], lines[nodes[0].end_lineno]  # type: ignore[attr-defined]


def without(edit: Edit, source: str) -> str:
    """Return ``source`` with the edit made."""
    begin, end = span(edit, source)
    assert source[begin:end].count(edit.line) == 1, f"{edit.file}, {edit.where}: not once there: {edit.line}"
    changed = source[:begin] + source[begin:end].replace(edit.line, edit.instead) + source[end:]
    ast.parse(changed)
    return changed


def test_there_are_twenty_seven():
    assert [attack.number for attack in ATTACKS] == list(range(1, 28))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: str(attack.number))
def test_each_is_said_sourced_answered_and_tested(attack: Attack):
    assert all((attack.what, attack.published, attack.answer, attack.cuts))
    assert all(cut.tests and cut.edits for cut in attack.cuts)


@pytest.mark.parametrize(("attack", "cut"), CUTS)
def test_what_would_be_taken_out_is_there(attack: Attack, cut: Cut):
    for edit in cut.edits:
        without(edit, (ROOT / edit.file).read_text())


def test_every_test_exists_and_is_run_by_default():
    named = {f"tests/{test}" for attack in ATTACKS for test in attack.tests}
    files = sorted({test.partition("::")[0] for test in named})
    listed = pytest_of(ROOT, "--collect-only", *files)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    collected = {line for line in listed.stdout.splitlines() if "::" in line}
    collected |= {line.partition("[")[0] for line in collected}
    assert named - collected == set()


@pytest.mark.attacks
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("attack", "cut"), CUTS)
def test_without_its_defence_the_tests_of_an_attack_fail(attack: Attack, cut: Cut, tmp_path: Path):
    for folder in ("protocol", "relay", "peer", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    tests = [f"tests/{test}" for test in cut.tests]
    whole = pytest_of(tmp_path, *tests)
    assert whole.returncode == 0, f"they fail with the defence in place\n{whole.stdout}{whole.stderr}"
    for edit in cut.edits:
        changed = without(edit, (tmp_path / edit.file).read_text())
        (tmp_path / edit.file).write_text(changed)
    for test in tests:
        run = pytest_of(tmp_path, "-x", test)
        assert run.returncode == 1, f"{test} does not notice\n{run.stdout}{run.stderr}"
