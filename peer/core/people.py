"""What members are called: the nicks in their cards, and labels that no two of them share.

A nick that another identity had first is shown with a suffix, and asides to it stop until the user accepts it; so a
stranger can take nobody's place by taking a name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from peer.core.cards import Cards
from peer.core.events import Person
from peer.store import Room, Store
from peer.text import safe_nick, safe_text
from protocol import identity, names
from protocol.errors import AmbiguousNick, CannotOpen, UnknownNick
from protocol.ids import PeerId


class People:
    """The names in one room."""

    def __init__(self, store: Store, room: Room, cards: Cards, members: Callable[[], Iterable[PeerId]]) -> None:
        """Name ``members()`` by their ``cards``."""
        self._store, self._room, self._cards, self._members = store, room, cards, members
        self._nicks: dict[PeerId, str] = {}
        self._labels: dict[PeerId, str] | None = None
        self._last_labels: dict[PeerId, str] = {}
        """What everybody was called last, those included who have gone."""

    def changed(self) -> None:
        """Note that members came or went."""
        self._labels = None

    def nick(self, peer: PeerId) -> str:
        """Return what ``peer`` calls itself, exactly; empty if nothing readable is known."""
        if peer not in self._nicks:
            card = self._cards.newest(peer)
            try:
                nick = names.open_nick(self._room.secret, self._room.id, peer, card.nick) if card else ""
            except CannotOpen:
                nick = ""
            self._nicks[peer] = nick
        return self._nicks[peer]

    def renamed(self, peer: PeerId) -> bool:
        """Take the nick of a new card; say whether it was another identity's first.

        Who had it first is remembered: the later one is an impostor until it is accepted.
        """
        self._nicks.pop(peer, None)
        self._labels = None
        nick = fold_nick(self.nick(peer))
        if not nick:
            return False
        sql = "SELECT owner FROM nicks WHERE room = ? AND nick = ?"
        owners = {row["owner"] for row in self._store.rows(sql, self._room.id, nick)}
        if peer in owners:
            return False
        self._store.write("INSERT INTO nicks VALUES (?, ?, ?, ?)", self._room.id, nick, peer, int(not owners))
        return bool(owners)

    def is_impostor(self, peer: PeerId) -> bool:
        """Say whether the nick of ``peer`` was another identity's first, and was not accepted."""
        row = self._store.row(
            "SELECT accepted FROM nicks WHERE room = ? AND nick = ? AND owner = ?",
            *(self._room.id, fold_nick(self.nick(peer)), peer),
        )
        return row is not None and not row["accepted"]

    def accept(self, peer: PeerId) -> None:
        """Note that the user accepts that ``peer`` has that nick now."""
        self._store.write("UPDATE nicks SET accepted = 1 WHERE room = ? AND owner = ?", self._room.id, peer)
        self._labels = None

    def person(self, peer: PeerId) -> Person:
        """Return ``peer`` with a label that no other member has."""
        if self._labels is None:
            self._labels = self._label_all()
            self._last_labels |= self._labels
        label = self._labels.get(peer) or self._last_labels.get(peer)
        return Person(peer, self.nick(peer), label or self._suffixed(peer, 4))

    def _suffixed(self, peer: PeerId, letters: int) -> str:
        return f"{safe_nick(self.nick(peer))}~{identity.id_text(peer)[:letters]}"

    def _label_all(self) -> dict[PeerId, str]:
        groups: dict[str, list[PeerId]] = {}
        for peer in self._members():
            groups.setdefault(fold_nick(self.nick(peer)), []).append(peer)
        labels: dict[PeerId, str] = {}
        for peers in groups.values():
            if len(peers) == 1 and self.nick(peers[0]) and not self.is_impostor(peers[0]):
                labels[peers[0]] = safe_nick(self.nick(peers[0]))
                continue
            letters = 4
            while len({identity.id_text(peer)[:letters] for peer in peers}) < len(peers):
                letters += 1
            labels |= {peer: self._suffixed(peer, letters) for peer in peers}
        return labels

    def find(self, word: str) -> Person:
        """Return the member that ``word`` names: a nick, a label, an id or a fingerprint.

        A word of the shape of an id or fingerprint is never looked up as a nick. Raises ``UnknownNick``,
        ``AmbiguousNick``.
        """
        people = [self.person(peer) for peer in self._members()]
        if identity.looks_like_id(word):
            found = [person for person in people if identity.matches(person.id, word)]
        else:
            nick, tilde, prefix = word.rpartition("~")
            if not tilde:
                nick = word
            # what follows ~ is always read as the beginning of an id: a nick that has one can't pass for a label
            found = [p for p in people if p.label == word] or [
                p for p in people if fold_nick(p.nick) == fold_nick(nick)
            ]
            if tilde:
                found = [p for p in found if identity.id_text(p.id).startswith(prefix.lower())]
        if not found:
            raise UnknownNick(safe_text(word[:64]))
        if len(found) > 1:
            raise AmbiguousNick(", ".join(person.label for person in found[:5]))
        return found[0]


def fold_nick(nick: str) -> str:
    """Return ``nick`` as it is compared: as it is shown, without regard to case or to what only looks different."""
    return safe_nick(unicodedata.normalize("NFKC", nick)).casefold() if nick else ""
