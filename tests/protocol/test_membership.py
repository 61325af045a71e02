"""What follows from what is said about a room: stories of a founder, admins, members and those who left."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import pytest

from protocol import limits
from protocol import statement as st
from protocol.errors import (
    AlreadyStated,
    BadSignature,
    BadStatement,
    Banned,
    InviteEnded,
    InviteSpent,
    Malformed,
    StaleAnchor,
    TooLarge,
    TooManyMembers,
    TooManyStatements,
)
from protocol.identity import SigningKey
from protocol.ids import Anchor, Head, PeerId
from protocol.membership import START, Membership, Role
from tests.protocol.builders import ALICE, BOB, CHUCK, DAVE, EVE, HANK, NOW, Room, identity, invite, populated, state

NEW, UNKNOWN = SigningKey(b"n" * 32), SigningKey(b"u" * 32)

# -- anchors ----------------------------------------------------------------------------------------------------------


def anchored(room: Room, key: SigningKey) -> dict[str, Callable[[Anchor], bytes]]:
    return {
        "GRANT": lambda at: room.signed(st.grant, ALICE, invite(NEW), 0, 0, at=at),
        "ADMIT": lambda at: room.signed(st.admit, DAVE, key, at=at),
        "ROLE to admin": lambda at: room.signed(st.role, ALICE, EVE.id, True, at=at),
    }


@pytest.mark.parametrize("what", ["GRANT", "ADMIT", "ROLE to admin"])
def test_what_admits_or_promotes_must_stand_on_this_log(what) -> None:
    room, keys = populated()
    say = anchored(room, keys["founder"])[what]
    here = room.anchor
    for wrong in (
        Anchor(here.index, Head(b"h" * 32)),
        Anchor(here.index, room.at(here.index - 1).head),
        Anchor(here.index + 1, here.head),
        Anchor(limits.COUNTER - 1, here.head),
        Anchor(0, here.head),
    ):
        room.refuses(StaleAnchor, say(wrong))
    room.membership.apply(say(here))


@pytest.mark.parametrize("what", ["GRANT", "ROLE to admin"])
@pytest.mark.parametrize(
    "restriction",
    [
        lambda room: room.says(st.role, ALICE, HANK.id, False),
        lambda room: room.says(st.role, ALICE, CHUCK.id, True),
        lambda room: room.says(st.remove, BOB, CHUCK.id, False),
        lambda room: room.says(st.revoke, BOB, invite(UNKNOWN)),
    ],
    ids=["demotion", "promotion", "removal", "revocation"],
)
def test_a_grant_or_promotion_must_have_seen_the_latest_change_of_rights(what, restriction) -> None:
    room, keys = populated()
    before = room.anchor
    restriction(room)
    say = anchored(room, keys["founder"])[what]
    room.refuses(StaleAnchor, say(before))
    room.membership.apply(say(room.anchor))


def test_a_grant_stands_on_the_founding_at_least() -> None:
    room = Room()
    room.refuses(StaleAnchor, room.signed(st.grant, ALICE, invite(NEW), 0, 0, at=Anchor(0, START)))
    room.says(st.grant, ALICE, invite(NEW), 0, 0, at=room.at(1))


def test_whoever_never_left_may_enter_from_any_place_of_the_log() -> None:
    room, keys = populated()
    room.says(st.admit, DAVE, keys["founder"], at=room.at(0))


def test_admissions_and_departures_hold_up_no_grant() -> None:
    room, keys = populated()
    before = room.anchor
    room.says(st.admit, DAVE, keys["founder"])
    room.says(st.leave, CHUCK)
    room.says(st.grant, ALICE, invite(NEW), 0, 0, at=before)


@pytest.mark.parametrize("how", ["left", "was kicked", "was kicked while outside"])
def test_attack_6_whoever_left_comes_back_only_by_an_admission_made_since(how) -> None:
    """So nobody can bring somebody back with an ADMIT that was signed, and kept, before."""
    room = Room()
    room.admits(BOB)
    kept = room.anchor
    if how == "was kicked while outside":
        room.says(st.leave, BOB)
        kept = room.anchor
    if how == "left":
        room.says(st.leave, BOB)
    else:
        room.says(st.remove, ALICE, BOB.id, False)
    key = room.invites("again")
    room.refuses(StaleAnchor, room.signed(st.admit, BOB, key, at=kept))
    room.says(st.admit, BOB, key, at=room.at(room.membership.left[BOB.id]))


def test_churn_cannot_keep_a_restriction_out() -> None:
    """Restrictions are valid at any place: even their anchors may be of another log altogether."""
    room, keys = populated()
    nowhere = Anchor(limits.COUNTER - 1, Head(b"x" * 32))
    room.says(st.role, ALICE, HANK.id, False, at=nowhere)
    room.says(st.revoke, BOB, invite(keys["founder"]), at=nowhere)
    room.says(st.remove, BOB, CHUCK.id, False, at=nowhere)
    room.says(st.leave, EVE, at=nowhere)
    room.says(st.close, ALICE, at=nowhere)


# -- what ends an invite ----------------------------------------------------------------------------------------------


def ended(room: Room, *keys: SigningKey) -> None:
    for key in keys:
        room.refuses(InviteEnded, room.signed(st.admit, DAVE, key))


def test_a_removal_ends_every_invite_granted_before_it() -> None:
    """Chuck may have kept any of them, or have handed one to a friend."""
    room, keys = populated(members_invite=True)
    room.says(st.remove, BOB, CHUCK.id, False)
    ended(room, *keys.values())
    assert room.membership.grants == {}
    room.says(st.admit, DAVE, room.invites("since"))


def test_who_granted_an_invite_that_ended_may_leave_or_be_demoted_like_anybody() -> None:
    room, _ = populated()
    room.invites("hank's", by=HANK)
    room.says(st.remove, ALICE, CHUCK.id, False)
    room.says(st.leave, BOB)
    room.says(st.role, ALICE, HANK.id, False)


def test_a_granter_s_leaving_ends_its_invites_alone() -> None:
    room, keys = populated(members_invite=True)
    room.says(st.leave, BOB)
    ended(room, keys["admin"])
    room.says(st.leave, CHUCK)
    ended(room, keys["member"])
    room.says(st.admit, DAVE, keys["founder"])


def test_a_granter_s_demotion_ends_its_invites_unless_members_may_invite() -> None:
    room, keys = populated()
    room.says(st.role, ALICE, BOB.id, False)
    ended(room, keys["admin"])
    room.says(st.admit, DAVE, keys["founder"])

    open_room, keys = populated(members_invite=True)
    open_room.says(st.role, ALICE, BOB.id, False)
    open_room.says(st.admit, DAVE, keys["admin"])


def test_the_invites_that_end_are_those_still_live() -> None:
    """One revoked before is no longer the leaver's, and others' stay."""
    room, keys = populated()
    second = room.invites("second", by=BOB)
    other = room.invites("other", by=HANK)
    room.says(st.revoke, ALICE, invite(keys["admin"]))
    other = room.invites("other again", by=HANK)
    room.says(st.leave, BOB)
    ended(room, second)
    room.says(st.admit, DAVE, other)


def test_an_invite_admits_as_often_as_it_says() -> None:
    room = Room()
    twice = room.invites("twice", uses=2)
    room.says(st.admit, BOB, twice)
    room.says(st.admit, CHUCK, twice)
    room.refuses(InviteSpent, room.signed(st.admit, DAVE, twice))
    room.says(st.leave, CHUCK)
    room.refuses(InviteSpent, room.signed(st.admit, CHUCK, twice))
    ended(room, UNKNOWN)


def test_an_invite_key_is_granted_once() -> None:
    """Granted again after it has ended, it would let in whoever was handed its word before."""
    room, keys = populated()
    room.refuses(BadStatement, room.signed(st.grant, ALICE, invite(keys["admin"]), 0, 0))
    room.says(st.revoke, ALICE, invite(keys["admin"]))
    room.refuses(BadStatement, room.signed(st.grant, ALICE, invite(keys["admin"]), 1, 0))
    ended(room, keys["admin"])


# -- coming and going -------------------------------------------------------------------------------------------------


def test_whoever_comes_back_is_a_plain_member() -> None:
    room = Room()
    room.promotes(BOB)
    room.says(st.leave, BOB)
    room.admits(BOB)
    assert room.membership.members[BOB.id].role is Role.MEMBER
    room.says(st.role, ALICE, BOB.id, True)
    room.says(st.remove, ALICE, BOB.id, False)
    room.admits(BOB)
    assert room.membership.members[BOB.id].role is Role.MEMBER


def test_a_ban_is_for_ever() -> None:
    room = Room()
    room.admits(BOB)
    room.says(st.remove, ALICE, BOB.id, True)
    room.refuses(Banned, room.signed(st.admit, BOB, room.invites("1")))
    room.says(st.remove, ALICE, BOB.id, False)  # a kick takes no ban back
    room.refuses(Banned, room.signed(st.admit, BOB, room.invites("2")))
    room.refuses(Banned, room.signed(st.leave, BOB))


def test_who_belonged_when() -> None:
    room = Room()  # 1: founded
    key = room.invites()  # 2: granted
    room.says(st.admit, BOB, key)  # 3
    room.says(st.leave, BOB)  # 4
    room.says(st.admit, BOB, key)  # 5
    room.says(st.remove, ALICE, BOB.id, False)  # 6
    ends = [Membership.fold(room.membership.log[:index]).end_of(BOB.id) for index in range(1, 7)]
    assert ends == [None, None, None, 4, None, 6]
    assert (room.membership.end_of(ALICE.id), room.membership.end_of(CHUCK.id)) == (None, None)
    assert room.membership.members[ALICE.id].since == 1
    assert Membership.fold(room.membership.log[:5]).members[BOB.id].since == 5
    was = [room.membership.was_member(BOB.id, index) for index in range(9)]
    assert was == [False, False, False, True, False, True, False, False, False]
    assert [room.membership.was_member(ALICE.id, index) for index in range(3)] == [False, True, True]
    assert not room.membership.was_member(CHUCK.id, 3)
    assert room.membership.departures == [4, 6]
    assert room.membership.last_departure == 6
    assert [room.membership.departure_before(index) for index in range(8)] == [0, 0, 0, 0, 4, 4, 6, 6]


def test_nobody_departs_by_a_statement_about_who_is_outside() -> None:
    room = Room()
    room.says(st.remove, ALICE, DAVE.id, True)
    assert (room.membership.last_departure, room.membership.departure_before(99)) == (0, 0)


def test_a_room_agrees_with_its_own_places_and_knows_nothing_of_those_ahead() -> None:
    room, _ = populated()
    for index in range(room.anchor.index + 1):
        assert room.membership.agrees(room.at(index)) is True
        assert room.membership.agrees(Anchor(index, Head(b"x" * 32))) is False
    assert room.membership.agrees(Anchor(room.anchor.index + 1, room.anchor.head)) is None
    assert room.at(0).head == START


def test_a_head_is_the_hash_of_the_head_before_and_what_was_said() -> None:
    room, _ = populated()
    head = bytes(32)
    for place, raw in enumerate(room.membership.log):
        assert room.membership.heads[place] == head
        head = hashlib.blake2b(head + raw, digest_size=32, person=b"bc1 head").digest()
    assert room.membership.head == head


# -- replays, other rooms, other bytes --------------------------------------------------------------------------------


def test_what_is_in_the_log_is_refused_again() -> None:
    room, _ = populated()
    for raw in list(room.membership.log):
        assert room.membership.knows(raw)
        room.refuses(AlreadyStated, raw)


def test_attack_18_another_room_s_statements_are_refused() -> None:
    """Same founder, same people, same settings, another salt."""
    room, _ = populated()
    other = Room(ALICE)
    elsewhere = Membership(st.found(ALICE, b"SALT" * 4, NOW, False, b"title"))
    other.membership = elsewhere
    other.id = elsewhere.room
    other.promotes(BOB)
    for raw in other.membership.log[1:]:
        assert not room.membership.knows(raw)
        room.refuses(BadStatement, raw)


def test_the_same_said_again_with_another_signature_is_refused(monkeypatch) -> None:
    """A signer can make such a one with another nonce. Ours has one way to sign, so here nobody verifies."""
    room, _ = populated()
    raw = room.signed(st.leave, CHUCK)
    room.membership.apply(raw)
    again = raw[:33] + bytes(64) + raw[97:]
    room.refuses(BadSignature, again)
    monkeypatch.setattr(st, "verify", lambda *_: None)
    assert room.membership.knows(again)
    room.refuses(AlreadyStated, again)


@pytest.mark.parametrize(
    ("raw", "error"), [(b"", Malformed), (b"\0", Malformed), (bytes(64), Malformed), (bytes(1_025), TooLarge)]
)
def test_attack_15_rubbish_changes_nothing(raw, error) -> None:
    room, _ = populated()
    room.refuses(error, raw)
    with pytest.raises(error):
        Membership.fold([raw])
    with pytest.raises(error):
        room.membership.knows(raw)


def test_a_log_begins_with_a_founding() -> None:
    room, _ = populated()
    with pytest.raises(Malformed):
        Membership.fold([])
    for raw in room.membership.log[1:]:
        with pytest.raises(BadStatement, match="begins with FOUND"):
            Membership(raw)
    assert state(Membership.fold(iter(room.membership.log))) == state(room.membership)


# -- caps -------------------------------------------------------------------------------------------------------------


def test_a_room_has_so_many_members_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS", 3)
    room = Room()
    room.admits(BOB, CHUCK)
    key = room.invites()
    room.refuses(TooManyMembers, room.signed(st.admit, DAVE, key))
    room.says(st.leave, CHUCK)
    room.says(st.admit, DAVE, key)


def test_an_invite_admits_so_often_though_it_says_without_bound(monkeypatch) -> None:
    monkeypatch.setattr(limits, "ADMITS_PER_INVITE", 2)
    room = Room()
    key = room.invites()
    room.says(st.admit, BOB, key)
    room.says(st.admit, CHUCK, key)
    room.refuses(TooManyStatements, room.signed(st.admit, DAVE, key))
    room.admits(DAVE)


def test_a_signer_grants_so_often_and_the_founder_always(monkeypatch) -> None:
    """What admins take away, and all that the founder says, always fits."""
    monkeypatch.setattr(limits, "GRANTS_PER_SIGNER", 2)
    room = Room()
    room.promotes(BOB)
    first = room.invites("1", by=BOB)
    room.invites("2", by=BOB)
    room.says(st.revoke, BOB, invite(first))
    room.refuses(TooManyStatements, room.signed(st.grant, BOB, invite(NEW), 0, 0))
    for n in range(5):
        room.says(st.revoke, BOB, invite(UNKNOWN))
        room.says(st.remove, BOB, identity(f"{n}").id, True)
        room.invites(f"founder's {n}")


def test_churn_makes_no_later_question_slow() -> None:
    """Somebody who came and went 100,000 times: its spans are searched, not walked through."""
    room = Room()
    room.membership._stays[BOB.id] = list(range(200_000))
    begun = time.process_time()
    assert [room.membership.was_member(BOB.id, 199_990 + n) for n in range(4)] * 250 == [True, False, True, False] * 250
    for n in range(2_000):
        room.membership.was_member(PeerId(BOB.id), n)
    assert time.process_time() - begun < 1
