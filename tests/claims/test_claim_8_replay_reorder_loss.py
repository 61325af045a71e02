"""Claim 8: replay, reorder, duplicate and loss by the relay or a member are shown as such; nothing is displayed twice.

The loss of the very last message shows with the next. What carries it: the table ``seen`` (a message by its id, and by
its counter), ``Gaps`` (the counters that did not come, and how many messages a chain that ended had), and that each
counter is inside what the sender authenticated.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from peer.core.events import Reading, State
from protocol import envelope as ev
from protocol import limits
from protocol.content import Action, Ask, ChainKey, Receipt, Text
from protocol.ids import Anchor
from protocol.primitives import new_message_id, random
from tests.claims import hostile_relay as lies
from tests.claims.conftest import Company
from tests.claims.hostile_relay import aside, room_message
from tests.peer.world import Person

SOON = 6 * limits.SECOND
"""After this long a gap is told."""


def talk(c: Company, *words: str) -> list[str]:
    """Let Alice say and whisper each word; return how Bob should hear it."""
    heard = []
    for word in words:
        c.alice.says(word)
        c.alice.whispers("bob", word)
        heard += [f"alice: {word}", f"alice whispers: {word}"]
    return heard


def deliveries(c: Company, person: Person) -> list[ev.Message]:
    """Return the messages of others that the relay ever delivered to somebody."""
    return [m for m in c.world.tape.all(ev.Message, to=person.id) if m.sender != person.id]


# -- replay and duplicates --------------------------------------------------------------------------------------------


def test_a_replay_is_shown_as_a_duplicate_and_not_displayed(company: Company):
    """Stands on ``seen`` and ``Inbox._handled``."""
    c = company
    assert sorted(talk(c, "one", "two")) == sorted(c.bob.hears())
    c.bob.forgets()
    c.world.lies(lies.Replays(c.bob.id))
    assert c.bob.hears() == []
    assert set(c.bob.notes()) == {"duplicate alice", "duplicate chuck"}
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    assert c.world.alarmed(c.bob) == []


def test_each_message_delivered_twice_is_displayed_once(company: Company):
    """Attack 12, and the same message under another number."""
    c = company
    c.world.lies(lies.Duplicates(c.bob.id))
    assert talk(c, "one", "two") == c.bob.hears()
    assert c.bob.notes().count("duplicate alice") >= 4


@pytest.mark.parametrize("reading", [Reading.LIVE, Reading.UNSHOWN])
def test_a_replay_after_the_receiver_restarts_is_not_displayed_again(company: Company, reading: Reading):
    """Attack 9. Stands on ``seen.shown`` and ``Inbox._is_wanted``."""
    c = company
    talk(c, "one", "two")
    c.bob.forgets()
    c.bob.sleeps()
    c.world.passes(3 * limits.MINUTE)
    c.world.lies(lies.Replays(c.bob.id))
    process = c.bob.starts(reading)
    c.world.passes(lies.LONG)
    assert process.hears() == []
    c.alice.says("three")
    assert process.hears() == ["alice: three"]


@pytest.mark.parametrize("reading", list(Reading))
def test_a_replay_long_after_is_displayed_to_nobody(company: Company, reading: Reading):
    """After retention the keys are gone or what was seen is known: one lives as long as the other (``keys.bury``)."""
    c = company
    talk(c, "one", "two")
    c.bob.forgets()
    c.bob.sleeps()
    c.world.passes(limits.RETENTION)
    for _ in range(8):
        c.world.passes(5 * limits.MINUTE)
        c.world.lies(lies.Replays(c.bob.id))
        process = c.bob.starts(reading)
        c.world.passes(lies.LONG)
        assert process.hears() == []
        process.stops()


def test_a_restarted_relay_that_delivers_everything_again_displays_nothing_twice(company: Company):
    """The relay starts anew and plays its tape from before to whoever comes back."""
    c = company
    talk(c, "one", "two")
    c.bob.forgets()
    c.world.lies(lies.Replays(c.bob.id))
    c.world.restart()
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    c.world.is_honest()
    talk(c, "three")
    assert c.bob.hears() == ["alice: three", "alice whispers: three"]
    assert c.world.alarmed(c.bob) == []


def test_a_message_under_another_id_sender_or_channel_is_missed_and_not_displayed(company: Company):
    """Stands on the context inside an aside (``Route.context``) and on the associated data of a room message."""
    c = company
    talk(c, "one")
    c.bob.forgets()
    changes = [lies.relabelled(c.chuck.id), lies.turned, lies.renamed]
    for change in changes:
        for message in deliveries(c, c.bob):
            changed = change(message)
            c.world.core.says(c.bob.id, changed if changed.id != message.id else replace(changed, id=message.id))
    c.world.runs()
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    assert c.world.alarmed(c.bob) == []


@pytest.mark.parametrize("change", ["sender", "channel", "id"])
def test_a_message_that_is_only_ever_delivered_changed_is_missed(company: Company, change: str):
    c = company
    how = {"sender": lies.relabelled(c.chuck.id), "channel": lies.turned, "id": lies.renamed}[change]
    c.world.lies(lies.Changes(c.bob.id, change=how))
    talk(c, "one")
    c.world.is_honest()
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    notes = c.bob.notes()
    assert len([note for note in notes if note.startswith("missed")]) >= 2
    talk(c, "two")
    c.world.passes(SOON)
    assert c.bob.hears() == ["alice: two", "alice whispers: two"]
    assert any(note.startswith("gap alice") for note in c.bob.notes())


def test_a_message_of_another_room_is_nothing_here(company: Company):
    """Attack 18. The same people have another room; the room is in the context and in the associated data."""
    c = company
    here = c.world.room
    talk(c, "here")
    recorded = deliveries(c, c.bob)
    for person in c.people:
        person.sleeps()
    c.world.core._rooms._forget(c.world.core.room)
    there = type(c)(c.world, c.alice, c.bob, c.chuck)
    there.alice.founds()
    c.world.room = c.alice.room.id
    c.alice.starts(Reading.BACKLOG)
    invite = c.alice.invites()
    for person in (c.bob, c.chuck):
        person.enters(invite)
        person.starts(Reading.BACKLOG)
    c.alice.says("there")
    c.bob.forgets()
    assert c.world.room != here
    for message in recorded:
        c.world.core.says(c.bob.id, replace(message, room=c.world.room))
        c.world.core.says(c.bob.id, replace(message, room=c.world.room, id=new_message_id()))
    c.world.runs()
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    assert set(c.world.alarmed(c.bob)) <= {"two-views alice", "two-views chuck"}  # its anchors are not this room's
    c.world.accepts(c.bob)
    c.alice.says("still there")
    assert c.bob.hears() == ["alice: still there"]


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [room_message, aside])
def test_messages_in_another_order_are_shown_as_such(company: Company, wanted: lies.Wanted):
    """Attack 8. Each is displayed once, and the one that came too late is told: ``Inbox._overtakes``."""
    c = company
    talk(c, "zero")
    c.bob.forgets()
    c.world.lies(lies.Reorders(c.bob.id, wanted))
    talk(c, "one", "two")
    form = "alice whispers" if wanted is aside else "alice"
    assert [h for h in c.bob.hears() if h.startswith(f"{form}:")] == [f"{form}: two", f"{form}: one"]
    assert c.bob.notes() == ["reordered alice"]
    c.world.is_honest()
    talk(c, "three")
    c.world.passes(SOON)
    assert c.bob.notes() == []


def test_a_message_held_back_until_the_next_chain_is_shown_as_such(company: Company):
    """It was told to be missing before it came: ``Gaps.count``."""
    c = company
    talk(c, "zero")
    c.bob.forgets()
    lie = c.world.lies(lies.Drops(c.bob.id, room_message, count=1))
    c.alice.says("one")
    c.world.passes(limits.CHAIN_LIFE)
    c.alice.says("two")
    c.world.passes(SOON)
    c.world.core.says(c.bob.id, *lie.dropped.values())
    c.world.runs()
    assert c.bob.hears() == ["alice: two", "alice: one"]
    assert c.bob.notes() == ["gap alice 1", "reordered alice"]


def test_what_is_sent_again_after_a_reconnect_keeps_its_order(company: Company):
    """Attack 11."""
    c = company
    c.alice.process.holds_out = True
    with_ids = [c.alice.says(word) for word in ("one", "two", "three")]
    c.alice.process.cuts()
    c.alice.process.reconnects()
    assert c.bob.hears() == ["alice: one", "alice: two", "alice: three"]
    assert all(c.alice.state(message) is State.RELAYED for message in with_ids)
    c.world.passes(SOON)
    assert c.bob.notes() == []


# -- loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [room_message, aside])
def test_a_lost_message_is_a_gap(company: Company, wanted: lies.Wanted):
    """Stands on ``Gaps.count``."""
    c = company
    talk(c, "zero")
    c.bob.forgets()
    c.world.lies(lies.Drops(c.bob.id, wanted, count=2))
    talk(c, "one", "two", "three")
    c.world.passes(SOON)
    assert c.bob.notes() == ["gap alice 2"]
    assert len(c.bob.hears()) == 4


@pytest.mark.parametrize("pause", [0, limits.CHAIN_LIFE, limits.HOUR, 5 * limits.HOUR])
def test_the_loss_of_the_very_last_message_shows_with_the_next(company: Company, pause: int):
    """However long after, and on whatever chain: ``Gaps.ended``."""
    c = company
    talk(c, "zero")
    c.bob.forgets()
    c.world.lies(lies.Drops(c.bob.id, room_message, count=1))
    c.alice.says("the last")
    c.world.passes(pause, step=10 * limits.SECOND)
    assert c.bob.notes() == []
    c.alice.says("the next")
    c.world.passes(SOON)
    assert c.bob.hears() == ["alice: the next"]
    assert c.bob.notes() == ["gap alice 1"]


@pytest.mark.parametrize("pause", [0, limits.HOUR], ids=["at once", "later"])
def test_the_loss_of_the_very_last_aside_shows_with_the_next(company: Company, pause: int):
    c = company
    c.alice.whispers("bob", "zero")
    c.bob.forgets()
    c.world.lies(lies.Drops(c.bob.id, aside, count=1))
    c.alice.whispers("bob", "the last")
    c.world.passes(pause, step=10 * limits.SECOND)
    assert c.bob.notes() == []
    c.alice.whispers("bob", "the next")
    c.world.passes(SOON)
    assert c.bob.hears() == ["alice whispers: the next"]
    assert c.bob.notes() == ["gap alice 1"]


def test_the_loss_of_what_one_command_sent_shows_with_the_next_command(company: Company):
    """``send`` is a process, and a chain, of its own each time: the next one names the chain of the one before."""
    c = company
    c.alice.sleeps()

    def send(text: str) -> None:
        process = c.alice.starts(Reading.NOTHING, present=False)
        process.posts(Text(text))
        process.stops()

    send("one")
    c.world.lies(lies.Drops(c.bob.id, room_message, count=1))
    send("two")
    send("three")
    c.world.passes(SOON)
    assert c.bob.hears() == ["alice: one", "alice: three"]
    assert c.bob.notes() == ["gap alice 1"]


def test_a_loss_that_the_relay_owns_up_to_late_shows_all_the_same(company: Company):
    """The chain ends before the relay accepts its last message: ``Outbox._end_chain`` counts what is on its way."""
    c = company
    c.bob.forgets()
    c.world.passes(limits.CHAIN_LIFE - 20 * limits.SECOND)
    lie = c.world.lies(lies.AcceptsLate(c.alice.id))
    last = c.alice.says("the last")
    c.world.passes(30 * limits.SECOND)
    c.alice.says("the next")
    lie.ends(c.world.core)
    c.world.runs()
    assert c.alice.state(last) is State.RELAYED
    c.world.passes(SOON)
    assert c.bob.hears() == ["alice: the next"]
    assert c.bob.notes() == ["gap alice 1"]


def test_the_loss_of_a_whole_chain_with_its_key_shows_with_the_next(company: Company):
    """Not how much was said on it, but that something is missing: the key's own counter tells."""
    c = company
    talk(c, "zero")
    c.bob.forgets()
    c.world.passes(limits.CHAIN_LIFE)
    c.world.lies(lies.Drops(c.bob.id))
    c.alice.says("one")
    c.alice.says("two")
    c.world.is_honest()
    c.world.passes(limits.CHAIN_LIFE)
    c.alice.says("three")
    c.world.passes(SOON)
    assert c.bob.hears() == ["alice: three"]
    assert [note for note in c.bob.notes() if note.startswith("gap alice")] != []


