"""The tree of errors is a contract: codes go over the wire, exit codes to scripts, sentences to people."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import peer
import relay
from protocol import errors, limits
from protocol.errors import BY_CODE, BackchannelError, GoingAway, NotFound, Refused, from_code


def tree(root: type[BackchannelError]) -> list[type[BackchannelError]]:
    return [root, *(each for child in root.__subclasses__() for each in tree(child))]


for package in (relay, peer):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
EVERYWHERE = tree(BackchannelError)
EVERY = [error for error in EVERYWHERE if error.__module__ == errors.__name__]
A_RELAY_S = [error for error in EVERY if issubclass(error, Refused | NotFound | GoingAway)]
OURS = [error for error in EVERY if error not in A_RELAY_S]

EXIT_CODES = {
    "internal": 1,
    "usage": 2,
    "unreachable": 3,
    "wrong-relay-key": 3,
    "going-away": 3,
    "timeout": 4,
    "not-found": 5,
    "unknown-room": 5,
    "unknown-nick": 5,
    "ambiguous-nick": 5,
    "refused": 6,
    "not-member": 6,
    "banned": 6,
    "closed": 6,
    "founder": 6,
    "not-a-founder": 6,
    "expired": 6,
    "rate": 6,
    "limit": 6,
    "limit-members": 6,
    "limit-cards": 6,
    "stale-roster": 6,
    "too-large": 6,
    "clock": 6,
    "malformed": 6,
    "alarm": 7,
    "key-changed": 7,
    "bad-input": 8,
    "bad-invite": 8,
    "bad-address": 8,
    "bad-profile": 8,
    "profile-too-new": 8,
}


@pytest.mark.parametrize(("code", "exit_code"), EXIT_CODES.items())
def test_scripts_can_rely_on_codes_and_exit_codes(code, exit_code) -> None:
    assert BY_CODE[code].exit_code == exit_code


def test_no_two_errors_share_a_code() -> None:
    """Nor one that a program has for its own machine, beside the code that raises it."""
    codes = [error.code for error in EVERYWHERE]
    assert sorted(codes) == sorted(set(codes))
    assert {error.code for error in EVERY} == set(BY_CODE)
    assert len(EVERYWHERE) > len(EVERY)


@pytest.mark.parametrize("error", EVERYWHERE, ids=lambda error: error.code)
def test_each_has_a_code_that_fits_the_wire_a_sentence_for_a_person_and_its_branch_s_exit_code(error) -> None:
    assert 0 < len(error.code) <= limits.CODE
    assert set(error.code) <= set("abcdefghijklmnopqrstuvwxyz-")
    assert "code" in vars(error), "inherited: two errors would look alike to programs"
    assert "sentence" in vars(error)
    assert error.sentence[0].isupper()
    assert error.sentence.endswith(".")
    assert error.__doc__
    for branch in (errors.NotFound, errors.Refused, errors.AlarmRaised, errors.BadInput, errors.UnreachableError):
        if issubclass(error, branch):
            assert error.exit_code == branch.exit_code
    assert str(error()) == error.sentence
    assert str(error("it is so")) == f"{error.sentence} (it is so)"


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = errors.__doc__ or ""
    for branch in ("UsageError", "UnreachableError", "TimedOut", "NotFound", "Refused", "AlarmRaised", "BadInput"):
        error = getattr(errors, branch)
        (line,) = [line for line in drawn.splitlines() if f"── {branch} " in line or line.endswith(f"── {branch}")]
        assert line.split()[-1] == str(error.exit_code)


@pytest.mark.parametrize("error", A_RELAY_S, ids=lambda error: error.code)
def test_a_refusal_on_the_wire_is_that_error_here(error) -> None:
    assert type(from_code(error.code)) is error


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.code)
def test_a_relay_refuses_and_cannot_make_a_command_report_anything_else(error) -> None:
    """Otherwise a hostile relay could show any alarm, or say that the program has a bug or the profile is damaged."""
    told = from_code(error.code)
    assert (type(told), told.detail) == (Refused, error.code)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("", ""),
        ("quota-of-tomorrow", "quota-of-tomorrow"),
        ("\x1b[2J\x07bad\n", "2Jbad"),
        ("\u202egnissim", "gnissim"),
        ("ünïcode٣²", "ncode"),
        ("x" * 10_000, "x" * 40),
        ("rate ", "rate"),
        ("RATE", "RATE"),
        ("\ud800", ""),
    ],
)
def test_an_unknown_code_is_a_plain_refusal_that_is_safe_to_show(code, shown) -> None:
    told = from_code(code)
    assert (type(told), told.detail) == (Refused, shown)
    assert str(told).isprintable()
