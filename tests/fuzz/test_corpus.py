"""Whatever a fuzzer ever found worth keeping, and what each of them begins with, is parsed again at every test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.core.inbox import Inbox
from peer.core.roster import Roster
from protocol import card as cards
from protocol import content
from protocol import statement as st
from relay.core.room import Room
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize("name", TARGETS)
def test_only_our_own_errors_leave(name) -> None:
    target = TARGETS[name]
    for seed in [b"", *target.seeds, *(path.read_bytes() for of, path in INPUTS if of == name)]:
        target.feed(seed)


def test_the_corpus_is_small_and_each_part_of_it_is_somebody_s() -> None:
    assert {name for name, _ in INPUTS} <= set(TARGETS)
    assert sum(path.stat().st_size for _, path in INPUTS) < 512 * 1024


BEHIND = [
    # what only runs once a signature, a seal or the rules of a room have been passed
    ("statements", st, "is_restriction"),
    ("cards", cards, "is_low_order"),
    ("asides", content, "Aside"),
    ("room-messages", content, "RoomMessage"),
    ("relay", Room, "append"),
    ("relay", Room, "publish"),
    ("peer", Inbox, "_show"),
    ("peer", Inbox, "_take_chain"),
    ("peer", Roster, "_announce"),
]


@pytest.mark.parametrize(("name", "where", "what"), BEHIND)
def test_the_seeds_get_past_what_keeps_rubbish_out(name, where, what, monkeypatch) -> None:
    """Otherwise a fuzzer would only ever knock at the door."""
    reached = []
    inside = getattr(where, what)
    monkeypatch.setattr(where, what, lambda *args, **named: reached.append(what) or inside(*args, **named))
    for seed in TARGETS[name].seeds:
        TARGETS[name].feed(seed)
    assert reached
