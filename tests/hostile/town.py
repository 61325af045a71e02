"""A town: a relay, honest people who talk in a room on it, and what holds whoever attacks.

    town.withstands(attack)

runs the attack again and again in a thread while the people talk in turn. Afterwards the relay is the same process and
has not grown, the people heard everything, once and in order, and about as fast as before.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from tests.e2e.scene import Scene, wait
from tests.faults.crowd import Crowd
from tests.faults.gauge import MIB, descriptors, median, resident

TALKERS = ("alice", "bob")
ROUNDS = 16
NOISE = 200_000
"""What a busy machine may add to how long people wait, in µs; whoever is held up by an attack waits for seconds."""


class Town:
    """See the module's text."""

    def __init__(self, scene: Scene, *options: str) -> None:
        self.scene = scene
        self.relay = scene.relay(*options)
        self.address = self.relay.address
        self.crowd = Crowd(scene, self.relay, *TALKERS, apart=())
        self.invite = scene.invite
        self.crowd.rounds(TALKERS, ROUNDS, "warming up", among=TALKERS)
        self.crowd.rounds(TALKERS, ROUNDS, "in peace", among=TALKERS)
        self.weight = resident(self.relay.pid)
        self.descriptors = descriptors(self.relay.pid)

    def withstands(
        self, attack: Callable[[], object], *, grows: int = 16 * MIB, times: float = 6.0, rounds: int = ROUNDS
    ) -> None:
        """See the module's text; ``grows`` is by how much the relay may, ``times`` how much slower people may hear."""
        over = threading.Event()
        failures: list[Exception] = []

        def attacking() -> None:
            try:
                attack()
                while not over.is_set():
                    attack()
            except Exception as failure:  # noqa: BLE001 - it is raised again below, in the test's thread
                failures.append(failure)

        attacker = threading.Thread(target=attacking)
        attacker.start()
        tag = f"attack {id(attacker)}"
        heaviest = 0
        try:
            for _ in range(2):
                self.crowd.rounds(TALKERS, rounds // 2, tag, among=TALKERS)
                heaviest = max(heaviest, resident(self.relay.pid))
        finally:
            over.set()
            attacker.join()
        if failures:
            raise failures[0]
        self.is_whole()
        peace, attacked = (median(self.crowd.ledger.took(TALKERS, each)) for each in ("in peace", tag))
        assert attacked < times * peace + NOISE, f"{attacked} µs instead of {peace}"
        assert heaviest - self.weight < grows, f"{(heaviest - self.weight) / MIB:.0f} MiB more"

    def is_whole(self) -> None:
        """The relay lives, and whatever honest people said was heard."""
        assert self.relay.child.poll() is None, self.relay
        with contextlib.suppress(AssertionError):
            self.crowd.waits(lambda: not self.crowd.ledger.unbalanced(whole=True), 20)
        assert not (wrong := self.crowd.ledger.unbalanced(whole=True)), wrong

    def recovers(self) -> None:
        """Wait until the relay holds no more descriptors than before."""
        wait(lambda: descriptors(self.relay.pid) <= self.descriptors + 2)
