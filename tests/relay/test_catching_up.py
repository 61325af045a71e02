"""Stories of those who were away, or whose pipe was full: what they get, in which order, and exactly once."""

from __future__ import annotations

import pytest

from protocol import envelope, limits
from protocol import statement as st
from protocol.envelope import Attached, Card, Closed, Flag, Message, Presence, Statement
from protocol.membership import START
from relay.core.core import RETRY


def kinds(deliveries):
    """The kinds of deliveries, runs of one kind counted once."""
    names = [type(d).__name__ for d in deliveries]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def numbers(person, *, direct):
    return [m.number for m in person.sees(Message) if m.direct is direct]


def test_attaching_tells_everything_in_an_order_that_can_be_followed(company):
    c = company
    c.alice.whispers(c.room, c.bob, "psst")
    c.alice.says(c.room, "hi")
    again = c.stage.connection(c.bob.identity)
    again.sends(again.attach(c.room))
    seen = again.sees()
    assert kinds(seen) == ["Statement", "Card", "Presence", "Message", "Attached"]
    assert [d.index for d in seen if isinstance(d, Statement)] == [1, 2, 3, 4]
    assert len([d for d in seen if isinstance(d, Card)]) == 3
    assert [d.direct for d in seen if isinstance(d, Message)] == [True, False]
    log = c.alice.log(c.room)
    assert seen[-1] == Attached(seen[-1].id, c.room, 4, log.head, 1, 1)


def test_whoever_holds_the_log_gets_what_came_after(company):
    c = company
    log = c.alice.log(c.room)
    c.bob.sends(c.bob.attach(c.room, index=2, head=log.heads[2]))
    assert [d.index for d in c.bob.sees(Statement)] == [3, 4]
    c.bob.sends(c.bob.attach(c.room, index=4, head=log.head))
    assert c.bob.sees(Statement) == []


@pytest.mark.parametrize(("index", "head"), [(2, bytes(32)), (5, START), (1 << 40, START)])
def test_whoever_holds_another_log_gets_it_all(company, index, head):
    c = company
    c.bob.sends(c.bob.attach(c.room, index=index, head=head))
    assert [d.index for d in c.bob.sees(Statement)] == [1, 2, 3, 4]


def test_cursors_say_where_to_go_on(company):
    c = company
    for text in ("one", "two", "three"):
        c.alice.says(c.room, text)
        c.alice.whispers(c.room, c.bob, text)
    c.bob.sees()
    again = c.stage.connection(c.bob.identity)
    again.attaches(c.room, room_cursor=2, aside_cursor=1)
    assert again.reads() == ["(two)", "(three)", "three"]
    again.attaches(c.room, room_cursor=None, aside_cursor=None)
    assert again.reads() == []
    again.attaches(c.room, room_cursor=3, aside_cursor=3)
    assert again.reads() == []


def test_a_cursor_of_another_incarnation_starts_again(company):
    c = company
    c.alice.says(c.room, "hi")
    c.alice.whispers(c.room, c.bob, "psst")
    c.bob.sees()
    c.bob.attaches(c.room, room_cursor=99, aside_cursor=99)
    assert c.bob.reads() == ["(psst)", "hi"]


def test_live_from_then_on(company):
    c = company
    again = c.stage.connection(c.bob.identity)
    again.attaches(c.room, room_cursor=None, aside_cursor=None)
    again.sees()
    c.alice.says(c.room, "hi")
    c.alice.whispers(c.room, c.bob, "psst")
    assert again.reads() == ["hi", "(psst)"]
    assert c.bob.reads() == ["hi", "(psst)"]


def test_an_aside_leaves_before_what_the_room_says_in_the_same_turn(company):
    """The chain key must come before the message that it opens."""
    c = company
    key = c.alice.post(c.room, "key", c.bob, flags=Flag.CHAIN_KEY)
    c.alice.sends(key, c.alice.post(c.room, "sealed with it"))
    assert c.bob.reads() == ["(key)", "sealed with it"]


def test_what_comes_while_one_attaches_comes_once(company):
    c = company
    again = c.stage.connection(c.bob.identity)
    c.alice.sends(c.alice.post(c.room, "before", index=4))
    again.sends(again.attach(c.room))
    c.alice.sends(c.alice.post(c.room, "after", index=4), c.alice.post(c.room, "aside", c.bob, index=4))
    assert again.reads() == ["(aside)", "before", "after"]


