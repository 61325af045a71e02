"""`backchannel-relay check`: asks a relay how it is, and ends with the exit code that says so."""

from __future__ import annotations

import dataclasses
import json as jsonlib

import click


class _Seconds(click.FloatRange):
    name = "number of seconds"  # what click says that a value is not


@click.command(short_help="Ask a relay how it is, as a peer would.")
@click.argument("address")
@click.option(
    "--timeout",
    type=_Seconds(0, 3_600, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it may take in all.",
)
@click.option("--json", is_flag=True, help="Print one JSON object.")
def check(*, address: str, timeout: float, json: bool) -> None:
    """Ask the relay at ADDRESS (HOST:PORT/KEY) how it is: a handshake, a HELLO and a PING, as a peer would.

    Prints one line with how long that took. Exits with 0, with 3 if no relay with that key answers in time, with 6 if
    it refuses, and with 8 if ADDRESS is none.
    """
    from protocol.address import RelayAddress
    from relay.check import check as ask

    health = ask(relay := RelayAddress.parse(address), timeout)
    if json:
        click.echo(jsonlib.dumps({"v": 1, "type": "check", "relay": str(relay), **dataclasses.asdict(health)}))
    else:
        ahead = round(health.clock_ms / 1_000, 1) + 0.0  # never -0.0
        click.echo(
            f"{relay.at} answers in {health.ping_ms:.1f} ms; "
            f"greeted in {health.hello_ms:.1f} ms; its clock is {ahead:+.1f} s from this one"
        )
