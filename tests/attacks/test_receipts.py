"""Attacks 20 and 21: what receipts tell to those who watch the wire, and to those who send what nobody sees."""

from __future__ import annotations

import asyncio
import itertools
import json

from peer.api import Peer
from peer.core.events import Reading
from protocol import envelope as ev
from protocol import limits
from protocol import statement as st
from protocol.content import Ask, ChainKey, Content, Receipt, Text
from protocol.ids import ChainId, PeerId
from protocol.primitives import new_message_id, random
from tests.claims.conftest import Company, company
from tests.claims.hostile_member import Mallory
from tests.e2e.conftest import scene
from tests.e2e.scene import Scene

__all__ = ["company", "scene"]


def answers(c: Company, to: PeerId, *, after: int = 5 * limits.SECOND) -> list[ev.Post]:
    """Let time pass; return whatever Bob has posted to somebody alone, keys apart."""
    c.world.passes(after)
    return [post for post in c.world.tape.posts(to=to, by=c.bob.id) if not post.flags]


def seal(c: Company, mallory: Mallory, text: str) -> ev.Post:
    """Return a post to Bob that is well-formed."""
    id = new_message_id()
    body = mallory.seals(c.bob.id, Text(text), id)
    return ev.Post(id, c.world.room, c.bob.id, mallory.anchor.index, 0, body)


# -- 20: an oracle ----------------------------------------------------------------------------------------------------


def test_attack_20_a_receipt_leaves_when_it_is_due_and_not_at_once(company: Company):
    """Stands on ``due`` in ``Outbox.flush`` (outbox.py): without the comparison the receipt leaves at once."""
    c = company
    c.bob.core.inbox.receipts = lambda: 900
    c.alice.whispers("bob", "psst")
    assert c.bob.hears() == ["alice whispers: psst"]
    assert answers(c, c.alice.id, after=limits.SECOND // 2) == []
    assert len(answers(c, c.alice.id)) == 1


def test_attack_20_a_command_that_is_told_so_sends_none(scene: Scene):
    """Bob reads the aside, and Alice is never told.

    Stands on ``receipts=not no_receipts`` in ``listen`` (messages.py): with ``True`` the receipt comes in time.
    """
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    bobs = bob.listens("--no-receipts", "--direct", "--count", "1")
    assert alice.tries("send", "team", "--to", "bob", "psst", "--wait", "delivered", "--timeout", "3").code == 4
    assert bobs.ends() == 0
    assert json.loads(bobs.lines[0])["text"] == "psst"


def drawn(scene: Scene, *, receipts: bool) -> list[int]:
    """Return delays as a program draws them, each for one receipt; none if it sends none."""
    alice, _ = scene.company(scene.relay(), "alice", "bob")

    async def draw() -> list[int]:
        async with Peer.open(alice.home) as peer:
            room = await peer.attach("team", receipts=receipts)
            delay = room._core.inbox.receipts
            return [delay() for _ in range(200)] if delay else []

    return asyncio.run(draw())


def test_attack_20_the_program_draws_a_delay_for_every_receipt(scene: Scene):
    """Stands on ``random.randrange`` in ``Peer.attach`` (api.py): a delay that is always the same fails here."""
    delays = drawn(scene, receipts=True)
    assert 0 <= min(delays) < limits.SECOND // 4
    assert limits.SECOND * 3 // 4 <= max(delays) < limits.SECOND


def test_attack_20_a_program_that_is_told_so_sends_none(scene: Scene):
    """Stands on ``receipts`` in ``Peer.attach`` (api.py): without the question there is a delay to draw."""
    assert drawn(scene, receipts=False) == []


# -- 21: silent probes ------------------------------------------------------------------------------------------------


def test_attack_21_what_is_not_shown_is_not_answered(company: Company):
    """Receipts for nothing, questions for nothing, keys, rubbish: kinds that nobody sees.

    Stands on the cases of ``Inbox._carry_out`` (inbox.py): one more that answers a receipt fails here.
    """
    c = company
    mallory = c.world.mallory()
    invisible: list[Content] = [
        *(Receipt(new_message_id()) for _ in range(3)),
        *(Ask(ChainId(random(32))) for _ in range(3)),
        ChainKey(random(32), 0, random(32), 0, ChainId(bytes(32)), 0),
    ]
    for content in invisible:
        assert mallory.whispers(c.bob.id, content) == "accepted"
    for size in (0, 8, 200, 400):
        mallory.posts(random(size), c.bob.id)
    assert answers(c, mallory.id) == []
    assert c.bob.hears() == []


def test_attack_21_a_text_is_answered_once_and_a_room_message_never(company: Company):
    """What the others are held against: a receipt does come for what Bob is shown."""
    c = company
    mallory = c.world.mallory()
    assert mallory.says("to all") == "accepted"
    assert answers(c, mallory.id) == []
    assert mallory.whispers(c.bob.id, "psst") == "accepted"
    assert len(answers(c, mallory.id)) == 1


def test_attack_21_what_was_seen_before_is_not_answered_again(company: Company):
    """The relay delivers the same bytes again, after Bob's program has been started anew.

    Stands on ``new`` in ``Inbox._carry_out`` (inbox.py): without it each replay is answered with a receipt.
    """
    c = company
    mallory = c.world.mallory()
    post = seal(c, mallory, "psst")
    assert mallory.asks(post) == "accepted"
    assert len(answers(c, mallory.id)) == 1
    c.bob.sleeps()
    c.bob.starts(Reading.LIVE)
    for _ in range(3):
        c.world.core.delivers(c.bob.id, mallory.id, post)
        c.world.runs()
    assert len(answers(c, mallory.id)) == 1


def test_attack_21_who_is_no_member_is_not_answered_and_not_shown(company: Company):
    """Mallory sealed it while she belonged to the room, and the relay delivers it after she was removed.

    Stands on the last question of ``Inbox._stands`` (inbox.py): with ``return True`` the aside is shown.
    """
    c = company
    mallory = c.world.mallory()
    post = seal(c, mallory, "psst")
    c.alice.does(st.remove, mallory.id, False)
    c.bob.forgets()
    c.world.core.delivers(c.bob.id, mallory.id, post)
    c.world.runs()
    assert c.bob.hears() == []
    assert answers(c, mallory.id) == []


def test_attack_21_a_question_is_answered_now_and_then(company: Company):
    """A member may ask for a chain that it lacks; who asks again and again is answered in 30 s, and 8 times a chain.

    Stands on ``_may_answer`` in ``Outbox.asked`` (outbox.py): without it Bob sends a key for every question.
    """
    c = company
    mallory = c.world.mallory()
    c.bob.says("hello, mallory")
    chain = c.bob.core.outbox._chain
    assert chain is not None
    before = len(c.world.tape.posts(to=mallory.id, by=c.bob.id))
    for _ in range(5):
        assert mallory.whispers(c.bob.id, Ask(chain.id)) == "accepted"
    c.world.passes(5 * limits.SECOND)
    assert len(c.world.tape.posts(to=mallory.id, by=c.bob.id)) == before + 1
    times = []
    while c.bob.core.outbox._chain is chain:
        answered = len(c.world.tape.posts(to=mallory.id, by=c.bob.id))
        assert mallory.whispers(c.bob.id, Ask(chain.id)) == "accepted"
        if len(c.world.tape.posts(to=mallory.id, by=c.bob.id)) > answered:
            times.append(c.world.now)
        c.world.passes(5 * limits.SECOND)
    assert len(times) == 7
    assert all(later - earlier >= 30 * limits.SECOND for earlier, later in itertools.pairwise(times))
