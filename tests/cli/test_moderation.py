"""Who may say who is in a room, by the commands: what each does, what it prints, and how it says no."""

from __future__ import annotations

import json
import signal

from tests.e2e.scene import Person, Scene, wait


def refused(person: Person, code: int, *words: str) -> str:
    """Return the one sentence with which a command is refused, with exit code ``code`` and nothing on stdout."""
    result = person.tries(*words)
    assert (result.code, result.out) == (code, ""), result
    assert result.err.startswith("backchannel: ")
    assert len(result.err.splitlines()) == 1
    return result.err


def test_only_the_founder_says_who_is_an_admin(scene: Scene):
    alice, bob, chuck = scene.company(scene.relay(), "alice", "bob", "chuck")
    assert "role" in refused(bob, 6, "role", "team", "chuck", "admin")
    member = json.loads(alice.runs("role", "team", "bob", "admin", "--json"))
    assert (member["type"], member["nick"], member["role"]) == ("member", "bob", "admin")
    assert bob.runs("invite", "team").startswith("bc1")
    assert alice.runs("role", "team", "bob", "member") == ""
    refused(bob, 6, "invite", "team")
    refused(alice, 6, "role", "team", "alice", "admin")
    refused(alice, 5, "role", "team", "nobody", "admin")
    assert chuck.members()["bob"]["role"] == "member"


def test_who_is_kicked_comes_back_with_a_new_invite_alone(scene: Scene):
    alice, bob, chuck = scene.company(scene.relay(), "alice", "bob", "chuck")
    refused(chuck, 6, "kick", "team", "bob")
    event = json.loads(alice.runs("kick", "team", "chuck", "--json"))
    assert (event["event"], event["who"]["nick"], event["by"]["nick"]) == ("kicked", "chuck", "alice")
    assert "not a member" in refused(chuck, 6, "send", "team", "still here?")
    assert "invite" in refused(chuck, 6, "join", scene.invite)
    assert "chuck" not in bob.members()
    assert chuck.runs("join", alice.runs("invite", "team").strip()).strip() == "team"
    assert chuck.members()["chuck"]["role"] == "member"


def test_who_is_banned_never_comes_back_and_an_id_names_one_who_left(scene: Scene):
    alice, bob, chuck = scene.company(scene.relay(), "alice", "bob", "chuck")
    chuck_id = str(alice.members()["chuck"]["id"])
    assert alice.runs("ban", "team", "bob") == ""
    assert chuck.runs("leave", "team") == ""
    assert chuck.runs("rooms") == ""
    alice.runs("ban", "team", chuck_id)
    invite = alice.runs("invite", "team").strip()
    for banned in (bob, chuck):
        assert "banned" in refused(banned, 6, "join", invite)
    assert set(alice.members()) == {"alice"}


def test_a_revoked_invite_admits_nobody(scene: Scene):
    (alice,) = scene.company(scene.relay(), "alice")
    invite = json.loads(alice.runs("invite", "team", "--uses", "3", "--expires", "1h", "--json"))
    assert invite["uses"] == 3
    refused(alice, 5, "revoke", "team", "aaaaaaaa")
    assert alice.runs("revoke", "team", invite["invite_id"][:20]) == ""
    assert "invite" in refused(scene.person("bob"), 6, "join", invite["invite"])
    refused(alice, 8, "revoke", "team", scene.invite[:-1])
    assert alice.runs("revoke", "team", f" {scene.invite.upper()} ") == ""
    assert "invite" in refused(scene.person("bob"), 6, "join", scene.invite)
    refused(alice, 5, "revoke", "team", scene.invite)


def test_who_left_joins_again_by_the_same_invite(scene: Scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    assert "close" in refused(alice, 6, "leave", "team")
    assert bob.runs("leave", "team") == ""
    assert set(alice.members()) == {"alice"}
    bob.joins(scene.invite)
    alice.whispers("bob", "back again?")
    assert bob.polls() == ["back again?"]
    bob.says("back")
    assert alice.polls() == ["back"]


def test_a_closed_room_is_closed_to_everybody(scene: Scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    refused(bob, 6, "close", "team")
    listening = bob.listens()
    wait(lambda: alice.members()["bob"]["online"])
    assert alice.runs("close", "team") == ""
    assert listening.ends() == 6
    assert "closed" in refused(bob, 6, "send", "team", "anybody?")
    assert bob.runs("leave", "team") == ""
    assert bob.runs("rooms") == alice.runs("rooms") == ""


def test_a_room_whose_relay_is_gone_can_be_forgotten(scene: Scene):
    relay = scene.relay()
    alice, bob = scene.company(relay, "alice", "bob")
    relay.gets(signal.SIGTERM)
    relay.ends()
    for person in (alice, bob):
        refused(person, 3, "leave", "team")
        assert person.runs("leave", "team", "--forget") == ""
        assert person.runs("rooms") == ""
        refused(person, 5, "leave", "team", "--forget")


def test_whoever_would_forget_a_room_leaves_it_while_its_relay_is_there(scene: Scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    assert "close" in refused(alice, 6, "leave", "team", "--forget")
    assert bob.runs("leave", "team", "--forget") == ""
    assert set(alice.members()) == {"alice"}


def test_nobody_compares_a_number_with_oneself(scene: Scene):
    (alice,) = scene.company(scene.relay(), "alice")
    assert "That is you" in refused(alice, 2, "verify", "team", "alice")


def test_only_the_number_of_that_identity_is_accepted(scene: Scene):
    alice, bob, _ = scene.company(scene.relay(), "alice", "bob", "chuck")
    number = alice.runs("verify", "team", "bob").strip()
    assert number == bob.runs("verify", "team", "alice").strip()
    assert [len(group) for group in number.split()] == [5] * 12
    assert "somebody else" in refused(alice, 7, "verify", "team", "chuck", "--accept", number)
    for slip in ("", "xx", number[:-1], number + " 1"):
        assert "60 digits" in refused(alice, 2, "verify", "team", "bob", "--accept", slip)
    assert "is you" in refused(alice, 2, "verify", "team", "alice").lower()
    assert not alice.members()["chuck"]["verified"]
    shown = json.loads(alice.runs("verify", "team", "bob", "--accept", number.replace(" ", ""), "--json"))
    assert (shown["type"], shown["number"], shown["verified"]) == ("safety-number", number, True)
    assert alice.members()["bob"]["verified"]
    assert not bob.members()["alice"]["verified"]


def test_a_nick_that_was_anothers_gets_nothing_until_it_is_accepted(scene: Scene):
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    assert set(alice.members()) == {"alice", "bob"}
    bob.runs("leave", "team")
    other = scene.person("other")
    other.runs("join", scene.invite, "--nick", "bob")
    assert "compare the safety number" in refused(alice, 7, "send", "team", "--to", "bob", "are you bob?")
    warning = json.loads(alice.runs("accept", "team", "--json"))
    assert (warning["event"], warning["who"]["nick"]) == ("key-changed", "bob")
    refused(alice, 2, "accept", "team", "bob", "--relay")
    alice.runs("accept", "team", "bob")
    assert alice.runs("accept", "team") == ""
    alice.whispers("bob", "then you are bob")
    assert other.polls() == ["then you are bob"]
