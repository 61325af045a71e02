"""Who is in the room: the log, cards and names, as honest people see them and as a relay or member may forge them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peer.core.commands import Show
from peer.core.events import EventKind, Reading
from peer.core.logbook import Logbook
from peer.core.people import fold_nick
from protocol import VERSION, identity, limits, names
from protocol import card as cards
from protocol import envelope as ev
from protocol import statement as st
from protocol.errors import (
    AmbiguousNick,
    Banned,
    InviteEnded,
    NotMember,
    RoomClosed,
    UnknownNick,
)
from protocol.identity import Identity
from protocol.ids import Anchor, InviteId, SealingKey
from protocol.membership import Membership, Role
from tests.peer.world import World


def forged_card(world, person, *, generation=None, key=None, nick=None, room=None):
    """Return a card that somebody signs, and no program of ours would make."""
    sealing = key or cards.sealing_key(cards.new_sealing_secret())
    sealed = names.seal_nick(person.room.secret, world.room, person.id, nick or person.name)
    return cards.make(person.identity, room or world.room, generation or person.now, sealing, sealed)


def joins_as(c, nick, reads=True):
    """Let somebody new in who calls itself so, whatever check_nick says."""
    person = c.world.person(f"someone called {nick!r} {len(c.world.people)}")
    invite = c.alice.invites()
    person.name = nick
    person.enters(invite)
    if reads:
        person.starts(Reading.BACKLOG)
    return person


def events(person, *kinds):
    return [f"{e.kind} {e.who.label if e.who else ''}" for e in person.process.told if e.kind in kinds]


# -- who comes and goes -----------------------------------------------------------------------------------------------


def test_everybody_sees_the_same_members_with_their_roles(company):
    c = company
    c.alice.promotes("bob")
    for person in (c.alice, c.bob, c.chuck):
        found = [
            (m.person.label, m.role, m.online, m.reachable, m.self) for m in person.core.roster.members(person.now)
        ]
        assert found == [
            ("alice", Role.FOUNDER, True, True, person is c.alice),
            ("bob", Role.ADMIN, True, True, person is c.bob),
            ("chuck", Role.MEMBER, True, True, person is c.chuck),
        ]
    assert (c.alice.core.roster.role, c.bob.core.roster.role) == (Role.FOUNDER, Role.ADMIN)


def test_who_comes_and_goes_is_told_by_name(company):
    c = company
    (dave,) = c.world.join("dave")
    dave.leaves()
    c.alice.kicks("chuck")
    c.alice.promotes("bob")
    told = [e.what for e in c.bob.process.told[-4:]]
    assert told[0] == "dave joined"
    assert told[1:4] == ["dave left", "alice removed chuck", "alice made bob an admin"]
    assert isinstance(c.chuck.process.ended, NotMember)


def test_who_comes_and_goes_at_once_is_told_in_that_order(company):
    c = company
    invite = c.alice.invites()
    c.world.tamper = lambda process, d: [] if isinstance(d, ev.Card) else [d]
    dave = c.world.person("dave")
    dave.enters(invite)
    c.alice.kicks("dave", ban=True)
    kinds = [e.kind for e in c.bob.process.told if e.who and e.who.id == dave.id]
    assert kinds == [EventKind.JOINED, EventKind.BANNED]


def test_a_newcomer_without_a_card_is_announced_after_a_while(company):
    c = company
    invite = c.alice.invites()
    c.world.tamper = lambda process, d: [] if isinstance(d, ev.Card) and process.person is c.bob else [d]
    dave = c.world.person("dave")
    dave.enters(invite)
    assert events(c.bob, EventKind.JOINED) == ["joined chuck"]
    c.world.passes(6_000)
    assert len(events(c.bob, EventKind.JOINED)) == 2


def test_presence_is_what_the_relay_says_of_members(company):
    c = company
    assert c.bob.id in c.alice.core.roster.online
    c.bob.sleeps()
    c.world.runs()
    assert c.bob.id not in c.alice.core.roster.online
    c.bob.starts(Reading.LIVE, present=False)
    assert c.bob.id not in c.alice.core.roster.online


def test_a_relay_that_names_strangers_without_end_fills_no_memory(company):
    """Attack 26. It says that they are present, 1,024 at a time; who belongs to the room stays present."""
    c = company
    for place in range(10):
        strangers = tuple((place * limits.PRESENT + number).to_bytes(32) for number in range(limits.PRESENT))
        c.bob.process.takes(ev.Presence(c.world.room, False, strangers, ()))
    assert len(c.bob.core.roster.online) <= limits.MEMBERS
    assert {c.alice.id, c.chuck.id} <= c.bob.core.roster.online


def test_banned_closed_and_removed_are_told_apart(company):
    c = company
    c.alice.kicks("bob", ban=True)
    assert isinstance(c.bob.process.ended, Banned)
    c.alice.closes()
    assert isinstance(c.chuck.process.ended, RoomClosed)
    assert events(c.chuck, EventKind.CLOSED) == ["closed "]


def test_whoever_comes_back_is_a_plain_member_under_a_new_invite(company):
    c = company
    old = c.alice.invites()
    c.alice.promotes("bob")
    c.alice.kicks("bob")
    c.bob.processes.clear()
    with pytest.raises(InviteEnded):
        c.bob.enters(old)
    c.bob.enters(c.alice.invites())
    c.bob.starts(Reading.BACKLOG)
    assert c.alice.membership.members[c.bob.id].role is Role.MEMBER
    c.alice.says("welcome back")
    assert c.bob.hears() == ["alice: welcome back"]
    c.world.passes(20_000)
    assert c.bob.notes() == []


# -- the log: what a relay may try ----------------------------------------------------------------------------------


def inject(c, victim, raw, index=None):
    victim.process.takes(ev.Statement(c.world.room, index or victim.membership.index + 1, raw))


def test_an_invented_member_is_refused_with_an_alarm_and_nobody_seals_to_it(company):
    """Claim 3, attack 5."""
    c = company
    ghost, invite = Identity.generate(), Identity.generate()
    before = c.bob.membership.anchor
    inject(c, c.bob, st.grant(ghost, c.world.room, before, InviteId(invite.public), 0, 0))
    inject(c, c.bob, st.admit(ghost, c.world.room, before, invite))
    assert c.bob.membership.anchor == before
    assert c.bob.alarmed() == ["log"]
    assert [e.kind for e in c.bob.process.told if e.kind is EventKind.ALARM] == [EventKind.ALARM]


def test_a_removed_member_is_not_let_in_again_by_its_old_admission(company):
    """Attack 6."""
    c = company
    (old,) = [
        raw
        for raw in c.alice.membership.log
        if isinstance(st.decode(raw), st.Admit) and st.decode(raw).signer == c.chuck.id
    ]
    c.alice.kicks("chuck")
    inject(c, c.bob, old)
    assert not c.bob.core.roster.is_member(c.chuck.id)
    assert c.bob.alarmed() == ["log"]


@pytest.mark.parametrize("what", ["swapped", "skipped", "other"])
def test_another_log_than_before_is_an_alarm(company, what):
    c = company
    log = c.alice.membership.log
    match what:
        case "swapped":
            inject(c, c.bob, log[2], index=2)
        case "skipped":
            inject(c, c.bob, log[2], index=len(log) + 2)
        case "other":
            inject(c, c.bob, b"\0" * 200)
    assert c.bob.alarmed() == ["log"]


def test_a_statement_that_is_shown_again_is_nothing(company):
    c = company
    for index, raw in enumerate(c.bob.membership.log, 1):
        inject(c, c.bob, raw, index=index)
    assert c.bob.alarms() == []


def test_a_log_that_is_not_the_rooms_is_refused_by_who_enters(company):
    c = company
    other = World()
    founder = other.create("mallory")
    found = founder.membership.log[0]
    invite = c.alice.invites()
    c.world.tamper = lambda process, d: (
        [replace(d, statement=found)]
        if isinstance(d, ev.Statement) and d.index == 1 and process.person.name == "dave"
        else [d]
    )
    with pytest.raises(Exception, match="invite"):
        c.world.person("dave").enters(invite)


def test_a_log_without_the_invites_anchor_is_refused_by_who_enters(company):
    """The relay shows the newcomer a shorter room, in which the one who was removed before is still a member."""
    c = company
    c.alice.kicks("chuck")
    invite = c.alice.invites()
    with pytest.raises(Exception, match="another room"):
        c.world.person("dave").enters(
            replace(invite, anchor=Anchor(invite.anchor.index, c.alice.membership.heads[1])), anchor=invite.anchor
        )


def test_a_place_that_the_relay_did_not_show_is_an_alarm(company):
    c = company
    c.world.tamper = lambda process, d: (
        [replace(d, head=bytes(32))] if isinstance(d, ev.Attached) and process.person is c.bob else [d]
    )
    with c.bob.process.away():
        pass
    assert c.bob.alarmed() == ["log"]


def test_a_process_of_a_dead_relay_overwrites_nothing_that_another_has_of_the_new_one(on_disk):
    """One process still reads what a dead relay had delivered when another has gone on to the log of the new relay."""
    c = on_disk
    first, second = c.bob.process, c.bob.starts(Reading.LIVE)
    first.holds_in = True
    c.alice.invites()
    frames = list(first.incoming)
    shorter = Membership.fold(second.core.roster.membership.log[:3])
    Logbook(c.bob.store, c.bob.store.room_by_id(c.bob.room_id)).replace(shorter, b"another")
    first.takes(*ev.decode_deliveries(frames[0]))
    assert not first.core.attached
    assert [row[0] for row in c.bob.store.rows("SELECT statement FROM log ORDER BY place")] == shorter.log
    first.reconnects()
    c.world.runs()
    assert first.core.attached
    assert first.core.roster.membership.log == c.alice.membership.log
    c.alice.says("welcome back")
    assert first.hears() == ["alice: welcome back"]
    assert c.world.alarms() == {}


# -- cards ------------------------------------------------------------------------------------------------------------


def show(victim, raw):
    victim.process.takes(ev.Card(victim.room_id, raw))


def test_the_newest_card_counts_and_an_older_one_is_no_alarm(company):
    c = company
    old = c.alice.core.keys.newest().card
    c.world.passes(limits.CARD_ROTATION + 1_000)
    new = c.alice.core.keys.newest()
    assert c.bob.core.roster.cards.newest(c.alice.id).generation == new.generation
    show(c.bob, old)
    assert c.bob.core.roster.cards.newest(c.alice.id).generation == new.generation
    assert c.bob.alarms() == []


def test_two_cards_of_one_generation_the_first_stands_and_its_owner_is_named(company):
    """Attack 7."""
    c = company
    mine = c.chuck.core.keys.newest()
    show(c.bob, forged_card(c.world, c.chuck, generation=mine.generation))
    assert c.bob.core.roster.cards.newest(c.chuck.id).raw == mine.card
    assert c.bob.alarmed() == ["card chuck"]


def test_another_card_of_a_superseded_generation_is_the_same_lie(company):
    c = company
    first = c.chuck.core.keys.newest()
    c.world.passes(limits.CARD_ROTATION + 1_000)
    show(c.bob, forged_card(c.world, c.chuck, generation=first.generation))
    assert c.bob.alarmed() == ["card chuck"]


def test_a_card_of_low_order_flags_its_owner_and_the_sender_lives(company):
    """Attack 14."""
    c = company
    for point in (bytes(32), b"\1" + bytes(31)):
        show(c.bob, forged_card(c.world, c.chuck, generation=c.chuck.now + 1, key=SealingKey(point)))
    assert c.bob.alarmed() == ["card chuck"]
    c.bob.core.roster.answer(c.chuck.id, c.bob.now)
    c.bob.says("hi")
    assert c.chuck.hears() == ["bob: hi"]


def test_a_forged_or_altered_card_is_the_relays_lie(company):
    """Attack 19: a card for bob that bob did not sign."""
    c = company
    raw = c.bob.core.keys.newest().card
    show(c.alice, raw[:120] + bytes([raw[120] ^ 1]) + raw[121:])
    assert c.alice.alarmed() == ["card"]
    assert c.alice.core.roster.cards.newest(c.bob.id).raw == raw


def test_a_card_of_another_room_is_refused(company):
    """Attack 18."""
    c = company
    show(c.bob, forged_card(c.world, c.chuck, generation=c.chuck.now + 1, room=b"o" * 32))
    assert c.bob.core.roster.cards.newest(c.chuck.id).raw == c.chuck.core.keys.newest().card
    assert c.bob.alarmed() == ["card chuck"]


def test_a_card_from_the_future_is_not_taken_and_no_alarm(company):
    """Whose clock is a few minutes behind the relay's sees cards that the relay may show."""
    c = company
    show(c.bob, forged_card(c.world, c.chuck, generation=c.bob.now + limits.CARD_AHEAD + 1))
    assert c.bob.core.roster.cards.newest(c.chuck.id).raw == c.chuck.core.keys.newest().card
    assert c.bob.alarms() == []


