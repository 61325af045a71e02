"""Claim 6: a removed member reads nothing.

Nothing that is sent by anyone who has folded the removal opens with all keys that the removed one ever had and all
later traffic, whatever the relay does for him; nicks and the room's title excepted. What carries it:
``Outbox._current_chain`` makes a new chain after a departure, ``Outbox._share`` and ``_recipient`` seal to members
alone, and ``Roster.gone`` remembers a removal that a restart lost.
"""

from __future__ import annotations

import pytest

from peer.core.events import Reading, State
from protocol import envelope as ev
from protocol import limits, names
from protocol import statement as st
from protocol.content import Ask, Receipt, Text
from protocol.errors import UnknownPeer
from protocol.ids import Anchor, PeerId
from protocol.primitives import new_message_id
from tests.claims import hostile_relay as lies
from tests.claims.conftest import Company
from tests.claims.hostile_member import Mallory


def everything(c: Company) -> list[tuple[PeerId, ev.Post]]:
    """All that was ever posted, as the relay recorded it."""
    return [(peer, request) for peer, request in c.world.tape.heard if isinstance(request, ev.Post)]


def readable(c: Company, mallory: Mallory) -> set[str]:
    """The texts that Mallory can open with all her keys, of all recorded traffic."""
    return {content.text for content in mallory.loot.opens_any(everything(c)) if isinstance(content, Text)}


def goes(c: Company, mallory: Mallory, *, ban: bool = False) -> None:
    """Let Alice remove Mallory, whom the relay goes on serving."""
    c.world.lies(lies.KeepsServing(mallory.id))
    c.alice.does(st.remove, mallory.id, ban)


def everybody_talks(c: Company, when: str) -> set[str]:
    said = set()
    for person in c.people:
        others = [other.name for other in c.people if other is not person]
        person.says(f"{person.name} to all, {when}")
        said.add(f"{person.name} to all, {when}")
        for other in others:
            person.whispers(other, f"{person.name} to {other}, {when}")
    return said


@pytest.mark.parametrize("ban", [False, True], ids=["kicked", "banned"])
def test_all_keys_of_a_removed_member_open_nothing_that_is_said_later(company: Company, ban: bool):
    """Attack 22: all its keys and a full capture. Before the removal the same keys open the room: they do work."""
    c = company
    mallory = c.world.mallory()
    mallory.says("hi")
    before = everybody_talks(c, "before")
    assert readable(c, mallory) >= before
    opened = readable(c, mallory)
    goes(c, mallory, ban=ban)
    everybody_talks(c, "after")
    c.world.passes(limits.CHAIN_LIFE + limits.SECOND)
    everybody_talks(c, "much later")
    c.bob.sleeps()
    c.bob.starts(Reading.BACKLOG)
    everybody_talks(c, "and again")
    assert readable(c, mallory) == opened
    for person in c.people:
        person.says("we are three")
        assert mallory.id not in {p.to for p in c.world.tape.posts(by=person.id)[-10:]}


def test_a_removed_member_who_asks_for_keys_gets_none(company: Company):
    """With the relay's help Mallory asks everybody for every chain she hears of, and for receipts."""
    c = company
    mallory = c.world.mallory()
    everybody_talks(c, "before")
    opened = readable(c, mallory)
    goes(c, mallory)
    everybody_talks(c, "after")
    sealed = len(c.world.sealed_to(mallory.id))
    chains = {post.body[:32] for _, post in everything(c) if post.to is None}
    then = Anchor(mallory.anchor.index - 1, mallory.membership.heads[-2])
    assert mallory.membership.was_member(mallory.id, then.index)
    for person in c.people:
        for anchor in (then, mallory.anchor):
            for chain in chains:
                mallory.whispers(person.id, Ask(chain), anchor=anchor)
            mallory.whispers(person.id, "do you still hear me?", anchor=anchor)
            mallory.whispers(person.id, Receipt(new_message_id()), anchor=anchor)
        assert not [heard for heard in person.hears() if "do you still hear me?" in heard]
    c.world.passes(lies.LONG)
    everybody_talks(c, "later")
    assert readable(c, mallory) == opened
    assert len(c.world.sealed_to(mallory.id)) == sealed


def test_what_was_on_its_way_when_the_removal_came_is_encrypted_afresh(company: Company):
    """Alice's posts wait on the wire, encrypted for four, when it is cut; she comes back to a room of three."""
    c = company
    mallory = c.world.mallory()
    c.alice.promotes("bob")
    everybody_talks(c, "before")
    opened = readable(c, mallory)
    c.alice.process.holds_out = True
    room = c.alice.says("to all, unsent")
    (direct,) = c.alice.core.send(Text("to mallory, unsent"), [mallory.id], c.alice.now)
    c.alice.process.sends()
    posted = [request for request in c.alice.process.posted if isinstance(request, ev.Post)][-2:]
    assert [post.id for post in posted] == [room, direct]
    c.alice.process.cuts()
    c.world.lies(lies.KeepsServing(mallory.id))
    c.bob.does(st.remove, mallory.id, False)
    c.alice.process.reconnects()
    assert c.alice.state(room) is State.RELAYED
    assert isinstance(c.alice.state(direct), UnknownPeer)
    assert c.bob.hears()[-1] == "alice: to all, unsent"
    assert readable(c, mallory) == opened


