"""The profile: one SQLite file that several processes of a person may use at once, or one in memory.

It holds the identity, the rooms with their logs and newest cards, the keys that still live, and what was seen, so that
nothing is shown twice. It never holds a message. Dead keys leave no bytes: ``secure_delete`` overwrites cells, and a
VACUUM after keys die rewrites what b-tree rebalancing may have copied (a WAL would keep them, so the journal is
truncated). Every failure of the file becomes ``BadProfile`` with a sentence; a profile that cannot be read is never
overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from protocol.errors import BadProfile, ProfileTooNew, UnknownRoom
from protocol.identity import Identity
from protocol.ids import PeerId, RelayKey, RoomId, RoomSecret

VERSION: Final = 2
_APPLICATION: Final = 0x42436831
"""``PRAGMA application_id``: tells our file from any other SQLite file."""
_FILE: Final = "profile.db"
_BUSY_S: Final = 30.0
"""How long another process's lock is waited for."""

_SCHEMA: Final = """
CREATE TABLE profile (
    one INTEGER PRIMARY KEY CHECK (one = 1), seed BLOB NOT NULL, nick TEXT NOT NULL) STRICT;
CREATE TABLE rooms (
    id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT NOT NULL, nick TEXT NOT NULL, secret BLOB NOT NULL,
    relay BLOB NOT NULL, addresses TEXT NOT NULL, incarnation BLOB NOT NULL DEFAULT x'',
    attached_at INTEGER NOT NULL DEFAULT 0, read_under BLOB NOT NULL DEFAULT x'') STRICT, WITHOUT ROWID;
CREATE TABLE log (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, place INTEGER NOT NULL, statement BLOB NOT NULL,
    PRIMARY KEY (room, place)) STRICT, WITHOUT ROWID;
CREATE TABLE restrictions (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, statement BLOB NOT NULL,
    taken_by BLOB NOT NULL DEFAULT x'', PRIMARY KEY (room, statement)) STRICT, WITHOUT ROWID;
CREATE TABLE cards (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, owner BLOB NOT NULL, generation INTEGER NOT NULL,
    card BLOB NOT NULL, seen_at INTEGER NOT NULL, PRIMARY KEY (room, owner, generation)) STRICT, WITHOUT ROWID;
CREATE TABLE sealing_keys (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, generation INTEGER NOT NULL, secret BLOB NOT NULL,
    card BLOB NOT NULL, made_at INTEGER NOT NULL, accepted INTEGER NOT NULL DEFAULT 0, dies_at INTEGER,
    PRIMARY KEY (room, generation)) STRICT, WITHOUT ROWID;
CREATE TABLE chains (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, id BLOB NOT NULL, sender BLOB NOT NULL, key BLOB NOT NULL,
    counter INTEGER NOT NULL, verify_key BLOB NOT NULL, made_at INTEGER NOT NULL, previous BLOB NOT NULL,
    previous_count INTEGER NOT NULL, dies_at INTEGER NOT NULL, PRIMARY KEY (room, id)) STRICT, WITHOUT ROWID;
CREATE TABLE sent_chains (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, chain BLOB NOT NULL, count INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (room, chain)) STRICT, WITHOUT ROWID;
CREATE TABLE counters (
    room BLOB NOT NULL, recipient BLOB NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (room, recipient)) STRICT, WITHOUT ROWID;
CREATE TABLE unsettled (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, recipient BLOB NOT NULL, counter INTEGER NOT NULL,
    taken_at INTEGER NOT NULL, given_up INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (room, recipient, counter)) STRICT, WITHOUT ROWID;
CREATE TABLE seen (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, sender BLOB NOT NULL, message BLOB NOT NULL,
    stream BLOB NOT NULL, counter INTEGER NOT NULL, generation INTEGER NOT NULL, seen_at INTEGER NOT NULL,
    shown INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room, sender, message)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX seen_counter ON seen (room, sender, stream, counter);
CREATE TABLE streams (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, sender BLOB NOT NULL, stream BLOB NOT NULL,
    next INTEGER NOT NULL, away INTEGER NOT NULL, heard_at INTEGER NOT NULL, PRIMARY KEY (room, sender, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE missing (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, sender BLOB NOT NULL, stream BLOB NOT NULL,
    counter INTEGER NOT NULL, count INTEGER NOT NULL, noticed_at INTEGER NOT NULL, away INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room, sender, stream, counter)) STRICT, WITHOUT ROWID;
CREATE TABLE nicks (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, nick TEXT NOT NULL, owner BLOB NOT NULL,
    accepted INTEGER NOT NULL, PRIMARY KEY (room, nick, owner)) STRICT, WITHOUT ROWID;
CREATE TABLE alarms (
    id INTEGER PRIMARY KEY, room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, kind TEXT NOT NULL,
    subject BLOB NOT NULL, what TEXT NOT NULL, raised_at INTEGER NOT NULL, answered_at INTEGER) STRICT;
CREATE TABLE verified (peer BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_SINCE_2: Final = """
ALTER TABLE rooms ADD COLUMN head BLOB NOT NULL DEFAULT x'';
ALTER TABLE rooms ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
CREATE TABLE ended (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, invite BLOB NOT NULL, PRIMARY KEY (room, invite)
) STRICT, WITHOUT ROWID;
CREATE TABLE lost (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, peer BLOB NOT NULL, PRIMARY KEY (room, peer)
) STRICT, WITHOUT ROWID;
CREATE TABLE ghosts (
    room BLOB NOT NULL REFERENCES rooms ON DELETE CASCADE, peer BLOB NOT NULL, invite BLOB NOT NULL,
    PRIMARY KEY (room, peer, invite)) STRICT, WITHOUT ROWID;
