"""Mutants that no test can tell from the original, as ``make mutants`` prints them, and why."""

EQUIVALENT: dict[str, str] = {}