def test_a_message_whose_chain_key_is_withheld_is_missed_by_name(company: Company):
    c = company
    c.world.passes(limits.CHAIN_LIFE)
    c.world.lies(lies.Drops(c.bob.id, aside))
    c.alice.says("one")
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    assert "missed alice 1 no-key" in c.bob.notes()
    assert c.world.alarmed(c.bob) == []


# -- before a removal -------------------------------------------------------------------------------------------------


def test_a_room_message_from_before_a_removal_that_arrives_after_it_is_marked(company: Company):
    """The relay takes a post that it should refuse as stale, or delivers it late: ``Message.late``."""
    c = company
    c.world.lies(lies.TakesOldPosts())
    c.bob.process.holds_in = True
    c.alice.kicks("chuck")
    c.bob.says("chuck must not hear this")
    c.bob.process.holds_in = False
    c.world.runs()
    assert c.alice.hears() == ["bob: chuck must not hear this (late)"]


def test_a_room_message_after_a_removal_on_a_chain_from_before_is_refused(company: Company):
    """Attack 22. Mallory did not make a new chain: ``Inbox._stands`` refuses what the removed may read."""
    c = company
    mallory = c.world.mallory()
    mallory.begins_chain()
    mallory.says("before")
    c.alice.kicks("chuck")
    c.bob.forgets()
    assert mallory.says("after, on the old chain") == "accepted"
    assert c.bob.hears() == []
    assert "missed mallory 1 cannot-open" in c.bob.notes()