def test_a_card_of_somebody_who_never_belonged_is_an_alarm_and_is_not_taken(company):
    """Attack 5."""
    c = company
    stranger = c.world.person("stranger")
    stranger.room_id = c.world.room
    stranger._adds_room(c.world.room, c.alice.room.secret)
    show(c.bob, forged_card(c.world, stranger))
    assert c.bob.core.roster.cards.newest(stranger.id) is None
    assert c.bob.alarmed() == ["card"]


def test_a_card_of_ones_own_that_one_did_not_make_is_an_alarm(company):
    c = company
    show(c.bob, forged_card(c.world, c.bob, generation=c.bob.now + 60_000))
    assert c.bob.alarmed() == ["card bob"]


# -- names ------------------------------------------------------------------------------------------------------------


def test_people_are_found_by_nick_label_fingerprint_and_id(company):
    c = company
    roster = c.alice.core.roster
    for word in ("bob", "BOB", identity.fingerprint(c.bob.id), identity.id_text(c.bob.id).upper()):
        assert roster.people.find(word).id == c.bob.id
    for word in ("dave", "", "bob~", "~", identity.fingerprint(Identity.generate().id)):
        if word == "bob~":
            assert roster.people.find(word).id == c.bob.id
            continue
        with pytest.raises(UnknownNick):
            roster.people.find(word)


