"""Do one work against one running server, in a process of its own: the task as JSON on stdin, the result on stdout."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import resource
import sys
import time
from typing import Final

from bench import measure
from bench.loads.drive import Drive
from bench.loads.link import CannotCarry, Group, Load, marked_body
from bench.servers import Running
from bench.works import Measured, Work

LOADS: Final = {
    "backchannel": ("bench.loads.backchannel", "Backchannel"),
    "bare": ("bench.loads.bare", "Bare"),
    "nats": ("bench.loads.nats", "Nats"),
    "jetstream": ("bench.loads.nats", "JetStream"),
    "jetstream-explicit": ("bench.loads.nats", "JetStreamExplicit"),
    "redis": ("bench.loads.redis", "Redis"),
    "mosquitto": ("bench.loads.mqtt", "Mqtt"),
    "ngircd": ("bench.loads.irc", "Irc"),
}
WARM_UP: Final = 0.4
"""Part of a throughput's time that goes before, until memory that is kept has grown as far as it does."""
PINGS: Final = 400
PAUSE: Final = 0.002
CONNECTIONS: Final = 1_000
STEPS: Final = 10
STEP: Final = 5_000


def main() -> None:
    """Do what stdin says."""
    task = json.loads(sys.stdin.read())
    server = Running(**task["server"])
    work = Work(**{**task["work"], "measured": Measured(task["work"]["measured"])})
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    module, name = LOADS[server.name]
    load: Load = getattr(importlib.import_module(module), name)(server)
    try:
        result = _do(load, server, work, task["burst"], task["seconds"])
    except CannotCarry as error:
        result = {"cannot": str(error)}
    json.dump(result, sys.stdout)
    sys.stdout.flush()
    load.close()


def _do(load: Load, server: Running, work: Work, burst: int, seconds: float) -> dict[str, object]:
    if work.measured is Measured.CONNECTIONS:
        return _connections(load, server, work)
    drive = Drive(_groups(load, work))
    gc.freeze()
    gc.disable()  # pauses of ours are nobody's latency
    if work.measured is Measured.LATENCY:
        return _latency(drive, work, burst, seconds)
    if work.measured is Measured.GROWTH:
        return _growth(drive, server, burst)
    drive.send_all(work.retained, burst)
    return _throughput(drive, server, burst, seconds)


def _groups(load: Load, work: Work) -> list[Group]:
    body = marked_body(load.body_size(work) if work.sealed else work.body)
    for number in range(work.others):
        load.room(f"other{number}", 2, body)
    names = [f"group{number}" for number in range(work.groups)]
    if work.room:
        return [load.room(name, work.members, body) for name in names]
    return [load.pair(name, body, work.bystanders) for name in names]


def _throughput(drive: Drive, server: Running, burst: int, seconds: float) -> dict[str, object]:
    drive.saturate(burst, seconds * WARM_UP)
    deliveries, began, cpu, user = drive.deliveries(), time.perf_counter(), *_used(server.pid)
    own = time.process_time()
    drive.saturate(burst, seconds)
    deliveries, took = drive.deliveries() - deliveries, time.perf_counter() - began
    own = time.process_time() - own
    cpu_after, user_after = _used(server.pid)
    return {
        "deliveries": deliveries,
        "seconds": took,
        "cpu_us": (cpu_after - cpu) / deliveries * 1e6,
        "per_second": deliveries / took,
        "server_cores": (cpu_after - cpu) / took,
        "system_share": _system_share(user, user_after),
        "load_cpu_us": own / deliveries * 1e6,
        "resident": measure.resident_bytes(server.pid),
    }


def _used(pid: int) -> tuple[float, tuple[int, int]]:
    return measure.cpu_seconds(pid), measure.user_share(pid)


def _system_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    user, system = after[0] - before[0], after[1] - before[1]
    return system / max(1, user + system)


def _latency(drive: Drive, work: Work, burst: int, seconds: float) -> dict[str, object]:
    drive.ping(PINGS // 10, PAUSE)
    drive.watch_latency()
    drive.ping(PINGS, PAUSE)
    idle = drive.take_samples()
    sent, began = sum(flow.sent for flow in drive.flows), time.perf_counter()
    drive.saturate(burst, seconds / 2)
    rate = (sum(flow.sent for flow in drive.flows) - sent) / (time.perf_counter() - began) / 2
    drive.watch_latency()
    drive.pace(rate, seconds)
    half = drive.take_samples()
    return {
        "half_rate": rate * work.members,
        **{f"idle_p{p}_us": measure.percentile(idle, p) * 1e6 for p in (50, 99)},
        **{f"half_p{p}_us": measure.percentile(half, p) * 1e6 for p in (50, 99)},
    }


def _growth(drive: Drive, server: Running, burst: int) -> dict[str, object]:
    began, steps = measure.cpu_seconds(server.pid), []
    for step in range(1, STEPS + 1):
        drive.send_all(step * STEP, burst)
        steps.append((drive.deliveries(), measure.cpu_seconds(server.pid) - began))
    return {"steps": steps}


def _connections(load: Load, server: Running, work: Work) -> dict[str, object]:
    load.connect(1)
    before, cpu, began = measure.resident_bytes(server.pid), measure.cpu_seconds(server.pid), time.perf_counter()
    load.connect(CONNECTIONS)
    took, cpu = time.perf_counter() - began, measure.cpu_seconds(server.pid) - cpu
    connected = measure.resident_bytes(server.pid)
    members = work.groups * work.members
    for group in _groups(load, work):
        for link in group.receivers:
            link.take()
    return {
        "bytes_per_connection": (connected - before) / CONNECTIONS,
        "bytes_per_member": (measure.resident_bytes(server.pid) - connected) / members,
        "handshakes_per_second": CONNECTIONS / took,
        "handshake_cpu_us": cpu / CONNECTIONS * 1e6,
    }


def task(server: Running, work: Work, burst: int, seconds: float) -> str:
    """Return what such a process is told."""
    server_and_work = {"server": dataclasses.asdict(server), "work": dataclasses.asdict(work)}
    return json.dumps({**server_and_work, "burst": burst, "seconds": seconds})


if __name__ == "__main__":
    main()
