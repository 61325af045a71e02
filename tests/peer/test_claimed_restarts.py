"""A relay that claims to have been restarted, and shows a log of its choice: what was known is not lost."""

from __future__ import annotations

from dataclasses import replace

from protocol import envelope as ev
from protocol import limits
from protocol.content import Text
from protocol.errors import AlarmRaised
from protocol.membership import Membership
from tests.peer.world import Person, World


class Claims:
    """Between one peer and no relay: answers it with a new incarnation and the log given, and accepts what it sends."""

    def __init__(self, victim: Person, log: list[bytes], incarnation: bytes) -> None:
        self.victim, self.log, self.requests = victim, log, []
        process = victim.process
        if process.connection:
            process.cuts()
        process.core.connected(ev.Welcome(1, incarnation, victim.now, 600), victim.now, since=victim.now)
        self.answers()

    def answers(self) -> None:
        """Answer everything, until the peer has nothing more to say."""
        process = self.victim.process
        while new := process.posted[len(process.posted) - self._sent() :]:
            for request in new:
                self.requests.append(request)
                process.core.receive(self._answer(request), self.victim.now)

    def _sent(self) -> int:
        process = self.victim.process
        before = len(process.posted)
        process.sends()
        return len(process.posted) - before

    def _answer(self, request: ev.Request) -> list[ev.Delivery]:
        if not isinstance(request, ev.Attach):
            return [ev.Accepted((request.id,))]
        shown = Membership.fold(self.log)
        log = [ev.Statement(shown.room, place, raw) for place, raw in enumerate(self.log, 1)]
        return [*log, ev.Attached(request.id, shown.room, shown.index, shown.head, 0, 0)]

    def waits(self, ms: int) -> None:
        """Let time pass for the peer."""
        for _ in range(ms // 1_000):
            self.victim.world.now += 1_000
            self.victim.core.tick(self.victim.now)
            self.answers()

    def sealed_for(self, person: Person) -> list[ev.Request]:
        """Return what the peer has sealed for ``person`` since."""
        return [request for request in self.requests if isinstance(request, ev.Post) and request.to == person.id]


def test_a_ban_outlives_two_claimed_restarts():
    """The first log lacks the admin who banned, the second lacks the ban: the removal is known all the same."""
    world = World()
    alice = world.create("alice")
    (bob,) = world.join("bob")
    without_admin = list(alice.membership.log)
    alice.promotes("bob")
    (chuck,) = world.join("chuck")
    without_ban = list(alice.membership.log)
    bob.kicks("chuck", ban=True)
    Claims(alice, without_admin, b"1" * 16)
    relay = Claims(alice, without_ban, b"2" * 16)
    alice.core.send(Text("is chuck gone?"), [], alice.now)
    relay.waits(limits.UNRESOLVED + 5_000)
    assert alice.alarmed()
    assert not relay.sealed_for(chuck)


def test_a_leave_outlives_two_claimed_restarts():
    world = World()
    alice = world.create("alice")
    world.join("bob")
    before = list(alice.membership.log)
    (chuck,) = world.join("chuck")
    without_leave = list(alice.membership.log)
    chuck.leaves()
    Claims(alice, before, b"1" * 16)
    relay = Claims(alice, without_leave, b"2" * 16)
    alice.core.send(Text("is chuck gone?"), [], alice.now)
    relay.waits(limits.UNRESOLVED + 5_000)
    assert alice.alarmed()
    assert not relay.sealed_for(chuck)


def test_who_enters_goes_or_rises_by_a_restart_is_told():
    world = World()
    alice = world.create("alice")
    _, dave = world.join("bob", "dave")
    short = list(alice.membership.log)
    alice.promotes("bob")
    world.join("carol")
    longer = list(alice.membership.log)
    Claims(alice, short, b"1" * 16).waits(6_000)
    gone = told(alice)
    assert "carol is in the room no more" in gone
    assert "bob is a plain member" in gone
    Claims(alice, longer, b"2" * 16).waits(6_000)
    back = told(alice)
    assert "carol joined" in back
    assert "bob is an admin" in back
    assert dave.id in alice.membership.members


def test_what_was_posted_before_an_alarm_does_not_leave_under_it():
    world = World()
    alice = world.create("alice")
    world.join("bob")
    alice.process.cuts()
    message = alice.says("pending")
    sent = len(alice.process.posted)
    world.tamper = lambda process, delivery: [
        replace(delivery, head=bytes(32)) if isinstance(delivery, ev.Attached) and process.person is alice else delivery
    ]
    alice.process.reconnects()
    assert alice.alarmed() == ["log"]
    assert not [request for request in alice.process.posted[sent:] if isinstance(request, ev.Post)]
    assert isinstance(alice.state(message), AlarmRaised)


def told(person: Person) -> str:
    """Return the words of all that happened since the last time."""
    events, person.process.events = person.process.events, []
    return " / ".join(event.what for event in events)
