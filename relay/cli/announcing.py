"""`backchannel-relay announce`: says on the LAN where a relay is; `run --announce` starts it as a child."""

from __future__ import annotations

import click


@click.command(short_help="Tell the LAN where a relay is, by multicast DNS.")
@click.argument("address")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="warning",
    help="How much to say on stderr.  [default: warning]",
)
def announce(*, address: str, log_level: str) -> None:
    """Announce the relay at ADDRESS (HOST:PORT/KEY) on the LAN, by multicast DNS, until stdin ends or SIGTERM.

    With 0.0.0.0 as the host, all of this machine's addresses are announced. `run --announce` does the same by itself;
    this is for a relay that can't, such as one in a container.
    """
    import asyncio

    from protocol.address import RelayAddress
    from relay import logs
    from relay.announce import announce as until_the_end

    logs.configure(log_level, "auto")
    asyncio.run(until_the_end(RelayAddress.parse(address)))
