"""Who the stories are about, and the small things that every test would otherwise build again.

The people have fixed keys, so that a failure reads the same at every run. ``Room`` is a room in the making: whoever is
named says something, signed and anchored where the room stands unless told otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from protocol import card as cd
from protocol import statement as st
from protocol.identity import Identity, SigningKey
from protocol.ids import Anchor, Head, InviteId, MessageId, PeerId, RoomId, RoomSecret, SealingSecret
from protocol.membership import Membership

NOW = 1_700_000_000_000


def identity(name: str) -> Identity:
    """Return the same identity for the same name."""
    return Identity(name.encode().ljust(32, b"."))


ALICE, BOB, CHUCK, DAVE, EVE = (identity(name) for name in ("alice", "bob", "chuck", "dave", "eve"))
FRED, GINA, HANK = (identity(name) for name in ("fred", "gina", "hank"))

ROOM, OTHER_ROOM = RoomId(b"r" * 32), RoomId(b"o" * 32)
SECRET = RoomSecret(b"s" * 32)
ANCHOR = Anchor(7, Head(b"h" * 32))
MESSAGE, OTHER_MESSAGE = MessageId(b"m" * 16), MessageId(b"n" * 16)

briefly_and_for_long = pytest.mark.parametrize("drawn", ["briefly", pytest.param("for long", marks=pytest.mark.fuzz)])
"""A fuzzer runs with every test run, and for as long as one likes under `make fuzz`."""


class Keys:
    """Somebody with a card: the identity, and the sealing key pair of one generation."""

    def __init__(self, who: Identity, generation: int = NOW) -> None:
        self.id: PeerId = who.id
        self.generation = generation
        self.secret = SealingSecret(who.id[::-1])
        self.key = cd.sealing_key(self.secret)


class Room:
    """A room in the making; ``membership`` is its fold."""

    def __init__(self, founder: Identity = ALICE, *, members_invite: bool = False) -> None:
        self.founder = founder
        self.membership = Membership(st.found(founder, b"salt" * 4, NOW, members_invite, b"title"))
        self.id = self.membership.room

    @property
    def anchor(self) -> Anchor:
        return self.membership.anchor

    def at(self, index: int) -> Anchor:
        """Return the anchor at an earlier place."""
        return Anchor(index, self.membership.heads[index])

    def signed(self, form: Callable[..., bytes], signer: Identity, *said: object, at: Anchor | None = None) -> bytes:
        """Return a statement as ``signer`` would make it here."""
        return form(signer, self.id, self.anchor if at is None else at, *said)

    def says(self, form: Callable[..., bytes], signer: Identity, *said: object, at: Anchor | None = None) -> bytes:
        """Append what ``signer`` says; raise what the room's rules raise."""
        raw = self.signed(form, signer, *said, at=at)
        self.membership.apply(raw)
        return raw

    def invites(self, name: str = "invite", *, by: Identity | None = None, uses: int = 0) -> SigningKey:
        """Grant an invite (by the founder, if nobody is named) and return its key."""
        key = SigningKey(name.encode().ljust(32, b"."))
        self.says(st.grant, by or self.founder, InviteId(key.public), uses, 0)
        return key

    def admits(self, *people: Identity) -> None:
        """Let people in by an invite of their own."""
        for who in people:
            self.says(st.admit, who, self.invites(f"for {who.id.hex()[:8]} at {self.anchor.index}"))

    def promotes(self, *people: Identity) -> None:
        """Let people in and make them admins."""
        self.admits(*people)
        for who in people:
            self.says(st.role, self.founder, who.id, True)

    def refuses(self, error: type[Exception], raw: bytes) -> None:
        """Expect ``raw`` to be refused with exactly ``error``, and nothing at all to change by it."""
        before = state(self.membership)
        with pytest.raises(error) as caught:
            self.membership.apply(raw)
        assert type(caught.value) is error
        assert state(self.membership) == before


def invite(key: SigningKey) -> InviteId:
    """Return what a statement calls an invite by."""
    return InviteId(key.public)


def populated(*, members_invite: bool = False) -> tuple[Room, dict[str, SigningKey]]:
    """Return a room with somebody in every role, and a live invite by each who may have one.

    Alice founded it, Bob and Hank are admins, Chuck and Eve members; Fred left, Gina was banned, Dave never came.
    """
    room = Room(members_invite=members_invite)
    room.promotes(BOB, HANK)
    room.admits(CHUCK, EVE, FRED, GINA)
    room.says(st.leave, FRED)
    room.says(st.remove, ALICE, GINA.id, True)
    keys = {"founder": room.invites("founder's"), "admin": room.invites("admin's", by=BOB)}
    if members_invite:
        keys["member"] = room.invites("member's", by=CHUCK)
    return room, keys


def state(membership: Membership) -> dict[str, object]:
    """Return a deep copy of all that a fold knows, to compare."""
    return copy.deepcopy(vars(membership))


def flips(data: bytes, step: int = 1) -> list[bytes]:
    """Return ``data`` with one bit flipped, once for every ``step``-th byte."""
    return [data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :] for at in range(0, len(data), step)]
