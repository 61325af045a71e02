"""Stories of a relay that started again: the rooms come back from whoever reconnects, and nobody gains by it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from protocol import envelope, limits
from protocol import statement as st
from protocol.envelope import Closed, Statement
from protocol.identity import Identity, SigningKey
from protocol.ids import InviteId
from protocol.membership import Membership
from relay.core import chores, revival


@dataclass
class Past:
    """A room as it was before the relay started again, with everybody's keys."""

    stage: object
    log: Membership
    people: dict[str, Identity] = field(default_factory=dict)
    key: SigningKey | None = None
    """That of the invite by which the first came."""

    @property
    def room(self):
        return self.log.room

    def says(self, raw):
        self.log.apply(raw)
        return raw

    def grants(self, by="alice"):
        key = SigningKey(self.stage.identity().seed)
        self.says(st.grant(self.people[by], self.room, self.log.anchor, InviteId(key.public), 0, 0))
        return key

    def admits(self, name, key):
        identity = self.people.setdefault(name, self.stage.identity())
        return self.says(st.admit(identity, self.room, self.log.anchor, key))

    def removes(self, name, ban=False):
        return self.says(st.remove(self.people["alice"], self.room, self.log.anchor, self.people[name].id, ban))

    def copy(self):
        return Past(self.stage, Membership.fold(self.log.log), self.people)

    def comes_back(self, name):
        return self.stage.connection(self.people[name])


def remember(stage, *names):
    alice = stage.identity()
    past = Past(stage, Membership(st.found(alice, bytes(16), 0, False, b"")), {"alice": alice})
    past.key = past.grants()
    for name in names:
        past.admits(name, past.key)
    return past


@pytest.fixture
def started(make_stage):
    """A relay that has just started."""
    return make_stage(revived=False)


@pytest.fixture
def past(started):
    return remember(started, "bob", "chuck")


def restore(person, log, *, room=None, last=True):
    """Send a RESTORE and return its id."""
    request = envelope.Restore(person.request(), room or log.room, last, tuple(log.log))
    person.sends(request)
    person.stage.turns()
    return request.id


def test_a_room_comes_back_when_the_time_to_collect_is_over(started, past):
    bob = past.comes_back("bob")
    request = restore(bob, past.log)
    assert bob.answer(request) == ""
    assert started.core.rest(started.now) == limits.SECOND
    started.passes(limits.REVIVAL - 1)
    assert bob.answer(request) == ""
    assert started.core.rest(started.now) == 1
    started.passes(1)
    assert bob.answer(request) == "accepted"
    assert bob.attaches(past.room) == "attached"
    assert [d.index for d in bob.sees(Statement)] == [1, 2, 3, 4]
    assert bob.says(past.room, "here we are") == "accepted"


def test_afterwards_a_room_comes_back_at_once(stage):
    past = remember(stage, "bob")
    bob = past.comes_back("bob")
    assert bob.attaches(past.room) == "unknown-room"
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.attaches(past.room) == "attached"


def test_an_attach_waits_for_the_room_that_one_brought(started, past):
    bob, chuck = past.comes_back("bob"), past.comes_back("chuck")
    restore(bob, past.log)
    attach = bob.attach(past.room)
    bob.sends(attach)
    assert chuck.attaches(past.room) == "unknown-room"
    assert bob.answer(attach.id) == ""
    started.passes(limits.REVIVAL)
    assert bob.answer(attach.id) == "attached"


def test_what_waits_is_refused_when_the_room_does_not_come_back(started, past):
    eve = started.connection()
    request = restore(eve, past.log)
    attach = eve.attach(past.room)
    eve.sends(attach)
    started.passes(limits.REVIVAL)
    assert eve.answer(request) == "not-member"
    assert eve.answer(attach.id) == "unknown-room"


def test_only_so_many_attaches_wait(started, past):
    bob = past.comes_back("bob")
    restore(bob, past.log)
    assert [bob.attaches(past.room) for _ in range(17)] == [""] * 16 + ["unknown-room"]


def test_whoever_is_gone_again_has_brought_the_room_back_nevertheless(started, past):
    bob = past.comes_back("bob")
    restore(bob, past.log)
    bob.sends(bob.attach(past.room))
    bob.leaves_the_net()
    started.passes(limits.REVIVAL)
    assert past.comes_back("chuck").attaches(past.room) == "attached"


