"""What parses bytes from the wire, and words that are typed.

Random bytes never get past a signature or a seal. So where a parser stands behind one, the first byte says how much the
target does itself before it hands the bytes on: nothing, or sign, or encrypt, or pad as well. The keys are fixed, so
what was found once is found again. Each target also says what must hold of whatever was accepted.
"""

from __future__ import annotations

import contextlib
import functools
import unicodedata

import nacl.bindings

from peer.text import safe_nick, safe_text, slug, width
from protocol import card as cards
from protocol import chain, content, limits, names, seal, wire
from protocol import envelope as ev
from protocol import statement as st
from protocol.address import HostPort, RelayAddress
from protocol.base32 import base32, from_base32
from protocol.content import Action, Aside, Ask, Receipt, RoomMessage, Text
from protocol.errors import CannotOpen, UsageError
from protocol.identity import SigningKey, looks_like_id, parse_id
from protocol.ids import InviteId, RelayKey
from protocol.invite import _PREFIX, Invite, _checksum
from protocol.membership import Membership
from protocol.primitives import Label, aead_encrypt, blake2b, derive, pad
from tests.fuzz.target import Target, fine
from tests.protocol.builders import ALICE, ANCHOR, BOB, MESSAGE, NOW, OTHER_MESSAGE, ROOM, SECRET, Keys, populated

KEY = SigningKey(b"i" * 32)
INVITE = InviteId(KEY.public)
alice, bob = Keys(ALICE, NOW), Keys(BOB, NOW + 1)


# -- envelopes --------------------------------------------------------------------------------------------------------


def requests(frame: bytes) -> None:
    with fine():
        for request in ev.decode_requests(frame):
            assert list(ev.decode_requests(request.encode())) == [request]


def deliveries(frame: bytes) -> None:
    with fine():
        for delivery in ev.decode_deliveries(frame):
            assert list(ev.decode_deliveries(delivery.encode())) == [delivery]


M, R, P = bytes(MESSAGE), bytes(ROOM), bytes(ALICE.id)
REQUESTS = [
    ev.Hello(M, 1, P, b"s" * 64),
    ev.Submit(M, R, b"statement"),
    ev.Restore(M, R, True, (b"one", b"two")),
    ev.Publish(M, R, b"card"),
    ev.Attach(M, R, True, 0, b"h" * 32, None, 7),
    ev.Post(M, ROOM, None, 7, 0, b"body"),
    ev.Post(M, ROOM, BOB.id, 7, 1, b"body"),
    ev.Fetch(M, R, P, 0),
    ev.Ping(M),
]
DELIVERIES = [
    ev.Welcome(1, M, NOW, 600),
    ev.Accepted((M, bytes(OTHER_MESSAGE))),
    ev.Refused(M, "rate"),
    ev.Attached(M, R, 7, b"h" * 32, 1, 2),
    ev.Statement(R, 1, b"statement"),
    ev.Card(R, b"card"),
    ev.Presence(R, True, (P,), ()),
    ev.Message(R, P, True, 1, NOW, M, b"body"),
    ev.Closed(R, "closed"),
    ev.GoingAway(),
]

# -- what is signed ---------------------------------------------------------------------------------------------------


def statements(data: bytes) -> None:
    """As it is; or (first byte a kind's) the rest as the body of such a statement, properly signed."""
    for raw in (data, signed(data)):
        with fine():
            said = st.decode(raw)
            assert st.Kind[type(said).__name__.upper()] == raw[0]
            assert said.signer == raw[1:33]
            st.is_restriction(said)
        with fine():
            assert len(st.statement_id(raw)) == 32


def signed(data: bytes) -> bytes:
    with contextlib.suppress(ValueError, IndexError):
        kind, body = st.Kind(data[0]), data[1:]
        signers: list[SigningKey] = [ALICE, KEY] if kind is st.Kind.ADMIT else [ALICE]
        keys = b"".join(key.public for key in signers)
        return bytes([kind]) + keys + b"".join(key.sign(Label[kind.name], keys + body) for key in signers) + body
    return b""


STATEMENTS = [
    bytes([raw[0]]) + raw[193 if raw[0] == st.Kind.ADMIT else 97 :]
    for raw in (
        st.found(ALICE, b"salt" * 4, NOW, True, b"title"),
        st.grant(ALICE, ROOM, ANCHOR, INVITE, 3, NOW),
        st.admit(ALICE, ROOM, ANCHOR, KEY),
        st.role(ALICE, ROOM, ANCHOR, BOB.id, True),
        st.remove(ALICE, ROOM, ANCHOR, BOB.id, False),
        st.revoke(ALICE, ROOM, ANCHOR, INVITE),
        st.leave(ALICE, ROOM, ANCHOR),
        st.close(ALICE, ROOM, ANCHOR),
    )
]

