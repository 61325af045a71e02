"""The load of mosquitto: MQTT 3.1.1, QoS 0, which keeps and acknowledges nothing."""

from __future__ import annotations

from collections.abc import Callable

from bench.loads.link import Group
from bench.loads.tls import TlsClients, TlsLink

_CONNECT, _CONNACK, _PUBLISH, _SUBSCRIBE, _SUBACK = 0x10, 0x20, 0x30, 0x82, 0x90
_CLEAN_SESSION = 2


class Mqtt(TlsClients):
    """The clients of mosquitto."""

    def greeted(self, number: int) -> TlsLink:
        link = TlsLink(self.server, self.tls).secure()
        keep_alive = bytes(2)  # none
        link.say(_packet(_CONNECT, _text(b"MQTT") + bytes([4, _CLEAN_SESSION]) + keep_alive + _text(b"m%d" % number)))
        link.hear(bytes([_CONNACK, 2, 0, 0]))
        return link

    def room(self, name: str, members: int, body: bytes) -> Group:
        receivers = self._subscribed(name, members)
        return Group(receivers[0], receivers, _published(name, body))

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        del bystanders
        (sender,), receivers = self.connect(1), self._subscribed(name, 1)
        return Group(sender, receivers, _published(name, body))

    def _subscribed(self, name: str, count: int) -> list[TlsLink]:
        links = self.each(self.greeted, count)
        for link in links:
            link.say(_packet(_SUBSCRIBE, b"\0\1" + _text(name.encode()) + b"\0"))
            link.hear(bytes([_SUBACK, 3, 0, 1, 0]))
            link.begin()
        return links


def _published(name: str, body: bytes) -> Callable[[int], bytes]:
    message = _packet(_PUBLISH, _text(name.encode()) + body)
    return lambda count: message * count


def _packet(kind: int, rest: bytes) -> bytes:
    length, sizes = len(rest), bytearray()
    while True:
        length, low = divmod(length, 128)
        sizes.append(low | (0x80 if length else 0))
        if not length:
            return bytes([kind]) + sizes + rest


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2) + text
