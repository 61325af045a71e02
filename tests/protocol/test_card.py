"""Cards: only an owner makes one, only a newer one replaces it, and no key on it can hurt who seals to it."""

from __future__ import annotations

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import card as cd
from protocol import limits, names, wire
from protocol.card import Card, check_newer
from protocol.errors import BackchannelError, BadCard, BadSignature, CardConflict, Malformed, OlderCard, TooLarge
from protocol.identity import Identity
from protocol.ids import SealingKey
from protocol.primitives import Label
from tests.protocol.builders import ALICE, BOB, NOW, OTHER_ROOM, ROOM, SECRET, briefly_and_for_long, flips

KEY = cd.sealing_key(cd.SealingSecret(b"k" * 32))
NICK = names.seal_nick(SECRET, ROOM, ALICE.id, "alice")

P = 2**255 - 19
LOW_ORDER = [
    # the u-coordinates of every point of order 1, 2, 4 and 8 of Curve25519 and its twist, and what reduces to them
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]
LOW_ORDER_KEYS = [(u + top).to_bytes(32, "little") for u in LOW_ORDER for top in (0, 2**255)]


def signed(*body: object, owner: Identity = ALICE, label: Label = Label.CARD) -> bytes:
    """Return a card with any body, properly signed."""
    packed = wire.pack(*body)
    return owner.public + owner.sign(label, owner.public + packed) + packed


def made(generation: int = NOW, key: SealingKey = KEY, nick: bytes = NICK) -> Card:
    return Card.decode(cd.make(ALICE, ROOM, generation, key, nick), room=ROOM, now=generation)


def test_a_card_says_whose_it_is_which_key_and_until_when() -> None:
    card = made()
    assert (card.owner, card.room, card.generation, card.sealing_key, card.nick) == (ALICE.id, ROOM, NOW, KEY, NICK)
    assert card.not_after == NOW + limits.CARD_LIFE
    assert not card.expired(NOW + limits.CARD_LIFE - 1)
    assert card.expired(NOW + limits.CARD_LIFE)
    assert names.open_nick(SECRET, ROOM, ALICE.id, card.nick) == "alice"


def test_the_largest_card_takes_512_bytes_at_most_of_the_relay() -> None:
    for nick in ("a", "x" * 32):
        raw = cd.make(
            ALICE, ROOM, limits.TIME - limits.CARD_LIFE - 1, KEY, names.seal_nick(SECRET, ROOM, ALICE.id, nick)
        )
        assert len(raw) <= limits.CARD == 512
        assert len(raw) == len(cd.make(ALICE, ROOM, NOW, KEY, NICK)), "and all are alike"


def test_an_expired_card_still_opens_what_its_owner_sent() -> None:
    raw = cd.make(ALICE, ROOM, NOW, KEY, NICK)
    late = Card.decode(raw, room=ROOM, now=NOW + 2 * limits.CARD_LIFE)
    assert late.expired(NOW + 2 * limits.CARD_LIFE)


LONGEST = next(raw for n in range(400) if len(raw := cd.make(ALICE, ROOM, NOW, KEY, bytes(n))) == 512)
REFUSED = [
    # why, error, bytes
    ("another room's (attack 18)", BadCard, signed(OTHER_ROOM, NOW, KEY, NOW + 1, NICK)),
    ("from the future", BadCard, signed(ROOM, NOW + limits.CARD_AHEAD + 1, KEY, NOW + limits.CARD_AHEAD + 2, NICK)),
    ("lives a day and a millisecond", BadCard, signed(ROOM, NOW, KEY, NOW + limits.CARD_LIFE + 1, NICK)),
    ("lives not at all", BadCard, signed(ROOM, NOW, KEY, NOW, NICK)),
    ("dies before it was made", BadCard, signed(ROOM, NOW, KEY, NOW - 1, NICK)),
    ("a key of 31 bytes", Malformed, signed(ROOM, NOW, KEY[:31], NOW + 1, NICK)),
    ("a key that is text", Malformed, signed(ROOM, NOW, "k" * 32, NOW + 1, NICK)),
    ("a room of 33 bytes", Malformed, signed(ROOM + b"r", NOW, KEY, NOW + 1, NICK)),
    ("a generation below zero", Malformed, signed(ROOM, -1, KEY, NOW + 1, NICK)),
    ("a generation without end", Malformed, signed(ROOM, 2**48, KEY, 2**48 + 1, NICK)),
    ("a generation that is true", Malformed, signed(ROOM, True, KEY, 2, NICK)),
    ("a nick of 129 bytes", Malformed, signed(ROOM, NOW, KEY, NOW + 1, b"n" * 129)),
    ("a field too few", Malformed, signed(ROOM, NOW, KEY, NOW + 1)),
    ("a field too many", Malformed, signed(ROOM, NOW, KEY, NOW + 1, NICK, None)),
    ("no array", Malformed, ALICE.public + ALICE.sign(Label.CARD, ALICE.public + b"\xc0") + b"\xc0"),
    ("nothing in it", Malformed, ALICE.public + ALICE.sign(Label.CARD, ALICE.public)),
    ("512 bytes, most of it nick", Malformed, LONGEST),
    ("513 bytes", TooLarge, cd.make(ALICE, ROOM, NOW, KEY, bytes(400))),
    ("signed for another purpose (attack 10)", BadSignature, signed(ROOM, NOW, KEY, NOW + 1, NICK, label=Label.HELLO)),
    ("another owner before it (attack 19)", BadSignature, BOB.public + cd.make(ALICE, ROOM, NOW, KEY, NICK)[32:]),
    ("rubbish after it", BadSignature, cd.make(ALICE, ROOM, NOW, KEY, NICK) + b"\xc0"),
    ("empty", BadSignature, b""),
    ("an owner alone", BadSignature, ALICE.public),
    ("zeros", BadSignature, bytes(200)),
]