# -- a member ---------------------------------------------------------------------------------------------------------


def test_a_member_who_uses_a_counter_twice_is_told_and_displayed_once(company: Company):
    """Attack 12. Stands on the unique index ``seen_counter``."""
    c = company
    mallory = c.world.mallory()
    mallory.whispers(c.bob.id, "one", counter=100)
    mallory.whispers(c.bob.id, "another one", counter=100)
    assert c.bob.hears() == ["mallory whispers: one"]
    assert c.bob.notes() == ["duplicate mallory"]
    chain = mallory.begins_chain()
    c.bob.forgets()
    key = chain._key
    mallory.says("first")
    chain._key, chain.counter = key, 0
    mallory.says("first again")
    assert c.bob.hears() == ["mallory: first"]
    assert c.bob.notes() == ["duplicate mallory"]


def test_a_member_who_posts_what_others_said_is_not_taken_for_them(company: Company):
    """Attacks 1 and 12: the sealed and the encrypted bytes of others under Mallory's name, with her id and theirs."""
    c = company
    mallory = c.world.mallory()
    talk(c, "one")
    c.chuck.says("two")
    c.bob.forgets()
    for by in (c.alice, c.chuck):
        for post in c.world.tape.posts(by=by.id):
            mallory.posts(post.body, c.bob.id if post.to else None)
            mallory.posts(post.body, c.bob.id if post.to else None, id=post.id)
    c.world.passes(lies.LONG)
    assert c.bob.hears() == []
    assert {note.split()[1] for note in c.bob.notes()} == {"mallory"}
    assert c.world.alarmed(c.bob) == []


