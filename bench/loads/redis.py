"""The load of redis-server: publish and subscribe.

A connection that subscribes can do nothing else, so one more sends.
"""

from __future__ import annotations

from bench.loads.link import Group
from bench.loads.tls import TlsClients, TlsLink


class Redis(TlsClients):
    """The clients of redis-server."""

    def greeted(self, number: int) -> TlsLink:
        del number
        link = TlsLink(self.server, self.tls).secure()
        link.say(_command(b"PING"))
        link.hear(b"+PONG\r\n")
        return link

    def room(self, name: str, members: int, body: bytes) -> Group:
        channel = name.encode()
        sender, *receivers = self.each(self.greeted, members + 1)
        for link in receivers:
            link.say(_command(b"SUBSCRIBE", channel))
            link.hear(b":1\r\n")
            link.begin()
        message = _command(b"PUBLISH", channel, body)
        return Group(sender.begin(), receivers, lambda count: message * count)

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        del bystanders
        return self.room(name, 1, body)


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
