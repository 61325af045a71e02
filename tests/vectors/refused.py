"""What must be refused, and with which code: one thing wrong in each, and everything else right, signatures included.

The functions belong to those of the same name in ``structures``; a refused vector has the fields of a valid one as far
as they matter, ``why`` and ``error``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import nacl.bindings

import protocol
from protocol import envelope, identity, limits, names, wire
from protocol import seal as sealing
from protocol import statement as st
from protocol.base32 import base32
from protocol.chain import SendingChain
from protocol.content import Aside, Kind, Receipt, RoomMessage, Text, encode_aside, encode_room
from protocol.ids import Anchor, Head, InviteId, PeerId, RoomSecret
from protocol.membership import START
from protocol.primitives import Label, aead_encrypt, blake2b, derive, pad
from tests.protocol.builders import (
    ALICE,
    ANCHOR,
    BOB,
    CHUCK,
    DAVE,
    EVE,
    FRED,
    GINA,
    HANK,
    MESSAGE,
    NOW,
    OTHER_MESSAGE,
    OTHER_ROOM,
    ROOM,
    SECRET,
    Keys,
    Room,
    populated,
)
from tests.vectors.structures import ALICES, BOBS, CHAIN_KEY, RELAY, TRANSPORT, logs_in_the_making

Vectors = dict[str, object]
_LOW_ORDER: Final = [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]


def no(why: str, error: str, **given: object) -> Vectors:
    return {"why": why, "error": error, **given}


# -- section 1 --------------------------------------------------------------------------------------------------------


def padding() -> list[Vectors]:
    """Return what ``pad`` never makes."""
    wrong = {
        "nothing": b"",
        "no mark": bytes(256),
        "no size that padding has": (b"a\x80").ljust(257, b"\0"),
        "something after the mark": b"a\x80".ljust(255, b"\0") + b"\1",
        "would have fitted a smaller size": b"a\x80".ljust(1024, b"\0"),
    }
    return [no(why, "cannot-open", padded=padded) for why, padded in wrong.items()]


def base32_words() -> list[Vectors]:
    """Return what is no base32."""
    wrong = {
        "a letter that says nothing": "a",
        "a letter too many": "abc",
        "stray bits in the last letter": "ab",
        "padding": "my======",
        "a digit that is not in the alphabet": "m1",
    }
    return [no(why, "malformed", word=word) for why, word in wrong.items()]


def identities() -> list[Vectors]:
    """Return signatures that do not verify."""
    signature = ALICE.sign(Label.CARD, b"content")
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    order = 2**252 + 27742317777372353535851937790883648493
    shifted = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    small = bytes(32)
    wrong = [
        ("made under another label", ALICE.id, Label.HELLO, b"content", signature),
        ("another content", ALICE.id, Label.CARD, b"contents", signature),
        ("another key", BOB.id, Label.CARD, b"content", signature),
        ("a bit of it flipped", ALICE.id, Label.CARD, b"content", flipped),
        ("its second half not reduced", ALICE.id, Label.CARD, b"content", shifted),
        ("a key of small order", small, Label.CARD, b"content", bytes(64)),
    ]
    return [
        no(why, "bad-signature", id=key, label=label.value.decode(), content=content, signature=signed)
        for why, key, label, content, signed in wrong
    ]


# -- sections 2, 3 ----------------------------------------------------------------------------------------------------


def addresses() -> list[Vectors]:
    """Return what is no address."""
    key = base32(RELAY)
    wrong = {
        "no key": "127.0.0.1:4850",
        "no port": f"127.0.0.1/{key}",
        "port 0": f"127.0.0.1:0/{key}",
        "a port over 65535": f"127.0.0.1:65536/{key}",
        "brackets": f"[::1]:4850/{key}",
        "a key too short": f"127.0.0.1:4850/{key[:-1]}",
        "stray bits in the key": f"127.0.0.1:4850/{key[:-1]}b",
    }
    return [no(why, "bad-address", address=word) for why, word in wrong.items()]


def hello() -> list[Vectors]:
    """Return HELLOs that a relay with this key refuses on this connection."""

    def said(relay: bytes, connection: bytes, version: int = protocol.VERSION, label: Label = Label.HELLO) -> bytes:
        signature = ALICE.sign(label, relay + connection)
        return envelope.Hello(MESSAGE, version, ALICE.id, signature).encode()

    wrong = [
        ("signed for another relay", "bad-hello", said(RELAY[::-1], TRANSPORT)),
        ("signed for another connection", "bad-hello", said(RELAY, TRANSPORT[::-1])),
        ("signed under another label", "bad-hello", said(RELAY, TRANSPORT, label=Label.CARD)),
        ("another version", "version", said(RELAY, TRANSPORT, version=2)),
    ]
    return [no(why, error, relay=RELAY, connection=TRANSPORT, envelope=raw) for why, error, raw in wrong]


def envelopes() -> list[Vectors]:
    """Return frames of one envelope that is not one, and which way they go."""
    ping = envelope.Ping(MESSAGE).encode()
    wrong = [
        ("an unknown kind", "requests", wire.pack(9, MESSAGE)),
        ("a delivery among requests", "requests", envelope.GoingAway().encode()),
        ("a request among deliveries", "deliveries", ping),
        ("no fields at all", "requests", wire.pack()),
        ("a field too few", "requests", wire.pack(8)),
        ("a field too many", "requests", wire.pack(8, MESSAGE, 0)),
        ("a str for a bin", "requests", wire.pack(8, "m" * 16)),
        ("an id of 15 bytes", "requests", wire.pack(8, MESSAGE[:15])),
        ("a boolean for an int", "requests", wire.pack(7, MESSAGE, ROOM, None, True)),
        ("a negative number", "requests", wire.pack(7, MESSAGE, ROOM, None, -1)),
        ("a number of 2^53", "requests", wire.pack(7, MESSAGE, ROOM, None, 1 << 53)),
        ("a time of 2^48", "deliveries", wire.pack(33, 1, b"i" * 16, 1 << 48, 600)),
        ("flags of 2", "requests", wire.pack(6, MESSAGE, ROOM, None, 7, 2, b"")),
        ("nil where none may be", "requests", wire.pack(7, MESSAGE, None, None, 0)),
        ("a float", "requests", wire.pack(7, MESSAGE, ROOM, None, 1.0)),
        ("a map", "requests", b"\x82\x08\xc4\x10" + MESSAGE + b"\x00\x00"),
        ("an extension", "requests", b"\x92\x08\xd8\x01" + MESSAGE),
        ("no UTF-8", "deliveries", b"\x93\x29\xc4\x20" + ROOM + b"\xa2\xc3\x28"),
        ("cut short", "requests", ping[:-1]),
        ("bytes after it that are no array", "requests", ping + b"\x00"),
        ("too deep", "deliveries", b"\x92\x22" + b"\x91" * 6 + b"\x90"),
    ]
    return [no(why, "malformed", direction=direction, envelope=raw) for why, direction, raw in wrong]


def frames() -> list[Vectors]:
    """Return what is no frame."""
    ping = envelope.Ping(MESSAGE).encode()
    return [
        no("empty", "malformed", direction="requests", frame=b""),
        no("a half envelope after a whole one", "malformed", direction="requests", frame=ping + ping[:-1]),
    ]


# -- section 4 --------------------------------------------------------------------------------------------------------


def _signed(kind: st.Kind, signer: identity.Identity, body: bytes, label: Label | None = None) -> bytes:
    signature = signer.sign(label or Label[kind.name], signer.public + body)
    return bytes([kind]) + signer.public + signature + body


def statements() -> list[Vectors]:
    """Return statements that are none, wherever they stand."""
    invite = identity.SigningKey(b"i" * 32)
    leave = st.leave(BOB, ROOM, ANCHOR)
    admit = st.admit(BOB, ROOM, ANCHOR, invite)
    body = wire.pack(ROOM, *ANCHOR)
    swapped = admit[:65] + admit[129:193] + admit[65:129] + admit[193:]
    long = _signed(st.Kind.LEAVE, BOB, body + bytes(1_024))
    wrong = [
        ("nothing", "malformed", b""),
        ("kind 0", "malformed", b"\0" + leave[1:]),
        ("kind 9", "malformed", b"\x09" + leave[1:]),
        ("no body", "malformed", leave[:97]),
        ("a CLOSE that was signed as a LEAVE", "bad-signature", b"\x08" + leave[1:]),
        ("signed under another label", "bad-signature", _signed(st.Kind.LEAVE, BOB, body, Label.CLOSE)),
        ("another signer before it", "bad-signature", leave[:1] + ALICE.public + leave[33:]),
        ("a bit of the body flipped", "bad-signature", leave[:-1] + bytes([leave[-1] ^ 1])),
        ("an ADMIT with its signatures swapped", "bad-signature", swapped),
        (
            "an ADMIT whose invite's signature is the joiner's",
            "bad-signature",
            admit[:129] + admit[65:129] + admit[193:],
        ),
        ("more than 1024 bytes", "too-large", long),
        ("a field too many", "malformed", _signed(st.Kind.LEAVE, BOB, wire.pack(ROOM, *ANCHOR, 0))),
        ("something after the body", "malformed", _signed(st.Kind.LEAVE, BOB, body + b"\0")),
        ("a head of 31 bytes", "malformed", _signed(st.Kind.LEAVE, BOB, wire.pack(ROOM, 7, b"h" * 31))),
        ("an index of 2^53", "malformed", _signed(st.Kind.LEAVE, BOB, wire.pack(ROOM, 1 << 53, ANCHOR.head))),
        ("uses of 1000001", "malformed", st.grant(ALICE, ROOM, ANCHOR, InviteId(invite.public), 1_000_001, 0)),
        ("a title of 161 bytes", "malformed", st.found(ALICE, b"s" * 16, NOW, False, bytes(161))),
        ("a salt of 15 bytes", "malformed", st.found(ALICE, b"s" * 15, NOW, False, b"")),
    ]
    return [no(why, error, statement=raw) for why, error, raw in wrong]


def logs() -> list[Vectors]:
    """Return statements that do not fold at the end of a log (its name among the valid ones; null: an empty one)."""
    rooms = logs_in_the_making()
    (_, keys), (_, free_keys) = populated(), populated(members_invite=True)
    everybody, free, back = rooms["everybody"], rooms["members invite"], rooms["back again"]
    closed, spent = rooms["closed"], rooms["spent"]
    ended = identity.SigningKey(b"first".ljust(32, b"."))
    fresh = InviteId(identity.SigningKey(b"fresh invite".ljust(32, b".")).public)
    first = everybody.at(1)
    other = Room(BOB)
    elsewhere = Anchor(everybody.anchor.index, Head(bytes(32)))
    ahead = Anchor(everybody.anchor.index + 1, everybody.anchor.head)
    before_fred_left = everybody.at(everybody.membership.left[FRED.id] - 1)
    once = identity.SigningKey(b"once".ljust(32, b"."))
    twice = everybody.membership.log[2]

    def says(room: Room, form: Callable[..., bytes], who: identity.Identity, *said: object, at: Anchor | None = None):
        return room.signed(form, who, *said, at=at)

    wrong: list[tuple[str, str, Room, bytes]] = [
        ("a statement of the log again", "already-stated", everybody, twice),
        ("a second FOUND", "bad-statement", everybody, other.membership.log[0]),
        ("another room's", "bad-statement", everybody, st.leave(CHUCK, other.id, other.anchor)),
        ("after CLOSE", "closed", closed, says(closed, st.leave, BOB)),
        ("a GRANT by a member", "not-allowed", everybody, says(everybody, st.grant, CHUCK, fresh, 0, 0)),
        ("a GRANT by who was never in", "not-member", everybody, says(everybody, st.grant, DAVE, fresh, 0, 0)),
        ("a GRANT by who is banned", "banned", everybody, says(everybody, st.grant, GINA, fresh, 0, 0)),
        (
            "a GRANT anchored before the latest change of rights",
            "stale-anchor",
            everybody,
            says(everybody, st.grant, ALICE, fresh, 0, 0, at=first),
        ),
        (
            "a GRANT anchored elsewhere",
            "stale-anchor",
            everybody,
            says(everybody, st.grant, ALICE, fresh, 0, 0, at=elsewhere),
        ),
        ("a GRANT anchored ahead", "stale-anchor", everybody, says(everybody, st.grant, ALICE, fresh, 0, 0, at=ahead)),
        (
            "an invite key for the second time",
            "bad-statement",
            everybody,
            says(everybody, st.grant, ALICE, InviteId(keys["admin"].public), 1, 0),
        ),
        ("an ADMIT of a member", "already-member", everybody, says(everybody, st.admit, EVE, keys["admin"])),
        ("an ADMIT of who is banned", "banned", everybody, says(everybody, st.admit, GINA, keys["admin"])),
        ("an ADMIT by an invite that was revoked", "invite-ended", back, says(back, st.admit, DAVE, ended)),
        (
            "an ADMIT by an invite that nobody granted",
            "invite-ended",
            everybody,
            says(everybody, st.admit, DAVE, identity.SigningKey(b"ghost".ljust(32, b"."))),
        ),
        ("an ADMIT by an invite with no uses left", "invite-spent", spent, says(spent, st.admit, DAVE, once)),
        (
            "an ADMIT anchored before its signer left",
            "stale-anchor",
            everybody,
            says(everybody, st.admit, FRED, keys["founder"], at=before_fred_left),
        ),
        ("a ROLE by an admin", "not-allowed", everybody, says(everybody, st.role, BOB, CHUCK.id, True)),
        ("a ROLE for the founder", "founder", everybody, says(everybody, st.role, ALICE, ALICE.id, False)),
        ("a promotion of who is not in", "not-member", everybody, says(everybody, st.role, ALICE, DAVE.id, True)),
        ("a promotion of who is banned", "banned", everybody, says(everybody, st.role, ALICE, GINA.id, True)),
        (
            "a promotion anchored too early",
            "stale-anchor",
            everybody,
            says(everybody, st.role, ALICE, EVE.id, True, at=first),
        ),
        ("a REMOVE by a member", "not-allowed", everybody, says(everybody, st.remove, CHUCK, EVE.id, False)),
        ("a REMOVE of the founder", "founder", everybody, says(everybody, st.remove, BOB, ALICE.id, False)),
        ("a REMOVE of an admin by an admin", "not-allowed", everybody, says(everybody, st.remove, BOB, HANK.id, False)),
        (
            "a REVOKE by a member",
            "not-allowed",
            everybody,
            says(everybody, st.revoke, EVE, InviteId(keys["admin"].public)),
        ),
        (
            "a REVOKE by a member of another's invite",
            "not-allowed",
            free,
            says(free, st.revoke, EVE, InviteId(free_keys["member"].public)),
        ),
        ("a LEAVE of who is not in", "not-member", everybody, says(everybody, st.leave, FRED)),
        ("a LEAVE of the founder", "founder", everybody, says(everybody, st.leave, ALICE)),
        ("a CLOSE by an admin", "not-allowed", everybody, says(everybody, st.close, BOB)),
        ("a log that does not begin with FOUND", "bad-statement", other, says(everybody, st.leave, CHUCK)),
    ]
    return [
        no(why, error, log=next((name for name, known in rooms.items() if known is room), None), statement=raw)
        for why, error, room, raw in wrong
    ]


# -- section 5 --------------------------------------------------------------------------------------------------------


def sealed_names() -> list[Vectors]:
    """Return what is no sealed name."""
    key = derive(SECRET, Label.NICKS)
    aad = ROOM + ALICE.id
    good = names.seal_nick(SECRET, ROOM, ALICE.id, "alice")
    wrong = [
        ("another owner", ROOM + BOB.id, good),
        ("another room", OTHER_ROOM + ALICE.id, good),
        ("sealed as a title", aad, aead_encrypt(derive(SECRET, Label.TITLE), wire.pack("alice").ljust(36, b"\0"), aad)),
        ("a nick of 33 bytes", aad, aead_encrypt(key, wire.pack("x" * 33).ljust(36, b"\0"), aad)),
        ("a bin for a str", aad, aead_encrypt(key, wire.pack(b"alice").ljust(36, b"\0"), aad)),
        ("something after the array", aad, aead_encrypt(key, wire.pack("alice") + b"\1", aad)),
        ("short", aad, good[:39]),
        ("a bit flipped", aad, good[:-1] + bytes([good[-1] ^ 1])),
    ]
    return [no(why, "cannot-open", of="nick", secret=SECRET, aad=given, sealed=raw) for why, given, raw in wrong]


def card_vectors() -> list[Vectors]:
    """Return cards that are refused at ``now``; the last two beside a card that is held (``held``)."""
    nick = b"n" * 60
    key = Keys(ALICE).key

    def signed(*body: object, label: Label = Label.CARD, rest: bytes = b"") -> bytes:
        packed = wire.pack(*body) + rest
        return ALICE.public + ALICE.sign(label, ALICE.public + packed) + packed

    end = NOW + limits.CARD_LIFE
    good = signed(ROOM, NOW, key, end, nick)
    wrong = [
        ("another owner before it", "bad-signature", BOB.public + good[32:]),
        ("signed under another label", "bad-signature", signed(ROOM, NOW, key, end, nick, label=Label.HELLO)),
        ("a bit flipped", "bad-signature", good[:-1] + bytes([good[-1] ^ 1])),
        ("cut short", "bad-signature", good[:80]),
        ("another room's", "bad-card", signed(OTHER_ROOM, NOW, key, end, nick)),
        (
            "over 11 minutes ahead",
            "bad-card",
            signed(ROOM, NOW + limits.CARD_AHEAD + 1, key, NOW + limits.CARD_AHEAD + 2, nick),
        ),
        ("over 24 hours long", "bad-card", signed(ROOM, NOW, key, end + 1, nick)),
        ("ended before it began", "bad-card", signed(ROOM, NOW, key, NOW, nick)),
        *((f"low order, {n}", "bad-card", signed(ROOM, NOW, low, end, nick)) for n, low in enumerate(_LOW_ORDER, 1)),
        ("a key of 31 bytes", "malformed", signed(ROOM, NOW, key[:31], end, nick)),
        ("a nick of 129 bytes", "malformed", signed(ROOM, NOW, key, end, bytes(129))),
        ("a field too many", "malformed", signed(ROOM, NOW, key, end, nick, 0)),
        ("something after the body", "malformed", signed(ROOM, NOW, key, end, nick, rest=b"\0")),
        ("more than 512 bytes", "too-large", good.ljust(513, b"\0")),
    ]
    later = signed(ROOM, NOW, Keys(BOB).key, end, nick)
    return [
        *(no(why, error, room=ROOM, now=NOW, card=raw, held=None) for why, error, raw in wrong),
        no("other bytes of one generation", "card-conflict", room=ROOM, now=NOW, card=later, held=good),
        no(
            "an older one",
            "older-card",
            room=ROOM,
            now=NOW,
            card=good,
            held=signed(ROOM, NOW + 1, key, end, nick),
        ),
    ]


# -- sections 6, 7 ----------------------------------------------------------------------------------------------------


def contents() -> list[Vectors]:
    """Return plaintexts that hold no content of their channel."""
    front = (b"x" * 32, *ANCHOR, 5, 0, NOW)
    wrong = [
        ("a receipt to the room", "room", encode_room(RoomMessage(NOW, Receipt(OTHER_MESSAGE)))),
        ("a chain key to the room", "room", encode_room(RoomMessage(NOW, CHAIN_KEY))),
        ("an aside to the room", "room", encode_aside(b"x" * 32, Aside(ANCHOR, 5, 0, NOW, Text("hello")))),
        ("a room message as an aside", "aside", encode_room(RoomMessage(NOW, Text("hello")))),
        ("an unknown kind", "aside", wire.pack(*front, 6, "hello")),
        ("an unknown kind to the room", "room", wire.pack(NOW, 6, "hello")),
        ("a text of bytes", "aside", wire.pack(*front, 1, b"hello")),
        ("a chain key at counter 1001", "aside", wire.pack(*front, 4, b"k" * 32, 1_001, b"v" * 32, 7, b"p" * 32, 0)),
        ("given up of 2^64", "aside", b"\x98" + wire.pack(b"x" * 32, *ANCHOR, 5)[1:] + b"\x82\x00\x00"),
        ("a counter of 2^53", "aside", wire.pack(b"x" * 32, *ANCHOR, 1 << 53, 0, NOW, 1, "hello")),
        ("something after it", "room", wire.pack(NOW, 1, "hello") + b"\0"),
    ]
    return [no(why, "cannot-open", channel=channel, plaintext=raw) for why, channel, raw in wrong]


def _wrapped(inner: bytes, sender: PeerId, sender_generation: int, recipient: Keys) -> bytes:
    """Seal an inner box, with any sender's name before it, for somebody."""
    header = sender + sender_generation.to_bytes(8)
    return recipient.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(header + inner, recipient.key)