def test_a_log_may_come_in_pieces(started, past):
    bob = past.comes_back("bob")
    pieces = [
        envelope.Restore(bob.request(), past.room, last, tuple(past.log.log[start : start + 2]))
        for start, last in ((0, False), (2, True))
    ]
    assert bob.asks(pieces[0]) == "accepted"
    assert bob.asks(pieces[1]) == ""
    started.passes(limits.REVIVAL)
    assert bob.answer(pieces[1].id) == "accepted"
    assert bob.log(past.room).index == 4


def test_the_longest_log_wins(started, past):
    older = past.copy()
    past.admits("dora", past.grants())
    bob, chuck, dora = (past.comes_back(name) for name in ("bob", "chuck", "dora"))
    requests = [restore(bob, older.log), restore(dora, past.log), restore(chuck, older.log)]
    started.passes(limits.REVIVAL)
    assert [p.answer(r) for p, r in zip((bob, dora, chuck), requests, strict=True)] == ["accepted"] * 3
    assert bob.log(past.room).head == past.log.head


def test_of_several_as_long_always_the_same_wins(make_stage):
    heads = set()
    for order in (0, 1):
        stage = make_stage(revived=False)
        past = remember(stage, "bob", "chuck")
        one, other = past.copy(), past.copy()
        for fork, name in ((one, b"1"), (other, b"2")):
            key = SigningKey(name * 32)
            fork.says(st.grant(past.people["alice"], past.room, past.log.anchor, InviteId(key.public), 0, 0))
        logs = [one.log, other.log]
        for name, log in zip(("bob", "chuck"), logs if order else reversed(logs), strict=True):
            restore(past.comes_back(name), log)
        stage.passes(limits.REVIVAL)
        heads.add(past.comes_back("bob").log(past.room).head)
    assert heads == {min(one.log.head, other.log.head)}


def test_a_banned_member_with_an_old_copy_wins_nothing(started, past):
    """Chuck was banned; he comes first, with a log from before that he made longer than anybody's."""
    longer = past.copy()
    key = longer.grants()
    past = longer.copy()
    past.removes("chuck", ban=True)
    for name in ("mallory", "trudy", "eve"):
        longer.admits(name, key)
    chuck, bob = past.comes_back("chuck"), past.comes_back("bob")
    restore(chuck, longer.log)
    restore(bob, past.log)
    started.passes(limits.REVIVAL)
    log = bob.log(past.room)
    assert past.people["chuck"].id in log.banned
    assert chuck.attaches(past.room) == "banned"
    assert bob.attaches(past.room) == "attached"
    assert log.head == past.log.head, "nobody whom he let in belongs to the room"


def name_of(past, peer):
    return next((name for name, identity in past.people.items() if identity.id == peer), "?")


def members(past, person):
    """Who belongs to the room, by the log that the relay has."""
    return {name_of(past, peer) for peer in person.log(past.room).members}


def fork(past, key, anchor, *names):
    """A log with these people, whom ``key`` admits where it was live."""
    for name in names:
        identity = past.people.setdefault(name, past.stage.identity())
        past.says(st.admit(identity, past.room, anchor, key))


def revokes(past, key, by="alice"):
    past.says(st.revoke(past.people[by], past.room, past.log.anchor, InviteId(key.public)))


def promotes(past, name, admin=True):
    past.says(st.role(past.people["alice"], past.room, past.log.anchor, past.people[name].id, admin))


def leaves(past, name):
    past.says(st.leave(past.people[name], past.room, past.log.anchor))


ENDS = {
    "removed": ("alice", lambda past, key: past.removes("chuck")),
    "banned": ("alice", lambda past, key: past.removes("chuck", ban=True)),
    "another removed": ("alice", lambda past, key: past.removes("dora")),
    "revoked": ("alice", revokes),
    "granter removed": ("chuck", lambda past, key: past.removes("chuck")),
    "granter demoted": ("chuck", lambda past, key: promotes(past, "chuck", admin=False)),
    "granter left": ("chuck", lambda past, key: leaves(past, "chuck")),
}
"""Who granted the invite, and what ends it."""