def test_an_aside_that_is_sealed_again_for_another_is_refused(company: Company):
    """Attack 1 (Davis). Mallory opens what Alice sealed for her, and seals its inside for Bob as if it were Alice's."""
    import nacl.bindings

    from protocol import card as cards
    from protocol import seal

    c = company
    mallory = c.world.mallory()
    id = c.alice.process.core.send(Text("for mallory alone"), [mallory.id], c.alice.now)[0]
    c.alice.process.sends()
    c.world.runs()
    (post,) = [p for p in c.world.sealed_to(mallory.id) if p.id == id]
    unsealed = seal.unseal(post.body, mallory.secret, cards.sealing_key(mallory.secret))
    inner = unsealed.sender + unsealed.sender_generation.to_bytes(8) + unsealed.box
    card = mallory.newest(c.bob.id)
    body = card.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(inner, card.sealing_key)
    c.bob.forgets()
    mallory.posts(body, c.bob.id)
    c.world.core.delivers(c.bob.id, c.alice.id, ev.Post(id, c.world.room, c.bob.id, 1, 0, body))
    c.world.runs()
    assert c.bob.hears() == []
    assert sorted(note.split()[1] for note in c.bob.notes()) == ["alice", "mallory"]


def test_absurd_counters_cost_no_time_and_hide_nothing_for_ever(company: Company):
    """Attack 13. A counter of 2^53 - 1 is a gap told at once; what comes after, lower, is displayed all the same."""
    c = company
    mallory = c.world.mallory()
    mallory.whispers(c.bob.id, "far", counter=limits.COUNTER - 1)
    mallory.whispers(c.bob.id, "near", counter=7)
    assert c.bob.hears() == ["mallory whispers: far", "mallory whispers: near"]
    c.world.passes(SOON)
    assert f"gap mallory {limits.COUNTER - 2}" in c.bob.notes()


