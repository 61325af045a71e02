"""Each command as a real process with a real relay: what it prints for people and programs, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.scene import PATIENCE, objects


@pytest.fixture
def team(scene):
    """Alice and Bob in the room ``team``."""
    return scene.company(scene.relay(), "alice", "bob")


def one(text: str) -> dict[str, object]:
    (line,) = text.splitlines()
    return json.loads(line)


class TestRooms:
    def test_an_invite_is_one_word_or_one_object(self, scene):
        (alice,) = scene.people("alice")
        relay = scene.relay()
        assert alice.creates(relay).startswith("bc1")
        made = one(alice.runs("create", "Night Shift!", "--relay", relay.word, "--json"))
        assert (made["type"], made["room"]) == ("invite", "Night-Shift")
        assert (made["uses"], made["expires_at"]) == (None, None)
        bounded = one(alice.runs("invite", "team", "--uses", "2", "--expires", "1h", "--json"))
        assert bounded["uses"] == 2
        assert bounded["expires_at"].endswith("Z")
        assert bounded["invite_id"] != made["invite_id"]

    def test_a_title_that_is_no_name_is_named_on_stderr(self, scene):
        (alice,) = scene.people("alice")
        done = alice.tries("create", "Night Shift!", "--relay", scene.relay().word)
        assert done.code == 0
        assert "Night-Shift" in done.err
        rooms = objects(alice.runs("rooms", "--json").splitlines(), "room")
        assert [(room["room"], room["title"], room["role"]) for room in rooms] == [
            ("Night-Shift", "Night Shift!", "founder")
        ]

    def test_a_name_that_is_taken(self, scene):
        (alice,) = scene.people("alice")
        relay = scene.relay()
        alice.creates(relay)
        done = alice.tries("create", "team", "--relay", relay.word)
        assert (done.code, done.out) == (2, "")
        assert "team" in done.err

    def test_rooms_of_one_title_get_names_of_their_own(self, scene):
        alice, bob, carol = scene.people("alice", "bob", "carol")
        relay = scene.relay()
        invites = [alice.creates(relay), bob.creates(relay)]
        assert [carol.joins(invite) for invite in invites] == ["team", "team-2"]
        assert [carol.joins(invite) for invite in invites] == ["team", "team-2"]
        assert [line.split()[0] for line in carol.runs("rooms").splitlines()] == ["team", "team-2"]

    def test_an_invite_may_come_by_file_and_environment(self, scene, tmp_path):
        alice, bob, carol = scene.people("alice", "bob", "carol")
        invite = alice.creates(scene.relay())
        file = tmp_path / "invite"
        file.write_text(f"{invite[:40]}\n{invite[40:]}\n")
        assert one(bob.runs("join", "--invite-file", str(file), "--json"))["room"] == "team"
        scene.env["BACKCHANNEL_INVITE"] = invite
        assert carol.runs("join") == "team\n"

    def test_a_nick_that_was_chosen_is_the_next_rooms_too(self, scene):
        alice, bob = scene.people("alice", "bob")
        relay = scene.relay()
        bob.joins(alice.creates(relay))
        bob.runs("create", "den", "--relay", relay.word)
        assert list(bob.members("den")) == ["bob"]

    def test_who_is_who(self, team):
        alice, bob = team
        rows = [line.split() for line in bob.runs("who", "team").splitlines()]
        assert [(row[0], *row[2:]) for row in rows] == [
            ("alice", "founder", "offline", "unverified"),
            ("bob", "member", "offline", "self"),
        ]
        me = one(bob.runs("whoami", "--json"))
        assert rows[1][1].replace("-", "") == me["id"][:20]
        assert bob.runs("whoami").split()[1] == rows[1][1]
        assert (me["nick"], me["home"]) == ("bob", str(bob.home))
        assert alice.members()["bob"]["id"] == me["id"]

    def test_a_listener_is_online(self, team):
        alice, bob = team
        bobs = bob.listens()
        alice.says("hi")
        bobs.hears("hi")
        assert {nick: member["online"] for nick, member in alice.members().items()} == {
            "alice": False,
            "bob": True,
        }


class TestSend:
    def test_nothing_is_printed_and_json_says_what_became_of_it(self, scene):
        alice, bob, chuck = scene.company(scene.relay(), "alice", "bob", "chuck")
        assert alice.runs("send", "team", "to the room") == ""
        room = one(alice.runs("send", "team", "--json", stdin="from a pipe\n"))
        assert (room["to"], room["state"]) == (None, "relayed")
        sent = alice.runs("send", "team", "hi", "--to", "bob", "--to", "chuck", "--json")
        assert [(thing["to"]["nick"], thing["state"]) for thing in map(json.loads, sent.splitlines())] == [
            ("bob", "relayed"),
            ("chuck", "relayed"),
        ]
        assert one(alice.runs("send", "team", "x", "--wait", "none", "--json"))["state"] in ("sent", "relayed")
        assert bob.polls()[:3] == ["to the room", "from a pipe", "hi"]
        assert chuck.polls()[:3] == ["to the room", "from a pipe", "hi"]

    def test_one_person_by_several_names_gets_it_once(self, team):
        alice, bob = team
        me = one(bob.runs("whoami", "--json"))["id"]
        prints = bob.runs("whoami").split()[1]
        names = ["--to", "bob", "--to", me, "--to", prints, "--to", "bob"]
        assert len(alice.runs("send", "team", "hi", *names, "--json").splitlines()) == 1
        assert bob.polls() == ["hi"]

    def test_actions_and_several_lines(self, team):
        alice, bob = team
        alice.runs("send", "team", "--me", "waves")
        alice.runs("send", "team", "one\n<bob> two", "--to", "bob")
        lines = [line[6:] for line in bob.runs("poll", "team").splitlines()]
        assert lines == ["* alice waves", "[aside] <alice> one", "| <bob> two"]

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            (["--to", "dave"], 5, "lists its members. (dave)"),
            (["--to", "alice"], 2, "That is you"),
            (["--to", ""], 5, "Nobody of that name"),
            (["--to", "bob", "--wait", "delivered", "--timeout", "1"], 4, "not opened yet by bob"),
        ],
    )
    def test_what_is_not_sent_prints_nothing(self, team, words, code, says):
        alice, _ = team
        for json_or_not in ([], ["--json"]):
            done = alice.tries("send", "team", "hi", *words, *json_or_not)
            assert (done.code, done.out) == (code, "")
            (line,) = done.err.splitlines()
            assert says in line

    def test_delivered_is_when_the_other_side_has_opened_it(self, team):
        alice, bob = team
        bobs = bob.listens()
        sent = one(alice.runs("send", "team", "hi", "--to", "bob", "--wait", "delivered", "--timeout", "60", "--json"))
        assert sent["state"] == "delivered"
        bobs.hears("hi")

    def test_namesakes_are_told_apart(self, scene):
        relay = scene.relay()
        alice, bob, other = scene.people("alice", "bob", "other")
        invite = alice.creates(relay)
        bob.joins(invite)
        other.runs("join", "-", "--nick", "bob", stdin=invite)
        done = alice.tries("send", "team", "hi", "--to", "bob")
        assert (done.code, done.out) == (5, "")
        labels = [line.split()[0] for line in alice.runs("who", "team").splitlines()][1:]
        assert len(set(labels)) == 2
        assert all(label.startswith("bob~") for label in labels)


class TestListen:
    def test_it_counts_messages_not_events(self, team):
        alice, bob = team
        alice.says("one")
        alice.whispers("bob", "two")
        bobs = bob.listens("--count", "2")
        assert bobs.ends() == 0
        assert bobs.texts() == ["one", "two"]

    def test_direct_prints_asides_alone(self, team):
        alice, bob = team
        alice.says("one")
        alice.whispers("bob", "two")
        alice.whispers("bob", "three")
        bobs = bob.listens("--direct", "--count", "1")
        assert bobs.ends() == 0
        assert bobs.texts() == ["two"]
        assert bob.polls() == ["one", "three"]

    def test_without_backlog_it_begins_now(self, team):
        alice, bob = team
        alice.says("before")
        bobs = bob.starts("listen", "team", "--json")
        while not alice.members()["bob"]["online"]:
            pass
        alice.says("after")
        bobs.hears("after")
        assert bobs.texts() == ["after"]

    def test_a_timeout_ends_it_well_unless_messages_are_due(self, team):
        _, bob = team
        assert bob.runs("listen", "team", "--timeout", "0.5") == ""
        done = bob.tries("listen", "team", "--count", "1", "--timeout", "0.5")
        assert (done.code, done.out) == (4, "")
        assert "fewer than 1" in done.err

    def test_for_people_events_are_on_stderr(self, team):
        alice, bob = team
        bobs = bob.starts("listen", "team")
        while not alice.members()["bob"]["online"]:
            pass
        dave = bob.scene.person("dave")
        dave.joins(alice.runs("invite", "team").strip())
        dave.says("hello")
        bobs.waits(lambda: bobs.lines)
        assert bobs.lines[0][6:] == "<dave> hello"
        bobs.waits(lambda: "-- dave joined" in bobs.errors)  # another pipe than the message's

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
    def test_signals_end_it(self, team, number, code):
        alice, bob = team
        alice.says("hi")
        bobs = bob.listens()
        bobs.hears("hi")
        bobs.gets(number)
        assert bobs.ends() == code
        assert "Traceback" not in str(bobs)
        assert bob.polls() == []

    def test_it_ends_when_nobody_reads(self, team):
        """At once, not with the next message."""
        alice, bob = team
        alice.says("hi")
        argv = [*bob.program, "--home", str(bob.home), "listen", "team", "--backlog"]
        listening = subprocess.Popen(argv, env=bob.scene.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert listening.stdout
        assert listening.stderr
        assert "hi" in listening.stdout.readline()
        listening.stdout.close()
        assert listening.wait(PATIENCE) == 141
        with listening.stderr as errors:
            assert [line for line in errors if not line.startswith("-- ")] == []

    def test_it_ends_when_it_is_removed(self, team):
        alice, bob = team
        alice.says("hi")
        bobs = bob.listens()
        bobs.hears("hi")
        alice.runs("kick", "team", "bob")
        assert bobs.ends() == 6
        assert one(bobs.errors[-1])["code"] == "not-member"


class TestPoll:
    def test_what_was_shown_is_not_shown_again(self, team):
        alice, bob = team
        alice.says("one")
        assert bob.polls() == ["one"]
        assert bob.runs("poll", "team") == ""
        alice.whispers("bob", "two")
        alice.says("three")
        assert bob.polls() == ["two", "three"]

    def test_what_listen_showed_counts_as_shown(self, team):
        alice, bob = team
        alice.says("one")
        assert bob.listens("--count", "1").ends() == 0
        assert bob.polls() == []

    def test_what_could_not_be_written_is_shown_again(self, team):
        alice, bob = team
        alice.says("one")
        alice.says("two")
        argv = [*bob.program, "--home", str(bob.home), "poll", "team"]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                argv, env=bob.scene.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
            )
        assert done.returncode == 1
        (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("-- ")]
        assert "could not be written" in sentence
        assert "No space left" in sentence
        assert bob.polls() == ["one", "two"]

    def test_an_ephemeral_member_leaves_nothing(self, team):
        alice, _ = team
        guest = alice.scene.person("guest")
        invite = alice.runs("invite", "team").strip()
        assert guest.runs("--ephemeral", "join", "-", "--nick", "guest", stdin=invite) == "team\n"
        assert not guest.home.exists()