def test_what_the_relay_refused_as_stale_is_encrypted_afresh(company: Company):
    """Alice has not folded the removal when she speaks; the relay refuses, and what it then gets is for three."""
    c = company
    mallory = c.world.mallory()
    c.alice.promotes("bob")
    everybody_talks(c, "before")
    c.alice.process.holds_in = True
    c.bob.does(st.remove, mallory.id, False)
    c.alice.says("to all, once more")
    c.alice.process.holds_in = False
    c.world.runs()
    c.alice.says("and then")
    assert c.bob.hears()[-2:] == ["alice: to all, once more", "alice: and then"]
    # what she said before she knew is not of the claim: here the relay kept it to itself, and to its tape
    assert "and then" not in readable(c, mallory)


@pytest.mark.parametrize("hidden", [["bob"], ["bob", "chuck"]], ids=["from some", "from all but its signer"])
def test_whoever_has_folded_the_removal_is_closed_even_if_others_have_not(company: Company, hidden: list[str]):
    """The relay hides the removal from some: they still speak to Mallory, those who know do not."""
    c = company
    mallory = c.world.mallory()
    everybody_talks(c, "before")
    blind = [person for person in c.people if person.name in hidden]
    knows = [person for person in c.people if person not in blind]
    c.world.lies(lies.TwoRooms([person.id for person in knows], [mallory.id, *(person.id for person in blind)]))
    c.alice.does(st.remove, mallory.id, True)
    for person in blind:
        person.says(f"{person.name} does not know")
    for person in knows:
        for other in c.people:
            if other is not person:
                person.whispers(other.name, f"{person.name} knows, aside")
        person.says(f"{person.name} knows")
    found = readable(c, mallory)
    assert {f"{person.name} does not know" for person in blind} <= found
    assert not [text for text in found if " knows" in text]


@pytest.mark.parametrize("accepts", [True, False], ids=["lies about taking it", "refuses by silence"])
def test_a_relay_that_forgets_the_removal_in_a_restart_wins_nothing(company: Company, accepts: bool):
    """Whoever folded it once seals nothing to her while the new log lacks it: ``Roster.gone``."""
    c = company
    mallory = c.world.mallory()
    everybody_talks(c, "before")
    c.alice.does(st.remove, mallory.id, True)
    opened = readable(c, mallory)
    c.world.lies(lies.ReplaysOldLog(c.alice.membership.index - 1, accepts=accepts))
    c.world.restart()
    mallory.attaches()
    mallory.publishes()
    assert mallory.membership.members[mallory.id]
    for person in c.people:
        person.forgets()
    everybody_talks(c, "after the restart")
    assert {"alice: alice to all, after the restart", "chuck: chuck to all, after the restart"} <= set(c.bob.hears())
    chains = {post.body[:32] for _, post in everything(c) if post.to is None}
    for chain in chains:
        for person in c.people:
            mallory.whispers(person.id, Ask(chain))
            mallory.whispers(person.id, "are you there?")
    c.world.passes(20 * limits.SECOND)
    everybody_talks(c, "later")
    assert readable(c, mallory) == opened


def test_a_removal_whose_signer_lost_its_right_in_the_restart_still_closes_and_alarms(company: Company):
    """The relay goes back to before Bob became an admin: his removal of Mallory binds no more in that log, but Alice
    folded it, and is not to talk to Mallory again without being asked.
    """
    c = company
    mallory = c.world.mallory()
    everybody_talks(c, "before")
    before = c.alice.membership.index
    c.alice.promotes("bob")
    c.bob.does(st.remove, mallory.id, True)
    opened = readable(c, mallory)
    c.world.lies(lies.ReplaysOldLog(before))
    c.world.restart()
    mallory.attaches()
    mallory.publishes()
    everybody_talks(c, "after the restart")
    assert readable(c, mallory) == opened
    c.world.passes(lies.LONG)
    for person in c.people:
        assert c.world.alarmed(person) == ["withheld mallory"]


def test_one_who_left_by_itself_reads_nothing_either(company: Company):
    """LEAVE is a departure like any other."""
    c = company
    mallory = c.world.mallory()
    everybody_talks(c, "before")
    opened = readable(c, mallory)
    c.world.lies(lies.KeepsServing(mallory.id))
    leave = st.leave(mallory.identity, c.world.room, mallory.anchor)
    assert mallory.asks(ev.Submit(new_message_id(), c.world.room, leave)) == "accepted"
    everybody_talks(c, "after")
    assert readable(c, mallory) == opened


def test_nicks_and_the_title_are_readable_as_documented(company: Company):
    """Whoever ever held an invite can read those: the room secret in it never changes."""
    c = company
    mallory = c.world.mallory()
    goes(c, mallory)
    c.bob.store.write("UPDATE rooms SET nick = 'robert'")
    c.bob.sleeps()
    c.world.passes(limits.CARD_ROTATION + limits.SECOND)
    c.bob.starts(Reading.LIVE)
    card = mallory.newest(c.bob.id)
    assert names.open_nick(mallory._invite.secret, c.world.room, c.bob.id, card.nick) == "robert"
    found = c.alice.membership.found
    assert names.open_title(mallory._invite.secret, found.signer, found.salt, found.title) == "team"