@pytest.mark.parametrize("knows", [False, True], ids=["unaware", "with the restriction at its end"])
@pytest.mark.parametrize(("granter", "end"), ENDS.values(), ids=ENDS)
def test_an_invite_that_was_ended_lets_nobody_in_by_a_log_from_before(started, granter, end, knows):
    """Chuck, and so many ghosts of his that their log is the longest, come first."""
    past = remember(started, "bob", "chuck", "dora")
    if granter == "chuck":
        promotes(past, "chuck")
    key = past.grants(by=granter)
    anchor = past.log.anchor
    forked = past.copy()
    end(past, key)
    fork(forked, key, anchor, *(f"ghost {number}" for number in range(4)))
    if knows:
        forked.says(past.log.log[-1])
    bringers = [forked.comes_back(name) for name in ("chuck", "ghost 0", "ghost 1", "ghost 2")]
    for bringer in bringers:
        restore(bringer, forked.log)
    bob = past.comes_back("bob")
    restore(bob, past.log)
    started.passes(limits.REVIVAL)
    assert bob.log(past.room).head == past.log.head
    assert bringers[1].attaches(past.room) == "not-member"


def test_of_long_logs_ghosts_are_found_too(started):
    past = remember(started, "bob", *(f"member {number}" for number in range(130)))
    forked, anchor = past.copy(), past.log.anchor
    past.removes("member 7")
    fork(forked, past.key, anchor, *(f"ghost {number}" for number in range(70)))
    restore(forked.comes_back("ghost 1"), forked.log)
    bob = past.comes_back("bob")
    restore(bob, past.log)
    started.passes(limits.REVIVAL)
    started.turns()
    assert bob.log(past.room).head == past.log.head


def test_whom_a_ghost_lets_in_is_a_ghost(started):
    alice = started.identity()
    past = Past(started, Membership(st.found(alice, bytes(16), 0, True, b"")), {"alice": alice})
    key = past.grants()
    past.admits("bob", key)
    past.admits("chuck", key)
    forked, anchor = past.copy(), past.log.anchor
    past.removes("chuck")
    fork(forked, key, anchor, "ghost")
    theirs = forked.grants(by="ghost")
    fork(forked, theirs, forked.log.anchor, "ghost's", "ghost's too")
    for name in ("ghost", "ghost's", "ghost's too"):
        restore(forked.comes_back(name), forked.log)
    bob = past.comes_back("bob")
    restore(bob, past.log)
    started.passes(limits.REVIVAL)
    assert members(past, bob) == {"alice", "bob"}


def test_of_logs_that_all_have_ghosts_the_longest_is_taken_without_them(started):
    """Each of two that were removed brings a log from before, with the other's removal in it."""
    past = remember(started, "bob", "chuck", "dora")
    key = past.grants()
    anchor = past.log.anchor
    logs = {}
    for name, other in (("chuck", "dora"), ("dora", "chuck")):
        logs[name] = past.copy()
        logs[name].people = dict(past.people)
        fork(logs[name], key, anchor, *(f"{name}'s {number}" for number in range(3)))
        logs[name].says(st.remove(past.people["alice"], past.room, anchor, past.people[other].id, True))
    restorer = [(past.comes_back(name), log) for name, log in logs.items()]
    requests = [restore(person, log.log) for person, log in restorer]
    started.passes(limits.REVIVAL)
    person = restorer[0][0]
    assert [p.answer(r) for (p, _), r in zip(restorer, requests, strict=True)] == ["accepted"] * 2
    assert members(past, person) == {"alice", "bob"}


@pytest.mark.parametrize(
    ("witnesses", "in_"), [(("alice",), True), (("bob", "chuck"), True), (("bob",), False), (("dora", "erin"), False)]
)
def test_who_came_in_honestly_while_a_removal_was_lost_stays_if_others_bear_witness(started, witnesses, in_):
    """Zoe alone knows that Mallory was removed. She was away while the room went on without that, and others came."""
    past = remember(started, "bob", "chuck", "mallory", "zoe")
    key = past.grants()
    anchor, known_to_zoe = past.log.anchor, past.copy()
    known_to_zoe.removes("mallory")
    fork(past, key, anchor, "dora", "erin")
    for name in witnesses:
        restore(past.comes_back(name), past.log)
    zoe = past.comes_back("zoe")
    restore(zoe, known_to_zoe.log)
    started.passes(limits.REVIVAL)
    assert {"alice", "bob", "chuck", "zoe"} <= members(past, zoe)
    assert ({"dora", "erin"} <= members(past, zoe)) == in_
    assert "mallory" not in members(past, zoe)


def test_who_just_came_in_stays_whoever_has_an_older_copy(started, past):
    """Dora entered when nobody else was there to see it, some time after somebody was removed."""
    past.removes("chuck")
    older = past.copy()
    past.admits("dora", past.grants())
    restore(past.comes_back("bob"), older.log)
    dora = past.comes_back("dora")
    restore(dora, past.log)
    started.passes(limits.REVIVAL)
    assert dora.log(past.room).head == past.log.head


