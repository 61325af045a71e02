"""The servers that are compared: each started afresh on loopback, over TLS 1.3 or CURVE, and stopped again.

They run as whoever starts the benchmark, with a configuration of their own in a folder that is removed afterwards, on a
free port. Settings are those of production: encryption, no debugging, no disk for what none of them writes, and every
limit on the rate out of the way, ours included: it is checked and not reached. Certificates (P-256) are made afresh.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq

PATIENCE: Final = 20.0
"""Seconds a server may take to start, and to stop."""
RETENTION: Final = 600
"""Seconds that our relay retains by default, and JetStream is told to."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is its own authority, and its key, as PEM files."""

    file: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        """Make one for 127.0.0.1 with ``openssl``."""
        made = cls(folder / "cert.pem", folder / "key.pem")
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made.file), "-keyout", str(made.key)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        return made


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes connections. ``key`` is the relay's, in base32; the others have a certificate."""

    name: str
    pid: int
    port: int
    key: str = ""
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """One of those compared: its program, and what starts it in a folder, at a port, with a certificate."""

    name: str
    program: str
    command: Callable[[Path, int, Certificate], Sequence[str]]

    def path(self) -> str | None:
        """Return where its program is, or nothing."""
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    def version(self) -> str:
        """Return what the program says of its version."""
        path = self.path()
        if path is None:
            return "not installed"
        option = {"mosquitto": "-h"}.get(self.program, "--version")
        said = subprocess.run([path, option], capture_output=True, text=True, check=False, timeout=PATIENCE)
        return (said.stdout + said.stderr).strip().splitlines()[0]

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Run the server, with its files in ``folder``; raise ``CannotStart``."""
        path = self.path()
        if path is None:
            raise CannotStart(f"{self.program} is not installed")
        certificate = Certificate.make(folder)
        port = _free_port()
        command = [path, *self.command(folder, port, certificate)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_for_port(process, port, folder / "log")
            yield Running(self.name, process.pid, port, certificate=str(certificate.file))
        finally:
            _stop(process)


NO_CERTIFICATE: Final = Certificate(Path(os.devnull), Path(os.devnull))


class Backchannel(Server):
    """Our relay, as it is installed beside this Python; it names its port and key itself. ``command`` adds options."""

    def path(self) -> str | None:
        return str(Path(sys.executable).with_name(self.program))

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Run the relay, with its key in ``folder``."""
        command = [str(self.path()), "run", "--bind", "127.0.0.1:0", "--home", str(folder), "--log-level", "warning"]
        command += ["--connections", "8192", "--connections-per-address", "8192"]
        command += self.command(folder, 0, NO_CERTIFICATE)
        for limit in ("posts-per-s", "posts-burst", "bytes-per-s", "bytes-burst"):
            command += [f"--{limit}", str(10**9)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            address, slash, key = process.stdout.readline().strip().partition("/")
            if not slash:
                raise CannotStart("the relay did not say where it listens")
            yield Running(self.name, process.pid, int(address.rpartition(":")[2]), key=key)
        finally:
            _stop(process)
            process.stdout.close()


NOBODY, WELCOME, TAKEN = b"-", b"welcome", b"taken"
"""What is said to and by a bare ROUTER: that one hears or speaks to nobody, and its two answers."""


class Bare(Server):
    """A ROUTER that does nothing but pass frames on: ``bench.bare``."""

    def path(self) -> str | None:
        return sys.executable

    def version(self) -> str:
        return f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Run it; ``folder`` stays empty."""
        del folder
        command = [sys.executable, "-m", self.program]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            address, _, key = process.stdout.readline().strip().partition("/")
            yield Running(self.name, process.pid, int(address.rpartition(":")[2]), key=key)
        finally:
            _stop(process)
            process.stdout.close()


class CannotStart(Exception):
    """A server that is asked for is not there, or does not start."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise CannotStart(log.read_text(errors="replace")[-2_000:] or "no word from it")


def _stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _nats(folder: Path, port: int, certificate: Certificate) -> Sequence[str]:
    tls = f'tls {{ cert_file: "{certificate.file}", key_file: "{certificate.key}" }}'
    return ["-c", _write(folder / "nats.conf", f'listen: "127.0.0.1:{port}"\nping_interval: "10m"\n{tls}\n')]


def _jetstream(folder: Path, port: int, certificate: Certificate) -> Sequence[str]:
    option, path = _nats(folder, port, certificate)
    store = f'jetstream {{ store_dir: "{folder}/store", max_memory_store: 2GB }}\n'
    return [option, _write(Path(path), Path(path).read_text() + store)]


def _redis(folder: Path, port: int, certificate: Certificate) -> Sequence[str]:
    options = {
        "bind": "127.0.0.1",
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(certificate.file),
        "tls-key-file": str(certificate.key),
        "tls-ca-cert-file": str(certificate.file),
        "tls-auth-clients": "no",
        "tls-protocols": "TLSv1.3",
        "save": "",
        "appendonly": "no",
        "dir": str(folder),
    }
    return [word for option, value in options.items() for word in (f"--{option}", value)]


def _mosquitto(folder: Path, port: int, certificate: Certificate) -> Sequence[str]:
    lines = [
        f"listener {port} 127.0.0.1",
        f"certfile {certificate.file}",
        f"keyfile {certificate.key}",
        "tls_version tlsv1.3",
        "allow_anonymous true",
        "persistence false",
        "set_tcp_nodelay true",
        "log_type error",
        f"user {getpass.getuser()}",
    ]
    return ["-c", _write(folder / "mosquitto.conf", "\n".join(lines) + "\n")]


def _ngircd(folder: Path, port: int, certificate: Certificate) -> Sequence[str]:
    lines = [
        "[Global]",
        "Name = irc.bench.invalid",
        "Info = bench",
        "AdminInfo1 = bench",
        "AdminEMail = bench@bench.invalid",
        "Listen = 127.0.0.1",
        "Ports =",
        f"ServerUID = {os.getuid()}",
        f"ServerGID = {os.getgid()}",
        "[Limits]",
        "MaxConnections = 0",
        "MaxConnectionsIP = 0",
        "MaxJoins = 0",
        "MaxPenaltyTime = 0",
        "PingTimeout = 3600",
        "PongTimeout = 3600",
        "[Options]",
        "DNS = no",
        "Ident = no",
        "PAM = no",
        "SyslogFacility = local7",
        "[SSL]",
        f"CertFile = {certificate.file}",
        f"KeyFile = {certificate.key}",
        f"Ports = {port}",
    ]
    return ["-n", "-f", _write(folder / "ngircd.conf", "\n".join(lines) + "\n")]


OURS: Final = "backchannel"

SERVERS: Final[dict[str, Server]] = {
    server.name: server
    for server in (
        Backchannel(OURS, "backchannel-relay", lambda *_: ()),
        Bare("bare", "bench.bare", lambda *_: ()),
        Server("nats", "nats-server", _nats),
        Server("jetstream", "nats-server", _jetstream),
        Server("jetstream-explicit", "nats-server", _jetstream),
        Server("redis", "redis-server", _redis),
        Server("mosquitto", "mosquitto", _mosquitto),
        Server("ngircd", "ngircd", _ngircd),
    )
}