def _boxed(plaintext: bytes, sender: Keys, recipient: Keys) -> bytes:
    nonce = b"n" * 24
    return nonce + nacl.bindings.crypto_box(plaintext, nonce, recipient.key, sender.secret)


def asides() -> list[Vectors]:
    """Return bodies that do not open as what they are delivered as: to Bob, from a sender, in a room, under an id.

    ``sender_key`` is what the card of that sender has for the generation inside.
    """
    route = sealing.Route(
        room=ROOM,
        message=MESSAGE,
        sender=ALICES.id,
        sender_generation=ALICES.generation,
        recipient=BOBS.id,
        recipient_generation=BOBS.generation,
    )
    said = Aside(ANCHOR, 1, 0, NOW, Text("careful with chuck"))
    good = sealing.seal(said, route, ALICES.secret, BOBS.key)
    carols = Keys(CHUCK)
    context = route.context(Kind.TEXT)
    inside = encode_aside(context, said)
    box = sealing.unseal(good, BOBS.secret, BOBS.key).box

    def to_bob(plaintext: bytes) -> bytes:
        return _wrapped(_boxed(plaintext, ALICES, BOBS), ALICES.id, ALICES.generation, BOBS)

    def elsewhere(**changed: object) -> bytes:
        other = dataclasses.replace(route, **changed)  # type: ignore[arg-type]
        return to_bob(pad(encode_aside(other.context(Kind.TEXT), said)))

    wrong = [
        ("delivered under another id", good, {"message": OTHER_MESSAGE}),
        ("delivered in another room", good, {"room": OTHER_ROOM}),
        ("delivered as another member's", good, {"sender": carols.id, "sender_key": carols.key}),
        ("the context of another recipient", elsewhere(recipient=carols.id), {}),
        ("the context of another sender", elsewhere(sender=carols.id), {}),
        ("the context of another generation", elsewhere(recipient_generation=BOBS.generation + 1), {}),
        ("the context of another message", elsewhere(message=OTHER_MESSAGE), {}),
        ("the context of another kind", to_bob(pad(encode_aside(route.context(Kind.ACTION), said))), {}),
        ("Bob's own words to Alice, sent back", _reflection(said), {}),
        (
            "Alice's box under Chuck's name, who published her key",
            _wrapped(box, carols.id, ALICES.generation, BOBS),
            {"sender": carols.id, "sender_key": ALICES.key},
        ),
        (
            "Chuck's box under Alice's name",
            _wrapped(_boxed(pad(inside), carols, BOBS), ALICES.id, ALICES.generation, BOBS),
            {},
        ),
        (
            "sealed for somebody else",
            BOBS.generation.to_bytes(8) + nacl.bindings.crypto_box_seal(b"x" * 400, carols.key),
            {},
        ),
        ("no padding", to_bob(inside), {}),
        ("padded too far", to_bob((inside + b"\x80").ljust(1_024, b"\0")), {}),
        ("a bit flipped", good[:-1] + bytes([good[-1] ^ 1]), {}),
        ("cut short", good[:100], {}),
        ("empty", b"", {}),
    ]
    return [
        no(
            why,
            "cannot-open",
            **{
                "room": ROOM,
                "message": MESSAGE,
                "sender": ALICES.id,
                "sender_key": ALICES.key,
                "recipient": BOBS.id,
                "recipient_generation": BOBS.generation,
                "recipient_secret": BOBS.secret,
                "body": body,
                **changed,
            },
        )
        for why, body, changed in wrong
    ]