def test_nobody_is_turned_out_by_a_log_in_which_they_never_came(started):
    """Whoever signed a removal knew who was there; what its subject brings without them changes nothing."""
    past = remember(started, "bob", "chuck", "dora")
    past.removes("chuck")
    forged = Past(started, Membership.fold(past.log.log[:2]), past.people)
    forged.admits("chuck", past.key)
    forged.says(past.log.log[-1])
    restore(past.comes_back("chuck"), forged.log)
    dora = past.comes_back("dora")
    restore(dora, past.log)
    started.passes(limits.REVIVAL)
    assert dora.log(past.room).head == past.log.head


def test_a_restriction_that_comes_later_is_taken_too(stage):
    past = remember(stage, "bob", "chuck")
    older = past.copy()
    past.removes("chuck")
    chuck, bob = past.comes_back("chuck"), past.comes_back("bob")
    assert chuck.answer(restore(chuck, older.log)) == "accepted"
    assert chuck.attaches(past.room) == "attached"
    chuck.sees()
    past.grants()  # nothing but restrictions is taken from a log that comes late
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.log(past.room).index == 5
    seen = chuck.sees()
    assert [d.index for d in seen if isinstance(d, Statement)] == [5]
    assert seen[-1] == Closed(past.room, "not-member")
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.log(past.room).index == 5


def test_rubbish_in_a_log_that_comes_late_is_left_out(stage):
    past = remember(stage, "bob")
    bob = past.comes_back("bob")
    restore(bob, past.log)
    past.removes("bob")
    past.log.log.insert(2, b"rubbish")
    past.log.log.insert(3, past.log.log[-1][:-1] + b"\0")
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.log(past.room).index == 4


def test_restrictions_that_come_late_count_as_submitted(make_stage):
    """Each must be verified, so each is paid for; what was taken stays taken."""
    stage = make_stage(posts_burst=5, posts_per_s=1)
    past = remember(stage, "bob")
    bob = past.comes_back("bob")
    restore(bob, past.log)
    for _ in range(8):
        stranger = Identity.generate()
        past.says(st.remove(past.people["alice"], past.room, past.log.anchor, stranger.id, True))
    assert bob.answer(restore(bob, past.log)) == "rate"
    assert bob.log(past.room).index == 8
    stage.passes(limits.MINUTE)
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.log(past.room).index == 11


def test_promotions_that_come_late_are_no_restrictions(stage):
    past = remember(stage, "bob")
    older = past.copy()
    past.says(st.role(past.people["alice"], past.room, past.log.anchor, past.people["bob"].id, True))
    bob = past.comes_back("bob")
    restore(bob, older.log)
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.log(past.room).head == older.log.head


def test_restrictions_that_do_not_hold_any_more_are_left_out(stage):
    """Bob left in one history; in the other he never came."""
    past = remember(stage, "chuck")
    other = past.copy()
    other.admits("bob", other.grants())
    other.says(st.leave(past.people["bob"], past.room, other.log.anchor))
    chuck, bob = past.comes_back("chuck"), past.comes_back("bob")
    assert chuck.answer(restore(chuck, past.log)) == "accepted"
    assert bob.answer(restore(bob, other.log)) == "accepted"
    assert chuck.log(past.room).head == past.log.head


def test_restrictions_of_shorter_logs_that_do_not_hold_are_left_out(started):
    past = remember(started, "chuck", "dora")
    other = Past(started, Membership.fold(past.log.log[:2]), past.people)
    other.admits("bob", other.grants())
    other.says(st.leave(past.people["bob"], past.room, other.log.anchor))
    past.grants()
    past.grants()
    restore(past.comes_back("chuck"), past.log)
    bob = past.comes_back("bob")
    restore(bob, other.log)
    started.passes(limits.REVIVAL)
    assert bob.log(past.room).head == past.log.head


def test_a_former_member_may_bring_the_room_back(started, past):
    past.removes("chuck")
    chuck = past.comes_back("chuck")
    request = restore(chuck, past.log)
    started.passes(limits.REVIVAL)
    assert chuck.answer(request) == "accepted"
    assert chuck.attaches(past.room) == "not-member"


def test_whoever_never_belonged_may_not(started, past):
    eve = started.connection()
    past.says(st.remove(past.people["alice"], past.room, past.log.anchor, eve.id, True))
    request = restore(eve, past.log)
    started.passes(limits.REVIVAL)
    assert eve.answer(request) == "not-member"
    assert past.comes_back("bob").attaches(past.room) == "unknown-room"


