"""The command that looks for relays on the LAN: discover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from peer.cli.options import WAIT, Profile, command

if TYPE_CHECKING:
    from peer.cli.output import Output


@command()
@click.option("--timeout", type=WAIT, default="3s", metavar="TIME", help="How long to listen.  [default: 3s]")
async def discover(profile: Profile, out: Output, timeout: float) -> None:  # noqa: ARG001 - it needs no profile
    """List the relays that announce themselves on the LAN.

    A line each, for `create --relay`. Anybody can announce anything: which key is your relay's you must know from
    elsewhere.
    """
    from peer.discovery import discover as ask

    found = await ask(timeout)
    out.table(found)
    if not found:
        out.note("No relay announces itself here: `backchannel-relay run --announce` does.")