def _reflection(said: Aside) -> bytes:
    """Return what Bob whispered to Alice, with its inner box, which opens both ways, put into an aside to Bob."""
    route = sealing.Route(
        room=ROOM,
        message=MESSAGE,
        sender=BOBS.id,
        sender_generation=BOBS.generation,
        recipient=ALICES.id,
        recipient_generation=ALICES.generation,
    )
    body = sealing.seal(said, route, BOBS.secret, ALICES.key)
    box = sealing.unseal(body, ALICES.secret, ALICES.key).box
    return _wrapped(box, ALICES.id, ALICES.generation, BOBS)


def room_messages() -> list[Vectors]:
    """Return bodies that do not open as messages of Alice's chain, as its receiver was given it at counter 1."""
    chain = SendingChain(ROOM, ALICE.id, 7, NOW)
    early = chain.encrypt(RoomMessage(NOW, Text("early")), MESSAGE, ANCHOR)
    given = chain.share()
    good = chain.encrypt(RoomMessage(NOW, Text("hello")), MESSAGE, ANCHOR)
    signer, key = chain._signer, derive(given.key, Label.MESSAGE_KEY)

    def made(
        plaintext: bytes,
        *,
        counter: int = 1,
        commit: bytes = key,
        sign: identity.SigningKey = signer,
        identifier: bytes = chain.id,
        room: bytes = ROOM,
    ) -> bytes:
        clear = identifier + counter.to_bytes(2) + ANCHOR.index.to_bytes(8) + ANCHOR.head
        aad = room + ALICE.id + MESSAGE + clear
        sealed = aead_encrypt(key, plaintext, aad)
        commitment = blake2b(Label.COMMITMENT, aad, key=commit)
        return clear + commitment + sign.sign(Label.ROOM_MESSAGE, aad + commitment + sealed) + sealed

    hello = pad(encode_room(RoomMessage(NOW, Text("hello"))))
    wrong = [
        ("from before the chain was given", "no-key", early, {}),
        ("delivered under another id", "cannot-open", good, {"message": OTHER_MESSAGE}),
        ("made for another room", "cannot-open", made(hello, room=OTHER_ROOM), {}),
        ("counter 1000", "cannot-open", made(hello, counter=1_000), {}),
        ("a counter that was not signed", "cannot-open", good[:32] + (2).to_bytes(2) + good[34:], {}),
        ("an anchor that was not signed", "cannot-open", good[:42] + b"H" * 32 + good[74:], {}),
        ("signed by another key", "cannot-open", made(hello, sign=BOB), {}),
        ("the commitment of another key", "cannot-open", made(hello, commit=b"o" * 32), {}),
        ("of another chain", "cannot-open", made(hello, identifier=b"c" * 32), {}),
        ("no padding", "cannot-open", made(encode_room(RoomMessage(NOW, Text("hello")))), {}),
        ("a receipt", "cannot-open", made(pad(encode_room(RoomMessage(NOW, Receipt(OTHER_MESSAGE))))), {}),
        ("no ciphertext", "cannot-open", good[:170], {}),
        ("a bit flipped", "cannot-open", good[:-1] + bytes([good[-1] ^ 1]), {}),
    ]
    return [
        no(
            why,
            error,
            **{
                "room": ROOM,
                "sender": ALICE.id,
                "message": MESSAGE,
                "verify_key": given.verify_key,
                "made_at": given.made_at,
                "given_key": given.key,
                "given_counter": given.counter,
                "body": body,
                **changed,
            },
        )
        for why, error, body, changed in wrong
    ]