def test_namesakes_are_told_apart_by_as_much_of_their_ids_as_it_takes(company):
    c = company
    first, second = joins_as(c, "sam"), joins_as(c, "Sam")
    roster = c.bob.core.roster
    labels = {roster.person(p.id).label: p.id for p in (first, second)}
    assert len(labels) == 2
    for label, peer in labels.items():
        assert "~" in label
        assert roster.people.find(label).id == peer
    for word in ("sam", "Sam", "SAM"):
        with pytest.raises(AmbiguousNick):
            roster.people.find(word)


def test_a_suffix_grows_until_it_is_unique(company, monkeypatch):
    c = company
    first, second = joins_as(c, "sam"), joins_as(c, "sam")
    texts = {first.id: "abcdefgh" + "a" * 44, second.id: "abcdefgi" + "a" * 44}
    original = identity.id_text
    monkeypatch.setattr(identity, "id_text", lambda peer: texts.get(peer) or original(peer))
    roster = c.bob.core.roster
    roster.people.changed()
    assert {roster.person(p.id).label.split("~")[1] for p in (first, second)} == {"abcdefgh", "abcdefgi"}


def test_a_nick_shaped_like_an_id_or_fingerprint_or_label_never_passes_for_one(company):
    """Attack 4."""
    c = company
    short = identity.id_text(c.bob.id)[:4]
    shapes = [identity.fingerprint(c.bob.id)[:32], f"bob~{short}", f"bob_{short}"]
    for shape in shapes:
        joins_as(c, shape, reads=False)
    roster = c.alice.core.roster
    assert roster.people.find(identity.fingerprint(c.bob.id)).id == c.bob.id
    assert roster.people.find(identity.id_text(c.bob.id)).id == c.bob.id
    assert roster.people.find(f"bob~{short}").id == c.bob.id
    assert roster.person(c.bob.id).label == "bob"


