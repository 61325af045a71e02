"""Attack 2: Eve publishes Alice's sealing key as her own, with Alice's own generation, and everybody has both cards."""

from __future__ import annotations

from protocol import card as cards
from protocol import limits, names
from protocol.content import Text
from tests.claims.conftest import Company, company
from tests.claims.hostile_relay import Lie

__all__ = ["company"]


def eve_with_alices_key(c: Company):
    """Let a member in who publishes Alice's newest key as hers, and return her."""
    eve = c.world.mallory("eve")
    c.world.passes(limits.CARD_ROTATION + limits.SECOND)
    alices = c.alice.core.roster.cards.newest(c.alice.id)
    assert alices is not None
    assert alices.generation > eve.generation
    nick = names.seal_nick(c.alice.room.secret, c.world.room, eve.id, "eve")
    taken = cards.make(eve.identity, c.world.room, alices.generation, alices.sealing_key, nick)
    assert eve.publishes(taken) == "accepted"
    c.world.lies(Lie())
    return eve


def test_attack_2_what_bob_whispers_to_eve_is_not_taken_by_alice_for_hers(company: Company):
    """The relay hands Alice what Bob sealed for Eve: both boxes open with Alice's key, and the sender is Bob.

    Stands on the recipient in the context: with ``self.recipient`` taken out of ``Route.context`` (seal.py), Alice is
    shown Bob's words to Eve as if they were for her, and this test fails.
    """
    c = company
    eve = eve_with_alices_key(c)
    c.alice.forgets()
    for text in ("hi eve", "are you there?", "good", "alice must not know"):
        (id,) = c.bob.core.send(Text(text), [eve.id], c.bob.now)
        c.bob.process.sends()
        c.world.runs()
    (post,) = [post for post in c.world.sealed_to(eve.id) if post.id == id]
    c.world.core.delivers(c.alice.id, c.bob.id, post)
    c.world.runs()
    assert c.alice.hears() == []
    assert c.alice.notes() == ["missed bob 1 cannot-open"]


def test_attack_2_what_alice_whispers_is_never_eves(company: Company):
    """The relay says that Eve sent what Alice did; the key of Eve's card would open the inner box."""
    c = company
    eve = eve_with_alices_key(c)
    c.bob.forgets()
    c.alice.whispers("bob", "mine")
    assert c.bob.hears() == ["alice whispers: mine"]
    post = c.world.sealed_to(c.bob.id)[-1]
    c.world.core.delivers(c.bob.id, eve.id, post)
    c.world.runs()
    assert c.bob.hears() == []
    assert [note.split()[:2] for note in c.bob.notes()] == [["missed", "eve"]]
