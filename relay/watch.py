"""What the loop does once a second beside serving: it says that it turns, and publishes and logs what happened.

Others look at an ``Observation``, never at the core: it is made by the loop between two turns, so it is consistent, and
it changes no more, so whoever reads it in another thread waits for nobody and nobody waits for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.errors import BY_CODE, Limit
from relay.core.counts import Counts, Gauges
from relay.logs import values

if TYPE_CHECKING:
    from relay.core.core import Core
    from relay.router import Router
    from relay.service import ServiceManager

log = logging.getLogger("relay")

LIMITS: Final = frozenset(code for code, error in BY_CODE.items() if issubclass(error, Limit))
"""The codes of refusals that say that a bound was reached."""
SHARE: Final = 0.01
"""How much of the loop's time looking at every room may take; with many rooms they are looked at less often."""
LOGGED_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The relay between two turns of its loop."""

    at: float
    """On ``time.monotonic``'s clock."""
    counts: Counts
    gauges: Gauges
    accepted: int
    unproven: int


class Watch:
    """Observes one relay; ``look`` is what its router calls each second."""

    def __init__(
        self, core: Core, router: Router, manager: ServiceManager, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core, self._router, self._manager, self._clock = core, router, manager, clock
        self._gauges_at = 0.0
        self._logged_at = clock() - LOGGED_EVERY_S
        self._logged = deepcopy(core.counts)
        self.latest = Observation(clock(), deepcopy(core.counts), core.gauges(), 0, 0)
        """Replaced as a whole, never changed."""

    def look(self) -> None:
        """Take note of what there is now."""
        now, gauges = self._clock(), self.latest.gauges
        if now >= self._gauges_at:
            gauges = self._core.gauges()
            self._gauges_at = now + (self._clock() - now) / SHARE
        counts = deepcopy(self._core.counts)
        self.latest = Observation(now, counts, gauges, self._router.links.accepted, self._router.links.unproven)
        self._manager.alive(f"{gauges.connections} connections, {gauges.rooms} rooms")
        if now - self._logged_at >= LOGGED_EVERY_S and log_changes(self._logged, counts, gauges):
            self._logged_at, self._logged = now, counts


def log_changes(before: Counts, after: Counts, gauges: Gauges) -> bool:
    """Log what an operator wants to know of what happened in between, in a line or two; say whether there was any."""
    rooms = {
        name: getattr(after, f"rooms_{name}") - getattr(before, f"rooms_{name}")
        for name in ("founded", "restored", "forgotten")
    }
    warnings = {
        "limits reached": {code: n for code, n in (after.refused - before.refused).items() if code in LIMITS},
        "connections cut": after.cut - before.cut,
        "messages dropped early": after.evicted - before.evicted,
    }
    if any(rooms.values()):
        log.info("rooms", extra=values(**rooms, open=gauges.rooms, connections=gauges.connections))
    for event, numbers in warnings.items():
        if numbers:
            log.warning(event, extra=values(**numbers))
    return any(rooms.values()) or any(warnings.values())