def test_a_nick_that_was_anothers_is_told_once_by_a_process_that_meets_it_while_it_attaches(company):
    c = company
    c.alice.sleeps()
    c.bob.leaves()
    joins_as(c, "BOB")
    assert [e.kind for e in c.alice.starts(Reading.UNSHOWN).told].count(EventKind.KEY_CHANGED) == 1


@pytest.mark.parametrize("nick", ["BOB", "bob\u200b", "b\u202eob", "\uff42ob", "bo\u0062", "Bob"])
def test_a_nick_that_only_looks_different_is_the_same_nick(company, nick):
    """Attack 16: asides to it stop until it is accepted, also when the first of that name has left."""
    c = company
    c.bob.leaves()
    impostor = joins_as(c, nick)
    roster = c.alice.core.roster
    assert roster.people.is_impostor(impostor.id)
    assert "~" in roster.person(impostor.id).label
    assert [e.kind for e in c.alice.process.told if e.kind is EventKind.KEY_CHANGED] == [EventKind.KEY_CHANGED]
    again = c.alice.starts(Reading.LIVE)
    assert [e.kind for e in again.told] == [EventKind.KEY_CHANGED]
    assert again.core.roster.people.is_impostor(impostor.id)
    roster.people.accept(impostor.id)
    assert not roster.people.is_impostor(impostor.id)


