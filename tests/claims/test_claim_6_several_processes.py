"""Claims 3, 4 and 6 with several processes of one profile: what one knows, none of them forgets, whatever it is told.

Alice kicks Chuck with a command while her chat is attached, and the relay keeps the removal from the chat. What carries
it: before a process seals, folds or adopts anything, it takes up what the others have written down
(``Roster.catch_up``), and no process writes over a log that it has not compared with its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from peer.core.commands import Transmit
from peer.core.events import EventKind, Reading
from peer.core.room import RoomCore
from protocol import VERSION, limits
from protocol import chain as ch
from protocol import envelope as ev
from protocol import statement as st
from protocol.content import Text
from protocol.identity import Identity
from protocol.ids import Head
from protocol.invite import Invite
from protocol.membership import Membership
from tests.claims.conftest import Company
from tests.claims.test_claim_3_no_ghosts_by_a_fork import Forks
from tests.peer.world import Process


@dataclass
class Kicked:
    """Alice's chat, from which the relay keeps what her command has stated, and the log that the chat has."""

    company: Company
    chat: Process
    invite: Invite
    log: list[bytes]
    head: Head
    removal: bytes

    @property
    def stored(self) -> list[bytes]:
        rows = self.company.alice.store.rows("SELECT statement FROM log ORDER BY place")
        return [row["statement"] for row in rows]

    def sent_to_chuck(self, core: RoomCore) -> list[ev.Post]:
        """Say something to the room, and return what is sealed for Chuck with it."""
        core.send(Text("chuck is a spy"), [], self.company.alice.now)
        requests = [command.request for command in core.take() if isinstance(command, Transmit)]
        return [post for post in requests if isinstance(post, ev.Post) and post.to == self.company.chuck.id]


def kicked(c: Company) -> Kicked:
    chat = c.alice.process
    invite = c.alice.invites()
    log, head = list(c.alice.membership.log), c.alice.membership.head
    command = c.alice.starts(Reading.NOTHING)
    chat.holds_in = True
    removal = st.remove(c.alice.identity, c.world.room, command.core.roster.anchor, c.chuck.id, True)
    request = command.core.submit(removal)
    c.world.runs()
    assert command.answers[request] is None
    command.stops()
    return Kicked(c, chat, invite, log, head, removal)


def attach(core: RoomCore, now: int, incarnation: bytes, log: list[bytes], head: Head) -> None:
    """Be the relay: answer HELLO, show the log from its start, and say that this is all."""
    core.disconnected()
    core.take()
    core.connected(ev.Welcome(VERSION, incarnation, now, 600), now, since=now)
    requests = [command.request for command in core.take() if isinstance(command, Transmit)]
    (asked,) = [request for request in requests if isinstance(request, ev.Attach)]
    core.receive([ev.Statement(asked.room, place, raw) for place, raw in enumerate(log, 1)], now)
    core.receive([ev.Attached(asked.id, asked.room, len(log), head, 0, 0)], now)


def test_a_chat_seals_nothing_for_whom_a_command_has_removed(on_disk: Company):
    """``Outbox.flush`` asks what the profile knows, with the lock held in which it seals."""
    k = kicked(on_disk)
    assert on_disk.chuck.id in k.chat.core.roster.membership.members
    assert k.sent_to_chuck(k.chat.core) == []
    assert on_disk.chuck.id not in k.chat.core.roster.membership.members
    assert [event.kind for event in k.chat.core.roster.alarms.standing()] == []


def test_what_another_process_folded_is_told_once(on_disk: Company):
    k = kicked(on_disk)
    on_disk.alice.forgets()
    k.chat.holds_in = False
    k.chat.posts(Text("is he gone?"))
    on_disk.world.runs()
    told = [event for event in k.chat.told if getattr(event, "kind", None) is EventKind.BANNED]
    assert len(told) == 1
    assert "alice: is he gone?" in on_disk.bob.hears()
    assert not any(on_disk.world.alarms().values())


def test_a_claimed_restart_does_not_undo_what_a_command_has_stated(on_disk: Company):
    """``Roster.connected`` takes up what is written down, so that ``adopt`` knows what the other log lacks."""
    c = on_disk
    k = kicked(c)
    attach(k.chat.core, c.alice.now, b"I" * 16, k.log, k.head)
    assert k.sent_to_chuck(k.chat.core) == []
    later = c.alice.starts(Reading.NOTHING, connect=False)
    attach(later.core, c.alice.now, b"I" * 16, k.log, k.head)
    assert k.sent_to_chuck(later.core) == []
    later.core.tick(c.alice.now + limits.SECOND)
    kept = c.alice.store.rows("SELECT statement FROM restrictions")
    assert [row["statement"] for row in kept] == [k.removal]


def test_another_statement_in_that_place_is_an_alarm_and_overwrites_nothing(on_disk: Company):
    c = on_disk
    k = kicked(c)
    other = st.admit(Identity.generate(), c.world.room, k.invite.anchor, k.invite.key)
    k.chat.core.receive([ev.Statement(c.world.room, len(k.log) + 1, other)], c.alice.now)
    assert c.alice.alarmed() == ["log"]
    assert k.stored == [*k.log, k.removal]
    assert c.chuck.id not in k.chat.core.roster.membership.members