# -- section 9 --------------------------------------------------------------------------------------------------------


def invites() -> list[Vectors]:
    """Return words that are no invites; all but the first four have the right check."""

    def word(*fields: object, rest: bytes = b"", prefix: str = "bc1") -> str:
        packed = wire.pack(*fields) + rest
        return prefix + base32(packed + blake2b(Label.INVITE_CHECK, packed, size=5))

    front = (RELAY, ROOM, b"i" * 32, RoomSecret(SECRET))
    good = word(*front, 2, START, ["127.0.0.1:4850"])
    wrong = {
        "a letter changed": good[:20] + ("a" if good[20] != "a" else "b") + good[21:],
        "a letter lost": good[:-1],
        "nothing": "",
        "no prefix": good[3:],
        "another prefix": word(*front, 2, START, ["127.0.0.1:4850"], prefix="bc2"),
        "no address": word(*front, 2, START, []),
        "nine addresses": word(*front, 2, START, ["127.0.0.1:4850"] * 9),
        "port 0": word(*front, 2, START, ["127.0.0.1:0"]),
        "an address with a key": word(*front, 2, START, ["127.0.0.1:4850/" + base32(RELAY)]),
        "index 1": word(*front, 1, START, ["127.0.0.1:4850"]),
        "a secret of 31 bytes": word(*front[:3], SECRET[:31], 2, START, ["127.0.0.1:4850"]),
        "something after the array": word(*front, 2, START, ["127.0.0.1:4850"], rest=b"\0"),
    }
    return [no(why, "bad-invite", word=text) for why, text in wrong.items()]


FILES: Final[dict[str, Callable[[], list[Vectors]]]] = {
    "padding": padding,
    "base32": base32_words,
    "identities": identities,
    "addresses": addresses,
    "hello": hello,
    "envelopes": envelopes,
    "frames": frames,
    "statements": statements,
    "logs": logs,
    "names": sealed_names,
    "cards": card_vectors,
    "contents": contents,
    "asides": asides,
    "room-messages": room_messages,
    "invites": invites,
}
