"""Everything that reads a stranger's bytes or words, fed with rubbish, with damaged good ones, and with rubbish that is
properly signed or sealed.

Whatever comes, a parser returns a value or raises an error of our own tree; nothing else may leave `protocol`. What a
parser accepts must also encode to the same again, or two peers could read two things in it. `make test` draws a few
examples; `make fuzz` goes on for long.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import card, chain, content, envelope, limits, names, primitives, seal, statement, wire
from protocol.address import HostPort, RelayAddress
from protocol.card import Card
from protocol.content import Aside, ChainKey, RoomMessage, Text
from protocol.errors import BackchannelError
from protocol.identity import Identity, SigningKey
from protocol.invite import Invite
from protocol.primitives import (
    Anchor,
    Head,
    InviteId,
    Label,
    MessageId,
    RelayKey,
    RoomId,
    RoomSecret,
    SealingSecret,
    base32,
    from_base32,
)

ALICE = Identity(b"a" * 32)
BOB = Identity(b"b" * 32)
INVITE_KEY = SigningKey(b"i" * 32)
ROOM = RoomId(b"r" * 32)
SECRET = RoomSecret(b"s" * 32)
ANCHOR = Anchor(7, Head(b"h" * 32))
MESSAGE = MessageId(b"m" * 16)
NOW = 1_700_000_000_000
ALICE_SEALS = SealingSecret(b"x" * 32)
BOB_SEALS = SealingSecret(b"y" * 32)
BOB_KEY = card.sealing_key(BOB_SEALS)
ROUTE = seal.Route(
    room=ROOM,
    message=MESSAGE,
    sender=ALICE.id,
    sender_generation=NOW,
    recipient=BOB.id,
    recipient_generation=NOW,
)
CHAIN = chain.SendingChain(ROOM, ALICE.id, made_at=7, now=NOW)
CHAIN_AS_SHARED = CHAIN.share()

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=40)
    | st.binary(max_size=70)
    | st.sampled_from([b"r" * 32, b"h" * 32, b"m" * 16, "", 0, limits.COUNTER, limits.TIME]),
    lambda inner: st.lists(inner, max_size=9),
    max_leaves=25,
)
arrays = st.lists(values, max_size=12).map(lambda items: wire.pack(*items))
rubbish = st.binary(max_size=300) | arrays


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Return ``good`` with a few bytes changed, inserted, removed or repeated."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 40)))
        data[at:to] = draw(st.sampled_from([b"", bytes(data[at:to]) * 2]) | st.binary(max_size=40))
    return bytes(data)


def own_errors_only(parse: Callable[[], object]) -> None:
    with suppress(BackchannelError):
        parse()


ENVELOPES = [
    envelope.Hello(MESSAGE, 1, ALICE.id, b"g" * 64),
    envelope.Submit(MESSAGE, ROOM, b"statement"),
    envelope.Restore(MESSAGE, ROOM, True, (b"one", b"two")),
    envelope.Publish(MESSAGE, ROOM, b"card"),
    envelope.Attach(MESSAGE, ROOM, True, 7, b"h" * 32, None, 3),
    envelope.Post(MESSAGE, ROOM, BOB.id, 7, 1, b"body"),
    envelope.Fetch(MESSAGE, ROOM, None, 0),
    envelope.Ping(MESSAGE),
    envelope.Welcome(1, b"i" * 16, NOW, 600),
    envelope.Accepted((MESSAGE, MESSAGE)),
    envelope.Refused(MESSAGE, "rate"),
    envelope.Attached(MESSAGE, ROOM, 7, b"h" * 32, 5, 6),
    envelope.Statement(ROOM, 7, b"statement"),
    envelope.Card(ROOM, b"card"),
    envelope.Presence(ROOM, True, (ALICE.id,), (BOB.id,)),
    envelope.Message(ROOM, ALICE.id, True, 5, NOW, MESSAGE, b"body"),
    envelope.Closed(ROOM, "closed"),
    envelope.GoingAway(),
]
FRAME = b"".join(each.encode() for each in ENVELOPES)


@pytest.mark.parametrize("decode", [envelope.decode_requests, envelope.decode_deliveries])
@given(data=rubbish | st.sampled_from(ENVELOPES).flatmap(lambda each: damaged(each.encode())) | damaged(FRAME))
def test_frames(decode, data) -> None:
    decoded = []
    with suppress(BackchannelError):
        decoded.extend(decode(data))  # an error leaves what stood before it
    for each in decoded:
        (again,) = decode(each.encode())
        assert again == each


STATEMENTS = [
    statement.found(ALICE, b"s" * 16, NOW, False, b"title"),
    statement.grant(ALICE, ROOM, ANCHOR, InviteId(INVITE_KEY.public), 3, NOW),
    statement.admit(BOB, ROOM, ANCHOR, INVITE_KEY),
    statement.role(ALICE, ROOM, ANCHOR, BOB.id, True),
    statement.remove(ALICE, ROOM, ANCHOR, BOB.id, True),
    statement.revoke(ALICE, ROOM, ANCHOR, InviteId(INVITE_KEY.public)),
    statement.leave(BOB, ROOM, ANCHOR),
    statement.close(ALICE, ROOM, ANCHOR),
]


@given(rubbish | st.sampled_from(STATEMENTS).flatmap(damaged))
def test_statements(data) -> None:
    own_errors_only(lambda: statement.decode(data))
    own_errors_only(lambda: statement.statement_id(data))


@given(kind=st.sampled_from(statement.Kind), body=rubbish)
def test_signed_rubbish_is_no_statement_or_a_well_formed_one(kind, body) -> None:
    label, signers = Label[kind.name], [ALICE, INVITE_KEY] if kind is statement.Kind.ADMIT else [ALICE]
    keys = b"".join(key.public for key in signers)
    raw = bytes([kind]) + keys + b"".join(key.sign(label, keys + body) for key in signers) + body
    own_errors_only(lambda: statement.decode(raw))


@given(rubbish | damaged(card.make(ALICE, ROOM, NOW, BOB_KEY, b"nick")))
def test_cards(data) -> None:
    own_errors_only(lambda: Card.decode(data, room=ROOM, now=NOW))


@given(
    st.tuples(
        st.just(ROOM) | values,
        st.integers(NOW - 10, NOW + limits.CARD_AHEAD) | values,
        st.binary(min_size=32, max_size=32) | values,
        st.integers(NOW, NOW + limits.CARD_LIFE) | values,
        st.binary(max_size=130) | values,
    ).map(lambda items: wire.pack(*items))
    | rubbish
)
def test_signed_rubbish_is_no_card_or_one_that_can_be_sealed_to(body) -> None:
    raw = ALICE.public + ALICE.sign(Label.CARD, ALICE.public + body) + body
    try:
        made = Card.decode(raw, room=ROOM, now=NOW)
    except BackchannelError:
        return
    route = seal.Route(
        room=ROOM,
        message=MESSAGE,
        sender=BOB.id,
        sender_generation=NOW,
        recipient=ALICE.id,
        recipient_generation=made.generation,
    )
    seal.seal(Aside(ANCHOR, 1, 0, NOW, Text("hi")), route, BOB_SEALS, made.sealing_key)


def unseal(body: bytes) -> Aside:
    return seal.open_box(seal.unseal(body, BOB_SEALS, BOB_KEY), ROUTE, BOB_SEALS, card.sealing_key(ALICE_SEALS))


@given(rubbish | damaged(seal.seal(Aside(ANCHOR, 1, 0, NOW, Text("hi")), ROUTE, ALICE_SEALS, BOB_KEY)))
def test_asides(body) -> None:
    own_errors_only(lambda: unseal(body))


@given(inner=rubbish)
def test_rubbish_in_a_sealed_box_is_no_aside(inner) -> None:
    body = ROUTE.recipient_generation.to_bytes(8) + bytes(
        seal.nacl.bindings.crypto_box_seal(ALICE.id + NOW.to_bytes(8) + inner, BOB_KEY)
    )
    own_errors_only(lambda: unseal(body))


@given(rubbish | damaged(CHAIN.encrypt(RoomMessage(NOW, Text("hi")), MESSAGE, ANCHOR)))
def test_room_messages(body) -> None:
    received = chain.ReceivedChain(ROOM, ALICE.id, CHAIN_AS_SHARED)
    own_errors_only(lambda: chain.header(body))
    own_errors_only(lambda: received.open(body, MESSAGE))


CONTENTS = [
    content.encode_room(RoomMessage(NOW, Text("hi"))),
    content.encode_aside(b"c" * 32, Aside(ANCHOR, 1, 5, NOW, content.Action("waves"))),
    content.encode_aside(b"c" * 32, Aside(ANCHOR, 1, 0, NOW, content.Receipt(MESSAGE))),
    content.encode_aside(b"c" * 32, Aside(ANCHOR, 1, 0, NOW, CHAIN_AS_SHARED)),
    content.encode_aside(b"c" * 32, Aside(ANCHOR, 1, 0, NOW, content.Ask(CHAIN.id))),
]


@given(rubbish | st.sampled_from(CONTENTS).flatmap(damaged))
def test_contents(data) -> None:
    with suppress(BackchannelError):
        message = content.decode_room(data)
        assert content.decode_room(content.encode_room(message)) == message
    with suppress(BackchannelError):
        context, aside = content.decode_aside(data)
        assert content.decode_aside(content.encode_aside(context, aside)) == (context, aside)
        if isinstance(aside.content, ChainKey):
            # one who shares such a chain and says anything on it
            own_errors_only(lambda: chain.ReceivedChain(ROOM, ALICE.id, aside.content).open(bytes(400), MESSAGE))


@given(rubbish | st.integers(1, 40).flatmap(lambda size: damaged(bytes(size * 256))))
def test_padding(data) -> None:
    with suppress(BackchannelError):
        assert primitives.pad(primitives.unpad(data)) == data


@given(rubbish | damaged(names.seal_nick(SECRET, ROOM, ALICE.id, "alice")))
def test_sealed_names(sealed) -> None:
    own_errors_only(lambda: names.open_nick(SECRET, ROOM, ALICE.id, sealed))
    own_errors_only(lambda: names.open_title(SECRET, ALICE.id, b"s" * 16, sealed))


@given(padded=rubbish)
def test_names_that_a_member_sealed_badly(padded) -> None:
    sealed = primitives.aead_encrypt(primitives.derive(SECRET, Label.NICKS), padded, ROOM + ALICE.id)
    own_errors_only(lambda: names.open_nick(SECRET, ROOM, ALICE.id, sealed))


GOOD_INVITE = Invite(
    RelayKey(b"k" * 32), ROOM, b"i" * 32, SECRET, ANCHOR, (HostPort("192.168.1.5", 7667), HostPort("fe80::1", 1))
)
words = st.text(max_size=120)


def damaged_word(good: str) -> st.SearchStrategy[str]:
    return damaged(good.encode()).map(lambda data: data.decode("utf-8", "replace"))


@given(words | damaged_word(GOOD_INVITE.encode()))
def test_invites(word) -> None:
    with suppress(BackchannelError):
        assert Invite.decode(word) == GOOD_INVITE  # the checksum lets no other through


@given(rubbish)
def test_invites_with_a_right_checksum(packed) -> None:
    check = primitives.blake2b(Label.INVITE_CHECK, packed, size=5)
    with suppress(BackchannelError):
        invite = Invite.decode("bc1" + base32(packed + check))
        assert Invite.decode(invite.encode()) == invite


ADDRESS = f"192.168.1.5:7667/{base32(b'k' * 32)}"


keys = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=52, max_size=52)


@given(words | damaged_word(ADDRESS) | keys.map("fe80::1%eth0:7667/{}".format))
def test_addresses(word) -> None:
    with suppress(BackchannelError):
        address = RelayAddress.parse(word)
        assert RelayAddress.parse(str(address)) == address
        assert len(from_base32(address.key)) == 32
    own_errors_only(lambda: HostPort.parse(word))


@given(st.binary(max_size=80))
def test_base32_round_trip(data) -> None:
    assert from_base32(base32(data)) == data


@given(st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=60) | words)
def test_base32_has_one_way_to_write_a_value(word) -> None:
    with suppress(ValueError):
        assert base32(from_base32(word)) == word.lower()
