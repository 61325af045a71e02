"""A ZMTP 3.1 client with CURVE, on a plain socket: every step of it can be taken wrongly, late or never.

Written from ZeroMQ RFCs 23, 25 and 26, and sharing nothing with the program but what PyNaCl does. ``Raw`` is a
TCP connection with the bytes of the handshake at hand, one method a step; ``shakes_hands`` takes all of them. What the
relay says in ZMTP can be read or, as often here, be left.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Self

from nacl.public import Box, PrivateKey, PublicKey
from nacl.utils import random

import protocol
from protocol import envelope as ev
from protocol.address import RelayAddress
from protocol.base32 import from_base32
from protocol.identity import Identity, hello_content
from protocol.primitives import Label, new_message_id

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
MORE, LARGE, COMMAND = 1, 2, 4
PATIENCE = 60.0


class Cut(Exception):
    """The relay has ended the connection."""


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return a ZMTP frame."""
    if len(body) > 255:
        return struct.pack("!BQ", flags | LARGE, len(body)) + body
    return struct.pack("!BB", flags, len(body)) + body


def metadata(name: bytes, value: bytes) -> bytes:
    """Return one property of the metadata in INITIATE."""
    return bytes([len(name)]) + name + struct.pack("!I", len(value)) + value


class Raw:
    """One TCP connection to a relay."""

    def __init__(self, address: RelayAddress, *, receive_buffer: int | None = None) -> None:
        self.server = PublicKey(from_base32(address.key))
        self.long, self.short = PrivateKey.generate(), PrivateKey.generate()
        self._nonce = 0
        self._box: Box | None = None
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((address.at.host, address.at.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self, *, reset: bool = False) -> None:
        if reset:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # -- bytes --------------------------------------------------------------------------------------------------------

    def sends(self, data: bytes) -> None:
        """Send bytes as they are; raise ``Cut`` if the relay has ended the connection."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Cut from error

    def reads(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except TimeoutError:
                raise
            except OSError as error:
                raise Cut from error
            if not more:
                raise Cut
            data += more
        return data

    def is_cut(self, patience: float = 15.0) -> bool:
        """Swallow what comes until the relay ends the connection; say False if it does not in time.

        Later its heartbeats, which nobody answers here, would end it in any case.
        """
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.socket.recv(65_536):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def reads_frame(self) -> tuple[int, bytes]:
        flags = self.reads(1)[0]
        size = struct.unpack("!Q", self.reads(8))[0] if flags & LARGE else self.reads(1)[0]
        return flags, self.reads(size)

    # -- the handshake, a step each -----------------------------------------------------------------------------------

    def greets(self) -> None:
        self.sends(GREETING)
        self.reads(64)

    def nonce(self) -> bytes:
        self._nonce += 1
        return struct.pack("!Q", self._nonce)

    def hello(self) -> bytes:
        nonce = self.nonce()
        box = Box(self.short, self.server).encrypt(bytes(64), b"CurveZMQHELLO---" + nonce).ciphertext
        return b"\x05HELLO\x01\x00" + bytes(72) + bytes(self.short.public_key) + nonce + box

    def says_hello(self) -> None:
        self.sends(frame(self.hello(), COMMAND))

    def reads_welcome(self) -> bytes:
        """Take WELCOME; return the cookie."""
        _, body = self.reads_frame()
        assert body[:8] == b"\x07WELCOME"
        plain = Box(self.short, self.server).decrypt(body[24:], b"WELCOME-" + body[8:24])
        self._box = Box(self.short, PublicKey(plain[:32]))
        self._session = PublicKey(plain[:32])
        return plain[32:]

    def initiate(self, cookie: bytes, *properties: bytes) -> bytes:
        assert self._box
        random_nonce = random(16)
        vouch = Box(self.long, self._session).encrypt(
            bytes(self.short.public_key) + bytes(self.server), b"VOUCH---" + random_nonce
        )
        nonce = self.nonce()
        about = b"".join((metadata(b"Socket-Type", b"DEALER"), *(properties or (metadata(b"Identity", b""),))))
        inside = bytes(self.long.public_key) + random_nonce + vouch.ciphertext + about
        return b"\x08INITIATE" + cookie + nonce + self._box.encrypt(inside, b"CurveZMQINITIATE" + nonce).ciphertext

    def shakes_hands(self, *properties: bytes) -> None:
        """Take every step as it should be, with further or other properties of the client."""
        self.greets()
        self.says_hello()
        cookie = self.reads_welcome()
        self.sends(frame(self.initiate(cookie, *properties), COMMAND))
        _, body = self.reads_frame()
        assert body[:6] == b"\x05READY", body[:40]

    def arrives(self, identity: Identity) -> None:
        """Shake hands, say HELLO and be welcome."""
        self.shakes_hands()
        signature = identity.sign(Label.HELLO, hello_content(bytes(self.server), bytes(self.long.public_key)))
        self.says(ev.Hello(new_message_id(), protocol.VERSION, identity.id, signature).encode())
        assert isinstance(next(ev.decode_deliveries(self.hears())), ev.Welcome)

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def message(self, payload: bytes, flags: int = 0) -> bytes:
        """Return one part of a message, encrypted; ``flags`` are inside."""
        assert self._box
        nonce = self.nonce()
        box = self._box.encrypt(bytes([flags]) + payload, b"CurveZMQMESSAGEC" + nonce).ciphertext
        return frame(b"\x07MESSAGE" + nonce + box)

    def says(self, payload: bytes, flags: int = 0) -> None:
        self.sends(self.message(payload, flags))

    def hears(self) -> bytes:
        """Return the next message of one part, decrypted; answer the relay's PINGs between."""
        assert self._box
        while True:
            _, body = self.reads_frame()
            assert body[:8] == b"\x07MESSAGE"
            plain = self._box.decrypt(body[16:], b"CurveZMQMESSAGES" + body[8:16])
            if not plain[0] & 2:
                return plain[1:]
            if plain[1:6] == b"\x04PING":
                self.says(b"\x04PONG" + plain[8:], 2)
