"""How far somebody has come in what a room says."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """The four counts of a room's state, and the fifth of one's own asides: what comes after it is still to be sent."""

    log: int
    """Statements of the log."""
    card: int
    """The revision of the cards."""
    presence: int
    """The revision of who is present; -1 is before any."""
    number: int
    """The room's stream."""
    aside: int = 0
    """One's own asides; the room itself has none."""
