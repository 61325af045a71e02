"""One connection to a relay: a DEALER over CURVE that has said HELLO. It does not reconnect; ``peer.link`` does.

libzmq's own reconnecting is off, because HELLO has to be said on every connection and signs this connection's fresh
key. The socket's monitor tells apart what a plain socket hides: nobody there, something there with another key, and a
connection that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final, TypeVar

import zmq
import zmq.asyncio
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from protocol import VERSION, limits
from protocol import envelope as ev
from protocol.address import HostPort
from protocol.errors import BadAddress, GoingAway, Gone, Malformed, TooLarge, UnreachableError, WrongRelayKey, from_code
from protocol.identity import Identity, hello_content
from protocol.ids import RelayKey
from protocol.primitives import Label, new_message_id

_HEARTBEAT_MS: Final = 5_000
_DEAD_MS: Final = 15_000
_HANDSHAKE_MS: Final = 4_000
_LINGER_MS: Final = 1_000
_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_ENDED: Final = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED

T = TypeVar("T")


class Connection:
    """A connection, open and greeted."""

    def __init__(self, socket: zmq.asyncio.Socket, monitor: zmq.asyncio.Socket) -> None:
        """Use ``open``."""
        self._socket, self._monitor = socket, monitor
        self._watch: asyncio.Future[None] | None = None
        self._slow = False
        self._going_away = False
        self.welcome: ev.Welcome
        self.at: HostPort

    @classmethod
    async def open(cls, addresses: Sequence[str], key: RelayKey, identity: Identity) -> Connection:
        """Connect to the first of ``addresses`` (HOST:PORT) where the relay with ``key`` answers, and say HELLO.

        Raises ``UnreachableError``, ``WrongRelayKey``, ``BadAddress``, or what the relay refuses HELLO with.
        """
        error: UnreachableError = UnreachableError()
        for address in addresses:
            try:
                return await cls._open_at(HostPort.parse(address), key, identity)
            except UnreachableError as failed:
                error = failed if not isinstance(error, WrongRelayKey) else error
        tried = f"tried {', '.join(addresses)}"
        raise type(error)(f"{error.detail}; {tried}" if error.detail else tried)

    @classmethod
    async def _open_at(cls, at: HostPort, key: RelayKey, identity: Identity) -> Connection:
        context = zmq.asyncio.Context.instance()
        socket = context.socket(zmq.DEALER)
        public, secret = zmq.curve_keypair()
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(key))
        for option, value in (
            (zmq.RECONNECT_IVL, -1),
            (zmq.IPV6, 1),
            (zmq.LINGER, _LINGER_MS),
            (zmq.HANDSHAKE_IVL, _HANDSHAKE_MS),
            (zmq.CONNECT_TIMEOUT, _HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, _HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, _DEAD_MS),
            (zmq.HEARTBEAT_TTL, _DEAD_MS),
            (zmq.TCP_MAXRT, _DEAD_MS),
            (zmq.MAXMSGSIZE, limits.FRAME),
            (zmq.RCVHWM, 64),
        ):
            socket.setsockopt(option, value)
        monitor = socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | _FAILED | _ENDED)
        connection = cls(socket, monitor)
        connection.at = at
        try:
            try:
                socket.connect(at.endpoint)
            except zmq.ZMQError as error:
                raise BadAddress(str(at)) from error
            await connection._handshaken()
            connection._watch = asyncio.ensure_future(connection._ended())
            await connection._greet(key, z85.decode(public), identity)
        except BaseException:
            await connection.close(linger=False)
            raise
        return connection

    async def _handshaken(self) -> None:
        """Wait for the end of the CURVE handshake, and say what went wrong if it fails."""
        connected = False
        while True:
            event = await self._event(_HANDSHAKE_MS / 1000 + 1)
            if event & zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            connected = connected or bool(event & zmq.EVENT_CONNECTED)
            if event & _FAILED or (connected and event & _ENDED):
                # the relay cuts at once whoever seals for another key; silence is no relay at all
                raise WrongRelayKey if connected and event & _FAILED and not self._slow else UnreachableError
            if event & _ENDED:
                raise UnreachableError

    async def _event(self, timeout: float) -> int:
        began = asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(recv_monitor_message(self._monitor), timeout)
        except TimeoutError:
            raise UnreachableError from None
        self._slow = asyncio.get_running_loop().time() - began > _HANDSHAKE_MS / 2000
        return int(message["event"])

    async def _ended(self) -> None:
        while not int((await recv_monitor_message(self._monitor))["event"]) & _ENDED:
            pass

    async def _greet(self, key: RelayKey, transport: bytes, identity: Identity) -> None:
        signature = identity.sign(Label.HELLO, hello_content(key, transport))
        hello = ev.Hello(new_message_id(), VERSION, identity.id, signature)
        await self.send([hello])
        try:
            first = (await asyncio.wait_for(self.receive(), _DEAD_MS / 1000))[0]
        except TimeoutError:
            raise UnreachableError from None
        match first:
            case ev.Welcome():
                self.welcome = first
            case ev.Refused(_, reason):
                raise from_code(reason)
            case _:
                raise UnreachableError("it did not say welcome")

    async def send(self, requests: Iterable[ev.Request]) -> None:
        """Send requests, joined into frames; raise ``Gone`` if the connection has ended."""
        for frame in ev.join(request.encode() for request in requests):
            await self._or_gone(self._socket.send(frame))

    async def receive(self) -> list[ev.Delivery]:
        """Wait for the next frame; raise ``Gone`` at the end of the connection, ``Malformed`` for rubbish.

        After the frame in which the relay said that it is stopping, raise ``GoingAway``: it waits for us to hang up.
        """
        if self._going_away:
            raise GoingAway
        parts: list[bytes] = await self._or_gone(self._socket.recv_multipart())
        try:
            deliveries = list(ev.decode_deliveries(parts[0] if len(parts) == 1 else b""))
        except TooLarge:  # what a relay sends too much of is its rubbish; the user has sent nothing
            raise Malformed("longer than anything may be") from None
        self._going_away = any(isinstance(delivery, ev.GoingAway) for delivery in deliveries)
        return deliveries

    async def _or_gone(self, coming: Awaitable[T]) -> T:
        if self._watch is None:
            raise Gone
        doing = asyncio.ensure_future(coming)
        await asyncio.wait((doing, self._watch), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        doing.cancel()
        raise Gone

    async def close(self, *, linger: bool = True) -> None:
        """End the connection; with ``linger``, after at most a second for what is on its way."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(None if linger else 0)
