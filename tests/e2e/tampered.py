"""A command of ours with one thing changed in it, for the tests: ``python tampered.py WHAT peer|relay ARGUMENTS…``.

Some changes record what goes on inside (``$TAP`` is the file that they append to); the others are faults that a test
must be able to notice, each a plausible mistake. This file stands alone: it is run as a script.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgpack


def _note(*values: object) -> None:
    """Append a record to the tap."""
    with open(os.environ["TAP"], "ab") as tap:  # noqa: PTH123
        tap.write(msgpack.packb(values))


# -- taps -------------------------------------------------------------------------------------------------------------


def frames() -> None:
    """Record every frame that the relay's core takes, decrypted, and every frame that it gives away."""
    from relay.core.core import Core

    receive, turn = Core.receive, Core.turn

    def tapped_receive(self: Core, connection: bytes, frame: bytes, now: int) -> None:
        _note("in", [connection], frame)
        receive(self, connection, frame, now)

    def tapped_turn(self: Core, now: int) -> Iterator[Any]:
        for push in turn(self, now):
            _note("out", list(push.to), push.frame)
            yield push

    Core.receive, Core.turn = tapped_receive, tapped_turn


def signatures() -> None:
    """Record everything that any key of the peer signs."""
    from protocol.identity import SigningKey

    sign = SigningKey.sign

    def tapped_sign(self: SigningKey, label: Any, content: bytes) -> Any:
        _note("signed", self.public, label.name, content)
        return sign(self, label, content)

    SigningKey.sign = tapped_sign


# -- faults -----------------------------------------------------------------------------------------------------------


def one_number() -> None:
    """Let the relay count asides and room messages together."""
    from relay.core.way import Way

    carry = Way.carry

    def counted(self: Way, post: Any) -> None:
        if post.to is not None:
            self._room.stream.number += 1
        carry(self, post)

    Way.carry = counted


def one_counter() -> None:
    """Let a peer count its asides to all recipients together."""
    from peer.core.counters import Counters

    take = Counters.take

    def counted(self: Counters, to: bytes, now: int) -> int:
        return take(self, bytes(32), now)

    Counters.take = counted


def forged_hello() -> None:
    """Let a peer sign HELLO for another connection than its own."""
    from peer import connection

    connection.hello_content = lambda relay, _: relay + bytes(32)


CHANGES: dict[str, Callable[[], None]] = {
    change.__name__: change for change in (frames, signatures, one_number, one_counter, forged_hello)
}


def main() -> None:
    """Make the change and run the command."""
    _, what, which, *arguments = sys.argv
    CHANGES[what]()
    if which == "relay":
        from relay.cli import main as relay

        relay(arguments)
    from peer.cli import cli

    cli.main(arguments)


if __name__ == "__main__":
    main()
