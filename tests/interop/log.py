"""Statements and the fold, as docs/protocol.md section 4 has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from nacl.signing import SigningKey

from tests.interop.codec import COUNT, TIME, ZERO, Attack, H, fields, pack, sign, unpack, verify

FOUND, GRANT, ADMIT, ROLE, REMOVE, REVOKE, LEAVE, CLOSE = range(1, 9)
LABELS = dict(zip(range(1, 9), ["found", "grant", "admit", "role", "remove", "revoke", "leave", "close"], strict=True))
ANCHOR = (32, range(COUNT), 32)
BODIES = {
    FOUND: (16, range(TIME), bool, -160),
    GRANT: (*ANCHOR, 32, range(1_000_001), range(TIME)),
    ADMIT: ANCHOR,
    ROLE: (*ANCHOR, 32, bool),
    REMOVE: (*ANCHOR, 32, bool),
    REVOKE: (*ANCHOR, 32),
    LEAVE: ANCHOR,
    CLOSE: ANCHOR,
}


def state(kind: int, key: SigningKey, body: bytes, invite: SigningKey | None = None) -> bytes:
    """A signed statement."""
    signers = [key, invite] if invite else [key]
    keys = b"".join(bytes(each.verify_key) for each in signers)
    return bytes([kind]) + keys + b"".join(sign(each, f"bc1 {LABELS[kind]}", keys + body) for each in signers) + body


def must(*conditions: object) -> None:
    if not all(conditions):
        raise Attack("a statement that does not fold")


@dataclass
class Grant:
    by: bytes
    uses: int
    used: int = 0


class Log:
    """The log of one room and what it folds to."""

    def __init__(self, room: bytes) -> None:
        self.room = room
        self.statements: list[bytes] = []
        self.heads = [ZERO]
        self.ids: set[bytes] = set()
        self.roles: dict[bytes, str] = {}
        self.stays: dict[bytes, list[int]] = {}  # the indices at which somebody came and went, in turns
        self.gone: dict[bytes, int] = {}
        self.banned: set[bytes] = set()
        self.invites: dict[bytes, Grant] = {}
        self.ever_granted: set[bytes] = set()
        self.granted: Counter[bytes] = Counter()
        self.departures = [0]
        self.restricted = 1
        self.closed = False

    def __len__(self) -> int:
        return len(self.statements)

    @property
    def anchor(self) -> tuple[int, bytes]:
        return len(self), self.heads[-1]

    def is_place(self, index: int, head: bytes) -> bool:
        return index < len(self.heads) and self.heads[index] == head

    def was_member(self, who: bytes, index: int) -> bool:
        stays = [*self.stays.get(who, []), COUNT]
        return any(came <= index < went for came, went in list(pairwise(stays))[::2])

    def departed_by(self, index: int) -> int:
        """The index of the latest departure at or before an index."""
        return max(place for place in self.departures if place <= index)

    def append(self, statement: bytes) -> None:
        """Fold one statement more, or raise Attack and change nothing."""
        kind = statement[0] if statement else 0
        if kind not in BODIES or len(statement) > 1024:
            raise Attack("not a statement")
        count = 2 if kind == ADMIT else 1
        keys, rest = statement[1 : 1 + 32 * count], statement[1 + 32 * count :]
        body = rest[64 * count :]
        if len(keys) < 32 * count:
            raise Attack("not a statement")
        for i in range(count):
            verify(keys[32 * i :][:32], f"bc1 {LABELS[kind]}", keys + body, rest[64 * i :][:64])
        values = fields(unpack(body), *BODIES[kind])
        id = H("bc1 statement id", bytes([kind]) + keys + body)
        must((kind == FOUND) == (not self.statements), not self.closed, id not in self.ids)
        signer, invite = keys[:32], keys[32:]
        if kind == FOUND:
            if H("bc1 room id", statement) != self.room:
                raise Attack("the founding of another room")
            self.founder, self.roles[signer], self.stays[signer] = signer, "founder", [1]
            self.salt, _, self.members_may_invite, self.sealed_title = values
        else:
            room, index, head, *values = values
            if room != self.room:
                raise Attack("a statement of another room")
            anchored = index if self.is_place(index, head) else -1
            self.fold(kind, signer, invite, anchored, *values)
        self.ids.add(id)
        self.statements.append(statement)
        self.heads.append(H("bc1 head", self.heads[-1] + statement))

    def fold(self, kind: int, signer: bytes, invite: bytes, anchored: int, *values: object) -> None:
        place = len(self) + 1
        role = self.roles.get(signer)
        chief = role in ("founder", "admin")
        match kind, *values:
            case 2, granted, uses, _:
                must(chief or (role and self.members_may_invite))
                must(anchored >= self.restricted, granted not in self.ever_granted)
                must(role == "founder" or self.granted[signer] < 1024)
                self.invites[granted] = Grant(signer, uses)
                self.ever_granted.add(granted)
                self.granted[signer] += 1
            case (3,):
                grant = self.invites.get(invite)
                must(signer not in self.banned, role is None, grant)
                must(grant.used < (grant.uses or 16384), grant.used < 16384)
                must(len(self.roles) < 4096, anchored >= self.gone.get(signer, 0))
                grant.used += 1
                self.roles[signer] = "member"
                self.stays.setdefault(signer, []).append(place)
            case 4, subject, admin:
                must(role == "founder", subject != self.founder)
                must(not admin or (subject in self.roles and anchored >= self.restricted))
                if subject in self.roles:
                    self.roles[subject] = "admin" if admin else "member"
                if not admin and not self.members_may_invite:
                    self.end_invites(subject)
                self.restricted = place
            case 5, subject, ban:
                must(chief, subject != self.founder)
                must(self.roles.get(subject) != "admin" or role == "founder")
                if ban:
                    self.banned.add(subject)
                self.depart(subject, place)
                self.invites.clear()
                self.restricted = place
            case 6, revoked:
                granted = self.invites.get(revoked)
                must(chief or (role and granted and granted.by == signer))
                self.invites.pop(revoked, None)
                self.restricted = place
            case (7,):
                must(role, signer != self.founder)
                self.depart(signer, place)
                self.end_invites(signer)
            case (8,):
                must(role == "founder")
                self.closed = True

    def depart(self, who: bytes, place: int) -> None:
        self.gone[who] = place
        if self.roles.pop(who, None):
            self.stays[who].append(place)
            self.departures.append(place)

    def end_invites(self, by: bytes) -> None:
        self.invites = {key: grant for key, grant in self.invites.items() if grant.by != by}


def body(log: Log, *values: object) -> bytes:
    """The body of a statement that is anchored at the end of a log."""
    return pack(log.room, *log.anchor, *values)
