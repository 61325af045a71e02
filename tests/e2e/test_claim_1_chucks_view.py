"""Claim 1: Chuck's view does not change, whether or not Alice and Bob exchange asides.

Chuck is a client of the wire protocol that keeps every envelope (``wire``). The same script of room messages is played
twice, by real processes: once as it stands, once with a lively exchange of asides between Alice and Bob around and
amid the room's messages. What Chuck saw is compared envelope for envelope: kinds, order, numbers, sizes, members,
presence, cards, refusals, and the insides of what he can open. Left out are times and the boundaries of frames, as the
claim says; random values (ids, keys, heads) are replaced by names in the order of their first appearance, so that the
same value in two places is still seen to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from protocol import chain
from protocol import envelope as ev
from protocol import statement as st
from protocol.content import ChainKey, Content, Receipt, Text
from protocol.ids import Anchor
from tests.e2e.scene import PEER, RELAY, Person, Process, Scene, tampered
from tests.e2e.wire import Chuck

Fact = tuple[object, ...]
Views = tuple[list[Fact], list[Fact]]

BURST = 30
SIZES = (1, 300, 2_000, 9_000, 60_000)


class Picture:
    """What Chuck saw, so that two runs can be compared."""

    def __init__(self, chuck: Chuck) -> None:
        self._chuck = chuck
        self._names: dict[tuple[str, object], str] = {}
        self.facts = [fact for delivery in chuck.seen for fact in self._facts(delivery)]

    def _name(self, kind: str, value: object) -> str:
        """Return what stands for a random value; the first of its kind is 0, the second 1."""
        return self._names.setdefault((kind, value), f"{kind} {sum(k == kind for k, _ in self._names)}")

    def _facts(self, delivery: ev.Delivery) -> list[Fact]:
        peer = lambda value: self._name("peer", value)
        match delivery:
            case ev.Welcome():
                return [("welcome", delivery.version, delivery.retention_s)]
            case ev.Accepted(ids):
                return [("accepted", self._name("request", request)) for request in ids]
            case ev.Refused(request, reason):
                return [("refused", self._name("request", request), reason)]
            case ev.Attached():
                numbers = (delivery.index, delivery.room_number, delivery.aside_number)
                return [("attached", self._name("request", delivery.id), self._name("head", delivery.head), *numbers)]
            case ev.Statement():
                signer = st.decode(delivery.statement).signer
                kind = type(st.decode(delivery.statement)).__name__
                return [("statement", delivery.index, kind, peer(signer), len(delivery.statement))]
            case ev.Card():
                return [("card", peer(delivery.card[:32]), self._name("card", delivery.card), len(delivery.card))]
            case ev.Presence():
                return [("presence", delivery.whole, *map(peer, delivery.online), "/", *map(peer, delivery.offline))]
            case ev.Message():
                about = (peer(delivery.sender), delivery.direct, delivery.number, self._name("message", delivery.id))
                inside = self._aside(delivery) if delivery.direct else self._room_message(delivery)
                return [("message", *about, len(delivery.body), *inside)]
            case ev.Closed():
                return [("closed", delivery.reason)]
        return [(type(delivery).__name__,)]

    def _anchor(self, anchor: Anchor) -> Fact:
        return (anchor.index, self._name("head", anchor.head))

    def _room_message(self, message: ev.Message) -> Fact:
        head = chain.header(message.body)
        return (self._name("chain", head.chain), head.counter, *self._anchor(head.anchor))

    def _aside(self, message: ev.Message) -> Fact:
        aside = self._chuck.opens(message).aside
        return (*self._anchor(aside.anchor), aside.counter, aside.given_up, *self._content(message, aside.content))

    def _content(self, message: ev.Message, content: Content) -> Fact:
        match content:
            case ChainKey():
                its = chain.chain_id(self._chuck.room, self._chuck.opens(message).sender, content.verify_key)
                previous = self._name("chain", content.previous) if content.previous != bytes(32) else None
                return (self._name("chain", its), content.counter, content.made_at, previous, content.previous_count)
            case Receipt(of):
                return ("receipt", self._name("message", of))
            case Text(text):
                return (text,)
        raise AssertionError(content)


def play_both(scene_of: Callable[[], Scene], play: Callable[[Script], None], **programs: Sequence[str]) -> Views:
    """Play a script without and with asides, in two scenes at once; return what Chuck saw in each."""
    with ThreadPoolExecutor(2) as stages:
        plain = stages.submit(view, scene_of(), play, asides=False, **programs)
        lively = stages.submit(view, scene_of(), play, asides=True, **programs)
        return plain.result(), lively.result()


def view(
    scene: Scene,
    play: Callable[[Script], None],
    *,
    asides: bool,
    relay: Sequence[str] = RELAY,
    peer: Sequence[str] = PEER,
) -> list[Fact]:
    """Play a script, with or without asides between Alice and Bob; return what Chuck saw."""
    the_relay = scene.relay(program=relay)
    alice, bob = scene.company(the_relay, "alice", "bob", program=peer)
    chuck = Chuck(the_relay.address, scene.invite)
    try:
        chuck.enters()
        alices = alice.chats()
        chuck.waits_for_presence(2)
        bobs = bob.chats()
        chuck.waits_for_presence(3)
        play(Script(alice, bob, chuck, alices, bobs, asides=asides))
        return Picture(chuck).facts
    finally:
        chuck.close()


class Script:
    """Everybody is there: Alice and Bob each with a chat that goes on, and commands beside it."""

    def __init__(
        self, alice: Person, bob: Person, chuck: Chuck, alices: Process, bobs: Process, *, asides: bool
    ) -> None:
        self.alice, self.bob, self.chuck, self.alices, self.bobs = alice, bob, chuck, alices, bobs
        self._asides = asides
        self._said = 0
        self._whispered = 0

    def play(self) -> None:
        """Play it all."""
        chuck, alices, bobs = self.chuck, self.alices, self.bobs
        self.whispers(1)
        self.says(alices, "good morning")
        self.whispers(BURST)
        self.says(bobs, "good morning, alice")
        self.whispers(len(SIZES), SIZES)
        assert chuck.says("and what about me?") == "accepted"
        self.said("and what about me?", alices, bobs)
        self.whispers_once("careful with chuck")
        self.replies_once("I know", "good")
        self.alice.says("from another process, on another chain")
        self.said("from another process, on another chain", bobs)
        assert chuck.whispers(chuck.founder, Text("alice?")) == "accepted"
        chuck.waits(lambda: any(isinstance(chuck.opens(m).aside.content, Receipt) for m in chuck.asides()))
        self.says(alices, "amid asides", amid=BURST)
        self.says(bobs, "/me looks around")
        received = len(chuck.asides())
        alices.writes("/msg chuck what?")
        chuck.waits(lambda: len(chuck.asides()) > received)
        self.whispers(BURST)
        self.leaves(alices, 2)
        self.whispers_once("good night")
        self.leaves(bobs, 1)
        chuck.catches_up()
        for chat in (alices, bobs):
            assert not chat.events("alarm", "gap", "missed", "duplicate"), chat

    def play_briefly(self) -> None:
        """Play as little of it as shows the faults below."""
        self.whispers(3)
        self.says(self.alices, "good morning")
        self.leaves(self.alices, 2)
        self.whispers_once("good night")
        self.alice.says("from another process, on another chain")
        self.said("from another process, on another chain", self.bobs)
        self.leaves(self.bobs, 1)
        self.chuck.catches_up()

    def leaves(self, chat: Process, left: int) -> None:
        """End a chat; so many are still present."""
        chat.closes_stdin()
        self.chuck.waits_for_presence(left)
        assert chat.ends() == 0, chat

    def says(self, chat: Process, line: str, *, amid: int = 0) -> None:
        """Let somebody say something to all, amid so many asides."""
        self.whispers(amid, wait=False)
        chat.writes(line)
        self.whispers(amid)
        self.said(line.removeprefix("/me "), self.bobs if chat is self.alices else self.alices)

    def said(self, text: str, *chats: Process) -> None:
        """Wait until a room message has come to those chats and to Chuck."""
        self._said += 1
        for chat in chats:
            chat.hears(text)
        self.chuck.waits(lambda: len(self.chuck.room_messages()) >= self._said)

    def whispers(self, count: int, sizes: Sequence[int] = (20,), *, wait: bool = True) -> None:
        """Let Alice and Bob say so much to each other, both at once, in their chats."""
        if not self._asides:
            return
        numbers = range(self._whispered, self._whispered + count)
        self._whispered += count
        texts = [f"{n} ".ljust(sizes[n % len(sizes)], "x").strip() for n in numbers]
        for chat, other in ((self.alices, "bob"), (self.bobs, "alice")):
            chat.writes(*(f"/msg {other} {text}" for text in texts))
        for chat in (self.alices, self.bobs) if wait else ():
            chat.hears(*texts)

    def whispers_once(self, text: str) -> None:
        """Let Alice send Bob an aside from a process that comes for that and goes."""
        if self._asides:
            self.alice.whispers("bob", text, "--wait", "delivered")
            self.bobs.hears(text)

    def replies_once(self, *texts: str) -> None:
        """Let Bob do likewise, and wait for less and less."""
        for text, state in zip(texts, ("relayed", "none"), strict=True) if self._asides else ():
            self.bob.whispers("alice", text, "--wait", state)
            self.alices.hears(text)


def test_with_and_without_asides_chuck_sees_the_same(scene_of):
    plain, lively = play_both(scene_of, Script.play)
    assert lively == plain
    kinds = {fact[0] for fact in plain}
    assert kinds == {"welcome", "accepted", "attached", "statement", "card", "presence", "message"}
    assert sum(fact[0] == "message" and not fact[2] for fact in plain) == 6  # what was compared is what was said


def test_a_one_shot_aside_shows_nothing_at_all(scene):
    relay = scene.relay()
    alice, bob = scene.company(relay, "alice", "bob")
    chuck = Chuck(relay.address, scene.invite)
    try:
        chuck.enters()
        bobs = bob.listens()
        chuck.waits_for_presence(2)
        before = len(chuck.seen)
        alice.whispers("bob", "careful with chuck", "--wait", "delivered")
        bobs.hears("careful with chuck")
        chuck.catches_up()
        assert [type(delivery) for delivery in chuck.seen[before:]] == [ev.Accepted]  # of his own question
    finally:
        chuck.close()


@pytest.mark.parametrize(("which", "fault"), [("relay", "one_number"), ("peer", "one_counter")])
def test_a_leak_would_be_seen(scene_of, which, fault):
    """The comparison is worth something: with a plausible mistake in the relay or in a peer it fails."""
    plain, lively = play_both(scene_of, Script.play_briefly, **{which: tampered(fault, which)})
    assert lively != plain
