"""Drives groups of links: as fast as the server goes, one message at a time, or at a given pace.

One thread, one epoll: a group may have two bursts on its way and sends the next when the first of them has arrived
everywhere and, where the server acknowledges, is acknowledged. Nothing is measured while anything is on its way from
before, and every message is counted in the end: a server that loses one fails the work.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Sequence
from typing import Final

from bench.loads.link import PATIENCE, Group, Link, WentWrong

BURSTS_AHEAD: Final = 2
TICK: Final = 0.001
"""The least time that epoll waits, in seconds."""


class Flow:
    """A group at work: what was sent and what arrived."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.sent = 0
        self.arrived = 0
        self._width = len(group.receivers)

    def lacks(self) -> int:
        """Return how many messages are not yet there, or not acknowledged: on average over the receivers."""
        missing = self.sent - self.arrived // self._width
        return max(missing, self.sent - self.group.sender.acknowledged) if self.group.acknowledged else missing

    def done(self) -> bool:
        """Say whether nothing is on its way."""
        unacknowledged = self.group.acknowledged and self.group.sender.acknowledged != self.sent
        return self.arrived == self.sent * self._width and not unacknowledged

    def deliveries(self) -> int:
        """Return how many messages were sent, times those who get each."""
        return self.sent * self._width


class Drive:
    """See the module's text."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.flows = [Flow(group) for group in groups]
        self._epoll = select.epoll()
        self._links: dict[int, tuple[Flow, Link]] = {}
        for flow in self.flows:
            for link in dict.fromkeys([flow.group.sender, *flow.group.receivers]):
                self._links[link.fileno()] = flow, link
                self._epoll.register(link.fileno(), select.EPOLLIN)
                link.take()  # libzmq signals its descriptor only after somebody has read to the end
        self._sent_at: list[float] = []
        self._seen: dict[int, int] = {}
        self._samples: list[float] | None = None

    # -- the loop -----------------------------------------------------------------------------------------------------

    def saturate(self, burst: int, seconds: float) -> None:
        """Send as fast as it arrives, for so long; return when everything has arrived."""
        end = time.perf_counter() + seconds
        touched: Iterable[Flow] = self.flows
        while time.perf_counter() < end:
            for flow in touched:
                while flow.lacks() <= (BURSTS_AHEAD - 1) * burst:
                    self._send(flow, burst)
            touched = self._pump(1.0)
        self.settle()

    def send_all(self, count: int, burst: int) -> None:
        """Send so many messages in every group, and return when they have arrived."""
        while any(flow.sent < count for flow in self.flows):
            for flow in self.flows:
                while flow.sent < count and flow.lacks() <= (BURSTS_AHEAD - 1) * burst:
                    self._send(flow, burst)
            self._pump(1.0)
        self.settle()

    def ping(self, count: int, pause: float) -> None:
        """Send so many messages one at a time, each when the one before has arrived and ``pause`` seconds later."""
        for flow in self.flows:
            for _ in range(count):
                self._send(flow, 1)
                self.settle()
                time.sleep(pause)

    def pace(self, rate: float, seconds: float) -> None:
        """Send ``rate`` messages a second for so long, whether or not they arrive: every millisecond what is due."""
        (flow,) = self.flows
        before, began = flow.sent, time.perf_counter()
        tick = began
        while (now := time.perf_counter()) < began + seconds:
            if now >= tick:
                tick = now + TICK
                if due := int((now - began) * rate) - (flow.sent - before):
                    self._send(flow, due)
            self._pump(TICK)
        self.settle()

    def settle(self) -> None:
        """Wait until everything has arrived; raise ``WentWrong`` if it does not."""
        deadline = time.perf_counter() + PATIENCE
        while not all(flow.done() for flow in self.flows):
            self._pump(1.0)
            if time.perf_counter() > deadline:
                late = [(flow.sent, flow.arrived, flow.group.sender.acknowledged) for flow in self.flows]
                raise WentWrong(f"sent, arrived, acknowledged: {late[:3]}")

    def deliveries(self) -> int:
        """Return how many deliveries there were so far."""
        return sum(flow.deliveries() for flow in self.flows)

    # -- one step -----------------------------------------------------------------------------------------------------

    def _send(self, flow: Flow, burst: int) -> None:
        sender = flow.group.sender
        if self._samples is not None:
            self._sent_at += [time.perf_counter()] * burst
        flow.sent += burst
        sender.send(flow.group.burst(burst))
        if not sender.flush():
            self._epoll.modify(sender.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._arrived(flow, sender)  # sending may have taken in what a descriptor would otherwise tell of

    def _pump(self, timeout: float) -> list[Flow]:
        touched = []
        for fd, event in self._epoll.poll(timeout):
            flow, link = self._links[fd]
            if event & select.EPOLLOUT and link.flush():
                self._epoll.modify(fd, select.EPOLLIN)
            self._arrived(flow, link)
            touched.append(flow)
        return touched

    def _arrived(self, flow: Flow, link: Link) -> None:
        count = link.take()
        flow.arrived += count
        if count and self._samples is not None:
            now, fd = time.perf_counter(), link.fileno()
            first = self._seen.get(fd, 0)
            self._seen[fd] = first + count
            self._samples += [now - at for at in self._sent_at[first : first + count]]

    def watch_latency(self) -> None:
        """Begin to take samples. Nothing may be on its way."""
        self._samples = []
        self._sent_at.clear()
        self._seen.clear()

    def take_samples(self) -> list[float]:
        """Return how long (s) each message took to each receiver, and take no more."""
        samples, self._samples = self._samples or [], None
        return samples
