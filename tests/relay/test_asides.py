"""Claim 1 of the design on the relay's core, and asides in general. More follows in the stories beside it."""

from __future__ import annotations


def test_an_aside_reaches_its_addressee_alone(company):
    c = company
    assert c.alice.says(c.room, "hi") == "accepted"
    assert c.alice.whispers(c.room, c.bob, "psst") == "accepted"
    assert c.bob.reads() == ["hi", "(psst)"]
    assert c.chuck.reads() == ["hi"]
    assert c.alice.reads() == ["hi"]
