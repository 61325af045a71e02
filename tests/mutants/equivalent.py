"""Mutants that no test can tell from the original, as ``make mutants`` prints them, and why."""

EQUIVALENT: dict[str, str] = {
    "statement: 2: 3 (2)": "the end of the last signature's slice: nothing stands behind it in the same field",
    "card: 32: 33 (3)": "the scalar that probes for low order: any one does",
    "card: 32: 31 (3)": "the same",
    "membership: 2: 3": "the number of the founder's role: only the order of roles counts",
    "membership: 0: 1 (5)": "nobody's LEAVE is at index 1, and no grant: that is the FOUND's place",
    "membership: 0: 1 (6)": "nobody's demotion is at index 1, and no grant: that is the FOUND's place",
    "membership: index > ended: comparison 1 the other way round": "one place of the log holds one statement",
}
