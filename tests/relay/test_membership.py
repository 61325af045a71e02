"""Stories about who may be in a room: founding, entering, leaving, being removed, closing; and every refusal."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from protocol import envelope, limits
from protocol import statement as st
from protocol.envelope import Card, Closed, Message, Presence, Refused, Statement
from protocol.identity import SigningKey
from protocol.ids import Anchor, InviteId, RoomId
from protocol.membership import START
from relay.core import incarnation
from relay.core.room import EMPTY, STATEMENT
from tests.relay.conftest import Company, Invite, Person, Stage, gather


def test_a_room_is_open_as_soon_as_it_is_founded(stage):
    alice = stage.connection()
    room = alice.founds()
    assert alice.attaches(room) == "attached"
    assert alice.says(room, "alone") == "accepted"
    assert alice.reads() == ["alone"]


def test_founding_again_says_nothing_new(stage):
    alice = stage.connection()
    room = alice.founds()
    assert alice.submits(room, alice.log(room).log[0]) == "accepted"
    assert alice.log(room).index == 1


def test_a_room_is_founded_by_whoever_founds_it(stage):
    alice, eve = stage.connection(), stage.connection()
    raw = st.found(alice.identity, bytes(16), 0, False, b"")
    assert eve.submits(st.room_id(raw), raw) == "not-allowed"
    assert alice.submits(bytes(32), raw) == "bad-statement"
    assert alice.submits(st.room_id(raw), raw[:-1]) == "bad-signature"
    assert alice.submits(st.room_id(raw), raw) == "accepted"


def test_a_room_begins_with_its_founding(company):
    c = company
    grant = st.grant(c.alice.identity, bytes(32), Anchor(0, START), InviteId(bytes(32)), 0, 0)
    assert c.alice.submits(bytes(32), grant) == "unknown-room"


def test_what_is_said_is_told_to_everybody_attached(company):
    c = company
    c.alice.invites(c.room)
    for person in (c.alice, c.bob, c.chuck):
        (statement,) = person.sees(Statement)
        assert statement.index == 5


def test_saying_it_again_is_no_error_and_says_nothing(company):
    c = company
    raw = c.alice.log(c.room).log[1]
    assert c.alice.submits(c.room, raw) == "accepted"
    assert c.bob.sees(Statement) == []


def test_rubbish_is_no_statement(company):
    c = company
    assert c.alice.submits(c.room, b"") == "malformed"
    assert c.alice.submits(c.room, b"\x09" * 200) == "malformed"
    assert c.stage.cut == []


def test_rules_of_the_fold_are_refused_by_their_own_codes(company):
    c = company
    log = c.alice.log(c.room)
    other = InviteId(SigningKey(b"x" * 32).public)
    assert c.bob.submits(c.room, st.grant(c.bob.identity, c.room, log.anchor, other, 0, 0)) == "not-allowed"
    stale = Anchor(1, START)
    assert c.alice.submits(c.room, st.grant(c.alice.identity, c.room, stale, other, 0, 0)) == "stale-anchor"
    assert c.alice.submits(c.room, st.leave(c.alice.identity, c.room, log.anchor)) == "founder"
    assert c.bob.sees(Statement) == []


def test_nobody_enters_another(company):
    """An ADMIT is submitted by the identity that enters: it is that identity which must be here to be told."""
    c = company
    invite = c.alice.invites(c.room)
    dora = c.stage.identity()
    raw = st.admit(dora, c.room, c.alice.log(c.room).anchor, invite.key)
    assert c.alice.submits(c.room, raw) == "not-allowed"


def test_anybody_may_carry_a_restriction(company):
    c = company
    raw = st.remove(c.alice.identity, c.room, c.alice.log(c.room).anchor, c.chuck.id, False)
    stranger = c.stage.connection()
    assert stranger.submits(c.room, raw) == "accepted"
    assert c.chuck.sees(Closed) == [Closed(c.room, "not-member")]


def test_an_invite_ends_with_its_time(company):
    c = company
    invite = c.alice.invites(c.room, expires_at=c.stage.now + limits.MINUTE)
    early, late = c.stage.connection(), c.stage.connection()
    c.stage.passes(limits.MINUTE - 1)
    assert early.enters(invite) == "accepted"
    c.stage.passes(1)
    assert late.enters(invite) == "invite-expired"


def test_an_invite_ends_with_the_clock_that_the_relay_was_told(company):
    c = company
    invite = c.alice.invites(c.room, expires_at=c.stage.now + limits.MINUTE)
    c.stage.core.set_clock(c.stage.now + limits.HOUR, c.stage.now)
    assert c.stage.connection().enters(invite) == "invite-expired"


def test_invites_that_are_spent_or_revoked(company):
    c = company
    once = c.alice.invites(c.room, uses=1)
    assert c.stage.connection().enters(once) == "accepted"
    assert c.stage.connection().enters(once) == "invite-spent"
    raw = st.revoke(c.alice.identity, c.room, c.alice.log(c.room).anchor, InviteId(once.key.public))
    assert c.alice.submits(c.room, raw) == "accepted"
    assert c.stage.connection().enters(once) == "invite-ended"


def test_a_removed_member_hears_so_and_nothing_after(company):
    c = company
    c.alice.sends(c.alice.post(c.room, "before", index=4))
    assert c.alice.removes(c.room, c.chuck) == "accepted"
    c.alice.says(c.room, "after")
    seen = c.chuck.sees()
    assert [d.body for d in seen if isinstance(d, Message)] == [b"before"]
    assert [d.index for d in seen if isinstance(d, Statement)] == [5]
    assert seen[-1] == Closed(c.room, "not-member")
    assert c.chuck.sees() == []
    assert c.chuck.says(c.room, "but", index=5) == "not-member"
    assert c.chuck.attaches(c.room) == "not-member"
    assert c.bob.whispers(c.room, c.chuck, "still there?") == "unknown-peer"


def test_a_removed_member_is_present_no_more(company):
    c = company
    c.alice.removes(c.room, c.chuck)
    assert [p.offline for p in c.bob.sees(Presence)] == [(c.chuck.id,)]
    c.chuck.leaves_the_net()
    assert c.bob.sees(Presence) == []


def test_whoever_goes_before_hearing_of_the_removal_is_gone(company):
    c = company
    raw = st.remove(c.alice.identity, c.room, c.alice.log(c.room).anchor, c.chuck.id, False)
    c.alice.sends(envelope.Submit(c.alice.request(), c.room, raw))
    c.chuck.leaves_the_net()
    assert [p.offline for p in c.bob.sees(Presence)] == [(c.chuck.id,)]


def test_a_removal_ends_all_connections_of_an_identity_wherever_they_are(company):
    c = company
    quiet = c.stage.connection(c.chuck.identity)
    quiet.attaches(c.room, present=False)
    behind = c.stage.connection(c.chuck.identity)
    c.stage.full.add(behind.connection)
    behind.sends(behind.attach(c.room))
    c.stage.turn()
    assert c.alice.removes(c.room, c.chuck) == "accepted"
    c.stage.full.clear()
    c.stage.passes(limits.SECOND)
    assert quiet.sees(Closed) == [Closed(c.room, "not-member")]
    seen = behind.sees()
    assert [d.index for d in seen if isinstance(d, Statement)] == [1, 2, 3, 4, 5]
    assert [d.reason for d in seen if isinstance(d, (Refused, Closed))] == ["not-member", "not-member"]


def test_a_banned_member_never_comes_back(company):
    c = company
    c.alice.removes(c.room, c.chuck, ban=True)
    assert c.chuck.sees(Closed) == [Closed(c.room, "banned")]
    assert c.chuck.enters(c.alice.invites(c.room)) == "banned"
    assert c.chuck.attaches(c.room) == "banned"
    assert c.chuck.says(c.room, "but", index=4) == "banned"


def test_banning_a_stranger_is_possible_and_moves_nobody(company):
    c = company
    stranger = c.stage.connection()
    assert c.alice.removes(c.room, stranger, ban=True) == "accepted"
    assert c.bob.sees(Presence) == []
    assert stranger.enters(c.alice.invites(c.room)) == "banned"


def test_whoever_was_removed_may_be_invited_again(company):
    c = company
    c.alice.removes(c.room, c.chuck)
    c.alice.says(c.room, "without chuck")
    assert c.chuck.enters(c.alice.invites(c.room)) == "accepted"
    assert c.chuck.attaches(c.room) == "attached"
    c.chuck.sees()
    c.alice.says(c.room, "welcome back")
    assert c.chuck.reads() == ["welcome back"]
    again = c.stage.connection(c.chuck.identity)
    again.attaches(c.room)
    assert again.reads() == ["welcome back"]


def test_asides_of_a_former_membership_are_not_for_the_new_one(company):
    c = company
    c.bob.leaves_the_net()
    c.alice.whispers(c.room, c.bob, "old")
    c.alice.removes(c.room, c.bob)
    bob = c.stage.connection(c.bob.identity)
    bob.enters(c.alice.invites(c.room))
    assert c.alice.whispers(c.room, c.bob, "older still", index=4) == "stale-roster"
    c.alice.whispers(c.room, c.bob, "new")
    bob.attaches(c.room)
    assert bob.reads() == ["(new)"]


def test_a_post_from_before_a_departure_must_be_made_again(company):
    c = company
    c.alice.removes(c.room, c.chuck)
    assert c.bob.says(c.room, "on the old chain", index=4) == "stale-roster"
    assert c.bob.says(c.room, "on a new one", index=5) == "accepted"


def test_leaving(company):
    c = company
    raw = st.leave(c.bob.identity, c.room, c.bob.log(c.room).anchor)
    assert c.bob.submits(c.room, raw) == "accepted"
    assert c.bob.sees(Closed) == [Closed(c.room, "not-member")]
    assert [p.offline for p in c.alice.sees(Presence)] == [(c.bob.id,)]


def test_closing_is_final_and_the_last_words_are_heard(company):
    c = company
    c.alice.sends(c.alice.post(c.room, "goodbye", index=4))
    raw = st.close(c.alice.identity, c.room, c.alice.log(c.room).anchor)
    assert c.alice.submits(c.room, raw) == "accepted"
    for person in (c.alice, c.bob, c.chuck):
        seen = [d for d in person.sees() if isinstance(d, (Message, Statement, Closed))]
        assert [type(d) for d in seen] == [Statement, Message, Closed]
        assert seen[-1].reason == "closed"
    assert c.bob.attaches(c.room) == "closed"
    assert c.bob.says(c.room, "but", index=5) == "closed"
    assert c.bob.publishes(c.room) == "closed"
    assert c.alice.submits(c.room, st.leave(c.bob.identity, c.room, c.alice.log(c.room).anchor)) == "closed"
    assert c.bob.log(c.room).closed


# -- the log, on request --------------------------------------------------------------------------------------------


def fetch(person, room, index=0, subject=None):
    person.frames.clear()
    answer = person.asks(envelope.Fetch(person.request(), room, subject, index))
    return answer, [d.index for d in person.sees(Statement)]


def test_a_member_may_ask_for_the_log(company):
    c = company
    assert fetch(c.bob, c.room) == ("accepted", [1, 2, 3, 4])
    assert fetch(c.bob, c.room, 3) == ("accepted", [4])
    assert fetch(c.bob, c.room, 99) == ("accepted", [])


def test_a_former_member_gets_the_log_up_to_its_end(company):
    c = company
    c.alice.removes(c.room, c.chuck)
    c.alice.invites(c.room)
    assert fetch(c.chuck, c.room) == ("accepted", [1, 2, 3, 4, 5])
    c.alice.removes(c.room, c.chuck, ban=True)  # of a stranger, by now
    assert fetch(c.chuck, c.room, 4) == ("accepted", [5])


def test_a_stranger_does_not(company):
    c = company
    stranger = c.stage.connection()
    assert fetch(stranger, c.room) == ("not-member", [])
    assert fetch(stranger, bytes(32)) == ("unknown-room", [])
    c.alice.removes(c.room, stranger, ban=True)
    assert fetch(stranger, c.room) == ("not-member", [])


def test_a_long_log_comes_in_bounded_frames_and_survives_a_full_pipe(make_stage, monkeypatch):
    stage = make_stage()
    alice = stage.connection()
    room = alice.founds()
    log = alice.log(room)
    for number in range(500):
        raw = st.role(alice.identity, room, log.anchor, number.to_bytes(32), False)
        alice.sends(envelope.Submit(alice.request(), room, raw))
    stage.turns()
    alice.frames.clear()
    monkeypatch.setattr("relay.core.core.CATCHING_UP", 1)
    request = envelope.Fetch(alice.request(), room, None, 0)
    alice.sends(request)
    stage.turn()
    assert len(alice.frames) == 1
    stage.full.add(alice.connection)
    stage.turn()
    stage.full.clear()
    stage.passes(limits.SECOND)
    assert max(map(len, alice.frames)) < 66 * 1024
    assert [d.index for d in alice.looks() if isinstance(d, Statement)] == list(range(1, 502))
    assert alice.answer(request.id) == "accepted"


def test_asking_for_too_much_at_once_is_refused(company):
    c = company
    requests = [envelope.Fetch(c.bob.request(), c.room, None, 0) for _ in range(17)]
    c.bob.sends(*requests)
    c.stage.turns()
    assert [c.bob.answer(r.id) for r in requests] == ["accepted"] * 16 + ["rate"]


# -- cards ----------------------------------------------------------------------------------------------------------


def card_of(person, room, subject, generation=0):
    person.frames.clear()
    answer = person.asks(envelope.Fetch(person.request(), room, subject.id, generation))
    return answer, [d.card for d in person.sees(Card)]


def test_a_card_is_shown_to_all_once(company):
    c = company
    c.bob.generation += 1
    raw = c.bob.card(c.room, c.bob.generation)
    for _ in range(2):
        assert c.bob.asks(envelope.Publish(c.bob.request(), c.room, raw)) == "accepted"
    assert c.chuck.sees() == [Card(c.room, raw)]


def test_cards_are_found_by_generation_as_long_as_they_are_needed(make_company):
    c = make_company(retention_s=600)
    first = c.bob.generation
    old = c.bob.card(c.room, first)
    c.stage.passes(limits.MINUTE)
    c.bob.publishes(c.room)
    assert card_of(c.alice, c.room, c.bob) == ("accepted", [c.bob.card(c.room, c.bob.generation)])
    assert card_of(c.alice, c.room, c.bob, first) == ("accepted", [old])
    c.stage.passes(20 * limits.MINUTE - 1)
    assert card_of(c.alice, c.room, c.bob, first) == ("accepted", [old])
    c.stage.passes(limits.SECOND)
    assert card_of(c.alice, c.room, c.bob, first) == ("unknown-card", [])
    assert card_of(c.alice, c.room, c.bob)[0] == "accepted"


def test_cards_of_whoever_left_are_superseded(company):
    c = company
    c.alice.removes(c.room, c.chuck)
    assert card_of(c.bob, c.room, c.chuck) == ("unknown-card", [])
    assert card_of(c.bob, c.room, c.chuck, c.chuck.generation)[0] == "accepted"
    again = c.stage.connection(c.bob.identity)
    again.sends(again.attach(c.room))
    assert {d.card[:32] for d in again.sees(Card)} == {c.alice.id, c.bob.id}


def test_no_more_superseded_cards_are_kept_than_anybody_needs(company):
    c = company
    first = c.bob.generation
    for _ in range(7):
        c.bob.publishes(c.room)
    assert card_of(c.alice, c.room, c.bob, first)[0] == "unknown-card"
    assert card_of(c.alice, c.room, c.bob, first + 1)[0] == "accepted"


def test_cards_that_are_refused(company):
    c = company
    generation = c.bob.generation
    assert c.bob.publishes(c.room, generation - 1) == "older-card"
    other = c.bob.card(c.room, generation)[:-1]
    assert c.bob.asks(envelope.Publish(c.bob.request(), c.room, other)) == "bad-signature"
    assert c.bob.publishes(c.room, c.stage.now + limits.CARD_AHEAD + 1) == "bad-card"
    assert c.bob.publishes(bytes(32)) == "unknown-room"
    assert c.chuck.sees() == []


def test_two_cards_of_a_generation_are_a_lie(company):
    from protocol import card as cards

    c = company
    other = cards.make(c.bob.identity, c.room, c.bob.generation, cards.sealing_key(b"x" * 32), b"nick")
    assert c.bob.asks(envelope.Publish(c.bob.request(), c.room, other)) == "card-conflict"


def test_a_member_may_bring_anothers_card_but_no_strangers(company):
    c = company
    raw = c.chuck.card(c.room, c.chuck.generation + 1)
    assert c.bob.asks(envelope.Publish(c.bob.request(), c.room, raw)) == "accepted"
    stranger = c.stage.connection()
    raw = stranger.card(c.room, c.stage.now)
    assert c.bob.asks(envelope.Publish(c.bob.request(), c.room, raw)) == "not-member"
    assert stranger.asks(envelope.Publish(stranger.request(), c.room, raw)) == "not-member"
    assert card_of(stranger, c.room, c.bob) == ("not-member", [])


def test_a_member_without_a_card_has_none(company):
    c = company
    dora = c.stage.connection()
    dora.enters(c.alice.invites(c.room))
    assert card_of(c.alice, c.room, dora) == ("unknown-card", [])


# -- limits ---------------------------------------------------------------------------------------------------------


def test_a_room_can_be_full(make_stage):
    stage = make_stage(members=2)
    alice, bob, chuck = (stage.connection() for _ in range(3))
    invite = alice.invites(alice.founds())
    assert bob.enters(invite) == "accepted"
    assert chuck.enters(invite) == "limit-members"


def test_a_full_log_takes_restrictions_and_the_founders_word(make_stage):
    stage = make_stage(statements=3)
    alice, bob, chuck = (stage.connection() for _ in range(3))
    room = alice.founds()
    invite = alice.invites(room)
    assert bob.enters(invite) == "accepted"
    assert chuck.enters(invite) == "limit-statements"
    assert bob.submits(room, st.leave(bob.identity, room, bob.log(room).anchor)) == "accepted"
    alice.invites(room)


def test_even_what_always_fits_has_an_end_and_no_admin_can_bring_it_about_for_the_founder(make_stage):
    stage = make_stage(statements=4)
    alice, bob = stage.connection(), stage.connection()
    room = alice.founds()
    assert bob.enters(alice.invites(room)) == "accepted"
    promotion = st.role(alice.identity, room, alice.log(room).anchor, bob.id, True)
    assert alice.submits(room, promotion) == "accepted"
    strangers = iter([stage.connection() for _ in range(20)])
    answers = [bob.removes(room, next(strangers)) for _ in range(5)]
    assert answers == ["accepted"] * 4 + ["limit-statements"]
    assert bob.submits(room, st.leave(bob.identity, room, bob.log(room).anchor)) == "limit-statements"
    assert alice.removes(room, bob) == "accepted"
    answers = [alice.removes(room, next(strangers)) for _ in range(4)]
    assert answers == ["accepted"] * 3 + ["limit-statements"]
    assert alice.submits(room, st.close(alice.identity, room, alice.log(room).anchor)) == "accepted"


def test_so_long_a_log_comes_back(make_stage):
    stage = make_stage(statements=2, idle_close_s=60)
    alice = stage.connection()
    room = alice.founds()
    for _ in range(5):
        alice.removes(room, stage.connection())
    alice.submits(room, st.close(alice.identity, room, alice.log(room).anchor))
    log = tuple(alice.log(room).log)
    assert len(log) == 7
    stage.passes(limits.MINUTE)
    assert alice.asks(envelope.Restore(alice.request(), room, True, log)) == "accepted"


def test_a_connection_is_attached_to_so_many_rooms(make_stage):
    stage = make_stage(rooms_per_connection=2)
    alice = stage.connection()
    rooms = [alice.founds() for _ in range(3)]
    assert [alice.attaches(room) for room in rooms] == ["attached", "attached", "limit-rooms"]
    assert alice.attaches(rooms[0]) == "attached", "again, in place of the former"
    assert stage.connection(alice.identity).attaches(rooms[2]) == "attached"


@dataclass
class Crowded:
    """A relay whose memory for rooms is used up by one of them; each of its two rooms has a share of its own left."""

    stage: Stage
    big: Company
    bob: Person
    small: RoomId
    invite: Invite


@pytest.fixture
def crowded(make_stage):
    share = EMPTY + 8 * (STATEMENT + 300)
    stage = make_stage(rooms=2, bytes_of_rooms=4 * share)
    bob = stage.connection()
    small = bob.founds()
    invite = bob.invites(small)
    big = gather(stage)
    while big.alice.removes(big.room, stage.connection()) == "accepted":
        pass
    return Crowded(stage, big, bob, small, invite)


def test_when_the_memory_for_rooms_is_used_up_each_still_has_its_share(crowded):
    c = crowded
    alice = c.big.alice
    assert c.stage.core._rooms.size <= c.stage.bounds.bytes_of_rooms
    assert alice.removes(c.big.room, c.big.chuck) == "limit-statements"
    dora = c.stage.connection()
    assert dora.enters(c.invite) == "accepted"
    assert dora.publishes(c.small) == "accepted"
    assert c.bob.removes(c.small, dora) == "accepted"
    while c.bob.removes(c.small, c.stage.connection()) == "accepted":
        pass
    assert c.stage.core._rooms.size <= c.stage.bounds.bytes_of_rooms
    assert alice.submits(c.big.room, st.close(alice.identity, c.big.room, alice.log(c.big.room).anchor)) == "accepted"


def test_when_the_memory_for_rooms_is_used_up_cards_are_changed_for_newer_ones_and_none_is_added(crowded):
    c = crowded
    size = c.stage.core._rooms.size
    first = c.big.bob.generation
    assert c.big.bob.publishes(c.big.room) == "accepted"
    assert card_of(c.big.alice, c.big.room, c.big.bob, first)[0] == "unknown-card"
    assert card_of(c.big.alice, c.big.room, c.big.bob)[0] == "accepted"
    assert c.stage.core._rooms.size == size
    while c.bob.removes(c.small, c.stage.connection()) == "accepted":
        pass
    assert c.bob.publishes(c.small) == "limit-cards"


def test_when_the_memory_for_rooms_is_used_up_no_room_comes_back_that_is_larger_than_its_share(make_stage):
    stage = make_stage(rooms=2, bytes_of_rooms=4 * (EMPTY + 3 * (STATEMENT + 300)), idle_close_s=60)
    alice = stage.connection()
    logs = []
    for _ in range(2):
        name = alice.founds()
        for _ in range(5):
            assert alice.removes(name, stage.connection()) == "accepted"
        logs.append((name, tuple(alice.log(name).log)))
        stage.passes(limits.MINUTE)
    assert stage.core._rooms.size == 0
    answers = [alice.asks(envelope.Restore(alice.request(), name, True, log)) for name, log in logs]
    assert answers == ["accepted", "limit-rooms"]


@pytest.mark.parametrize("bounds", [{"rooms": 2}, {"rooms_per_founder": 2}])
def test_there_can_be_too_many_rooms(make_stage, bounds):
    stage = make_stage(idle_close_s=60, **bounds)
    alice = stage.connection()
    rooms = [alice.founds() for _ in range(2)]
    raw = st.found(alice.identity, b"x" * 16, 0, False, b"")
    assert alice.submits(st.room_id(raw), raw) == "limit-rooms"
    alice.attaches(rooms[0])
    stage.passes(limits.MINUTE)
    assert alice.attaches(rooms[1]) == "unknown-room"
    assert alice.submits(st.room_id(raw), raw) == "accepted"


def test_a_room_with_nobody_attached_is_forgotten(make_company):
    c = make_company(idle_close_s=60)
    for person in (c.chuck, c.bob, c.alice):
        c.stage.passes(10 * limits.MINUTE)
        assert c.alice.says(c.room, "still open") == "accepted"
        person.leaves_the_net()
    again = c.stage.connection(c.alice.identity)
    c.stage.passes(59 * limits.SECOND)
    again.attaches(c.room)
    again.leaves_the_net()
    c.stage.passes(59 * limits.SECOND)
    again = c.stage.connection(c.alice.identity)
    assert again.attaches(c.room, present=False) == "attached"
    again.leaves_the_net()
    c.stage.passes(60 * limits.SECOND)
    assert c.stage.connection(c.alice.identity).attaches(c.room) == "unknown-room"


def welcomed(stage, identity):
    """Which incarnation of the relay somebody who connects now is told."""
    person = stage.connection(identity, hello=False)
    person.hello()
    (welcome,) = person.sees(envelope.Welcome)
    person.leaves_the_net()
    return welcome.incarnation


def test_whose_room_was_forgotten_meets_another_incarnation_and_nobody_else_learns_of_it(make_company):
    c = make_company(idle_close_s=60)
    stranger = c.stage.identity()
    people = [p.identity for p in (c.alice, c.bob, c.chuck)] + [stranger]
    c.alice.removes(c.room, c.chuck)
    before = {welcomed(c.stage, who) for who in people}
    assert len(before) == 1
    for person in (c.alice, c.bob, c.chuck):
        person.leaves_the_net()
    c.stage.passes(limits.MINUTE)
    after = [welcomed(c.stage, who) for who in people]
    assert [told in before for told in after] == [False, False, False, True]


def test_of_more_people_than_are_told_apart_everybody_meets_another_incarnation_once(monkeypatch, make_company):
    monkeypatch.setattr(incarnation, "KNOWN", 3)
    c = make_company(idle_close_s=60)
    other = c.stage.connection()
    other.founds()
    stranger = c.stage.identity()
    told = [welcomed(c.stage, stranger)]
    for gone in ((other,), (c.alice, c.bob, c.chuck)):
        for person in gone:
            person.leaves_the_net()
        c.stage.passes(limits.MINUTE)
        told.append(welcomed(c.stage, stranger))
    assert told[0] == told[1] != told[2]
    assert welcomed(c.stage, c.alice.identity) == welcomed(c.stage, other.identity) == told[2]
