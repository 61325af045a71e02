"""The type of options that name a file or a folder: an empty name is a mistake, and not the current folder."""

from __future__ import annotations

from pathlib import Path

import click


def named_path(word: str | Path) -> Path:
    """Return the path that an option names; raise click's ``BadParameter`` for an empty one, of an unset variable."""
    if not str(word) or "\0" in str(word):
        raise click.BadParameter(f"{str(word)!r} names nothing")
    return Path(str(word))
