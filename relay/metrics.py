"""Numbers for Prometheus, and ``/healthz``, over HTTP on the loopback.

Both are answered by a thread of their own from the latest ``Observation``, which the loop publishes once a second and
changes no more: a scrape waits for nobody and nobody for a scrape. ``/healthz`` is 200 while that observation is fresh.
No number is told apart by a room, a member or an address, nor asides from other messages, unless a limit on them drops
some: somebody who is in a room and can read these numbers as well should learn as little as can be.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import protocol
from protocol.address import HostPort
from protocol.errors import BadInput
from relay import addresses

if TYPE_CHECKING:
    from protocol.limits import RelayLimits
    from relay.core.counts import Counts
    from relay.watch import Observation

PREFIX: Final = "backchannel_relay_"
HEALTHY_S: Final = 5.0
"""A loop that has not turned for longer is not well; it turns at least once a second."""
_PATIENCE_S: Final = 2.0
"""How long whoever connects may take to ask."""


class CannotServeMetrics(BadInput):
    """The numbers can't be served there."""

    code = "cannot-serve-metrics"
    sentence = "The metrics can't be served there."


_COUNTERS: Final[tuple[tuple[str, str, Callable[[Counts], float]], ...]] = (
    ("received_frames", "Frames received.", lambda c: c.frames_in),
    ("received_bytes", "Bytes in received frames.", lambda c: c.bytes_in),
    ("posts", "Messages taken, to rooms and to single members together.", lambda c: c.posts + c.asides),
    ("sent_frames", "Frames sent, one for each connection.", lambda c: c.frames_out),
    ("sent_bytes", "Bytes in sent frames.", lambda c: c.bytes_out),
    ("deliveries", "Envelopes sent, one for each connection.", lambda c: c.deliveries),
    ("stalls", "Frames that a connection was too slow to take at once.", lambda c: c.stalls),
    ("rooms_founded", "Rooms opened for the first time.", lambda c: c.rooms_founded),
    ("rooms_restored", "Rooms brought back by a member.", lambda c: c.rooms_restored),
    ("rooms_forgotten", "Rooms forgotten because nobody was attached.", lambda c: c.rooms_forgotten),
    ("statements_appended", "Statements appended to the logs of rooms.", lambda c: c.statements),
)
_COUNTED: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("requests", "kind", "requests", "Requests received, by kind."),
    ("refusals", "code", "refused", "Requests refused, by the code of the refusal."),
    ("cuts", "reason", "cut", "Connections that the relay ended, by the reason."),
    ("evicted_messages", "limit", "evicted", "Messages dropped before their time, by the limit that was reached."),
    ("evicted_bytes", "limit", "evicted_bytes", "Bytes of messages dropped before their time, by the limit."),
)
"""Name, label, field of ``Counts`` and help of what is counted apart."""
_GAUGES: Final[tuple[tuple[str, str, Callable[[Observation], float]], ...]] = (
    ("connections", "Connections that have said who they are.", lambda o: o.gauges.connections),
    ("strangers", "Encrypted connections that have not said who they are yet.", lambda o: o.gauges.strangers),
    ("unproven_connections", "TCP connections that have sent no frame yet.", lambda o: o.unproven),
    ("rooms", "Rooms.", lambda o: o.gauges.rooms),
    ("attachments", "Attachments of connections to rooms.", lambda o: o.gauges.attachments),
    ("present_members", "Members present, counted in each room.", lambda o: o.gauges.present),
    ("retained_messages", "Messages held.", lambda o: o.gauges.retained_messages),
    ("retained_bytes", "Bytes of messages held.", lambda o: o.gauges.retained_bytes),
    ("statements", "Statements held.", lambda o: o.gauges.statements),
    ("cards", "Cards held.", lambda o: o.gauges.cards),
)


class RelayCollector(Collector):
    """Makes what Prometheus reads of what the loop has published."""

    def __init__(self, latest: Callable[[], Observation], bounds: RelayLimits, clock: Callable[[], float]) -> None:
        self._latest, self._bounds, self._clock = latest, bounds, clock

    def collect(self) -> Iterator[Metric]:
        """Yield every number once, all from one observation."""
        now = self._latest()
        for name, text, read in _COUNTERS:
            yield CounterMetricFamily(PREFIX + name, text, value=read(now.counts))
        yield CounterMetricFamily(f"{PREFIX}accepted_connections", "TCP connections accepted.", value=now.accepted)
        for name, label, field, text in _COUNTED:
            family = CounterMetricFamily(PREFIX + name, text, labels=[label])
            for key, number in sorted(getattr(now.counts, field).items()):
                family.add_metric([key], number)
            yield family
        for name, text, look in _GAUGES:
            yield GaugeMetricFamily(PREFIX + name, text, value=look(now))
        bounds = GaugeMetricFamily(f"{PREFIX}limit", "What the relay was told to allow, by option.", labels=["limit"])
        for key, number in dataclasses.asdict(self._bounds).items():
            bounds.add_metric([key], number)
        yield bounds
        yield GaugeMetricFamily(
            f"{PREFIX}loop_age_seconds", "Since when the loop has not turned.", value=max(0.0, self._clock() - now.at)
        )
        yield InfoMetricFamily(f"{PREFIX}build", "What runs here.", value={"version": protocol.RELEASE})


class _Handler(MetricsHandler):
    """Answers one request."""

    timeout: ClassVar[float] = _PATIENCE_S
    healthy: ClassVar[Callable[[], bool]]

    def do_GET(self) -> None:  # noqa: N802 - the standard library's name
        """Answer ``/metrics`` and ``/healthz``."""
        match urlsplit(self.path).path:
            case "/metrics":
                super().do_GET()
            case "/healthz":
                if type(self).healthy():
                    self._answer(200, "ok\n")
                else:
                    self._answer(503, "the loop does not turn\n")
            case _:
                self._answer(404, "there are /metrics and /healthz\n")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class _Server(HTTPServer):
    """One request at a time: however many connect, one descriptor and one thread are all that they take."""

    allow_reuse_address = True

    def __init__(self, at: HostPort, handler: type[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
        super().__init__((at.host, at.port), handler)

    def server_bind(self) -> None:
        """Bind as TCPServer does: HTTPServer also asks the resolver for this machine's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, *_: object) -> None:
        """Say nothing: who asks and goes away is no event."""


class Exporter:
    """Serves the numbers while it is entered."""

    def __init__(
        self,
        at: HostPort,
        latest: Callable[[], Observation],
        bounds: RelayLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Listen at ``at``; raise ``CannotServeMetrics`` if that is not the loopback, or not free."""
        registry = CollectorRegistry()
        registry.register(RelayCollector(latest, bounds, clock))
        ProcessCollector(registry=registry)

        class Handler(_Handler):
            healthy = staticmethod(lambda: clock() - latest().at < HEALTHY_S)

        Handler.registry = registry
        try:
            host = addresses.resolve(at.host)
            if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                raise CannotServeMetrics(f"{host} is not the loopback: whoever reads them learns how much is said")
            self._server = _Server(HostPort(host, at.port), Handler)
        except OSError as error:
            raise CannotServeMetrics(f"{at}: {os.strerror(error.errno or 0).lower()}") from None
        self.at = HostPort(host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