"""
_STEPS: Final = (_SCHEMA, _SINCE_2)
"""What brings a profile to each version from the one before: an empty file to 1, and so on."""


class Room:
    """A room as the profile keeps it."""

    __slots__ = (
        *("addresses", "attached_at", "id", "incarnation", "name", "nick", "read_under", "relay", "secret", "title"),
    )

    def __init__(self, row: sqlite3.Row) -> None:
        """Take the columns of ``rooms``."""
        self.id = RoomId(row["id"])
        self.name: str = row["name"]
        self.title: str = row["title"]
        self.nick: str = row["nick"]
        self.secret = RoomSecret(row["secret"])
        self.relay = RelayKey(row["relay"])
        self.addresses: tuple[str, ...] = tuple(row["addresses"].split())
        self.incarnation: bytes = row["incarnation"]
        """The incarnation of the relay whose log is stored."""
        self.attached_at: int = row["attached_at"]
        """When a process that reads was attached last (ms); 0: never."""
        self.read_under: bytes = row["read_under"]
        """The incarnation of the relay then."""


class _Patient(sqlite3.Connection):
    """Waits for another process's lock by looking every few ms.

    SQLite itself would look ten times a second, and never in the moment between two transactions of a process that
    reads a long backlog: a ``send`` beside it would give up.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        until = None
        while True:
            try:
                return super().execute(sql, parameters)
            except sqlite3.OperationalError as error:
                now = time.monotonic()
                until = until or now + _BUSY_S
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or now >= until:
                    raise
            time.sleep(random.uniform(0.001, 0.005))  # noqa: S311 - no secret


