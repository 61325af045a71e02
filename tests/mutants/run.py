"""Make one small mistake after the other in what decides who reads what, and see a test notice each: `make mutants`.

A child is forked for each mutant. It puts the mutant in the place of its module, before anything imports that, and
runs the module's own tests until one fails. What no test can notice is listed in ``equivalent``, with the reason; any
other survivor is a test that lacks.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis  # noqa: F401 - so that no child has to
import nacl.public  # noqa: F401
import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.operators import Mutant, mutants

ROOT = Path(__file__).parents[2]
MODULES = ["seal", "chain", "card", "membership", "statement"]
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
PATIENCE = 240
"""A mutant that has not ended after so many seconds is noticed: somebody would."""


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads a mutant where its module is asked for."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == f"protocol.{self.mutant.module}" else None

    def exec_module(self, module: object) -> None:
        exec(compile(self.mutant.tree, f"{self.mutant.module}.py", "exec"), vars(module))


def be(mutant: Mutant) -> None:
    """Be the child of a mutant: exit with 0 if every test passes."""
    sys.meta_path.insert(0, Instead(mutant))
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    own = sorted(str(path) for path in Path("tests/protocol").glob(f"test_{mutant.module}*.py"))
    os._exit(bool(pytest.main([*OPTIONS, *own])))


def survivors(every: list[Mutant]) -> Iterator[Mutant]:
    """Yield each mutant that nothing notices."""
    waiting, running = list(reversed(every)), {}
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            mutant = waiting.pop()
            if not (child := os.fork()):
                be(mutant)
            running[child] = (mutant, time.monotonic())
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            mutant, _ = running.pop(child)
            if status == 0:
                yield mutant
            continue
        time.sleep(0.02)
        for late in [child for child, (_, begun) in running.items() if time.monotonic() - begun > PATIENCE]:
            os.kill(late, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES)
    os.chdir(ROOT)
    os.environ["CI"] = "true"  # hypothesis then draws the same examples every time
    missed = 0
    for module in parser.parse_args().modules:
        source = Path(f"protocol/{module}.py").read_text()
        if not list(survivors([Mutant(module, 0, "no mistake", ast.parse(source))])):
            sys.exit("the tests fail as it is")
        every = list(mutants(module, source))
        alive = [f"{module}: {mutant.what}" for mutant in survivors(every)]
        unknown = [what for what in alive if what not in EQUIVALENT]
        print(f"{module}: {len(every)} mutants, {len(every) - len(alive)} noticed,", end=" ")
        print(f"{len(alive) - len(unknown)} equivalent, {len(unknown)} not noticed", *unknown, sep="\n  ", flush=True)
        missed += len(unknown)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
