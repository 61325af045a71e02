"""Mutants that no test can tell from the original, as ``make mutants`` prints them, and why."""

EQUIVALENT: dict[str, str] = {
    "statement: 2: 3 (2)": "the end of the last signature's slice: nothing stands behind it in the same field",
}
