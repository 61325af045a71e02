"""``python -m bench.peer``: what peers do, from a sealed aside to a whole command, seen from outside.

Cryptography is timed in this process, as CPU time; commands as a shell sees them, from start to end, beside the least
that a click program can take, round after round, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.loads.backchannel import Backchannel
from bench.measure import Spread
from bench.run import OUT, circumstances
from bench.servers import OURS, SERVERS
from protocol import card, chain, content, limits, seal
from protocol.ids import Anchor, Head, MessageId, PeerId, RoomId

BARE: Final = """\
import click

@click.group()
def cli():
    "A program that does nothing, with as many commands as one has."

@cli.command()
@click.argument("room")
@click.option("--to", multiple=True, help="Whom.")
def send(room, to):
    "Send."

cli()
"""
MANY: Final = 1_000
PATIENCE: Final = 120
REPEATED: Final = 200


@dataclass(slots=True)
class Contender:
    """A command, given anew for every run, and what it took so far, in seconds."""

    name: str
    command: Callable[[int], Sequence[str]]
    took: list[float] = field(default_factory=list)

    def run(self, number: int) -> None:
        """Run the command once and note the time."""
        command = self.command(number)
        began = time.perf_counter()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE)
        self.took.append(time.perf_counter() - began)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")


def main() -> None:
    """Measure, print a table, and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.peer", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="how often each is run (default: %(default)s)")
    parser.add_argument("--members", type=int, default=MANY, help="of the large room (default: %(default)s)")
    options = parser.parse_args()
    rows = {**_cryptography(options.rounds), **_commands(options.rounds, options.members)}
    print("| what | median | least | most |\n|---|--:|--:|--:|")
    for name, spread in rows.items():
        print(f"| {name} | " + " | ".join(_time(s) for s in (spread.median, spread.least, spread.most)) + " |")
    OUT.mkdir(parents=True, exist_ok=True)
    seconds = {name: [spread.median, spread.least, spread.most] for name, spread in rows.items()}
    (OUT / "peer.json").write_text(
        json.dumps({"circumstances": circumstances([SERVERS[OURS]]), "s": seconds}, indent=1)
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.0f} ms"


# -- cryptography -----------------------------------------------------------------------------------------------------


def _cryptography(rounds: int) -> Mapping[str, Spread]:
    """Time both directions of both kinds of messages, with a text of 256 bytes."""
    now = time.time_ns() // 1_000_000
    room, message, anchor = RoomId(bytes(32)), MessageId(bytes(16)), Anchor(7, Head(bytes(32)))
    alice, bob = PeerId(b"a" * 32), PeerId(b"b" * 32)
    text = content.Text("x" * 256)
    secrets = [card.new_sealing_secret() for _ in range(2)]
    keys = [card.sealing_key(secret) for secret in secrets]
    route = seal.Route(
        room=room, message=message, sender=alice, sender_generation=now, recipient=bob, recipient_generation=now
    )
    aside = content.Aside(anchor, 1, 0, now, text)
    sealed = seal.seal(aside, route, secrets[0], keys[1])
    spoken = content.RoomMessage(now, text)

    def chains() -> tuple[chain.SendingChain, chain.ReceivedChain]:
        sending = chain.SendingChain(room, alice, anchor.index, now)
        return sending, chain.ReceivedChain(room, alice, sending.share())

    def at(counter: int) -> Callable[[], object]:
        """Return what opens the message after ``counter`` others of a chain."""
        sending, received = chains()
        for _ in range(counter):
            sending.encrypt(spoken, message, anchor)
        body = sending.encrypt(spoken, message, anchor)
        return lambda: received.open(body, message)

    sending, _ = chains()
    assert REPEATED < limits.CHAIN_MESSAGES
    timed: Mapping[str, Callable[[], object]] = {
        "seal an aside": lambda: seal.seal(aside, route, secrets[0], keys[1]),
        "open an aside": lambda: seal.open_box(seal.unseal(sealed, secrets[1], keys[1]), route, secrets[1], keys[0]),
        "open a room message, first of its chain": at(0),
        "open a room message, 500th of its chain": at(499),
    }
    rows = {name: _each(action, rounds) for name, action in timed.items()}
    encrypted = []
    for _ in range(rounds):
        sending, _ = chains()
        encrypted.append(_once(lambda sending=sending: sending.encrypt(spoken, message, anchor)))  # type: ignore[misc]
    return {**rows, "encrypt a room message": Spread.of(encrypted)}


def _each(action: Callable[[], object], rounds: int) -> Spread:
    return Spread.of([_once(action) for _ in range(rounds)])


def _once(action: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(REPEATED):
        action()
    return (time.process_time() - began) / REPEATED


# -- commands ---------------------------------------------------------------------------------------------------------


def _commands(rounds: int, members: int) -> Mapping[str, Spread]:
    program = str(Path(sys.executable).with_name("backchannel"))
    with _stage() as (folder, load):
        (folder / "bare.py").write_text(BARE)
        os.environ["BACKCHANNEL_HOME"] = str(folder / "alice")
        small, large = (load.populated(f"room-{count}", count)[0].encode() for count in (2, members))
        subprocess.run([program, "join", small, "--nick", "alice"], check=True, capture_output=True, timeout=PATIENCE)

        def joining(invite: str, size: int) -> Callable[[int], Sequence[str]]:
            return lambda number: [
                program,
                "join",
                invite,
                "--nick",
                f"j{number}",
                "--home",
                f"{folder}/{size}-{number}",
            ]

        contenders = [
            Contender("a bare click program's --help", lambda _: [sys.executable, str(folder / "bare.py"), "--help"]),
            Contender("backchannel --help", lambda _: [program, "--help"]),
            Contender("backchannel send, to relayed", lambda _: [program, "send", "room-2", "hello"]),
            Contender(
                "backchannel send --to, to relayed", lambda _: [program, "send", "room-2", "--to", "m0", "hello"]
            ),
            Contender("backchannel join, a room of 2", joining(small, 2)),
            Contender(f"backchannel join, a room of {members}", joining(large, members)),
        ]
        for number in range(rounds + 1):
            for contender in contenders:
                contender.run(number)
        return {contender.name: Spread.of(contender.took[1:]) for contender in contenders}  # the first warms caches


@contextlib.contextmanager
def _stage() -> Iterator[tuple[Path, Backchannel]]:
    """Run a relay, with clients for it, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, SERVERS[OURS].running(Path(name)) as server:
        load = Backchannel(server)
        try:
            yield Path(name), load
        finally:
            load.close()


if __name__ == "__main__":
    main()