crowd, _ = populated(members_invite=True)
CROWD = crowd.membership.log


def logs(data: bytes) -> None:
    """A room's log with statements cut out, put in twice or exchanged: three bytes say which and what."""
    log = list(CROWD)
    for place in range(0, len(data) - 2, 3):
        what, here, there = data[place], data[place + 1] % len(log), data[place + 2] % len(log)
        match what % 3:
            case 0:
                log[here], log[there] = log[there], log[here]
            case 1:
                log.insert(here, log[there])
            case 2 if len(log) > 1:
                del log[here]
    with fine():
        room = Membership.fold(log[:40])
        assert room.members[room.founder].role
        assert room.banned.isdisjoint(room.members)
        assert room.heads[room.index] == room.head


def card(data: bytes) -> None:
    """As it is, and as the body of a card that is properly signed."""
    for raw in (data, ALICE.public + ALICE.sign(Label.CARD, ALICE.public + data) + data):
        with fine():
            made = cards.Card.decode(raw, room=ROOM, now=NOW)
            assert made.room == ROOM
            assert made.generation <= NOW + limits.CARD_AHEAD
            assert 0 < made.not_after - made.generation <= limits.CARD_LIFE
            assert not cards.is_low_order(made.sealing_key)


CARD = cards.make(ALICE, ROOM, NOW, alice.key, names.seal_nick(SECRET, ROOM, ALICE.id, "alice"))[96:]

# -- what is encrypted ------------------------------------------------------------------------------------------------

ROUTE = seal.Route(
    room=ROOM,
    message=MESSAGE,
    sender=alice.id,
    sender_generation=alice.generation,
    recipient=bob.id,
    recipient_generation=bob.generation,
)


def asides(data: bytes) -> None:
    """By the first byte: a body as it is, or what is in the outer box, or in the inner one, or that before padding."""
    layer, inside = data[0] % 4 if data else 0, data[1:]
    if layer == 3:
        inside = pad(ROUTE.context(content.Kind.TEXT) + inside if data[0] & 4 else inside)
    if layer >= 2:
        nonce = bytes(24)
        box = nonce + nacl.bindings.crypto_box(inside, nonce, bob.key, alice.secret)
        inside = alice.id + alice.generation.to_bytes(8) + box
    if layer >= 1:
        inside = bob.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(inside, bob.key)
    with fine():
        seal.recipient_generation(inside)
        unsealed = seal.unseal(inside, bob.secret, bob.key)
        aside = seal.open_box(unsealed, ROUTE, bob.secret, alice.key)
        assert layer == 3, "the context was right, by chance"
        assert aside.content


owner = SigningKey(b"c" * 32)
line = chain.ReceivedChain(
    ROOM, ALICE.id, content.ChainKey(b"k" * 32, 0, owner.public, 7, chain.NOTHING[0], chain.NOTHING[1])
)


def room_messages(data: bytes) -> None:
    """By the first byte: a body as it is, or what is signed, or what is encrypted, or that before padding."""
    layer, inside = data[0] % 4 if data else 0, data[1:]
    body = inside
    if layer:
        clear = line.id + bytes(2) + ANCHOR.index.to_bytes(8) + ANCHOR.head
        aad = ROOM + ALICE.id + MESSAGE + clear
        key = derive(line.state.key, Label.MESSAGE_KEY)
        if layer >= 2:
            inside = aead_encrypt(key, pad(inside) if layer == 3 else inside, aad)
        commitment = blake2b(Label.COMMITMENT, aad, key=key)
        body = clear + commitment + owner.sign(Label.ROOM_MESSAGE, aad + commitment + inside) + inside
    with fine():
        chain.header(body)
        message = line.open(body, MESSAGE)
        assert layer == 3 or len(data) >= 256
        assert isinstance(message.content, Text | Action)


def contents(plaintext: bytes) -> None:
    with fine():
        message = content.decode_room(plaintext)
        assert content.decode_room(content.encode_room(message)) == message
    with fine():
        context, aside = content.decode_aside(plaintext)
        assert content.decode_aside(content.encode_aside(context, aside)) == (context, aside)


