"""The numbers for Prometheus and /healthz, asked for over HTTP of relays that have something to tell."""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from peer import Peer
from protocol.address import HostPort
from protocol.base32 import base32
from protocol.errors import BY_CODE
from protocol.identity import fingerprint
from protocol.limits import RelayLimits
from relay.core.core import Core
from relay.metrics import HEALTHY_S, PREFIX, CannotServeMetrics, Exporter
from relay.router import Router, monotonic_ms
from relay.service import ServiceManager
from relay.watch import Watch
from tests.operations.process import PATIENCE, RelayProcess, runs, until

CHECKOUT = Path(__file__).parents[2]


def get(at: object, path: str) -> tuple[int, str]:
    client = http.client.HTTPConnection(str(at), timeout=PATIENCE)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    finally:
        client.close()


def scraped(at: object) -> dict[str, float]:
    """Return every sample by its name and labels, as Prometheus writes them."""
    status, text = get(at, "/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class Busy:
    """A relay at which Alice has founded a room and said something, and told Bob more."""

    def __init__(self, relay: RelayProcess, tmp_path: Path) -> None:
        self.relay = relay
        (line,) = until(lambda: relay.events("metrics"))
        self.at = line["address"]
        self.secrets = asyncio.run(self._talk(tmp_path))

    async def _talk(self, tmp_path: Path) -> set[str]:
        """Return every word that nobody may read in the numbers."""
        async with Peer.open(tmp_path / "alice") as alice, Peer.open(tmp_path / "bob") as bob:
            invite = await alice.create("the-conspiracy", str(self.relay.address), nick="alice-in-chains")
            await bob.join(invite.word, nick="bobby-tables")
            ids = [alice.whoami().id, bob.whoami().id]
            async with await bob.attach("the-conspiracy", present=True) as theirs:
                async with await alice.attach("the-conspiracy") as room:
                    await room.send("hello")
                    await room.send("careful with chuck", to="bobby-tables")
                until(lambda: scraped(self.at)[f"{PREFIX}present_members"] == 1)
                await theirs.send("well, hello")
            room_id = bob._store.rooms()[0].id
        secrets = {"conspiracy", "alice-in", "bobby", "chuck", "hello", self.relay.address.key, room_id.hex()}
        for peer in ids:
            secrets |= {fingerprint(peer), base32(peer)[:8], bytes(peer).hex()[:8]}
        return secrets


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    options = ("--metrics", "127.0.0.1:0", "--rooms", 77)
    with RelayProcess(tmp_path_factory.mktemp("relay"), *options) as relay:
        yield Busy(relay, tmp_path_factory.mktemp("people"))


def test_what_happened_is_counted(busy):
    seen = until(lambda: (now := scraped(busy.at))[f"{PREFIX}posts_total"] >= 5 and now)
    assert seen[f"{PREFIX}rooms_founded_total"] == seen[f"{PREFIX}rooms"] == 1
    assert seen[f"{PREFIX}statements_appended_total"] >= 3
    assert seen[f'{PREFIX}requests_total{{kind="Hello"}}'] == seen[f"{PREFIX}accepted_connections_total"] >= 4
    assert seen[f"{PREFIX}deliveries_total"] > seen[f"{PREFIX}sent_frames_total"] > 4
    assert seen[f"{PREFIX}sent_bytes_total"] > 1_000
    assert seen[f"{PREFIX}received_bytes_total"] > seen[f"{PREFIX}received_frames_total"] > 4
    assert seen[f'{PREFIX}limit{{limit="rooms"}}'] == 77
    assert 0 <= seen[f"{PREFIX}loop_age_seconds"] < PATIENCE
    assert seen["process_resident_memory_bytes"] > 1 << 20


def test_what_is_there_is_measured(busy):
    until(lambda: scraped(busy.at)[f"{PREFIX}connections"] == 0)
    seen = scraped(busy.at)
    assert seen[f"{PREFIX}retained_messages"] >= 5
    assert seen[f"{PREFIX}retained_bytes"] > 1_000
    assert seen[f"{PREFIX}statements"] >= 3
    assert seen[f"{PREFIX}cards"] >= 2
    assert seen[f"{PREFIX}strangers"] == seen[f"{PREFIX}attachments"] == seen[f"{PREFIX}present_members"] == 0


def test_who_has_said_nothing_is_counted_apart(busy):
    before = scraped(busy.at)[f"{PREFIX}accepted_connections_total"]
    with socket.create_connection((busy.relay.address.at.host, busy.relay.address.at.port)):
        until(lambda: scraped(busy.at)[f"{PREFIX}unproven_connections"] == 1)
    until(lambda: scraped(busy.at)[f"{PREFIX}unproven_connections"] == 0)
    assert scraped(busy.at)[f"{PREFIX}accepted_connections_total"] == before + 1


def test_nothing_names_anybody(busy):
    _, numbers = get(busy.at, "/metrics")
    logged = "\n".join(busy.relay.lines).replace(str(busy.relay.address), "")
    for secret in busy.secrets:
        assert secret not in numbers
        assert secret not in logged
    vocabulary = {"kind", "code", "reason", "limit", "version"}
    for family in text_string_to_metric_families(numbers):
        for sample in family.samples:
            assert set(sample.labels) <= vocabulary
            assert all(re.fullmatch(r"[A-Za-z_.0-9-]{1,32}", value) for value in sample.labels.values())


def test_asides_are_told_apart_from_nothing(busy):
    """But for the limits on them, which are constants, and what they drop early."""
    numbers = [line for line in get(busy.at, "/metrics")[1].splitlines() if 'limit="' not in line]
    assert not [line for line in numbers if "aside" in line or "direct" in line]


def test_names_are_as_prometheus_likes_them(busy):
    _, text = get(busy.at, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    ours = [family for name, family in families.items() if name.startswith(PREFIX)]
    assert len(ours) > 25
    for family in ours:
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"[a-z][a-z_]*", family.name)
        assert not re.search(r"_(total|ms|kib|mib|milliseconds)$", family.name)
        assert (family.type == "counter") == all(
            sample.name.endswith("_total") for sample in family.samples
        ) or not family.samples


def test_refusals_are_told_by_their_code(tmp_path):
    with RelayProcess(
        tmp_path, "--metrics", "127.0.0.1:0", "--connections-per-identity", 1, "--connections", 1
    ) as relay:
        at = until(lambda: relay.events("metrics"))[0]["address"]
        from tests.operations.test_check import socket_held

        with socket_held(relay.address):
            assert runs("check", relay.address).returncode == 6
        seen = until(lambda: (now := scraped(at)).get(f'{PREFIX}refusals_total{{code="limit-connections"}}') and now)
        (warning,) = until(lambda: relay.events("limits reached"))
        assert warning["limit-connections"] == 1
        assert warning["level"] == "warning"
    codes = re.findall(r'refusals_total\{code="([^"]*)"', "\n".join(seen))
    assert set(codes) <= set(BY_CODE)


@pytest.mark.parametrize(
    ("path", "status"), [("/", 404), ("/metrics/x", 404), ("/healthz", 200), ("/metrics?x=1", 200)]
)
def test_what_is_there_to_ask(busy, path, status):
    assert get(busy.at, path)[0] == status


@pytest.mark.parametrize(
    "rubbish", [b"", b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"POST /metrics HTTP/1.1\r\n\r\n", b"x" * 99_999]
)
def test_rubbish_is_no_news(busy, rubbish):
    lines = len(busy.relay.lines)
    with socket.create_connection(tuple(HostPort.parse(busy.at).__getstate__())) as client:
        client.sendall(rubbish)
    assert get(busy.at, "/healthz") == (200, "ok\n")
    assert len(busy.relay.lines) == lines


def test_who_never_asks_holds_nobody_up_for_long(busy):
    at = HostPort.parse(busy.at)
    with socket.create_connection((at.host, at.port)):
        assert runs("check", busy.relay.address).returncode == 0
        assert get(busy.at, "/healthz")[0] == 200


@pytest.mark.parametrize("place", ["0.0.0.0:0", "192.0.2.1:0", ":::0", "no.such.host.invalid:0"])
def test_the_numbers_are_for_this_machine_alone(tmp_path, place):
    done = runs("run", "--bind", "127.0.0.1:0", "--home", tmp_path, "--metrics", place)
    assert done.returncode == 8
    assert done.stderr.startswith("backchannel-relay: The metrics can't be served there")
    assert done.stdout == ""


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        done = runs("run", "--bind", "127.0.0.1:0", "--home", tmp_path, "--metrics", place)
    assert done.returncode == 8
    assert "address already in use" in done.stderr


def test_on_the_other_loopback_too(tmp_path):
    with RelayProcess(tmp_path, "--metrics", "::1:0") as relay:
        (line,) = until(lambda: relay.events("metrics"))
        at = HostPort.parse(line["address"])
        assert get(f"[{at.host}]:{at.port}", "/healthz") == (200, "ok\n")
        assert relay.stop() == 0


# -- a loop that is stuck ----------------------------------------------------------------------------------------------


class Stuck(Core):
    """A relay whose loop can be held up."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.goes_on = threading.Event()
        self.goes_on.set()

    def tick(self, now: int) -> None:
        self.goes_on.wait()
        super().tick(now)


class Clock:
    """Time that the test can let pass faster; the loop and who asks for its health share it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_is_stuck_is_not_healthy_and_recovers():
    bounds, clock = RelayLimits(), Clock()
    core = Stuck(bytes(32), bytes(16), bounds, monotonic_ms())
    with Router(core, HostPort("127.0.0.1", 0), bytes(range(1, 33)), 10) as router:
        watch = Watch(core, router, ServiceManager({}), clock)
        with Exporter(HostPort("127.0.0.1", 0), lambda: watch.latest, bounds, clock) as exporter:
            loop = threading.Thread(target=router.run, kwargs={"each_second": watch.look})
            loop.start()
            core.goes_on.clear()

            def time_passes() -> bool:
                clock.now += HEALTHY_S
                return get(exporter.at, "/healthz") == (503, "the loop does not turn\n")

            try:
                until(time_passes)
                assert scraped(exporter.at)[f"{PREFIX}loop_age_seconds"] >= HEALTHY_S
            finally:
                core.goes_on.set()
            until(lambda: get(exporter.at, "/healthz") == (200, "ok\n"))
            router.stop()
            loop.join()


def test_elsewhere_than_the_loopback_is_refused_before_anything_listens():
    with pytest.raises(CannotServeMetrics, match="not the loopback"):
        Exporter(HostPort("0.0.0.0", 0), lambda: None, RelayLimits())