def test_logs_that_are_not_valid_are_refused_and_do_not_stand_in_the_way(started, past):
    bob, chuck = past.comes_back("bob"), past.comes_back("chuck")
    forged = Membership.fold(past.log.log)
    forged.log += [b"rubbish"] * 3
    requests = [restore(bob, forged), restore(chuck, past.log)]
    started.passes(limits.REVIVAL)
    assert bob.answer(requests[0]) == "malformed"
    assert chuck.answer(requests[1]) == "accepted"


def test_a_log_of_another_room_is_no_log_of_this(stage):
    past = remember(stage, "bob")
    bob = past.comes_back("bob")
    assert bob.answer(restore(bob, past.log, room=bytes(32))) == "not-member"
    assert bob.asks(envelope.Restore(bob.request(), past.room, True, ())) == "malformed"


def test_a_closed_room_comes_back_closed(stage):
    past = remember(stage, "bob")
    past.says(st.close(past.people["alice"], past.room, past.log.anchor))
    bob = past.comes_back("bob")
    assert bob.answer(restore(bob, past.log)) == "accepted"
    assert bob.attaches(past.room) == "closed"


def test_a_room_founded_anew_meanwhile_is_the_room(started, past):
    """The founder comes with the same FOUND: then that room is open, and restrictions are added."""
    past.removes("chuck", ban=True)
    bob, alice = past.comes_back("bob"), past.comes_back("alice")
    request = restore(bob, past.log)
    assert alice.submits(past.room, past.log.log[0]) == "accepted"
    started.passes(limits.REVIVAL)
    assert bob.answer(request) == "accepted"
    log = alice.log(past.room)
    assert log.index == 2
    assert past.people["chuck"].id in log.banned


def test_bringing_it_twice_is_bringing_it_once(started, past):
    bob = past.comes_back("bob")
    first = restore(bob, past.log)
    bob.sends(bob.attach(past.room))
    second = restore(bob, past.log)
    started.passes(limits.REVIVAL)
    assert bob.answer(first) == bob.answer(second) == "accepted"
    assert len(bob.sees(envelope.Attached)) == 1


def test_rooms_that_come_back_count(make_stage):
    stage = make_stage(rooms=1)
    pasts = [remember(stage, "bob") for _ in range(2)]
    answers = []
    for past in pasts:
        bob = past.comes_back("bob")
        answers.append(bob.answer(restore(bob, past.log)))
    assert answers == ["accepted", "limit-rooms"]


def test_only_so_many_rooms_may_wait(make_stage):
    stage = make_stage(rooms=2, revived=False)
    answers = []
    for _ in range(3):
        past = remember(stage, "bob")
        bob = past.comes_back("bob")
        answers.append(bob.answer(restore(bob, past.log)))
    assert answers == ["", "", "limit-rooms"]
    eve = stage.connection()
    pieces = [envelope.Restore(eve.request(), bytes([n]) * 32, False, (b"x",)) for n in range(3)]
    assert [eve.asks(piece) for piece in pieces] == ["accepted", "accepted", "limit-rooms"]


def test_a_log_can_be_too_long(make_stage):
    stage = make_stage(statements=2)
    eve = stage.connection()
    piece = (b"x",) * 7
    assert eve.asks(envelope.Restore(eve.request(), bytes(32), False, piece)) == "accepted"
    assert eve.asks(envelope.Restore(eve.request(), bytes(32), False, (b"x",))) == "limit-statements"


def test_what_is_gathered_is_bounded_and_pieces_that_lead_nowhere_are_dropped(make_stage):
    stage = make_stage(bytes_gathered=900 + revival.TEXT + revival.CANDIDATE)
    eve, bob = stage.connection(), stage.connection()
    assert eve.asks(envelope.Restore(eve.request(), bytes(32), False, (bytes(900),))) == "accepted"
    assert bob.asks(envelope.Restore(bob.request(), bytes(32), False, (b"x" * 900,))) == "limit-statements"
    assert bob.asks(envelope.Restore(bob.request(), bytes(32), False, (bytes(900),))) == "limit-statements"
    stage.passes(revival.PATIENCE)
    assert bob.asks(envelope.Restore(bob.request(), bytes(32), False, (b"x" * 900,))) == "accepted"
    bob.leaves_the_net()
    stage.passes(limits.SECOND)
    assert eve.asks(envelope.Restore(eve.request(), bytes(32), False, (b"y" * 900,))) == "accepted"