def test_who_comes_back_with_the_same_identity_is_no_impostor(company):
    c = company
    c.bob.leaves()
    c.bob.processes.clear()
    c.bob.enters(c.alice.invites())
    assert not c.alice.core.roster.people.is_impostor(c.bob.id)


def test_a_nick_that_cannot_be_read_is_shown_as_an_unnamed_member(company):
    c = company
    raw = cards.make(
        c.chuck.identity, c.world.room, c.chuck.now + 1, cards.sealing_key(cards.new_sealing_secret()), b"?" * 60
    )
    show(c.alice, raw)
    person = c.alice.core.roster.person(c.chuck.id)
    assert person.nick == ""
    assert person.label.startswith("?~")
    assert fold_nick("") == ""


def test_who_is_not_a_member_has_a_label_with_a_suffix(company):
    c = company
    stranger = Identity.generate()
    assert c.alice.core.roster.person(stranger.id).label == f"?~{identity.id_text(stranger.id)[:4]}"


def test_verified_is_said_of_exactly_who_was_compared(company):
    c = company
    c.alice.store.write("INSERT INTO verified VALUES (?, ?)", c.bob.id, c.alice.now)
    found = {m.person.label: m.verified for m in c.alice.core.roster.members(c.alice.now)}
    assert found == {"alice": False, "bob": True, "chuck": False}


# -- what is told -----------------------------------------------------------------------------------------------------


def news(process):
    return [event.what for event in process.events]


def test_what_a_command_that_only_sends_has_folded_is_told_by_whoever_reads_next(company):
    """Nobody is asked to read what `send` and `who` happen to see."""
    c = company
    c.bob.sleeps()
    (dave,) = c.world.join("dave")
    c.alice.kicks("chuck")
    command = c.bob.starts(Reading.NOTHING)
    assert dave.id in command.core.roster.membership.members
    command.stops()
    reader = c.bob.starts(Reading.UNSHOWN)
    joined, removed = news(reader)
    assert joined == "dave joined"
    assert removed.startswith("alice removed chuck")
    reader.stops()
    again = c.bob.starts(Reading.UNSHOWN)
    assert news(again) == []


def test_what_a_chat_has_told_is_not_told_again(company):
    c = company
    c.alice.kicks("chuck")
    assert news(c.bob.process) == ["alice removed chuck"]
    c.bob.sleeps()
    assert news(c.bob.starts(Reading.UNSHOWN)) == []


def test_whoever_enters_is_not_told_how_everybody_came(company):
    c = company
    c.alice.promotes("bob")
    (dave,) = c.world.join("dave", reads=False)
    assert news(dave.starts(Reading.UNSHOWN)) == []
    dave.leaves()


def test_what_a_restart_changed_while_a_command_was_attached_is_told_later(company):
    """The command takes the shorter log, and the next one that reads tells what has followed where they part."""
    c = company
    short = Membership.fold(c.alice.membership.log)
    c.alice.invites()
    c.alice.promotes("bob")
    c.bob.sleeps()
    command = c.bob.starts(Reading.NOTHING, connect=False)
    short.apply(st.role(c.alice.identity, c.world.room, short.anchor, c.chuck.id, True))
    now = c.bob.now
    command.core.connected(ev.Welcome(VERSION, b"another" * 2 + b"!!", now, 600), now, since=now)
    command.core.receive([ev.Statement(c.world.room, place, raw) for place, raw in enumerate(short.log, 1)], now)
    command.core.roster.adopt(b"another", now)
    reader = c.bob.starts(Reading.UNSHOWN, connect=False)
    reader.core.roster.connected(now)
    told = [each.item.what for each in reader.core.take() if isinstance(each, Show)]
    assert told == ["alice made chuck an admin"]