@pytest.mark.parametrize(("why", "error", "raw"), REFUSED, ids=[why for why, _, _ in REFUSED])
def test_a_card_is_refused(why, error, raw) -> None:
    with pytest.raises(error) as caught:
        Card.decode(raw, room=ROOM, now=NOW)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "raw",
    [
        signed(ROOM, NOW + limits.CARD_AHEAD, KEY, NOW + limits.CARD_AHEAD + 1, NICK),
        signed(ROOM, NOW, KEY, NOW + limits.CARD_LIFE, NICK),
        signed(ROOM, 0, KEY, 1, b""),
        signed(ROOM, NOW, KEY, NOW + 1, b"n" * 128),
    ],
)
def test_a_card_at_the_edge_is_taken(raw) -> None:
    assert Card.decode(raw, room=ROOM, now=NOW).raw == raw


def test_attack_19_a_card_changed_anywhere_is_refused() -> None:
    for damaged in flips(cd.make(ALICE, ROOM, NOW, KEY, NICK)):
        with pytest.raises(BadSignature):
            Card.decode(damaged, room=ROOM, now=NOW)


def test_attack_15_every_cut_of_a_card_is_refused() -> None:
    raw = cd.make(ALICE, ROOM, NOW, KEY, NICK)
    for end in range(len(raw)):
        with pytest.raises(BadSignature):
            Card.decode(raw[:end], room=ROOM, now=NOW)


# -- keys that give nothing away --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", LOW_ORDER_KEYS, ids=lambda key: key.hex()[:6] + key.hex()[-2:])
def test_attack_14_a_card_with_a_low_order_key_is_refused(key) -> None:
    assert cd.is_low_order(SealingKey(key))
    with pytest.raises(BadCard, match="low-order"):
        Card.decode(cd.make(ALICE, ROOM, NOW, SealingKey(key), NICK), room=ROOM, now=NOW)


def test_low_order_means_that_no_secret_matters() -> None:
    """What the one probing scalar says of a key is what any scalar would."""
    for key in LOW_ORDER_KEYS:
        for scalar in (b"\x01" * 32, b"\xff" * 32, bytes(31) + b"\x7f"):
            with pytest.raises(nacl.exceptions.CryptoError):
                nacl.bindings.crypto_scalarmult(scalar, key)


@given(st.binary(min_size=32, max_size=32))
def test_an_honest_key_is_not_of_low_order(secret) -> None:
    assert cd.is_low_order(cd.sealing_key(cd.SealingSecret(secret))) is False
    assert cd.new_sealing_secret() != cd.new_sealing_secret()
    assert len(cd.new_sealing_secret()) == 32


# -- newer and older --------------------------------------------------------------------------------------------------

OTHER_KEY = cd.sealing_key(cd.SealingSecret(b"K" * 32))


def test_only_a_newer_card_replaces_one() -> None:
    held = made(NOW)
    assert check_newer(held, None)
    assert check_newer(made(NOW + 1), held)
    assert check_newer(held, held) is False
    with pytest.raises(OlderCard):
        check_newer(made(NOW - 1), held)


def test_attack_7_two_cards_of_one_generation_are_an_alarm_and_the_first_stands() -> None:
    held = made(NOW)
    for other in (made(NOW, key=OTHER_KEY), made(NOW, nick=NICK[::-1])):
        with pytest.raises(CardConflict):
            check_newer(other, held)


# -- anything at all --------------------------------------------------------------------------------------------------

values = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=64) | st.text(max_size=9)
bodies = st.lists(values, max_size=7).map(lambda items: signed(*items)) | st.tuples(
    st.just(ROOM),
    st.integers(0, limits.TIME),
    st.binary(min_size=32, max_size=32),
    st.integers(0, limits.TIME),
    st.binary(max_size=130),
).map(lambda body: signed(*body))


@briefly_and_for_long
@given(raw=st.binary(max_size=600) | bodies)
def test_whatever_comes_is_a_card_within_all_bounds_or_one_of_our_own_errors(drawn, raw) -> None:
    try:
        card = Card.decode(raw, room=ROOM, now=NOW)
    except BackchannelError:
        return
    assert card.room == ROOM
    assert card.generation <= NOW + limits.CARD_AHEAD
    assert 0 < card.not_after - card.generation <= limits.CARD_LIFE
    assert not cd.is_low_order(card.sealing_key)