def test_a_long_way_to_catch_up_takes_turns_in_bounded_frames(company, monkeypatch):
    c = company
    for number in range(40):
        c.alice.says(c.room, f"{number:05}" * 2_000)
        c.alice.whispers(c.room, c.bob, f"{number:05}" * 2_000)
    again = c.stage.connection(c.bob.identity)
    again.frames.clear()
    monkeypatch.setattr("relay.core.core.CATCHING_UP", 1)
    again.sends(again.attach(c.room))
    c.stage.turn()
    assert len(again.frames) == 1
    c.alice.says(c.room, "meanwhile")
    assert max(map(len, again.frames)) < 2 * 64 * 1024
    seen = again.sees()
    assert [m.number for m in seen if isinstance(m, Message) and not m.direct] == list(range(1, 42))
    assert [m.number for m in seen if isinstance(m, Message) and m.direct] == list(range(1, 41))
    assert sum(isinstance(d, Attached) for d in seen) == 1


def test_nothing_is_lost_or_repeated_when_a_pipe_is_full(company):
    c = company
    c.stage.full.add(c.bob.connection)
    for number in range(3):
        assert c.alice.says(c.room, f"room {number}") == "accepted"
        assert c.alice.whispers(c.room, c.bob, f"aside {number}") == "accepted"
    assert c.bob.frames == []
    assert c.chuck.reads() == ["room 0", "room 1", "room 2"]
    c.stage.full.clear()
    c.stage.passes(RETRY)
    assert c.bob.reads() == ["(aside 0)", "(aside 1)", "(aside 2)", "room 0", "room 1", "room 2"]
    c.alice.says(c.room, "live again")
    c.alice.whispers(c.room, c.bob, "live again")
    assert c.bob.reads() == ["live again", "(live again)"]


def test_a_full_pipe_gets_state_and_not_history(company):
    """Bob missed cards, statements and presence: he is told how things are."""
    c = company
    c.stage.full.add(c.bob.connection)
    dora = c.stage.connection()
    dora.enters(c.alice.invites(c.room))
    dora.attaches(c.room)
    dora.publishes(c.room)
    for _ in range(3):
        c.alice.publishes(c.room)
    c.chuck.leaves_the_net()
    c.stage.full.clear()
    c.stage.passes(RETRY)
    seen = c.bob.sees()
    assert kinds(seen) == ["Statement", "Card", "Presence"]
    assert [d.index for d in seen if isinstance(d, Statement)] == [5, 6]
    assert [d.card[:32] for d in seen if isinstance(d, Card)] == [dora.id, c.alice.id]
    assert seen[-1].whole
    assert set(seen[-1].online) == {c.alice.id, c.bob.id, dora.id}


def test_answers_survive_a_full_pipe(company):
    c = company
    c.stage.full.add(c.bob.connection)
    post = c.bob.post(c.room, "hi", index=4)
    wrong = c.bob.post(c.room, "hi", index=99)
    c.bob.sends(post, wrong)
    c.stage.turns()
    c.stage.full.clear()
    c.stage.passes(RETRY)
    assert c.bob.answer(post.id) == "accepted"
    assert c.bob.answer(wrong.id) == "malformed"
    assert c.bob.reads() == ["hi"]


def test_a_pipe_that_fills_between_two_frames_of_a_turn_goes_on_from_there(company):
    """A turn that says more than one frame holds: the second is refused."""
    c = company
    posts = [c.alice.post(c.room, f"{number:02}" * 45_000, index=4) for number in range(16)]
    for post in posts:
        c.alice.sends(post)
    pushes = 0
    for push in c.stage.core.turn(c.stage.now):
        for connection in push.to:
            if len(push.to) > 1 and connection == c.bob.connection:
                pushes += 1
                if pushes == 2:
                    c.stage.core.stalled(connection, c.stage.now)
                    continue
            c.stage.people[connection].frames.append(push.frame)
    assert pushes == 2
    c.stage.passes(RETRY)
    for person in (c.alice, c.bob, c.chuck):
        assert numbers(person, direct=False) == list(range(1, 17))


def test_asides_of_one_turn_fill_several_frames(company):
    c = company
    for number in range(14):
        c.alice.sends(c.alice.post(c.room, f"{number:02}" * 45_000, c.bob, index=4))
    c.stage.turns()
    assert len(c.bob.frames) == 7
    assert numbers(c.bob, direct=True) == list(range(1, 15))


def test_asides_that_a_full_pipe_refuses_in_the_middle_come_once(company):
    c = company
    for number in range(14):
        c.alice.sends(c.alice.post(c.room, f"{number:02}" * 45_000, c.bob, index=4))
    mine = 0
    for push in c.stage.core.turn(c.stage.now):
        mine += push.to == (c.bob.connection,)
        if push.to == (c.bob.connection,) and mine == 2:
            c.stage.core.stalled(c.bob.connection, c.stage.now)
        else:
            for connection in push.to:
                c.stage.people[connection].frames.append(push.frame)
    c.stage.passes(RETRY)
    assert numbers(c.bob, direct=True) == list(range(1, 15))


