"""What decides who reads what, and who belongs, is short enough to be audited in an hour."""

from pathlib import Path

import pytest

import protocol

AUDITED = ["seal", "chain", "card", "membership", "statement", "primitives"]
HERE = Path(protocol.__file__).parent


def test_the_six_modules_of_an_audit_stay_under_900_lines() -> None:
    lines = {name: len((HERE / f"{name}.py").read_text().splitlines()) for name in AUDITED}
    assert sum(lines.values()) < 900, (
        f"{lines} make {sum(lines.values())} lines. Somebody has to be able to read all of this within an hour, and to "
        "keep it in mind: make it simpler, or move out what has nothing to do with security. Denser lines do not help."
    )


@pytest.mark.parametrize("name", AUDITED)
def test_each_of_them_begins_with_what_it_protects_and_what_it_does_not(name) -> None:
    begins = (HERE / f"{name}.py").read_text().split('"""')[1]
    assert "protect" in begins
    assert any(words in begins for words in ("does not", "cannot", "Not\nprotected"))
