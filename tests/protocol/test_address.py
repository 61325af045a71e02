"""A relay's address is one word; whatever is not exactly one is refused with the sentence that says how it looks."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.address import HostPort, RelayAddress
from protocol.base32 import base32, from_base32
from protocol.errors import BadAddress

KEY = base32(bytes(range(32)))

GOOD = [
    # word, host, port, endpoint
    ("192.168.1.5:7667", "192.168.1.5", 7667, "tcp://192.168.1.5:7667"),
    ("localhost:1", "localhost", 1, "tcp://localhost:1"),
    ("relay.lan:65535", "relay.lan", 65535, "tcp://relay.lan:65535"),
    ("my_nas-2.home.arpa:7667", "my_nas-2.home.arpa", 7667, "tcp://my_nas-2.home.arpa:7667"),
    ("a:1", "a", 1, "tcp://a:1"),
    ("::1:7667", "::1", 7667, "tcp://[::1]:7667"),
    (":::7667", "::", 7667, "tcp://[::]:7667"),
    ("fe80::1%eth0:7667", "fe80::1%eth0", 7667, "tcp://[fe80::1%eth0]:7667"),
    ("2001:db8::ff00:42:8329:7667", "2001:db8::ff00:42:8329", 7667, "tcp://[2001:db8::ff00:42:8329]:7667"),
    ("::ffff:192.0.2.1:7667", "::ffff:192.0.2.1", 7667, "tcp://[::ffff:192.0.2.1]:7667"),
]

BAD_HOST_PORT = [
    "",
    ":",
    "host",
    "host:",
    ":7667",
    "host:65536",
    "host:100000",
    "host:-1",
    "host:+1",
    "host: 1",
    "host:1 ",
    "host:٣",  # a digit, but not one of ours
    "host:0x1",
    "[::1]:7667",
    "-host:1",
    "host-:1",
    "host.:1",
    "ho st:1",
    "ho\nst:1",
    "host\n:1",
    "host:1\n",
    "hóst:1",
    "ho/st:1",
    "host;rm:1",
    "$(host):1",
    "host*:1",
    "a" * 255 + ":1",
    "tcp://host:1",
    "fe80::1%:1",
    "fe80::1%" + "e" * 16 + ":1",
    "::1\x00:1",
]


@pytest.mark.parametrize(("word", "host", "port", "endpoint"), GOOD)
def test_a_place_is_read_and_printed_the_same(word, host, port, endpoint) -> None:
    place = HostPort.parse(word)
    assert place == HostPort(host, port)
    assert str(place) == word
    assert place.endpoint == endpoint


@pytest.mark.parametrize("word", BAD_HOST_PORT)
def test_what_is_no_place_is_refused(word) -> None:
    with pytest.raises(BadAddress):
        HostPort.parse(word)


def test_port_0_means_any_free_one_to_bind_to_and_nothing_to_connect_to() -> None:
    assert HostPort.parse("0.0.0.0:0").port == 0
    with pytest.raises(BadAddress):
        RelayAddress.parse(f"0.0.0.0:0/{KEY}")


@pytest.mark.parametrize("place", [good[0] for good in GOOD])
def test_an_address_is_read_and_printed_the_same_and_is_safe_in_a_shell(place) -> None:
    word = f"{place}/{KEY}"
    address = RelayAddress.parse(word)
    assert (address.at, address.key) == (HostPort.parse(place), KEY)
    assert str(address) == word
    assert shlex.quote(word) == word


@pytest.mark.parametrize("damage", [str.upper, lambda word: f" {word}\n", lambda word: f"\t{word}"])
def test_capitals_in_the_key_and_blanks_around_the_word_do_no_harm(damage) -> None:
    word = f"10.0.0.1:7667/{KEY}"
    assert RelayAddress.parse(damage(word)) == RelayAddress.parse(word)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "/",
        f"/{KEY}",
        KEY,
        "10.0.0.1:7667",
        "10.0.0.1:7667/",
        f"10.0.0.1/{KEY}",
        f"10.0.0.1:7667/{KEY[:-1]}",
        f"10.0.0.1:7667/{KEY}a",
        f"10.0.0.1:7667/{KEY}/",
        f"10.0.0.1:7667//{KEY}",
        f"10.0.0.1:7667/{KEY[:-2]}1{KEY[-1]}",  # 1 is no letter of base32
        f"10.0.0.1:7667/{KEY[:20]} {KEY[21:]}",
        f"10.0.0.1:7667/\u212a{KEY[1:]}",  # a Kelvin sign is a k in lower case
    ],
)
def test_what_is_no_address_is_refused(word) -> None:
    with pytest.raises(BadAddress):
        RelayAddress.parse(word)


@pytest.mark.parametrize("last", "abcdefghijklmnopqrstuvwxyz234567")
def test_a_key_whose_last_letter_holds_more_than_its_one_bit_is_refused(last) -> None:
    """52 letters are 260 bits, 4 more than a key: two words for one key would be two relays."""
    word = f"10.0.0.1:7667/{KEY[:-1]}{last}"
    if last in "aq":
        assert len(from_base32(RelayAddress.parse(word).key)) == 32
    else:
        with pytest.raises(BadAddress):
            RelayAddress.parse(word)


@given(st.binary(min_size=32, max_size=32))
def test_every_key_has_an_address(key) -> None:
    assert from_base32(RelayAddress.parse(f"h:1/{base32(key)}").key) == key


@given(st.text(max_size=80) | st.from_regex(r"[a-f0-9:.%]{0,30}:[0-9]{0,6}(/[a-z2-7]{50,54})?"))
def test_any_text_is_an_address_or_refused(word) -> None:
    for parse in (HostPort.parse, RelayAddress.parse):
        try:
            read = parse(word)
        except BadAddress:
            continue
        assert parse(str(read)) == read
