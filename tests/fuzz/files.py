"""Files that somebody may have damaged, or written for us: the profile, a relay's configuration, its lists and key."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import tempfile
from pathlib import Path

import click

from peer.store import Store
from protocol import limits
from protocol.base32 import base32
from relay import key as relay_key
from relay.cli.serving import run as relay_run
from relay.founders import Founders
from tests.fuzz.cores import alices_profile, room, wakes
from tests.fuzz.target import Target, fine
from tests.protocol.builders import NOW

IN_MEMORY = Path("/dev/shm")
_folder = tempfile.TemporaryDirectory(prefix="backchannel-fuzz-", dir=IN_MEMORY if IN_MEMORY.exists() else None)
FOLDER = Path(_folder.name)


def config(data: bytes) -> None:
    """A relay's TOML file, the list of who may found rooms, its key."""
    path = FOLDER / "file"
    path.touch(mode=0o600)
    path.write_bytes(data)
    with contextlib.suppress(click.ClickException):
        relay_run.make_context("run", ["--config", str(path)])
    with fine():
        Founders.load(path)
    with fine():
        assert len(relay_key.load(path)) == 32


CONFIGS = [
    b'bind = "127.0.0.1:0"\nretention = 60\nmembers = 5\nlog-level = "debug"\n',
    b"until-eof = true\nall_addresses = false\nmetrics = [1]\n[home]\na = 1979-05-27\n",
    b"kpf2-ab2c-defg-hijk-lmno # alice\n\n",
    base32(b"k" * 32).encode() + b"\n",
]


@functools.cache
def _healthy_profile() -> bytes:
    """The file of Alice's profile."""
    path = FOLDER / "healthy"
    with contextlib.closing(sqlite3.connect(path)) as file:
        alices_profile()._connection.backup(file)
    return path.read_bytes()


def profile(data: bytes) -> None:
    """A profile with damage: five bytes each say where (3), how long (1) and what with (1). Or any file at all."""
    whole = bytearray(_healthy_profile())
    for place in range(0, len(data) - 4, 5):
        at, size, what = int.from_bytes(data[place : place + 3]) % len(whole), data[place + 3], data[place + 4]
        whole[at : at + size] = bytes([what]) * len(whole[at : at + size])
    home = FOLDER / "damaged"
    home.mkdir(mode=0o700, exist_ok=True)
    for damaged in (bytes(whole), data):
        for old in home.iterdir():
            old.unlink()
        (home / "profile.db").write_bytes(damaged)
        with fine(), contextlib.closing(Store.open(home, "alice")) as store:
            assert isinstance(store.nick, str)
            store.rooms()
            if store.room_by_id(room.id):
                core, _ = wakes(store)
                core.tick(NOW + limits.HOUR)


HEADER = [bytes([0, 0, at, 1, what]) for at in (16, 18, 24, 28, 44, 56, 60, 68, 100, 103, 105) for what in (0, 1, 255)]

TARGETS = {
    "config": Target(config, CONFIGS, 600),
    "profile": Target(profile, HEADER, 100),
}