def test_a_log_that_many_bring_is_held_once_and_let_go_when_the_room_is_open(started, past):
    gathered = started.core._rooms._revival
    restore(past.comes_back("bob"), past.log)
    once = gathered.size
    restore(past.comes_back("bob"), past.log)
    assert gathered.size == once + revival.CANDIDATE
    newer = past.copy()
    newer.grants()
    restore(past.comes_back("chuck"), newer.log)
    assert once < gathered.size < 3 * once
    started.passes(limits.REVIVAL)
    assert gathered.size == 0
    assert not gathered._texts
    assert not gathered._logs


@pytest.mark.parametrize("rubbish", [b"\x04", b"\x05" * 40, b""])
def test_rubbish_beside_a_good_log_harms_nobody(started, past, rubbish):
    """What looks like a restriction by its first byte is looked at when the room is chosen, outside of any request."""
    eve, bob = started.connection(), past.comes_back("bob")
    eve.asks(envelope.Restore(eve.request(), past.room, True, (rubbish,)))
    answer = restore(bob, past.log)
    started.passes(limits.REVIVAL)
    assert bob.answer(answer) == "accepted"


# -- long logs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch):
    """A relay that does one piece of its chores a turn."""
    monkeypatch.setattr(chores, "PIECES", 1)


def test_a_long_log_is_folded_over_many_turns_and_others_are_served_meanwhile(slow, make_stage):
    stage = make_stage()
    past = remember(stage, *(f"member {number}" for number in range(30)))
    alice, bob = stage.connection(), past.comes_back("member 7")
    room = alice.founds()
    request = envelope.Restore(bob.request(), past.room, True, tuple(past.log.log))
    attach = bob.attach(past.room)
    bob.sends(request, attach)
    for number in range(20):
        alice.sends(alice.post(room, f"{number}"))
        assert stage.core.rest(stage.now) == 0
        stage.core.tick(stage.now)
        stage.turn()
        assert len([d for d in alice.looks() if isinstance(d, envelope.Accepted)]) >= number
        assert bob.answer(request.id) == ""
    stage.turns()
    assert bob.answer(request.id) == "accepted"
    assert bob.answer(attach.id) == "attached", "it waited for the room"


def test_who_brings_a_log_that_is_being_folded_adds_to_it(slow, make_stage):
    stage = make_stage()
    past = remember(stage, "bob", "chuck", *(f"member {number}" for number in range(30)))
    older = past.copy()
    past.removes("chuck", ban=True)
    chuck, bob = past.comes_back("chuck"), past.comes_back("bob")
    first = envelope.Restore(chuck.request(), past.room, True, tuple(older.log.log))
    second = envelope.Restore(bob.request(), past.room, True, tuple(past.log.log))
    chuck.sends(first)
    stage.core.tick(stage.now)
    bob.sends(second)
    stage.turns()
    assert bob.answer(second.id) == chuck.answer(first.id) == "accepted"
    assert past.people["chuck"].id in bob.log(past.room).banned


def test_a_room_founded_anew_while_its_log_is_folded_is_the_room(slow, make_stage):
    stage = make_stage()
    past = remember(stage, "bob", "chuck")
    older = past.copy()
    past.removes("chuck")
    alice, bob = past.comes_back("alice"), past.comes_back("bob")
    request = envelope.Restore(bob.request(), past.room, True, tuple(past.log.log))
    bob.sends(request)
    alice.sends(envelope.Submit(alice.request(), past.room, older.log.log[0]))
    stage.turns()
    assert bob.answer(request.id) == "accepted"
    assert [st.decode(raw).__class__.__name__ for raw in alice.log(past.room).log] == ["Found", "Remove"]


def test_a_log_of_many_restrictions_that_the_room_knows_is_passed_over_in_pieces(slow, make_stage):
    stage = make_stage()
    past = remember(stage, "bob")
    for _ in range(3 * revival.SKIPPED):
        past.says(st.remove(past.people["alice"], past.room, past.log.anchor, Identity.generate().id, False))
    bob, again = past.comes_back("bob"), past.comes_back("bob")
    assert bob.answer(restore(bob, past.log)) == "accepted"
    request = envelope.Restore(again.request(), past.room, True, tuple(past.log.log))
    stage.core.tick(stage.now)
    again.sends(request)
    assert len(stage.core._chores) == 1
    stage.turns()
    assert again.answer(request.id) == "accepted"
