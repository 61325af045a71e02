"""A profile's sealing keys: made, published as cards, superseded, and dead on time.

Every lifetime here runs on this machine's clock and happens whether or not a relay answers. Processes of one profile
share the keys: whoever finds the rotation due makes the next generation under the profile's lock, and the others use
it. A private key is overwritten when it is due, before anything else is done with the profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from peer.store import Room, Store
from protocol import card, limits, names
from protocol.identity import Identity
from protocol.ids import SealingSecret

_FOLLOWED = limits.CARD_LIFE
"""How long messages of a chain that is dead can still be found to be missing."""
_RETAINED_CARDS = limits.RETENTION_CAP + limits.CHAIN_LIFE + limits.KEY_MARGIN


@dataclass(frozen=True, slots=True)
class SealingPair:
    """One generation of one's own: the private key and the card that publishes its public half."""

    generation: int
    secret: SealingSecret = field(repr=False)
    card: bytes
    made_at: int
    accepted: bool


def next_generation(now: int, last: int) -> int:
    """Return the generation of a new card at ``now`` (ms) after one of ``last`` (0: none).

    A stored last generation further ahead than anyone would accept comes from a wrong clock and is discarded.
    """
    return now if last > now + limits.CARD_AHEAD else max(now, last + 1)


class Keys:
    """The sealing keys of one room."""

    def __init__(self, store: Store, room: Room, identity: Identity) -> None:
        """Look after ``room``'s keys in ``store``."""
        self._store, self._room, self._identity = store, room, identity

    def generation(self, generation: int) -> SealingPair | None:
        """Return one generation, if it still lives."""
        return self._pair("generation = ?", generation)

    def newest(self) -> SealingPair | None:
        """Return the newest generation, accepted or not."""
        return self._pair("1")

    def accepted(self) -> SealingPair | None:
        """Return the newest generation that a relay accepted: the one to send with, for others can have its card."""
        return self._pair("accepted")

    def _pair(self, where: str, *values: int) -> SealingPair | None:
        sql = (
            "SELECT generation, secret, card, made_at, accepted FROM sealing_keys "  # noqa: S608 - our own words
            f"WHERE room = ? AND {where} ORDER BY generation DESC LIMIT 1"
        )
        row = self._store.row(sql, self._room.id, *values)
        return SealingPair(*row) if row else None

    def rotate(self, now: int) -> SealingPair:
        """Return the newest generation, after having made one if the rotation is due at ``now`` (ms)."""
        newest = self.newest()
        if newest and not self._due(newest, now):
            return newest
        with self._store.transaction():
            newest = self.newest()
            if newest and not self._due(newest, now):
                return newest
            generation = next_generation(now, newest.generation if newest else 0)
            secret = card.new_sealing_secret()
            nick = names.seal_nick(self._room.secret, self._room.id, self._identity.id, self._room.nick)
            raw = card.make(self._identity, self._room.id, generation, card.sealing_key(secret), nick)
            dies_at = now + limits.RETENTION_CAP + limits.KEY_MARGIN
            self._store.write("DELETE FROM sealing_keys WHERE room = ? AND generation >= ?", self._room.id, generation)
            self._store.write(
                "UPDATE sealing_keys SET dies_at = min(coalesce(dies_at, ?), ?) WHERE room = ?",
                *(dies_at, dies_at, self._room.id),
            )
            self._store.write(
                "INSERT INTO sealing_keys (room, generation, secret, card, made_at) VALUES (?, ?, ?, ?, ?)",
                *(self._room.id, generation, secret, raw, now),
            )
            return SealingPair(generation, secret, raw, now, accepted=False)

    @staticmethod
    def _due(newest: SealingPair, now: int) -> bool:
        return not 0 <= now - newest.made_at < limits.CARD_ROTATION

    def was_accepted(self, generation: int, retention: int, now: int) -> None:
        """Note that a relay has the card of ``generation``: earlier keys die when what is retained for them is gone."""
        dies_at = now + min(retention, limits.RETENTION_CAP) + limits.KEY_MARGIN
        with self._store.transaction():
            changed = self._store.write(
                "UPDATE sealing_keys SET accepted = 1 WHERE room = ? AND generation = ? AND NOT accepted",
                *(self._room.id, generation),
            )
            if changed:
                self._store.write(
                    "UPDATE sealing_keys SET dies_at = min(coalesce(dies_at, ?), ?) WHERE room = ? AND generation < ?",
                    *(dies_at, dies_at, self._room.id, generation),
                )


def bury(store: Store, now: int) -> bool:
    """Delete every key of the profile that is overdue at ``now`` (ms), and what only it needed; say whether keys died.

    It is called before anything else at start and at every wake-up. A clock that was set back cannot make a key live
    longer than its cap: what would die more than that cap ahead is overdue too. What was seen is remembered for as long
    as a key lives that could open it again.
    """
    horizon = now + limits.RETENTION_CAP + limits.CHAIN_LIFE + 2 * limits.KEY_MARGIN
    overdue = "dies_at <= ? OR dies_at > ?"
    if not any(
        store.row(f"SELECT 1 FROM {table} WHERE {overdue} LIMIT 1", now, horizon)  # noqa: S608 - our own words
        for table in ("sealing_keys", "chains")
    ):
        if store.owes_vacuum:
            store.vacuum()
        return False
    with store.transaction():
        for table in ("sealing_keys", "chains"):
            store.write(f"DELETE FROM {table} WHERE {overdue}", now, horizon)  # noqa: S608 - our own words
        store.write(
            "DELETE FROM seen WHERE stream = x'' AND NOT EXISTS (SELECT 1 FROM sealing_keys AS k "
            "WHERE k.room = seen.room AND k.generation = seen.generation)"
        )
        gone = "stream <> x'' AND NOT EXISTS (SELECT 1 FROM chains AS c WHERE c.room = {0}.room AND c.id = {0}.stream)"
        # the chain's key may come once more, to a key that was made while its sender still had it
        store.write(
            f"DELETE FROM seen WHERE {gone.format('seen')} AND NOT EXISTS (SELECT 1 FROM sealing_keys AS k "  # noqa: S608
            "WHERE k.room = seen.room AND k.made_at <= seen.seen_at + ?)",
            limits.CHAIN_LIFE,
        )
        # the sender's next chain tells how many messages this one had
        store.write(
            f"DELETE FROM streams WHERE {gone.format('streams')} AND heard_at <= ?",  # noqa: S608
            now - _FOLLOWED,
        )
        store.write(
            "DELETE FROM cards WHERE seen_at <= ? AND generation < (SELECT max(generation) FROM cards AS newer "
            "WHERE newer.room = cards.room AND newer.owner = cards.owner)",
            now - _RETAINED_CARDS,
        )
    store.vacuum()
    return True
