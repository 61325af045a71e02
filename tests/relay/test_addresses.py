"""Which addresses a relay that listens everywhere prints."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from relay import addresses


def test_none_of_them_leads_back_here_alone():
    for address in addresses.reachable(v6=True):
        parsed = ipaddress.ip_address(address)
        assert not parsed.is_loopback
        assert not parsed.is_link_local


def test_each_is_listed_once_and_v6_only_when_asked_for():
    both = addresses.reachable(v6=True)
    assert len(both) == len(set(both))
    assert addresses.reachable(v6=False) == [a for a in both if ":" not in a]


def test_every_way_to_find_them_is_used(monkeypatch):
    for number, source in enumerate(("_outward", "_of_interfaces_v4", "_of_interfaces_v6", "_of_name")):
        found = [f"10.0.0.{number}", "127.0.0.1", "fe80::1%eth0", "10.0.0.0"]
        monkeypatch.setattr(addresses, source, lambda found=found: iter(found))
    assert addresses.reachable(v6=True) == ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_a_machine_without_a_network_has_none(monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket, "if_nameindex", list)
    monkeypatch.setattr(addresses, "_INTERFACES_V6", addresses.Path("/nowhere"))
    assert addresses.reachable(v6=True) == []


@pytest.mark.parametrize(
    ("host", "numeric"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "0.0.0.0"), ("::", "::"), ("localhost", "127.0.0.1")],
)
def test_names_become_numbers(host, numeric):
    assert addresses.resolve(host) == numeric


def test_a_name_that_nobody_has():
    with pytest.raises(socket.gaierror):
        addresses.resolve("no.such.host.invalid")


@pytest.mark.parametrize(
    ("host", "everywhere"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("::1", False)]
)
def test_everywhere(host, everywhere):
    assert addresses.is_everywhere(host) is everywhere
