"""What is announced on a LAN, and what is believed of what others announce."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import VERSION, announcement
from protocol.address import RelayAddress

KEY = "mzxw6ytboi" + "a" * 42
OURS = {name.encode(): value.encode() for name, value in announcement.txt(KEY).items()}


def words(txt=OURS, hosts=("10.0.0.1",), port=7667):
    return [str(address) for address in announcement.read(txt, hosts, port)]


def test_what_is_said_is_read():
    assert words() == [f"10.0.0.1:7667/{KEY}"]
    assert words(hosts=["10.0.0.1", "fd00::1", "10.0.0.1"]) == [f"10.0.0.1:7667/{KEY}", f"fd00::1:7667/{KEY}"]


def test_the_names():
    assert announcement.instance(KEY) == "Backchannel mzxw6ytboiaaaaaa._backchannel._tcp.local."
    assert announcement.host(KEY) == "backchannel-mzxw6ytboiaaaaaa.local."
    assert all(len(f"{name}={value}") < 255 for name, value in announcement.txt(KEY).items())


@pytest.mark.parametrize(
    "changes",
    [
        {b"v": b"%d" % (VERSION + 1)},
        {b"v": None},
        {b"v": b""},
        {b"key": None},
        {b"key": b""},
        {b"key": KEY.encode()[:-1]},
        {b"key": KEY.encode() + b"/"},
        {b"key": b"\xff" * 52},
        {b"key": b"1" * 52},
    ],
)
def test_what_is_no_relay_of_ours(changes):
    assert words(OURS | changes) == []
    assert words({}) == []


@pytest.mark.parametrize("port", [None, 0, -1, 65_536])
def test_what_is_no_port(port):
    assert words(port=port) == []


@pytest.mark.parametrize("place", ["0.0.0.0", "::", "224.0.0.251", "ff02::fb", "fe80::1"])
def test_nobody_is_reached_at(place):
    assert words(hosts=[place, "10.0.0.1"]) == [f"10.0.0.1:7667/{KEY}"]


@pytest.mark.parametrize("place", ["", "host.example", "10.0.0.1/24", "10.0.0.256", "\x1b[2J"])
def test_a_host_that_is_no_address_spoils_all(place):
    assert words(hosts=["10.0.0.1", place]) == []


def test_of_many_addresses_some():
    assert len(words(hosts=[f"10.0.0.{n}" for n in range(1, 200)])) == announcement.PLACES


@given(
    st.dictionaries(st.sampled_from([b"v", b"key", b"x"]), st.none() | st.binary(max_size=80)),
    st.lists(st.text(max_size=40) | st.ip_addresses().map(str), max_size=20),
    st.none() | st.integers(),
)
def test_whatever_is_said_comes_out_well_formed_or_not_at_all(txt, hosts, port):
    for address in announcement.read(txt, hosts, port):
        assert RelayAddress.parse(str(address)) == address
