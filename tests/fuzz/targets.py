"""All fuzzers, by name."""

from __future__ import annotations

from tests.fuzz import cores, files, parsers
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = parsers.TARGETS | files.TARGETS | cores.TARGETS
