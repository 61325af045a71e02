"""Asks a relay how it is, as a peer would: a CURVE handshake with its key, HELLO with a fresh identity, and a PING.

Nothing is left behind: an identity that belongs to no room is forgotten by the relay with its connection. A peer's
connection lives in the other half of the program, which is not imported here; this one is short because it waits for
one answer at a time and never comes back.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from protocol import VERSION, envelope, limits
from protocol.base32 import from_base32
from protocol.errors import BadAddress, ClockSkewed, GoingAway, UnreachableError, WrongRelayKey, from_code
from protocol.identity import Identity, hello_content
from protocol.ids import RelayKey
from protocol.primitives import Label, new_message_id

if TYPE_CHECKING:
    from protocol.address import RelayAddress

_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_ENDED: Final = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED


@dataclass(frozen=True, slots=True)
class Health:
    """What a relay that answers is like."""

    hello_ms: float
    """From the first packet to WELCOME."""
    ping_ms: float
    """One request and its answer."""
    clock_ms: int
    """How far its clock is ahead of this machine's."""


def check(address: RelayAddress, timeout: float) -> Health:
    """Return how the relay at ``address`` does, within ``timeout`` seconds.

    Raises ``UnreachableError`` or ``WrongRelayKey`` if none with that key answers in time, ``BadAddress`` if there can
    be none, ``ClockSkewed`` if no peer on this machine would talk to it, and what it refuses HELLO with.
    """
    began = time.monotonic()
    with closing(_Visit(address, began + timeout)) as visit:
        visit.shake_hands()
        welcome = visit.greet()
        greeted = time.monotonic()
        ahead = welcome.clock - time.time_ns() // 1_000_000
        visit.ping()
        answered = time.monotonic()
    if abs(ahead) > limits.CLOCK_SKEW:
        raise ClockSkewed(f"the relay's is {ahead / 1_000:+.0f} s from this one")
    return Health((greeted - began) * 1_000, (answered - greeted) * 1_000, ahead)


class _Visit:
    """One connection to a relay, up to a deadline on ``time.monotonic``'s clock."""

    def __init__(self, address: RelayAddress, deadline: float) -> None:
        self._address, self._deadline = address, deadline
        self._key = RelayKey(from_base32(address.key))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._public, secret = zmq.curve_keypair()
        for option, value in (
            (zmq.CURVE_PUBLICKEY, self._public),
            (zmq.CURVE_SECRETKEY, secret),
            (zmq.CURVE_SERVERKEY, z85.encode(self._key)),
            (zmq.RECONNECT_IVL, -1),
            (zmq.IPV6, 1),
            (zmq.LINGER, 0),
            (zmq.HANDSHAKE_IVL, 0),  # the deadline ends it: libzmq's own limit would look like a wrong key
            (zmq.MAXMSGSIZE, limits.FRAME),
        ):
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | _FAILED | _ENDED
        )
        try:
            self._socket.connect(address.at.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise BadAddress(str(address.at)) from error

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._context.destroy(linger=0)

    def shake_hands(self) -> None:
        """Wait for the end of the CURVE handshake: the relay has proven its key."""
        connected = False
        while self._monitor.poll(self._left()):
            event = int(recv_monitor_message(self._monitor)["event"])
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event & _FAILED and connected:
                raise WrongRelayKey
            if event & (_ENDED | _FAILED):
                break
            connected = True
        raise UnreachableError

    def greet(self) -> envelope.Welcome:
        """Say HELLO and return what the relay answers; raise what it refuses with."""
        identity = Identity.generate()
        signature = identity.sign(Label.HELLO, hello_content(self._key, z85.decode(self._public)))
        hello = envelope.Hello(new_message_id(), VERSION, identity.id, signature)
        self._socket.send(hello.encode())
        match self._receive():
            case envelope.Welcome() as welcome:
                return welcome
            case envelope.Refused(_, reason):
                raise from_code(reason)
        raise UnreachableError("it did not say welcome")

    def ping(self) -> None:
        """Send a PING and wait for its answer."""
        ping = envelope.Ping(new_message_id())
        self._socket.send(ping.encode())
        match self._receive():
            case envelope.Accepted(ids) if ids == (ping.id,):
                return
            case envelope.Refused(_, reason):
                raise from_code(reason)
            case envelope.GoingAway():
                raise GoingAway
        raise UnreachableError("it did not answer what it was asked")

    def _receive(self) -> envelope.Delivery:
        if not self._socket.poll(self._left()):
            raise UnreachableError
        parts = self._socket.recv_multipart()
        return next(iter(envelope.decode_deliveries(parts[0] if len(parts) == 1 else b"")))

    def _left(self) -> int:
        """Return how many ms are left, at least one."""
        return max(1, int((self._deadline - time.monotonic()) * 1_000))
