"""What each may say about a room, as one table: every statement in every role, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol import statement as st
from protocol.errors import (
    AlreadyMember,
    AlreadyStated,
    BadStatement,
    Banned,
    FounderStays,
    InviteEnded,
    NotAllowed,
    NotMember,
    RoomClosed,
)
from protocol.identity import Identity, SigningKey
from protocol.ids import Anchor
from protocol.membership import next_head
from tests.protocol.builders import (
    ALICE,
    BOB,
    CHUCK,
    DAVE,
    EVE,
    FRED,
    GINA,
    HANK,
    NOW,
    Room,
    invite,
    populated,
    state,
)

ROLES = {"founder": ALICE, "admin": BOB, "member": CHUCK, "stranger": DAVE, "former": FRED, "banned": GINA}
"""Besides them there are Eve, another member, and Hank, another admin."""

NEW, UNKNOWN = SigningKey(b"n" * 32), SigningKey(b"u" * 32)
Says = Callable[[Room, dict[str, SigningKey], Identity], bytes]
ACTIONS: dict[str, Says] = {
    "grants": lambda room, keys, who: room.signed(st.grant, who, invite(NEW), 0, 0),
    "enters": lambda room, keys, who: room.signed(st.admit, who, keys["founder"]),
    "promotes a member": lambda room, keys, who: room.signed(st.role, who, EVE.id, True),
    "promotes a stranger": lambda room, keys, who: room.signed(st.role, who, DAVE.id, True),
    "promotes the banned": lambda room, keys, who: room.signed(st.role, who, GINA.id, True),
    "promotes the founder": lambda room, keys, who: room.signed(st.role, who, ALICE.id, True),
    "demotes an admin": lambda room, keys, who: room.signed(st.role, who, HANK.id, False),
    "demotes a stranger": lambda room, keys, who: room.signed(st.role, who, DAVE.id, False),
    "demotes the founder": lambda room, keys, who: room.signed(st.role, who, ALICE.id, False),
    "kicks a member": lambda room, keys, who: room.signed(st.remove, who, EVE.id, False),
    "bans a member": lambda room, keys, who: room.signed(st.remove, who, EVE.id, True),
    "bans a stranger": lambda room, keys, who: room.signed(st.remove, who, DAVE.id, True),
    "kicks an admin": lambda room, keys, who: room.signed(st.remove, who, HANK.id, False),
    "kicks the founder": lambda room, keys, who: room.signed(st.remove, who, ALICE.id, False),
    "revokes an admin's": lambda room, keys, who: room.signed(st.revoke, who, invite(keys["admin"])),
    "revokes the unknown": lambda room, keys, who: room.signed(st.revoke, who, invite(UNKNOWN)),
    "leaves": lambda room, keys, who: room.signed(st.leave, who),
    "closes": lambda room, keys, who: room.signed(st.close, who),
    "founds again": lambda room, keys, who: st.found(who, b"tlas" * 4, NOW, False, b""),
}

OK, No, Out, Ban, Stays, In, Bad = None, NotAllowed, NotMember, Banned, FounderStays, AlreadyMember, BadStatement
TABLE: dict[str, tuple[type[Exception] | None, ...]] = {
    #                       founder admin  member stranger former banned
    "grants":               (OK,    OK,    No,    Out,     Out,   Ban),
    "enters":               (In,    In,    In,    OK,      OK,    Ban),
    "promotes a member":    (OK,    No,    No,    Out,     Out,   Ban),
    "promotes a stranger":  (Out,   No,    No,    Out,     Out,   Ban),
    "promotes the banned":  (Ban,   No,    No,    Out,     Out,   Ban),
    "promotes the founder": (Stays, No,    No,    Out,     Out,   Ban),
    "demotes an admin":     (OK,    No,    No,    Out,     Out,   Ban),
    "demotes a stranger":   (OK,    No,    No,    Out,     Out,   Ban),
    "demotes the founder":  (Stays, No,    No,    Out,     Out,   Ban),
    "kicks a member":       (OK,    OK,    No,    Out,     Out,   Ban),
    "bans a member":        (OK,    OK,    No,    Out,     Out,   Ban),
    "bans a stranger":      (OK,    OK,    No,    Out,     Out,   Ban),
    "kicks an admin":       (OK,    No,    No,    Out,     Out,   Ban),
    "kicks the founder":    (Stays, Stays, No,    Out,     Out,   Ban),
    "revokes an admin's":   (OK,    OK,    No,    Out,     Out,   Ban),
    "revokes the unknown":  (OK,    OK,    No,    Out,     Out,   Ban),
    "leaves":               (Stays, OK,    OK,    Out,     Out,   Ban),
    "closes":               (OK,    No,    No,    Out,     Out,   Ban),
    "founds again":         (Bad,   Bad,   Bad,   Bad,     Bad,   Bad),
}  # fmt: skip
CASES = [(who, what, error) for what, row in TABLE.items() for who, error in zip(ROLES, row, strict=True)]


def judge(room: Room, raw: bytes, error: type[Exception] | None) -> None:
    if error is not None:
        room.refuses(error, raw)
        return
    before, unchanged = room.anchor, state(room.membership)
    checked = room.membership.check(raw)
    assert state(room.membership) == unchanged
    said = room.membership.apply(raw)
    assert said == checked
    assert st.decode(raw) == said
    assert room.anchor == Anchor(before.index + 1, next_head(before.head, raw))


@pytest.mark.parametrize(("who", "what", "error"), CASES, ids=[f"{who} {what}" for who, what, _ in CASES])
def test_each_role_may_say_this_and_no_more(who, what, error) -> None:
    room, keys = populated()
    judge(room, ACTIONS[what](room, keys, ROLES[who]), error)


@pytest.mark.parametrize(
    ("who", "what", "error"),
    [("member", "grants", OK), ("stranger", "grants", Out), ("former", "grants", Out), ("banned", "grants", Ban)]
    + [(who, what, error) for who, what, error in CASES if who == "member" and what != "grants"],
)
def test_where_members_may_invite_they_may_that_and_no_more(who, what, error) -> None:
    room, keys = populated(members_invite=True)
    judge(room, ACTIONS[what](room, keys, ROLES[who]), error)


def test_a_member_revokes_the_invites_it_granted_and_nobody_else_s() -> None:
    room, keys = populated(members_invite=True)
    room.refuses(NotAllowed, room.signed(st.revoke, EVE, invite(keys["member"])))
    room.says(st.revoke, CHUCK, invite(keys["member"]))
    room.refuses(InviteEnded, room.signed(st.admit, DAVE, keys["member"]))


def test_a_closed_room_takes_nothing_more() -> None:
    room, keys = populated()
    before = {what: say(room, keys, who) for what, say in ACTIONS.items() for who in (ALICE, BOB, EVE, DAVE)}
    closing = room.says(st.close, ALICE)
    assert room.membership.closed
    for raw in before.values():
        if raw != closing:
            room.refuses(RoomClosed, raw)
    room.refuses(AlreadyStated, closing)
