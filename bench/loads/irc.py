"""The load of ngircd: IRC (RFC 2812), where a line has at most 512 bytes and nobody hears what he says himself."""

from __future__ import annotations

from collections.abc import Callable

from bench.loads.link import CannotCarry, Group
from bench.loads.tls import TlsClients, TlsLink

_LINE = 510
_RECORD = 2_000
"""The server reads 2048 bytes at a time and leaves what TLS has decrypted beyond that until something else arrives, so
lines are sent a few in a record."""
_PREFIX = 80
"""What the server puts before a line to say who sent it, at most."""


class Irc(TlsClients):
    """The clients of ngircd."""

    def greeted(self, number: int) -> TlsLink:
        link = TlsLink(self.server, self.tls, record=_RECORD).secure()
        link.say(b"NICK m%d\r\nUSER m 0 * :m\r\n" % number)
        link.hear(b" 376 ", b" 422 ")  # the end of the message of the day, or that there is none
        return link

    def room(self, name: str, members: int, body: bytes) -> Group:
        channel = b"#" + name.encode()
        links = self.each(self.greeted, members + 1)
        for link in links:
            link.say(b"JOIN %s\r\n" % channel)
            link.hear(b" 366 ")  # the end of the names
        sender, *receivers = [link.begin() for link in links]
        return Group(sender, receivers, _said(channel, body))

    def pair(self, name: str, body: bytes, bystanders: int) -> Group:
        del name, bystanders
        number = len(self._links)
        sender, receiver = [link.begin() for link in self.each(self.greeted, 2)]
        return Group(sender, [receiver], _said(b"m%d" % (number + 1), body))


def _said(target: bytes, body: bytes) -> Callable[[int], bytes]:
    line = b"PRIVMSG %s :%s\r\n" % (target, body)
    if len(line) + _PREFIX > _LINE:
        raise CannotCarry("a line of IRC has at most 512 bytes")
    return lambda count: line * count