SAID = [
    Text("hi"),
    Action("waves"),
    Receipt(OTHER_MESSAGE),
    Ask(line.id),
    line.state,
]
ASIDES = [content.encode_aside(ROUTE.context(each.KIND), Aside(ANCHOR, 5, 3, NOW, each)) for each in SAID]
ROOM_MESSAGES = [content.encode_room(RoomMessage(NOW, each)) for each in SAID[:2]]

# -- what is typed ----------------------------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def invites(data: bytes) -> None:
    """As a word, and as what a word carries, with the right checksum."""
    for word in (_text(data), _PREFIX + base32(data + _checksum(data))):
        with fine():
            invite = Invite.decode(word)
            assert Invite.decode(invite.encode()) == invite


INVITES = [
    from_base32(
        Invite(RelayKey(b"k" * 32), ROOM, b"i" * 32, SECRET, ANCHOR, (HostPort("10.0.0.1", 7667), HostPort("::1", 1)))
        .encode()
        .removeprefix(_PREFIX)
    )[:-5]
]


def words(data: bytes) -> None:
    """Addresses, ids, nicks and titles, typed by whoever."""
    word = _text(data)
    for parse in (HostPort.parse, RelayAddress.parse):
        with fine():
            assert str(parse(str(parse(word)))) == str(parse(word))
    with contextlib.suppress(ValueError):
        assert base32(from_base32(word)) == word.lower()
    with contextlib.suppress(ValueError):
        assert base32(parse_id(word)) == word.lower()
    looks_like_id(word)
    for check in (names.check_nick, names.check_title):
        with contextlib.suppress(UsageError):
            assert check(word).isprintable()


WORDS = [b"10.0.0.1:7667/" + b"a" * 52, b"fe80::1%eth0:7667", base32(ALICE.id).encode(), b"alice", b"the team"]


def sealed_names(data: bytes) -> None:
    """What a member put into its card's nick and a founder into a title."""
    with fine():
        names.open_nick(SECRET, ROOM, ALICE.id, data)
    for label, aad, read in (
        (Label.NICKS, ROOM + ALICE.id, functools.partial(names.open_nick, SECRET, ROOM, ALICE.id)),
        (Label.TITLE, ALICE.id + b"salt" * 4, functools.partial(names.open_title, SECRET, ALICE.id, b"salt" * 4)),
    ):
        with contextlib.suppress(CannotOpen):
            name = read(aead_encrypt(derive(SECRET, label), data, aad))
            text(name.encode("utf-8", "surrogatepass"))


OBEYED = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff\u00ad")
"""Bidi controls, line separators and the rest of what a terminal obeys or never shows."""


def text(data: bytes) -> None:
    """Strangers' text on its way to a terminal."""
    said = _text(data)
    shown, nick, name = safe_text(said), safe_nick(said), slug(said)
    for c in shown:
        assert c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")
        assert c not in OBEYED
    for short in (nick, name):
        assert short
        assert short.isprintable()
        assert not set(short) & (OBEYED | set(" ~"))
        assert width(short) <= 32
    assert (safe_text(shown), safe_nick(nick), slug(name)) == (shown, nick, name)


TEXTS = [
    "hi",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "e\u0301\u0301\u0301",
    "\u200d👩\u200d🚀",
    "\x9b2J",
    "a\u2028b\ufeff",
]

TARGETS = {
    "requests": Target(requests, [r.encode() for r in REQUESTS]),
    "deliveries": Target(deliveries, [d.encode() for d in DELIVERIES]),
    "statements": Target(statements, STATEMENTS, limits.STATEMENT + 8),
    "logs": Target(logs, [b"\0\3\4", b"\1\5\6\2\1\0"], 60),
    "cards": Target(card, [CARD], limits.CARD + 8),
    "asides": Target(asides, [b"\3" + each for each in ASIDES] + [b"\0" + bytes(200)]),
    "room-messages": Target(room_messages, [b"\3" + each for each in ROOM_MESSAGES] + [b"\0" + bytes(200)]),
    "contents": Target(contents, ASIDES + ROOM_MESSAGES),
    "invites": Target(invites, INVITES, 600),
    "words": Target(words, WORDS, 400),
    "names": Target(sealed_names, [wire.pack("alice").ljust(36, b"\0")], 200),
    "text": Target(text, [each.encode("utf-8", "surrogatepass") for each in TEXTS], 200),
}
