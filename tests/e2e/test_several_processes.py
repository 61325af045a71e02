"""Several processes of one profile at once: a bot that listens, sends from cron, a poll now and then.

They share keys, counters and what was shown; others see one member, and nothing twice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.profile import Profile
from tests.e2e.scene import wait

COUNT = 6


def test_one_home_listens_sends_and_polls_at_once(scene):
    alice, bob, carol = scene.company(scene.relay(), "alice", "bob", "carol")
    bobs, alices, carols = bob.listens(), alice.chats(), carol.listens()
    polled: list[object] = []

    def bob_sends() -> None:
        for number in range(COUNT // 2):
            bob.says(f"{number} of bob")
            bob.whispers("alice", f"{number} for alice", "--wait", "delivered")

    def bob_polls() -> None:
        for _ in range(COUNT // 2):
            polled.extend(bob.polls())

    def alice_says() -> None:
        for number in range(COUNT):
            alices.writes(f"{number} of alice", f"/msg bob {number} for bob")
            bobs.hears(f"{number} of alice", f"{number} for bob")

    with ThreadPoolExecutor(3) as at_once:
        for work in [at_once.submit(work) for work in (bob_sends, bob_polls, alice_says)]:
            work.result()

    of_alice = [f"{number} of alice" for number in range(COUNT)]
    for_bob = [f"{number} for bob" for number in range(COUNT)]
    carols.hears(*of_alice, f"{COUNT // 2 - 1} of bob")
    # the bot shows everything once, in order; what a poll shows is among it, once too
    assert [text for text in bobs.texts() if "of alice" in str(text)] == of_alice
    assert [text for text in bobs.texts() if "for bob" in str(text)] == for_bob
    assert len(polled) == len(set(polled))
    assert set(polled) <= {*of_alice, *for_bob}
    assert bob.polls() == []
    # one's own messages are shown to the others, each once, and in the order of each sender
    for number in range(COUNT // 2):
        assert alices.texts().count(f"{number} of bob") == alices.texts().count(f"{number} for alice") == 1
        assert carols.texts().count(f"{number} of bob") == 1
    for listener in (alices, bobs, carols):
        assert not listener.events("alarm", "gap", "missed", "duplicate"), listener
    # the keys were made once, and are whole
    assert len(Profile(bob.home).sealing) == 1


def test_two_chats_of_one_home_show_the_same(scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    chats = [bob.chats(), bob.chats()]
    for chat in chats:
        chat.writes("/who")
        chat.first_line()  # it is attached
    for number in range(COUNT):
        alice.says(f"{number} of alice")
        alice.whispers("bob", f"{number} for bob")
    for chat in chats:
        chat.hears(f"{COUNT - 1} of alice", f"{COUNT - 1} for bob")
        assert len(chat.texts()) == len(set(chat.texts())) == 2 * COUNT
    assert bob.polls() == []


def test_many_sends_of_one_home_at_once(scene):
    """As from cron: counters are never used twice, and each message comes once."""
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    bobs = bob.listens()
    texts = [f"number {number}" for number in range(COUNT)]
    with ThreadPoolExecutor(COUNT) as at_once:
        list(at_once.map(lambda text: alice.whispers("bob", text, "--timeout", "60"), texts))
    bobs.hears(*texts)
    assert sorted(bobs.texts()) == texts
    assert not bobs.events("alarm", "gap", "missed", "duplicate")


def test_a_process_that_is_killed_leaves_a_sound_profile(scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    for text in ("one", "two"):
        bobs = bob.listens()
        alice.says(text)
        bobs.hears(text)
        bobs.killed()
    alice.whispers("bob", "three", "--wait", "relayed")
    assert "three" in bob.polls()
    assert bob.polls() == []
    bob.whispers("alice", "still here")
    assert alice.polls() == ["still here"]


def test_what_could_not_be_written_counts_as_not_shown(scene):
    """The disk is full: the message is there for the next one that can show it."""
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    alice.says("hi")
    alice.says("there")
    full = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
    backlog = scene.process((*full, *bob._argv("listen", "team", "--json", "--backlog")))
    assert backlog.ends() == 1
    assert bob.polls() == ["hi", "there"]
    live = scene.process((*full, *bob._argv("listen", "team", "--json")))
    wait(lambda: alice.members()["bob"]["online"])
    alice.says("again")
    assert live.ends() == 1
    assert bob.polls() == ["again"]
    assert bob.polls() == []
