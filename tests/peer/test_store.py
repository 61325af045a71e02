"""The profile: one file, several processes, no trace of what died, and a sentence for everything that can go wrong."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from peer import store as stores
from peer.keys import Keys, bury
from peer.store import Store
from protocol import limits
from protocol.errors import BadProfile, ProfileTooNew, UnknownRoom
from protocol.identity import Identity
from protocol.ids import RelayKey, RoomId, RoomSecret
from tests.peer.world import NOON


def add_room(store, letter="r", name="team", entered=True):
    room = store.add_room(
        RoomId(letter.encode() * 32),
        name=name,
        title="Team",
        nick="alice",
        secret=RoomSecret(b"s" * 32),
        relay=RelayKey(b"k" * 32),
        addresses=["h:1", "[::1]:2"],
    )
    if entered:
        store.write("UPDATE rooms SET attached_at = 1 WHERE id = ?", room.id)
    return room


# -- what it keeps ------------------------------------------------------------------------------------------------


def test_a_profile_is_made_once_and_then_stays_who_it_is(tmp_path):
    home = tmp_path / "new" / "home"
    store = Store.open(home, "alice")
    identity = store.identity().id
    store.close()
    again = Store.open(home, "bob")
    assert (again.identity().id, again.nick) == (identity, "alice")
    again.close()


def test_nobody_else_can_read_it(tmp_path):
    home = tmp_path / "home"
    Store.open(home, "alice").close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "profile.db").stat().st_mode) == 0o600
    (home / "profile.db").chmod(0o644)  # as a copy from elsewhere may be
    Store.open(home, "alice").close()
    assert stat.S_IMODE((home / "profile.db").stat().st_mode) == 0o600


def test_rooms_are_found_by_name_and_id_once_they_were_entered(tmp_path):
    store = Store.open(tmp_path, "alice")
    room = add_room(store, entered=False)
    assert store.rooms() == []
    with pytest.raises(UnknownRoom):
        store.room("team")
    store.write("UPDATE rooms SET attached_at = 1")
    found = store.room("team")
    assert (found.id, found.addresses, found.title, found.nick) == (room.id, ("h:1", "[::1]:2"), "Team", "alice")
    assert store.room_by_id(room.id).name == "team"
    assert store.room_by_id(RoomId(b"?" * 32)) is None
    store.close()


def test_local_names_are_unique(tmp_path):
    store = Store.open(tmp_path, "alice")
    names = [add_room(store, letter).name for letter in "abc"]
    assert names == ["team", "team-2", "team-3"]
    assert store.rename_room(RoomId(b"b" * 32), "team", "Team") == "team-2"
    assert store.rename_room(RoomId(b"c" * 32), "ops", "Ops") == "ops"
    assert sorted(room.name for room in store.rooms()) == ["ops", "team", "team-2"]
    store.close()


def test_what_an_interrupted_join_left_behind_is_replaced(tmp_path):
    store = Store.open(tmp_path, "alice")
    add_room(store, entered=False)
    assert add_room(store, entered=False).name == "team"
    store.close()


def test_a_forgotten_room_leaves_nothing(tmp_path):
    store = Store.open(tmp_path, "alice")
    room = add_room(store)
    Keys(store, room, store.identity()).rotate(NOON)
    secret = store.row("SELECT secret FROM sealing_keys")["secret"]
    store.write("INSERT INTO log VALUES (?, 1, ?)", room.id, b"a statement, signed" * 20)
    store.forget_room(room.id)
    store.close()
    left = (tmp_path / "profile.db").read_bytes()
    assert secret not in left
    assert b"a statement, signed" not in left
    assert room.id not in left


def test_verified_is_kept(tmp_path):
    store = Store.open(tmp_path, "alice")
    peer = Identity.generate().id
    assert not store.is_verified(peer)
    store.write("INSERT INTO verified VALUES (?, 1)", peer)
    assert store.is_verified(peer)
    store.close()


# -- transactions -------------------------------------------------------------------------------------------------


def test_a_transaction_happens_wholly_or_not_at_all_and_may_be_nested(tmp_path):
    store = Store.open(tmp_path, "alice")

    def fails():
        with store.transaction():
            add_room(store, "a")
            with store.transaction():
                add_room(store, "b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert store.rooms() == []
    with store.transaction():
        add_room(store, "a")
    assert len(store.rooms()) == 1
    store.close()


def test_two_processes_share_it(tmp_path):
    one, other = Store.open(tmp_path, "alice"), Store.open(tmp_path, "alice")
    add_room(one)
    assert other.room("team").name == "team"
    other.write("UPDATE rooms SET nick = 'al'")
    assert one.room("team").nick == "al"
    one.close()
    other.close()


def test_a_process_that_waits_too_long_for_another_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_BUSY_S", 0.05)
    one, other = Store.open(tmp_path, "alice"), Store.open(tmp_path, "alice")
    with one.transaction(), pytest.raises(BadProfile, match="another process keeps"):
        add_room(other)
    add_room(other)
    one.close()
    other.close()


def test_a_process_gets_its_turn_beside_one_that_writes_again_and_again(tmp_path):
    """Between two transactions there is a moment of some ms, which a look ten times a second would mostly miss."""
    program = (
        "import sys, time; from pathlib import Path; from peer.store import Store\n"
        "store = Store.open(Path(sys.argv[1]), 'alice')\n"
        "while True:\n"
        "    with store.transaction():\n"
        "        print('mine', flush=True); time.sleep(0.7)\n"
        "    time.sleep(0.005)\n"
    )
    store = Store.open(tmp_path, "alice")
    command = [sys.executable, "-c", program, str(tmp_path)]
    turns = 3
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            for _ in range(turns):
                assert other.stdout.readline() == "mine\n"
                with store.transaction():
                    pass
        finally:
            other.kill()
        assert other.stdout.read().count("mine") < 7 * turns
    store.close()


def test_many_processes_that_begin_at_once_make_one_identity(tmp_path):
    program = (
        "import sys; from pathlib import Path; from peer.store import Store;"
        "print(Store.open(Path(sys.argv[1]), 'alice').identity().id.hex())"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "home")], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    ids = {child.communicate(timeout=60)[0] for child in children}
    assert len(ids) == 1
    assert all(child.returncode == 0 for child in children)


def test_a_process_killed_in_a_transaction_leaves_a_sound_profile(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from peer.store import Store;"
        "s = Store.open(Path(sys.argv[1]), 'alice');"
        "t = s.transaction(); t.__enter__();"
        "s.write(\"UPDATE profile SET nick = 'x'\"); s.write('DELETE FROM profile');"
        "s._connection.execute('PRAGMA cache_spill = 1'); os.kill(os.getpid(), 9)"
    )
    Store.open(tmp_path, "alice").close()
    child = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert child.returncode == -9
    store = Store.open(tmp_path, "bob")
    assert store.nick == "alice"
    assert store.row("PRAGMA integrity_check")[0] == "ok"
    store.close()


# -- dead keys leave no bytes ---------------------------------------------------------------------------------------


def test_deleted_keys_are_gone_from_the_bytes_of_the_files(tmp_path):
    """Enough rows for the b-tree to be rebalanced, which copies cells between pages."""
    store = Store.open(tmp_path, "alice")
    room = add_room(store)
    secrets = [os.urandom(32) for _ in range(400)]
    for number, secret in enumerate(secrets):
        store.write(
            "INSERT INTO sealing_keys (room, generation, secret, card, made_at, dies_at) VALUES (?, ?, ?, ?, ?, ?)",
            *(room.id, NOON + number * 7919 % 400, secret, b"c" * 300, NOON, NOON + 1_000 + number % 2 * 100_000),
        )
    assert bury(store, NOON + 2_000)
    living = {row["secret"] for row in store.rows("SELECT secret FROM sealing_keys")}
    assert len(living) == 200
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [secret for secret in secrets if secret in files and secret not in living] == []
    assert all(secret in files for secret in living)
    store.close()


def test_a_rewriting_that_another_process_held_up_is_made_good(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_BUSY_S", 0.05)
    store, other = Store.open(tmp_path, "alice"), Store.open(tmp_path, "alice")
    runs = []
    store._connection.set_trace_callback(lambda sql: runs.append(sql) if sql == "VACUUM" else None)
    with other.transaction():
        other.write("UPDATE profile SET nick = 'al'")
        store.vacuum()
    assert store.owes_vacuum
    assert runs, "it was tried, more than once maybe"
    runs.clear()
    assert not bury(store, NOON)
    assert not store.owes_vacuum
    assert runs == ["VACUUM"]
    store.close()
    other.close()


# -- what can go wrong ------------------------------------------------------------------------------------------------


def test_a_profile_of_a_newer_program_is_left_alone(tmp_path):
    Store.open(tmp_path, "alice").close()
    with sqlite3.connect(tmp_path / "profile.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "profile.db").read_bytes()
    with pytest.raises(ProfileTooNew):
        Store.open(tmp_path, "alice")
    assert (tmp_path / "profile.db").read_bytes() == before


def test_what_is_no_profile_is_left_alone(tmp_path):
    path = tmp_path / "profile.db"
    path.write_bytes(b"my diary, and no database\n" * 100)
    with pytest.raises(BadProfile, match="damaged or no profile"):
        Store.open(tmp_path, "alice")
    assert path.read_bytes() == b"my diary, and no database\n" * 100
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE diary (day)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(BadProfile, match="not a profile"):
        Store.open(tmp_path, "alice")
    assert path.read_bytes() == before


def test_another_programs_file_of_the_same_version_is_no_profile(tmp_path):
    path = tmp_path / "profile.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE diary (day)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(BadProfile, match="not a profile"):
        Store.open(tmp_path, "alice")


@pytest.mark.parametrize("place", [0, 30, 5_000, -200])
def test_a_damaged_profile_is_said_to_be_damaged_and_not_overwritten(tmp_path, place):
    store = Store.open(tmp_path, "alice")
    add_room(store)
    store.close()
    path = tmp_path / "profile.db"
    data = bytearray(path.read_bytes())
    begin = place % len(data)
    data[begin : begin + 200] = b"\xa5" * len(data[begin : begin + 200])
    path.write_bytes(data)

    def use():
        store = Store.open(tmp_path, "alice")
        try:
            store.identity()
            assert [room.name for room in store.rooms()] == ["team"]
        finally:
            store.close()

    if place == 0:
        with pytest.raises(BadProfile, match=str(tmp_path)):
            use()
    with contextlib.suppress(BadProfile):  # what is damaged elsewhere may not be read at all
        use()
    assert path.read_bytes() == bytes(data)


def test_damage_that_sqlite_reads_over_is_noticed_when_the_profile_is_opened(tmp_path):
    """A cell that has become NULL is as good as any to SQLite, and would be a TypeError anywhere in the program."""
    Store.open(tmp_path, "alice").close()
    with sqlite3.connect(tmp_path / "profile.db") as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'seed BLOB NOT NULL', 'seed BLOB')")
        connection.commit()
    with sqlite3.connect(tmp_path / "profile.db") as connection:
        connection.execute("UPDATE profile SET seed = NULL")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'seed BLOB', 'seed BLOB NOT NULL')")
    connection.close()
    with pytest.raises(BadProfile, match="damaged"):
        Store.open(tmp_path, "alice")


def test_an_empty_profile_table_or_a_short_seed_is_damage(tmp_path):
    store = Store.open(tmp_path, "alice")
    store.write("UPDATE profile SET seed = x'00'")
    with pytest.raises(BadProfile, match="damaged"):
        store.identity()
    store.write("DELETE FROM profile")
    with pytest.raises(BadProfile, match="damaged"):
        store.identity()
    store.close()


def test_a_home_that_is_a_file_or_cannot_be_written_is_said_so(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(BadProfile, match="file"):
        Store.open(path, "alice")
    with pytest.raises(BadProfile):
        Store.open(Path("/proc/nowhere"), "alice")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(28, "x"), "no space"),
        (OSError(13, "x"), "owner and mode"),
        (OSError(30, "x"), "owner and mode"),
        (OSError("odd"), "OSError"),
    ],
)
def test_what_the_system_refuses_becomes_a_sentence(tmp_path, monkeypatch, error, word):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(BadProfile, match=word):
        Store.open(tmp_path, "alice")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("SQLITE_CORRUPT_VTAB", "damaged"),
        ("SQLITE_FULL", "no space"),
        ("SQLITE_READONLY_DBMOVED", "owner and mode"),
        ("SQLITE_LOCKED", "another process"),
        ("SQLITE_IOERR_READ", "read it is"),
        ("SQLITE_MISUSE", "read it is"),
    ],
)
def test_what_sqlite_raises_becomes_a_sentence(tmp_path, name, word):
    error = sqlite3.OperationalError("read it is")
    error.sqlite_errorname = name
    with pytest.raises(BadProfile, match=word), stores._guarded(tmp_path):
        raise error


def test_a_full_disk_is_told_from_a_broken_one(tmp_path, monkeypatch):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_WRITE"
    with monkeypatch.context() as patched:
        patched.setattr(stores, "_has_space", lambda home: False)
        with pytest.raises(BadProfile, match="no space"), stores._guarded(tmp_path):
            raise error
    assert stores._has_space(tmp_path)
    assert stores._has_space(tmp_path / "nowhere")


def test_a_full_disk_ends_a_transaction_and_loses_nothing(tmp_path):
    store = Store.open(tmp_path, "alice")
    add_room(store)
    pages = store.row("PRAGMA page_count")[0]
    store.write(f"PRAGMA max_page_count = {pages + 1}")

    def fill():
        with store.transaction():
            store.write("DELETE FROM rooms")
            store.write_many("INSERT INTO verified VALUES (?, 1)", [(os.urandom(500),) for _ in range(100)])

    with pytest.raises(BadProfile, match="no space"):
        fill()
    assert len(store.rooms()) == 1
    store.close()


def test_a_profile_that_could_not_be_opened_is_not_kept_open(tmp_path, monkeypatch):
    (tmp_path / "profile.db").write_bytes(b"no database" * 100)
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1])
    with pytest.raises(BadProfile):
        Store.open(tmp_path, "alice")
    with pytest.raises(sqlite3.ProgrammingError):
        opened[0].execute("SELECT 1")


def test_in_memory_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store.in_memory("alice")
    add_room(store)
    assert store.home is None
    with pytest.raises(BadProfile, match="in memory"):
        store.write("SELECT nonsense")
    assert list(tmp_path.iterdir()) == []
    store.vacuum()
    store.close()
    assert limits.CARD_LIFE


def test_a_profile_of_the_version_before_is_brought_to_this_one_with_all_that_it_holds(tmp_path):
    with sqlite3.connect(tmp_path / "profile.db") as connection:
        for sql in stores._SCHEMA.split(";\n"):
            connection.execute(sql)
        connection.execute("INSERT INTO profile VALUES (1, ?, 'alice')", (bytes(32),))
        connection.execute(f"PRAGMA application_id = {stores._APPLICATION}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = Store.open(tmp_path, "somebody else")
    assert (store.nick, store.identity().seed) == ("alice", bytes(32))
    assert store.rows("SELECT * FROM ghosts") == []
    store.close()
    with sqlite3.connect(tmp_path / "profile.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (stores.VERSION,)
    connection.close()