class Store:
    """One profile, open. Not for several threads; several processes may each open the same file."""

    def __init__(self, connection: sqlite3.Connection, home: Path | None) -> None:
        """Use ``open`` or ``in_memory``."""
        self._connection = connection
        self._depth = 0
        self.home = home
        self.owes_vacuum = False
        """Whether keys died since the file was rewritten."""

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, home: Path, nick: str) -> Store:
        """Open the profile in the folder ``home``, or make one with a new identity called ``nick``.

        Raises ``BadProfile`` if the folder or the file cannot be used, ``ProfileTooNew`` if a later program made it.
        """
        path = home / _FILE
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(file).st_mode & 0o077 and os.fstat(file).st_uid == os.geteuid():
                    os.fchmod(file, 0o600)  # a copy that was brought from elsewhere
            finally:
                os.close(file)
        except OSError as error:
            raise BadProfile(_reason(error, home)) from None
        return cls._connected(str(path), nick, home)

    @classmethod
    def in_memory(cls, nick: str) -> Store:
        """Make a profile that no disk ever sees."""
        return cls._connected(":memory:", nick, None)

    @classmethod
    def _connected(cls, path: str, nick: str, home: Path | None) -> Store:
        with _guarded(home):
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, factory=_Patient)
        store = cls(connection, home)
        try:
            with _guarded(home):
                store._begin(nick)
        except BaseException:
            connection.close()
            raise
        return store

    def _begin(self, nick: str) -> None:
        self._connection.row_factory = sqlite3.Row
        for pragma in ("secure_delete = ON", "temp_store = MEMORY", "foreign_keys = ON", "trusted_schema = OFF"):
            self._connection.execute(f"PRAGMA {pragma}")
        if self._one("PRAGMA user_version")[0] != VERSION:
            self._upgrade(nick)
        elif self._one("PRAGMA application_id")[0] != _APPLICATION:
            raise BadProfile(f"{_place(self.home)} is not a profile of this program; move it away")
        # Damage that SQLite reads over would come back as values of another type, anywhere. This takes a millisecond.
        if self._one("PRAGMA quick_check(1)")[0] != "ok":
            raise BadProfile(f"{_place(self.home)} is damaged; move it away and join again, or restore a copy")
        self._connection.execute("PRAGMA journal_mode = TRUNCATE")

    def _upgrade(self, nick: str) -> None:
        with self.transaction():
            version = self._one("PRAGMA user_version")[0]
            if version > VERSION:
                raise ProfileTooNew(_place(self.home))
            ours = self._one("PRAGMA application_id")[0] == _APPLICATION
            if not ours and (version or self._one("SELECT count(*) FROM sqlite_schema")[0]):
                raise BadProfile(f"{_place(self.home)} is not a profile of this program; move it away")
            for step in _STEPS[version:]:
                for sql in step.split(";\n"):
                    self._connection.execute(sql)
            if not version:
                seed = Identity.generate().seed
                self._connection.execute("INSERT INTO profile VALUES (1, ?, ?)", (seed, nick))
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # -- reading and writing ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the profile's write lock; what is written inside happens wholly or not at all. May be nested."""
        if self._depth:
            yield
            return
        with _guarded(self.home):
            self._connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            with _guarded(self.home):
                yield
                self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0

    def write(self, sql: str, *values: object) -> int:
        """Run one statement; return how many rows it changed."""
        with _guarded(self.home):
            return self._connection.execute(sql, values).rowcount

    def write_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of ``rows``."""
        with self.transaction():
            self._connection.executemany(sql, rows)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with _guarded(self.home):
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        with _guarded(self.home):
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def _one(self, sql: str, *values: object) -> sqlite3.Row:
        row = self.row(sql, *values)
        if row is None:
            raise BadProfile(f"{_place(self.home)} is damaged")
        return row

    def vacuum(self) -> None:
        """Rewrite the file, so that no page holds bytes of a deleted key. Another process's lock postpones it."""
        self.owes_vacuum = True
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("VACUUM")
            self.owes_vacuum = False

    # -- who and where ------------------------------------------------------------------------------------------------

    def identity(self) -> Identity:
        """Return the identity; raise ``BadProfile`` if it is damaged."""
        seed = self._one("SELECT seed FROM profile")["seed"]
        if len(seed) != 32:
            raise BadProfile(f"{_place(self.home)} is damaged")
        return Identity(seed)

    @property
    def nick(self) -> str:
        """What this person is called where no other nick was given."""
        nick: str = self._one("SELECT nick FROM profile")["nick"]
        return nick

    def rooms(self) -> list[Room]:
        """Return the rooms that were entered, by name."""
        return [Room(row) for row in self.rows("SELECT * FROM rooms WHERE attached_at > 0 ORDER BY name")]

    def room(self, name: str) -> Room:
        """Return the room of that local name, if it was entered; raise ``UnknownRoom``."""
        row = self.row("SELECT * FROM rooms WHERE name = ? AND attached_at > 0", name)
        if row is None:
            raise UnknownRoom
        return Room(row)

    def room_by_id(self, room: RoomId) -> Room | None:
        """Return the room with that id, or None."""
        row = self.row("SELECT * FROM rooms WHERE id = ?", room)
        return Room(row) if row else None

    def add_room(
        self,
        room: RoomId,
        *,
        name: str,
        title: str,
        nick: str,
        secret: RoomSecret,
        relay: RelayKey,
        addresses: Iterable[str],
    ) -> Room:
        """Add a room under ``name``, or under ``name-2``, ``name-3`` … if that is taken; return it.

        It counts as entered once ``attached_at`` is set: what an interrupted attempt left behind is replaced.
        """
        with self.transaction():
            self.write("DELETE FROM rooms WHERE id = ? AND attached_at = 0", room)
            free = self._free_name(name)
            self.write(
                "INSERT INTO rooms (id, name, title, nick, secret, relay, addresses) VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(room, free, title, nick, secret, relay, " ".join(addresses)),
            )
        return Room(self._one("SELECT * FROM rooms WHERE id = ?", room))

    def _free_name(self, name: str) -> str:
        free, number = name, 1
        while self.row("SELECT 1 FROM rooms WHERE name = ?", free):
            number += 1
            free = f"{name}-{number}"
        return free

    def rename_room(self, room: RoomId, name: str, title: str) -> str:
        """Give a room its title and a local name like ``name``; return the name."""
        with self.transaction():
            self.write("UPDATE rooms SET name = ? WHERE id = ?", room.hex(), room)
            free = self._free_name(name)
            self.write("UPDATE rooms SET name = ?, title = ? WHERE id = ?", free, title, room)
        return free

    def leave_room(self, room: RoomId) -> None:
        """Forget a room that one has left, but for its log: whoever comes back must have seen that it left."""
        with self.transaction():
            for table in (
                *("cards", "sealing_keys", "chains", "sent_chains"),
                *("seen", "streams", "missing", "nicks", "alarms"),
            ):
                self.write(f"DELETE FROM {table} WHERE room = ?", room)  # noqa: S608 - our own words
            self.write("UPDATE rooms SET name = ?, attached_at = 0 WHERE id = ?", room.hex(), room)
        self.vacuum()

    def forget_room(self, room: RoomId) -> None:
        """Delete a room with everything that was kept of it, but for the counters.

        Others remember them: whoever came back and began again at 1 would be taken for somebody who replays.
        """
        self.write("DELETE FROM rooms WHERE id = ?", room)
        self.vacuum()

    def verify(self, peer: PeerId, now: int) -> None:
        """Note that the user compared the safety number of ``peer``."""
        self.write("INSERT OR REPLACE INTO verified VALUES (?, ?)", peer, now)

    def is_verified(self, peer: PeerId) -> bool:
        """Say whether the user compared the safety number of ``peer``."""
        return self.row("SELECT 1 FROM verified WHERE peer = ?", peer) is not None


def _place(home: Path | None) -> str:
    return str(home / _FILE) if home else "the profile in memory"


def _reason(error: OSError, home: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no space is left for {home}; free some and try again"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{home} can't be written; check its owner and mode, or choose another with --home"
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return f"{home} is no folder; choose another with --home"
    return f"{home}: {os.strerror(error.errno) if error.errno else type(error).__name__}"


@contextlib.contextmanager
def _guarded(home: Path | None) -> Iterator[None]:
    """Turn what SQLite raises into a sentence for a person."""
    try:
        yield
    except UnicodeDecodeError:  # of a text, or of the message that would have quoted it
        raise BadProfile(f"{_place(home)} is damaged; move it away and join again, or restore a copy") from None
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        place = _place(home)
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            why = f"{place} is damaged or no profile; move it away and join again, or restore a copy"
        elif name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and not _has_space(home)):
            why = f"no space is left for {place}; free some and try again"
        elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            why = f"{place} can't be written; check its owner and mode, or choose another with --home"
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            why = f"another process keeps {place} locked"
        else:
            why = f"{place}: {error}"
        raise BadProfile(why) from None


def _has_space(home: Path | None) -> bool:
    try:
        return home is None or os.statvfs(home).f_bavail > 16
    except OSError:
        return True
