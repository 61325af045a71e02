"""`backchannel-relay install-service`: a systemd unit for this installation, its key, and what to do next."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from protocol.errors import BadInput, UsageError
from relay.cli.paths import named_path

SYSTEM_HOME: Final = Path("/etc/backchannel-relay")
SYSTEM_UNITS: Final = Path("/etc/systemd/system")

_NEXT: Final = """\
The relay's key is {home}/relay.key: back it up, and nothing else.
Options of `backchannel-relay run` go into {home}/environment, for instance:
    BACKCHANNEL_RELAY_BIND=0.0.0.0:7667
Next:
    {systemctl} daemon-reload
    {systemctl} enable --now backchannel-relay{linger}
    {journalctl} --unit backchannel-relay --output cat
Its address is HOST:7667/{key}
"""


class CannotInstall(BadInput):
    """The unit can't be written there."""

    code = "cannot-install"
    sentence = "The service was not installed."


@click.command("install-service", short_help="Make a service of systemd for this installation.")
@click.option(
    "--system/--user",
    "system",
    default=None,
    help="A service of the machine, or of the user who runs this.  [default: the machine's for root]",
)
@click.option(
    "--home",
    type=named_path,
    metavar="DIR",
    help=f"Where the key is kept, and made if there is none.  [default: {SYSTEM_HOME}, or the user's data folder]",
)
@click.option(
    "--command",
    type=named_path,
    metavar="FILE",
    help="What the service starts.  [default: this installation's backchannel-relay]",
)
@click.option(
    "--into",
    type=named_path,
    metavar="DIR",
    help=f"Where the unit is written.  [default: {SYSTEM_UNITS}, or the user's systemd folder]",
)
@click.option("--print", "only_print", is_flag=True, help="Print the unit and do nothing.")
def install_service(
    *, system: bool | None, home: Path | None, command: Path | None, into: Path | None, only_print: bool
) -> None:
    """Make a service of systemd for this installation, and its key; print where the unit is.

    A unit that is there is replaced only if this command wrote it and nobody has changed it since. Nothing is
    started: what to do next is said on stderr.
    """
    from platformdirs import user_config_path, user_data_path

    from relay import unit

    if system is None:
        system = os.geteuid() == 0
    if home is None:
        home = SYSTEM_HOME if system else user_data_path("backchannel-relay", appauthor=False)
    if command is None:
        command = _installed(visible=system and not only_print)
    text = unit.render(unit.SYSTEM if system else unit.USER, command.absolute(), home.absolute())
    if only_print:
        click.echo(text, nl=False)
        return
    into = into or (SYSTEM_UNITS if system else user_config_path("systemd") / "user")
    key = _make_key(home)
    click.echo(_write(into / unit.NAME, text))
    manager = "" if system else " --user"
    linger = "" if system else "\n    loginctl enable-linger    # or it ends when you log out"
    click.echo(
        _NEXT.format(
            home=home.absolute(),
            key=key,
            systemctl=f"systemctl{manager}",
            journalctl=f"journalctl{manager}",
            linger=linger,
        ),
        err=True,
        nl=False,
    )


def _installed(*, visible: bool) -> Path:
    """Return this installation's command; raise ``UsageError`` if there is none that the service could run."""
    from relay.unit import hidden

    found = Path(sys.executable).with_name("backchannel-relay")
    if not found.exists():
        elsewhere = shutil.which("backchannel-relay")
        if elsewhere is None:
            raise UsageError(
                "the command backchannel-relay is not installed beside this Python: say where with --command"
            )
        found = Path(elsewhere)
    for needed in (found, Path(sys.executable)):
        if visible and hidden(needed):
            unseen = f"{needed}, which is {needed.resolve()}" if needed.is_symlink() else needed
            raise UsageError(
                f"the service sees no homes and no temporary files, so not {unseen}: install into /opt, say, with the "
                "machine's own Python"
            )
    return found


def _make_key(home: Path) -> str:
    from protocol.base32 import base32
    from relay import key

    return base32(key.public_key(key.load_or_create(home)))


def _write(path: Path, text: str) -> Path:
    """Write a unit whole or not at all, unless there is one that is not ours."""
    from relay.unit import is_ours

    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not is_ours(path.read_text(encoding="utf-8", errors="replace")):
            raise CannotInstall(f"{path} is not by this command, or was changed since; move it away, or use a drop-in")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise CannotInstall(f"{path}: {(error.strerror or 'not writable').lower()}") from None
    return path
