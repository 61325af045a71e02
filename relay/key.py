"""The relay's own key: one CURVE secret in a file that nobody else can read.

The key is the relay's identity: invites name its public half. So a file that is damaged or open to others is refused
and left as it is, never replaced. Nothing else of a relay is ever written to disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import nacl.bindings

from protocol.base32 import base32, from_base32
from protocol.errors import BadInput
from protocol.ids import KEY_SIZE, RelayKey

NAME: Final = "relay.key"
_MOST: Final = 1_024


class BadKeyFile(BadInput):
    """The relay's key file can't be used."""

    code = "bad-key-file"
    sentence = "The relay's key can't be used; nothing was changed."


def public_key(secret: bytes) -> RelayKey:
    """Return the public half (32 bytes) of a CURVE secret key (32 bytes)."""
    return RelayKey(nacl.bindings.crypto_scalarmult_base(secret))


def credential(environment: Mapping[str, str]) -> Path | None:
    """Return the file with the key that systemd hands to the service (``LoadCredential=relay.key:…``), if it does."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    return Path(folder, NAME) if folder and Path(folder, NAME).exists() else None


def load(path: Path, *, others: int = 0o077) -> bytes:
    """Return the secret key (32 bytes) in the file ``path``; raise ``BadKeyFile``, also for rights of ``others``."""
    try:
        return _load(path, others)
    except OSError as error:
        raise BadKeyFile(f"{path}: {(error.strerror or 'not readable').lower()}") from None


def load_credential(path: Path) -> bytes:
    """Return the secret key in a file that systemd keeps for this service alone; raise ``BadKeyFile``.

    systemd lets the service read it by an access control list, whose mask shows as the group's right to read.
    """
    return load(path, others=0o037)


def load_or_create(home: Path) -> bytes:
    """Return the secret key (32 bytes) in ``home``, made first if there is none; raise ``BadKeyFile``."""
    path = home / NAME
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return _load(path)
        _create(path)
        return _load(path)
    except OSError as error:
        raise BadKeyFile(f"{path}: {(error.strerror or 'not readable').lower()}") from None


def _load(path: Path, others: int = 0o077) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadKeyFile(f"{path} is no file")
        if status.st_mode & others:
            raise BadKeyFile(f"others can read or change {path}; if nobody has, `chmod 600` it")
        text = file.read(_MOST)
    try:
        secret = from_base32(text.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != KEY_SIZE:
        raise BadKeyFile(f"{path} is damaged; restore it, or remove it for a new key that old invites don't know")
    return secret


def _create(path: Path) -> None:
    """Write a new key whole or not at all; if another process was faster, its key stays."""
    draft = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(base32(secrets.token_bytes(KEY_SIZE)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