def test_what_a_full_pipe_refused_is_kept_no_longer_than_anything_else(company):
    c = company
    c.stage.full.add(c.bob.connection)
    c.alice.whispers(c.room, c.bob, "psst")
    c.stage.passes(c.stage.bounds.retention_s * limits.SECOND)
    c.stage.full.clear()
    c.alice.whispers(c.room, c.bob, "are you there?")
    c.stage.passes(RETRY)
    assert c.bob.reads() == ["(are you there?)"]


def test_whoever_takes_nothing_for_too_long_is_cut(make_company):
    c = make_company(slow_cut_s=10)
    c.stage.full.add(c.bob.connection)
    c.alice.says(c.room, "hi")
    for _ in range(9):
        c.stage.passes(limits.SECOND)
    assert c.stage.cut == []
    c.stage.passes(limits.SECOND)
    assert c.stage.cut == [c.bob.connection]
    seen = c.alice.sees(Presence)
    assert seen[-1].offline == (c.bob.id,)


def test_nobody_is_cut_for_unread_asides(make_company):
    """A cut would show as a change of presence: claim 1."""
    c = make_company(slow_cut_s=10)
    c.stage.full.add(c.bob.connection)
    for _ in range(30):
        c.alice.whispers(c.room, c.bob, "psst")
        c.stage.passes(limits.SECOND)
    assert c.stage.cut == []
    assert c.chuck.sees() == []
    c.stage.full.clear()
    c.stage.passes(RETRY)
    assert c.bob.reads() == ["(psst)"] * 30


def test_the_time_to_be_cut_starts_again_when_something_is_taken(make_company):
    c = make_company(slow_cut_s=10)
    for _ in range(5):
        c.stage.full.add(c.bob.connection)
        c.alice.says(c.room, "hi")
        c.stage.passes(8 * limits.SECOND)
        c.stage.full.clear()
        c.stage.passes(limits.SECOND)
    assert c.stage.cut == []


def test_whoever_leaves_too_many_answers_unread_is_cut(company):
    c = company
    c.stage.full.add(c.bob.connection)
    ask = b"".join(c.bob.post(c.room, "", index=99).encode() for _ in range(4_000))
    for _ in range(40):
        c.bob.sends(ask)
        c.stage.passes(RETRY)
    assert c.stage.cut == [c.bob.connection]


def test_a_connection_that_is_gone_is_found_out_by_sending(company):
    c = company
    c.stage.dead.add(c.bob.connection)
    c.alice.says(c.room, "hi")
    assert c.chuck.reads() == ["hi"]
    c.stage.turns()
    assert c.stage.core.rest(c.stage.now) > 0


def test_a_connection_that_is_gone_while_it_catches_up(company):
    c = company
    again = c.stage.connection(c.bob.identity)
    c.stage.dead.add(again.connection)
    again.sends(again.attach(c.room))
    c.stage.turns()
    c.alice.says(c.room, "hi")
    assert c.bob.reads() == ["hi"]


def test_several_connections_of_one_identity_all_get_its_asides(company):
    c = company
    again = c.stage.connection(c.bob.identity)
    again.attaches(c.room)
    again.sees()
    c.alice.whispers(c.room, c.bob, "psst")
    assert c.bob.reads() == ["(psst)"]
    assert again.reads() == ["(psst)"]


def test_several_rooms_on_one_connection(company):
    c = company
    other = c.alice.founds()
    c.bob.enters(c.alice.invites(other))
    c.bob.attaches(other)
    c.bob.sees()
    c.alice.says(other, "there")
    c.alice.says(c.room, "here")
    assert c.bob.reads() == ["there", "here"]
    assert c.chuck.reads() == ["here"]


def test_a_stall_in_one_room_keeps_the_others_straight(company):
    """Bob's pipe refuses the frame of one room, after he took that of another in the same turn."""
    c = company
    other = c.alice.founds()
    c.bob.enters(c.alice.invites(other))
    c.bob.attaches(other)
    c.bob.sees()
    c.alice.sends(c.alice.post(c.room, "here", index=4), c.alice.post(other, "there", index=3))
    pushed = 0
    for push in c.stage.core.turn(c.stage.now):
        for connection in push.to:
            if connection == c.bob.connection:
                pushed += 1
                if pushed == 2:
                    c.stage.core.stalled(connection, c.stage.now)
                    continue
            c.stage.people[connection].frames.append(push.frame)
    c.stage.passes(RETRY)
    assert c.bob.reads() == ["here", "there"]