def test_a_member_who_posts_garbage_ends_nobodys_program(company: Company):
    """Attacks 15, 21 and 26: bodies of any length, content of the wrong kind, asks and receipts for nothing at all."""
    c = company
    mallory = c.world.mallory()
    for size in (0, 1, 8, 39, 64, 170, 200, 500, 4_000):
        for to in (None, c.bob.id):
            mallory.posts(random(size), to)
    chain = mallory.begins_chain()
    for content in (
        Ask(chain.id),
        *(Ask(random(32)) for _ in range(50)),
        *(Receipt(new_message_id()) for _ in range(50)),
        ChainKey(random(32), limits.CHAIN_MESSAGES, random(32), 0, random(32), limits.CHAIN_MESSAGES),
        ChainKey(random(32), 0, bytes(32), limits.COUNTER - 1, chain.id, limits.CHAIN_MESSAGES),
        chain.share(),
        Action(""),
    ):
        mallory.whispers(c.bob.id, content, anchor=mallory.anchor)
        mallory.whispers(c.bob.id, content, anchor=Anchor(0, bytes(32)))
    replies = [p for p in c.world.sealed_to(mallory.id) if p in c.bob.process.posted]
    c.world.passes(lies.LONG)
    later = [p for p in c.world.sealed_to(mallory.id) if p in c.bob.process.posted]
    assert c.bob.process.ended is None
    assert len(later) - len(replies) <= 2
    c.bob.forgets()
    talk(c, "still here?")
    assert sorted(c.bob.hears()) == ["alice whispers: still here?", "alice: still here?"]
    assert c.world.alarmed(c.bob) == []


def test_a_chain_that_bears_anothers_id_or_is_sent_twice_changes_nothing(company: Company):
    """A known chain is never replaced or rewound, and a chain is its sender's alone (``chain_id``)."""
    c = company
    mallory = c.world.mallory()
    c.alice.says("one")
    known = c.bob.store.row("SELECT * FROM chains WHERE sender = ? ORDER BY dies_at DESC", c.alice.id)
    of_alice = ChainKey(random(32), 0, known["verify_key"], known["made_at"], bytes(32), 0)
    mallory.whispers(c.bob.id, of_alice)
    chain = mallory.begins_chain()
    mallory.says("mine")
    mallory.whispers(c.bob.id, ChainKey(random(32), 0, chain._signer.public, 1, bytes(32), 0))
    mallory.says("mine again")
    c.alice.says("two")
    assert c.bob.hears() == ["alice: one", "mallory: mine", "mallory: mine again", "alice: two"]
    after = c.bob.store.row("SELECT * FROM chains WHERE id = ?", known["id"])
    assert tuple(after) == tuple(known)