@pytest.mark.parametrize("first", ["the chat", "the command"])
def test_two_processes_to_which_two_logs_are_shown_raise_an_alarm(on_disk: Company, first: str):
    """Whichever comes second finds the other's log written down."""
    c = on_disk
    chat, command = c.alice.process, c.alice.starts(Reading.NOTHING)
    invite = c.alice.invites()
    place = c.alice.membership.index + 1
    for who in (chat, command) if first == "the chat" else (command, chat):
        admit = st.admit(Identity.generate(), c.world.room, invite.anchor, invite.key)
        who.core.receive([ev.Statement(c.world.room, place, admit)], c.alice.now)
    assert c.alice.alarmed() == ["log"]


def test_where_two_logs_were_shown_the_next_connection_begins_with_the_one_written_down(on_disk: Company):
    """The alarm stays until it is answered; after that the processes are of one mind, if the relay is honest again."""
    c = on_disk
    k = kicked(c)
    other = st.admit(Identity.generate(), c.world.room, k.invite.anchor, k.invite.key)
    apart = Membership.fold([*k.log, other])
    k.chat.core.roster.membership = apart
    k.chat.core.receive([ev.Statement(c.world.room, apart.index + 1, k.removal)], c.alice.now)
    assert c.alice.alarmed() == ["log"]
    k.chat.loses_connection()
    k.chat.reconnects()
    c.world.runs()
    assert k.chat.core.roster.membership.log == c.bob.membership.log == k.stored
    c.world.accepts(c.alice)
    k.chat.posts(Text("of one mind"))
    c.world.runs()
    assert "alice: of one mind" in c.bob.hears()
    assert c.world.alarms() == {}


# -- a chain, and a log that begins anew ------------------------------------------------------------------------------


def test_a_chain_ends_with_the_log_that_it_was_made_under(company: Company):
    """Else a removal at a low place of a shorter log would seem to be older than the chain, and Chuck would read on.

    The relay claims a restart, shows a fork until it is adopted, cuts, and is then the incarnation that it was before.
    """
    c = company
    for _ in range(4):
        c.alice.invites()
    c.world.passes(11 * limits.MINUTE)
    c.alice.says("on a new chain")
    core, now = c.alice.core, c.alice.now
    chain, first, fork = core.outbox._chain, core.outbox._incarnation, c.alice.membership.log[:4]
    assert chain is not None
    core.disconnected()
    core.connected(ev.Welcome(VERSION, b"I" * 16, now, 600), now, since=now)
    card = c.world.tape.cards(c.bob.id)[-1]
    shown = [ev.Statement(c.world.room, place, raw) for place, raw in enumerate(fork, 1)]
    core.receive([*shown, ev.Card(c.world.room, card)], now)
    attach(core, now, first, fork, Membership.fold(fork).head)
    removal = st.remove(c.alice.identity, c.world.room, core.roster.anchor, c.chuck.id, True)
    core.receive([ev.Statement(c.world.room, 5, removal)], now)
    assert chain.made_at > core.roster.membership.last_departure
    core.take()
    core.send(Text("chuck is a spy"), [], now)
    requests = [command.request for command in core.take() if isinstance(command, Transmit)]
    (post,) = [request for request in requests if isinstance(request, ev.Post) and request.to is None]
    assert ch.header(post.body).chain != chain.id


# -- honest life ------------------------------------------------------------------------------------------------------


def test_a_command_that_is_ahead_of_what_a_chat_is_just_told_is_no_alarm(on_disk: Company):
    """ATTACHED of the one is older than what the other has written down meanwhile."""
    c = on_disk
    chat, command = c.alice.process, c.alice.starts(Reading.NOTHING)
    chat.loses_connection()
    command.holds_in = True
    c.chuck.does(st.leave)
    chat.connects()
    for _ in range(50):
        chat.sends()
        chat.uploads()
        c.world._turn()
        if chat.core._attaching and chat.incoming:
            break
        chat.reads()
    chat.holds_in = True
    assert chat.core._attaching
    command.holds_in = False
    c.world.runs()
    c.bob.leaves()
    c.world.runs()
    assert command.core.roster.anchor.index > chat.core.roster.anchor.index
    chat.holds_in = False
    c.world.runs()
    assert chat.core.attached
    assert c.world.alarms() == {}


def test_two_processes_that_come_back_at_once_are_soon_of_one_mind(on_disk: Company):
    """Whoever comes second is overtaken, and begins anew once."""
    c = on_disk
    c.world.backoff = limits.SECOND
    chats = [c.alice.process, c.alice.starts(Reading.BACKLOG)]
    log = c.alice.membership.log[:]
    for _ in range(3):
        c.alice.invites()
    connections: list[Process] = []

    def counted(chat: Process) -> Callable[[], None]:
        connects = chat.connects

        def count() -> None:
            if not chat.connection:
                connections.append(chat)
            connects()

        return count

    for chat in chats:
        chat.connects = counted(chat)
    c.world.lies(Forks(log, [], c.chuck.identity, {c.chuck.id}))
    c.world.restart()
    c.world.passes(limits.MINUTE)
    c.alice.says("hi")
    assert c.world.alarms() == {}
    assert all(connections.count(chat) <= 2 for chat in chats)
