"""The loads of nats-server: core, and a JetStream memory stream that promises what our relay promises.

The stream keeps for as long as our relay and as many bytes as ours for one sender and recipient, knows a message that
is sent again by its ``Nats-Msg-Id`` for as long, and acknowledges each to its sender. A recipient has a push consumer
without acknowledgements of its own, since ours acknowledges nothing on this level either: it names a cursor when it
comes back, as an ordered consumer does. Beside it stands the same with consumers that acknowledge every message.
Everything is pipelined: acknowledgements are counted, not waited for.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator

from bench.loads.link import Group
from bench.loads.tls import KEPT, TlsClients, TlsLink
from bench.servers import RETENTION, Running
from protocol.limits import RelayLimits

_OPTIONS = {"verbose": False, "pedantic": False, "headers": True, "echo": True, "lang": "bench", "version": "1"}
_HELLO = b"CONNECT %s\r\nPING\r\n" % json.dumps(_OPTIONS).encode()

_REPLY = re.compile(rb"\$JS\.ACK\.\S+")


class Nats(TlsClients):
    """The clients of nats-server's core."""

    link: type[TlsLink] = TlsLink
    acknowledgement = b""

    def greeted(self, number: int) -> TlsLink:
        del number
        link = self.link(self.server, self.tls, acknowledgement=self.acknowledgement)
        while not link.plain.recv(65_536).endswith(b"\r\n"):  # INFO comes before TLS
            pass
        link.secure().say(_HELLO)
        link.hear(b"PONG\r\n")
        return link

    def subscribed(self, subject: str, count: int) -> list[TlsLink]:
        """Return so many links that get what is said on ``subject``."""
        return self.each(lambda number: _subscribed(self.greeted(number), subject).begin(), count)

    def room(self, name: str, members: int, body: bytes) -> Group:
        receivers = self.subscribed(f"room.{name}", members)
        return Group(receivers[0], receivers, _published(f"room.{name}", body))

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        del bystanders
        (sender,), receivers = self.connect(1), self.subscribed(f"aside.{name}", 1)
        return Group(sender, receivers, _published(f"aside.{name}", body))


class AcknowledgingLink(TlsLink):
    """A link that also says of every message that it got it."""

    _rest = bytearray()

    def count(self, buffer: bytearray, end: int) -> int:
        data = self._rest + buffer[KEPT:end]
        whole = data.rfind(b"\r\n") + 1
        self._rest = data[whole:]
        self.send(b"".join(b"PUB %s 0\r\n\r\n" % to for to in _REPLY.findall(data, 0, whole)))
        self.flush()
        return super().count(buffer, end)


class JetStream(Nats):
    """The clients of a memory stream with acknowledgements and deduplication."""

    acknowledgement = b', "seq":'
    policy = "none"
    most_room, most_pair = RelayLimits().bytes_per_sender, RelayLimits().bytes_per_pair

    def __init__(self, server: Running) -> None:
        super().__init__(server)
        self._ids = itertools.count(1)

    def room(self, name: str, members: int, body: bytes) -> Group:
        return self._stream(name, members, body, self.most_room)

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        del bystanders
        return self._stream(name, 1, body, self.most_pair)

    def _stream(self, name: str, receivers: int, body: bytes, most: int) -> Group:
        subject = f"kept.{name}"
        (link,) = self.each(self.greeted, 1)
        _subscribed(link, f"answers.{name}")
        _ask(
            link,
            f"$JS.API.STREAM.CREATE.{name}",
            f"answers.{name}",
            name=name,
            subjects=[subject],
            storage="memory",
            retention="limits",
            discard="old",
            num_replicas=1,
            max_age=RETENTION * 10**9,
            max_bytes=most,
            duplicate_window=RETENTION * 10**9,
        )
        members = self.subscribed_to_own(name, receivers)
        for number in range(receivers):
            config = {
                "durable_name": f"member{number}",
                "deliver_subject": f"to.{name}.{number}",
                "deliver_policy": "all",
                "ack_policy": self.policy,
                "filter_subject": subject,
            }
            create = f"$JS.API.CONSUMER.DURABLE.CREATE.{name}.member{number}"
            _ask(link, create, f"answers.{name}", stream_name=name, config=config)
        return Group(link.begin(), members, self._kept(subject, f"answers.{name}", body), acknowledged=True)

    def subscribed_to_own(self, name: str, count: int) -> list[TlsLink]:
        """Return so many links, each of which gets what is said to it alone."""
        links = self.each(self.greeted, count)
        return [_subscribed(link, f"to.{name}.{number}").begin() for number, link in enumerate(links)]

    def _kept(self, subject: str, answers: str, body: bytes) -> Callable[[int], bytes]:
        """Return what encodes a burst of publications, each with an id of its own and an inbox for its answer."""

        def messages(count: int) -> Iterator[bytes]:
            for _ in range(count):
                header = b"NATS/1.0\r\nNats-Msg-Id: %032x\r\n\r\n" % next(self._ids)
                sizes = (len(header), len(header) + len(body))
                yield b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject.encode(), answers.encode(), *sizes, header, body)

        return lambda count: b"".join(messages(count))


class JetStreamExplicit(JetStream):
    """The same, where recipients acknowledge every message too."""

    link = AcknowledgingLink
    policy = "explicit"


def _published(subject: str, body: bytes) -> Callable[[int], bytes]:
    message = b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(body), body)
    return lambda count: message * count


def _subscribed(link: TlsLink, subject: str) -> TlsLink:
    link.say(b"SUB %s 1\r\nPING\r\n" % subject.encode())
    link.hear(b"PONG\r\n")
    return link


def _ask(link: TlsLink, subject: str, answers: str, **request: object) -> None:
    """Ask JetStream for something and wait until it is done."""
    said = json.dumps(request).encode()
    link.say(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), answers.encode(), len(said), said))
    heard = link.hear(b'"did_create"', b'"created"', b'"error"')
    assert b'"error"' not in heard, heard
