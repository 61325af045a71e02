"""The relay's shell: one ROUTER socket with CURVE, and the loop that carries frames between it and the core.

This is the only module of the relay that knows ZeroMQ, and it holds no rule of the relay. Three things of libzmq shape
it. It lets anyone in unless a ZAP handler answers, so there is one, served by this same loop, that lets everybody with
a CURVE key in and does nothing but tell us the key. It has no way to drop a peer, so a connection is cut by shutting
its TCP socket down, found by the file descriptor that a frame and the socket monitor name. And its ordinary Python
calls are slow, so frames go through the backend's ``send`` and ``recv``, one shared frame for a whole room.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import zmq
import zmq.backend

from protocol import limits
from protocol.errors import BadInput
from relay import pipes
from relay.ceiling import give_back
from relay.core import counts
from relay.core.core import HELLO_WAIT, Core, Push
from relay.intake import Intake
from relay.links import Links, shut
from relay.logs import values

if TYPE_CHECKING:
    from protocol.address import HostPort

log = logging.getLogger("relay")

DRAIN: Final = 1_000
"""Frames taken from the socket before the core has its turn, at most; likewise ``DRAIN_BYTES``."""
DRAIN_BYTES: Final = 1024 * 1024
CURVE_OVERHEAD: Final = 1_024
"""What encryption adds to a frame, generously: libzmq counts it in MAXMSGSIZE."""
LAST_WORDS: Final = 100
"""How long (ms) a connection lives on after the core has cut it, so that it can read why."""
HANGING_UP: Final = 2_000
"""How long (ms) the relay waits, when it stops, until everybody has read all and hung up."""
FAREWELL: Final = 1_000
"""How long (ms) the relay's last frames may take to leave when it stops."""
_AT_ONCE: Final = int(zmq.NOBLOCK)
_MORE_FOLLOWS: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Plain numbers: to join two flags of an enumeration takes as long as to send a frame."""

_ZERO_COPY: Final = 10
"""libzmq's ZMQ_ZERO_COPY_RECV, which pyzmq does not name: off, received frames are copied, and a connection takes a
tenth less memory."""

_MONITOR: Final = "inproc://monitor"
_EVENT: Final = struct.Struct("=HI")
_SWEEP: Final = 1_000
_LOOK: Final = 250
_GLANCE: Final = 10
_ZAP: Final = "inproc://zeromq.zap.01"
_ZAP_DOMAIN: Final = b"backchannel"


class CannotListen(BadInput):
    """The address to listen at is taken, not ours, or no address."""

    code = "cannot-listen"
    sentence = "The relay can't listen there: choose another HOST:PORT with --bind, or stop what listens there already."


def _do_nothing() -> None:
    pass


class Router:
    """Serves one core. ``with Router(...) as router: router.run()``; ``stop`` may be called from anywhere."""

    def __init__(self, core: Core, at: HostPort, secret_key: bytes, connections: int) -> None:
        """Listen at ``at`` with the CURVE ``secret_key`` (32 bytes); raise ``CannotListen``.

        ``connections`` is how many may be open at once, those that have not said who they are included.
        """
        self._core = core
        self._most = connections
        self._waiting, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._waiting.setblocking(False)
        self._stopping = False
        self._errands: deque[Callable[[], None]] = deque()
        self._leash: int | None = None
        self._context = zmq.Context(io_threads=1)
        with contextlib.suppress(zmq.ZMQError):
            self._context.set(_ZERO_COPY, 0)
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.bind(_ZAP)
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure(secret_key)
        self._monitor = self._watch()
        try:
            self._socket.bind(at.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise CannotListen(f"{at}: {os.strerror(error.errno or 0).lower()}") from None
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        self.port = int(endpoint.rstrip(b"\0").rpartition(b":")[2])
        self._send: Any = MethodType(zmq.backend.Socket.send, self._socket)
        self._recv: Any = MethodType(zmq.backend.Socket.recv, self._socket)
        # To ask a socket of ZeroMQ whether it has something costs system calls, and these two seldom have. Their
        # descriptors are watched instead. They tell of changes alone, to who has taken all there was: at first too.
        self._watched: dict[int, Callable[[], None]] = {
            _descriptor(self._zap): self._introduce,
            _descriptor(self._monitor): self._read_monitor,
        }
        self._poller = zmq.Poller()
        for pollable in (self._socket, self._waiting, *self._watched):
            self._poller.register(pollable, zmq.POLLIN)
        self.links = Links()
        self._pipes = pipes.Pipes()
        self._intake = Intake()
        self._doomed: list[tuple[int, bytes]] = []
        """Connections that the core has cut, and when they are to be."""
        self._gone: list[bytes] = []
        """Connections that are no more, which the core has not been told."""
        self._swollen = False
        """Whether somebody has made ZeroMQ take much memory, which is free again."""
        self._sweep_at = self._look_at = 0
        self._turned_at = 0
        self._each_second: Callable[[], None] = _do_nothing
        for take_all in self._watched.values():
            take_all()

    def _configure(self, secret_key: bytes) -> None:
        options: dict[int, int | bytes] = {
            zmq.CURVE_SERVER: 1,
            zmq.CURVE_SECRETKEY: secret_key,
            zmq.ZAP_DOMAIN: _ZAP_DOMAIN,
            zmq.ZAP_ENFORCE_DOMAIN: 1,
            zmq.HANDSHAKE_IVL: 5_000,
            zmq.HEARTBEAT_IVL: 5_000,
            zmq.HEARTBEAT_TIMEOUT: 15_000,
            zmq.HEARTBEAT_TTL: 20_000,
            zmq.TCP_MAXRT: 30_000,
            zmq.MAXMSGSIZE: limits.FRAME + CURVE_OVERHEAD,
            zmq.BACKLOG: 1_024,
            zmq.IPV6: 1,
            zmq.ROUTER_MANDATORY: 1,
            zmq.SNDHWM: pipes.FRAMES_OUT,
            zmq.RCVHWM: pipes.FRAMES_IN,
            zmq.SNDBUF: pipes.BUFFER,
            zmq.RCVBUF: pipes.BUFFER,
            zmq.LINGER: FAREWELL,
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)

    def _watch(self) -> zmq.Socket[bytes]:
        """Return the monitor's socket. Its queue has no bound: a full one would block libzmq's I/O thread."""
        self._socket.monitor(_MONITOR, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.RCVHWM, 0)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.connect(_MONITOR)
        return monitor

    # -- life ---------------------------------------------------------------------------------------------------------

    def run(
        self, *, each_second: Callable[[], None] = _do_nothing, when_stopping: Callable[[], None] = _do_nothing
    ) -> None:
        """Serve until ``stop``; then say so to everybody and return, in bounded time.

        The loop itself calls ``each_second``, about so often, and ``when_stopping`` before it says goodbye; neither
        may fail or wait.
        """
        self._each_second = each_second
        while not self._stopping:
            self._step()
        when_stopping()
        self._step(wait=False)
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Let everybody have what was taken for them, and wait, not for long, until they have hung up.

        To close first would cost those who are slow what they have not read yet: their kernel throws it away if they
        still send something. What comes now is not taken, and nobody is told that it was.
        """
        until = monotonic_ms() + HANGING_UP
        while self._core.say_goodbye() and (now := monotonic_ms()) < until:
            self._turn()
            self._socket.poll(_GLANCE)
            self._take_frames()
            self._read_monitor()
            self._forget_gone(now)

    def stop(self) -> None:
        """Let ``run`` return soon. May be called from a signal handler or another thread."""
        self._stopping = True
        self._wake()

    def run_errand(self, errand: Callable[[], None]) -> None:
        """Have the loop call ``errand`` soon. May be called from a signal handler or another thread."""
        self._errands.append(errand)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")

    @property
    def wakeup_fd(self) -> int:
        """What to write to for the loop to look at once whether it should stop: for ``signal.set_wakeup_fd``."""
        return self._waker.fileno()

    def stop_at_end_of(self, fd: int) -> None:
        """Stop also when reading from ``fd`` comes to its end: a child that must not survive its parent."""
        self._leash = fd
        self._poller.register(fd, zmq.POLLIN)

    def close(self) -> None:
        """Let go of sockets and threads; what was sent has ``FAREWELL`` ms to leave."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._zap.close(linger=0)
        self._context.term()
        self._waiting.close()
        self._waker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _step(self, *, wait: bool = True) -> None:
        patience = min(self._core.rest(monotonic_ms()), LAST_WORDS // 2 if self._doomed else _LOOK) if wait else 0
        for ready, _ in self._poller.poll(patience):
            if ready is self._socket:
                continue  # what has come is taken below
            if ready in self._watched:
                self._watched[ready]()
            elif ready == self._waiting.fileno():
                self._waiting.recv(64)
                while self._errands:
                    self._errands.popleft()()
            elif isinstance(ready, int) and ready == self._leash:
                self._stopping |= not os.read(ready, 4_096)
        # To find the socket empty costs an exception, a good part of the time that a frame is here. So one that comes
        # after a pause is served before anybody looks whether there are more.
        paused = wait and monotonic_ms() != self._turned_at
        frames = self._take_frames(1 if paused else DRAIN)
        now = self._turned_at = monotonic_ms()
        self._core.set_clock(time.time_ns() // 1_000_000, now)
        for connection, frame in frames:
            if frame.more:
                self._expel(connection, frame, now)
            else:
                self._receive(connection, frame, now)
        self._forget_gone(now)  # after the frames: a last one may have come before the end
        self._core.tick(now)
        self._turn()
        self._cut_doomed(now)
        if now >= self._look_at:
            self._look_for_endless(now)
        if now >= self._sweep_at:
            self._sweep(now)

    def _take_frames(self, most: int = DRAIN) -> list[tuple[bytes, zmq.Frame]]:
        """Take what waits, ``most`` frames. Of a message with extra parts, an attack, the first is taken."""
        frames: list[tuple[bytes, zmq.Frame]] = []
        size = 0
        receive = self._recv
        try:
            while len(frames) < most and size < DRAIN_BYTES:
                connection: bytes = receive(_AT_ONCE)
                frame: zmq.Frame = receive(_AT_ONCE, False)
                frames.append((connection, frame))
                size += len(frame)
                extra = frame
                while extra.more:
                    extra = receive(_AT_ONCE, False)
        except zmq.Again:
            pass
        return frames

    def _receive(self, connection: bytes, frame: zmq.Frame, now: int) -> None:
        if connection not in self.links.known and not self._link(connection, frame, now):
            return
        if incoming := self.links.known[connection]:
            self._intake.took(incoming, len(frame))
        try:
            self._core.receive(connection, frame.bytes, now)
        except Exception as error:  # noqa: BLE001 - one connection's frame must never end everybody's relay
            # Neither the message nor the traceback: both could show what a member sent.
            log.error("a frame met a fault, its connection is cut", extra=values(where=_where(error)))  # noqa: TRY400
            self._core.counts.cut[counts.FAULT] += 1
            self._cut(connection)
            self._forget(connection, now)

    def _turn(self) -> None:
        now = monotonic_ms()
        for push in self._core.turn(now):
            self._push(push, now)
        for connection in self._core.take_cuts():
            self._doomed.append((now + LAST_WORDS, connection))
            self.links.dead[connection] = now

    def _push(self, push: Push, now: int) -> None:
        send = self._send
        # For many copied once, into memory that libzmq shares among them: sharing Python's own needs a second thread.
        frame = zmq.Frame(push.frame, copy=True) if len(push.to) > 1 else push.frame
        large = len(push.frame) > pipes.SMALL
        for connection in push.to:
            if large and not self._has_room(connection, len(push.frame)):
                self._core.stalled(connection, now)
                continue
            try:
                send(connection, _MORE_FOLLOWS)
                send(frame, _AT_ONCE)
            except zmq.Again:
                self._core.stalled(connection, now)
            except zmq.ZMQError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                self._forget(connection, now)

    def _has_room(self, connection: bytes, size: int) -> bool:
        incoming = self.links.known.get(connection)
        return self._pipes.take(connection, size, incoming.fd if incoming else None)

    # -- connections --------------------------------------------------------------------------------------------------

    def _introduce(self) -> None:
        """Answer ZAP: whoever has completed the CURVE handshake may come in, under its key.

        Nothing here may fail for good: without an answer nobody could connect any more.
        """
        with contextlib.suppress(zmq.Again):
            while True:
                request = self._zap.recv_multipart(zmq.NOBLOCK)
                try:
                    self._zap.send_multipart(_zap_answer(request), zmq.NOBLOCK)
                except (ValueError, zmq.ZMQError):
                    log.warning("a request of ZAP could not be answered")

    def _read_monitor(self) -> None:
        """Take note of what was accepted and disconnected."""
        try:
            while True:
                event, fd = _EVENT.unpack(self._monitor.recv_multipart(zmq.NOBLOCK)[0])
                if event == zmq.EVENT_ACCEPTED:
                    self.links.accept(fd, monotonic_ms())
                    log.debug("accepted", extra=values(connection=self.links.accepted))
                    if len(self.links.silent) + len(self.links.bound) > self._most:
                        self._cut_silent(next(iter(self.links.silent)), counts.FULL)
                elif ended := self.links.disconnect(fd):
                    incoming, connection = ended
                    log.debug("disconnected", extra=values(connection=incoming.count))
                    if connection:
                        self._gone.append(connection)
        except zmq.Again:
            return

    def _link(self, connection: bytes, frame: zmq.Frame, now: int) -> bool:
        """Tell the core of a connection that is new here; say False if it was cut: what it still sends is swallowed.

        The monitor is read first: whoever sent a frame was accepted before, but the loop may not have heard of it yet.
        """
        if connection in self.links.dead:
            return False
        self._read_monitor()
        key, fd = bytes.fromhex(str(frame.get("User-Id"))), frame.get(zmq.SRCFD)
        assert isinstance(fd, int)
        self._core.connect(connection, key, str(frame.get("Peer-Address")), now)
        self.links.add(connection, fd, monotonic_ms())  # not before what the monitor has just told
        return True

    def _forget(self, connection: bytes, now: int) -> None:
        """Take note that a connection is no more."""
        self.links.forget(connection, now)
        self._pipes.forget(connection)
        self._core.disconnect(connection, now)

    def _forget_gone(self, now: int) -> None:
        gone, self._gone = self._gone, []
        for connection in gone:
            self._forget(connection, now)

    def _expel(self, connection: bytes, frame: zmq.Frame, now: int) -> None:
        """Cut whoever sent a message of several parts."""
        if connection in self.links.known or self._link(connection, frame, now):
            self._core.counts.cut[counts.PARTS] += 1
            self._swollen = True
            self._cut(connection)
            self._forget(connection, now)

    def _cut(self, connection: bytes) -> None:
        self.links.cut(connection)
        self._pipes.forget(connection)

    def _cut_silent(self, fd: int, reason: str) -> None:
        """Cut what has not been heard. When there are too many it is the oldest: who is honest is heard at once."""
        self.links.cut_silent(fd)
        self._core.counts.cut[reason] += 1

    def _cut_doomed(self, now: int) -> None:
        while self._doomed and self._doomed[0][0] <= now:
            _, connection = self._doomed.pop(0)
            self._cut(connection)

    # -- now and then -------------------------------------------------------------------------------------------------

    def _look_for_endless(self, now: int) -> None:
        """Cut whoever sends a message that does not end."""
        self._look_at = now + _LOOK
        for incoming in self._intake.look([incoming for incoming, _ in self.links.open.values()]):
            self._core.counts.cut[counts.PARTS] += 1
            self._swollen = True
            shut(incoming.fd)

    def _sweep(self, now: int) -> None:
        """Cut what was accepted and never said anything, and forget what is gone, or was cut long ago."""
        self._sweep_at = now + _SWEEP
        for connection in tuple(self.links.unbound):
            if not self.links.bind(connection):
                self._forget(connection, now)
        for fd in self.links.long_silent(now - HELLO_WAIT):
            self._cut_silent(fd, counts.SILENT)
        self.links.forget_dead(now)
        if self._swollen:
            self._swollen = False
            give_back()
        self._each_second()


def monotonic_ms() -> int:
    """Return the time in ms since some moment; it never goes back."""
    return time.monotonic_ns() // 1_000_000


def _descriptor(watched: zmq.Socket[bytes]) -> int:
    """Return the descriptor that becomes readable when something may have happened to a socket."""
    descriptor = watched.getsockopt(zmq.FD)
    assert isinstance(descriptor, int)
    return descriptor


def _zap_answer(request: list[bytes]) -> list[bytes]:
    """Return the answer to a ZAP request (ZeroMQ RFC 27), both with the routing id and the delimiter before them.

    The user id is the client's CURVE key in hexadecimal. Raise ValueError for what is no request for CURVE.
    """
    source, delimiter, version, number, _domain, _address, _identity, mechanism, key = request
    if mechanism != b"CURVE" or len(key) != 32:
        raise ValueError("not CURVE")
    return [source, delimiter, version, number, b"200", b"OK", key.hex().encode(), b""]


def _where(error: BaseException) -> str:
    """Return the type of an error and the line of ours where it was raised."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    line = f"{place.tb_frame.f_globals['__name__']}:{place.tb_lineno}" if place else "?"
    return f"{type(error).__name__} at {line}"