def test_what_is_anchored_before_ones_admission_is_not_delivered(company):
    c = company
    invite = c.alice.invites(c.room)
    dora = c.stage.connection()
    dora.enters(invite)
    dora.attaches(c.room)
    dora.sees()
    c.chuck.sends(c.chuck.post(c.room, "before dora", index=5))
    c.alice.sends(c.alice.post(c.room, "after dora", index=6))
    assert c.bob.reads() == ["before dora", "after dora"]
    assert dora.reads() == ["after dora"]
    again = c.stage.connection(dora.identity)
    again.attaches(c.room)
    assert again.reads() == ["after dora"]
    c.alice.says(c.room, "to all")
    assert dora.reads() == ["to all"]


def test_attaching_again_takes_the_place_of_the_first(company):
    c = company
    c.bob.attaches(c.room, present=False)
    assert [(p.online, p.offline) for p in c.chuck.sees(Presence)] == [((), (c.bob.id,))]
    c.alice.says(c.room, "once")
    assert c.bob.reads() == ["once"]


def test_attaching_again_before_having_caught_up(company, monkeypatch):
    c = company
    for number in range(20):
        c.alice.says(c.room, f"{number:05}" * 2_000)
    monkeypatch.setattr("relay.core.core.CATCHING_UP", 1)
    again = c.stage.connection(c.bob.identity)
    again.sends(again.attach(c.room))
    c.stage.turn()
    again.frames.clear()
    assert again.attaches(c.room) == "attached"
    assert numbers(again, direct=False) == list(range(1, 21))


def test_a_big_room_is_told_of_in_parts(make_stage):
    """More members present than one PRESENCE holds, more cards than one chunk."""
    stage = make_stage(connections=2_000, connections_per_address=2_000)
    alice = stage.connection()
    room = alice.founds()
    invite = alice.invites(room)
    alice.attaches(room)
    anchor = alice.log(room).anchor
    crowd = [stage.connection() for _ in range(1_050)]
    for person in crowd:
        person.sends(envelope.Submit(person.request(), room, st.admit(person.identity, room, anchor, invite.key)))
    log = alice.log(room)
    for person in crowd:
        person.sends(person.attach(room, index=log.index, head=log.head))
    stage.turns()
    alice.sees()
    last = stage.connection(crowd[-1].identity)
    last.sends(last.attach(room))
    seen = last.sees()
    presence = [d for d in seen if isinstance(d, Presence)]
    assert [p.whole for p in presence] == [True, False]
    assert {peer for p in presence for peer in p.online} == {p.id for p in (*crowd, alice)}
    assert [d.index for d in seen if isinstance(d, Statement)] == list(range(1, 1_053))
    assert isinstance(seen[-1], Attached)
    assert not any(isinstance(d, Closed) for d in seen)
    for person in crowd:
        person.leaves_the_net()
    went = alice.sees(Presence)
    assert len(went) == 2
    assert sum(len(p.offline) for p in went) == 1_049  # the last is still here


def test_presence_that_no_longer_fits_goes_into_a_frame_of_its_own(company):
    c = company
    around = (
        len(envelope.Message(c.room, c.alice.id, False, 1, c.stage.now, bytes(16), bytes(90_000)).encode()) - 90_000
    )
    left = limits.FRAME
    while left > around:
        body = min(90_000, left - around)
        c.alice.sends(c.alice.post(c.room, "x" * body, index=4))
        left -= body + around
    c.chuck.leaves_the_net()
    c.stage.turns()
    c.bob.frames.sort(key=len)
    assert len(c.bob.frames[1]) > limits.FRAME - 100
    assert kinds(envelope.decode_deliveries(c.bob.frames[0])) == ["Presence"]


def test_those_who_are_behind_take_turns(company, monkeypatch):
    """Bob asks for the log again and again, and reads it; Chuck, who comes later, is served all the same."""
    c = company
    monkeypatch.setattr("relay.core.core.CATCHING_UP", 1)
    for _ in range(16):
        c.bob.sends(envelope.Fetch(c.bob.request(), c.room, None, 0))
    c.chuck.sends(c.chuck.attach(c.room))
    order = []
    for _ in range(4):
        order += [push.to for push in c.stage.core.turn(c.stage.now)]
    assert order == [(c.bob.connection,), (c.chuck.connection,), (c.bob.connection,), (c.bob.connection,)]
