"""What the vectors are of: every structure of the protocol, made by the program's own code from fixed input.

Each function makes one file, and its docstring becomes the file's ``about``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import protocol
from protocol import address, envelope, identity, limits, names
from protocol import card as cards
from protocol import seal as sealing
from protocol import statement as st
from protocol.base32 import base32
from protocol.chain import SendingChain, chain_id
from protocol.content import (
    Action,
    Aside,
    Ask,
    ChainKey,
    Content,
    Receipt,
    RoomMessage,
    Text,
    encode_aside,
    encode_room,
)
from protocol.ids import Anchor, ChainId, Head, InviteId, RelayKey
from protocol.invite import Invite
from protocol.membership import Membership
from protocol.primitives import Label, blake2b, derive, pad
from tests.protocol.builders import (
    ALICE,
    ANCHOR,
    BOB,
    CHUCK,
    DAVE,
    EVE,
    GINA,
    MESSAGE,
    NOW,
    OTHER_MESSAGE,
    ROOM,
    SECRET,
    Keys,
    Room,
    populated,
)

Vectors = dict[str, object]
EPHEMERAL: Final[list[bytes]] = []
"""The keys that ``SealedBox`` drew, in order: filled by the generator."""
RELAY: Final = RelayKey(bytes(range(32)))
TRANSPORT: Final = bytes(range(32, 64))
PEOPLE: Final = {"alice": ALICE, "bob": BOB, "chuck": CHUCK, "dave": DAVE, "eve": EVE, "gina": GINA}
CHAIN_KEY: Final = ChainKey(b"k" * 32, 3, b"v" * 32, 7, ChainId(b"p" * 32), 12)
CONTENTS: Final[list[Content]] = [
    Text("hello"),
    Text(""),
    Text("grüße, 世界\n\t🦊"),
    Action("waves"),
    Receipt(OTHER_MESSAGE),
    CHAIN_KEY,
    Ask(ChainId(b"c" * 32)),
]


def fields_of(content: Content) -> list[object]:
    """Return a content's fields, with texts marked as such."""
    return [text_or_bytes(getattr(content, field.name)) for field in dataclasses.fields(content)]


def text_or_bytes(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


# -- section 1 --------------------------------------------------------------------------------------------------------


def hashes() -> list[Vectors]:
    """H(label, data) of every label, without a key and with one; and KDF(key, label), which is H of nothing, keyed."""
    key = bytes(range(32))
    return [
        {
            "label": label.value.decode(),
            "data": b"data",
            "key": key,
            "hash": blake2b(label, b"data"),
            "keyed": blake2b(label, b"data", key=key),
            "kdf": derive(key, label),
        }
        for label in Label
    ]


def padding() -> list[Vectors]:
    """pad(p) for p of `length` bytes, each 0x2a: the padded length, and its last bytes, from where p ends."""
    lengths = [0, 1, 254, 255, 256, 1023, 1024, 4095, 4096, 16383, 16384, 32767, 32768, 81919]
    made = []
    for length in lengths:
        padded = pad(b"*" * length)
        made.append({"length": length, "padded_length": len(padded), "after_p": padded[length : length + 8]})
    return made


def base32_words() -> list[Vectors]:
    """base32, in lower case and without padding."""
    return [{"bytes": data, "word": base32(data)} for data in (b"", b"f", b"fo", b"foo", b"foob", b"fooba", bytes(32))]


def identities() -> list[Vectors]:
    """Identities: seed, peer id, printed forms, and a signature over `content` under `label`; people of other files."""
    return [
        {
            "name": name,
            "seed": who.seed,
            "id": who.id,
            "text": identity.id_text(who.id),
            "fingerprint": identity.fingerprint(who.id),
            "label": Label.CARD.value.decode(),
            "content": b"content",
            "signature": who.sign(Label.CARD, b"content"),
        }
        for name, who in PEOPLE.items()
    ]


def safety_numbers() -> list[Vectors]:
    """Safety numbers: the same whichever id comes first."""
    pairs = [(ALICE, BOB), (BOB, ALICE), (ALICE, CHUCK), (DAVE, EVE)]
    return [
        {
            "one": one.id,
            "other": other.id,
            "number": identity.safety_number(one.id, other.id).replace(" ", ""),
        }
        for one, other in pairs
    ]


# -- sections 2, 3 ----------------------------------------------------------------------------------------------------


def addresses() -> list[Vectors]:
    """Addresses of relays."""
    key = base32(RELAY)
    words = [f"127.0.0.1:4850/{key}", f"::1:4850/{key}", f"relay.example:65535/{key}", f"fe80::1%eth0:1/{key}"]
    return [
        {
            "address": word,
            "host": (read := address.RelayAddress.parse(word)).at.host,
            "port": read.at.port,
            "key": RELAY,
        }
        for word in words
    ]


def hello() -> list[Vectors]:
    """HELLO: what is signed, and the envelope, for a relay and a connection with these CURVE public keys."""
    made = []
    for who in (ALICE, BOB):
        content = identity.hello_content(RELAY, TRANSPORT)
        signature = who.sign(Label.HELLO, content)
        made.append(
            {
                "seed": who.seed,
                "relay": RELAY,
                "connection": TRANSPORT,
                "id": MESSAGE,
                "content": content,
                "signature": signature,
                "envelope": envelope.Hello(MESSAGE, protocol.VERSION, who.id, signature).encode(),
            }
        )
    return made


def samples() -> list[envelope.Envelope]:
    """Return envelopes of every kind, those with optional fields with and without."""
    room, other = ROOM, OTHER_MESSAGE
    return [
        envelope.Hello(MESSAGE, 1, ALICE.id, b"s" * 64),
        envelope.Submit(MESSAGE, room, b"statement"),
        envelope.Restore(MESSAGE, room, True, (b"one", b"two")),
        envelope.Restore(MESSAGE, room, False, ()),
        envelope.Publish(MESSAGE, room, b"card"),
        envelope.Attach(MESSAGE, room, True, 7, ANCHOR.head, 0, None),
        envelope.Attach(MESSAGE, room, False, 0, bytes(32), None, limits.COUNTER - 1),
        envelope.Post(MESSAGE, room, None, 7, 0, b"body"),
        envelope.Post(MESSAGE, room, BOB.id, 7, 1, b"\x00" * 300),
        envelope.Fetch(MESSAGE, room, BOB.id, NOW),
        envelope.Fetch(MESSAGE, room, None, 3),
        envelope.Ping(MESSAGE),
        envelope.Welcome(1, b"i" * 16, NOW, 600),
        envelope.Accepted((MESSAGE, other)),
        envelope.Refused(MESSAGE, "not-member"),
        envelope.Attached(MESSAGE, room, 7, ANCHOR.head, 128, 65_536),
        envelope.Statement(room, 1, b"statement"),
        envelope.Card(room, b"card"),
        envelope.Presence(room, True, (ALICE.id, BOB.id), ()),
        envelope.Presence(room, False, (), (CHUCK.id,)),
        envelope.Message(room, ALICE.id, True, 5, NOW, MESSAGE, b"body"),
        envelope.Message(room, ALICE.id, False, 1 << 40, NOW, MESSAGE, b""),
        envelope.Closed(room, "banned"),
        envelope.GoingAway(),
    ]


def envelopes() -> list[Vectors]:
    """Envelopes of every kind: the fields after the kind, in order. A `str` is {"text": …}, a `bin` is hexadecimal."""
    return [
        {
            "name": sample.KIND.name,
            "kind": int(sample.KIND),
            "fields": [text_or_bytes(getattr(sample, field.name)) for field in dataclasses.fields(sample)],
            "envelope": sample.encode(),
        }
        for sample in samples()
    ]


def frames() -> list[Vectors]:
    """Frames: envelopes back to back, in order."""
    requests = [envelope.Ping(MESSAGE), envelope.Post(OTHER_MESSAGE, ROOM, None, 7, 0, b"body")]
    deliveries = [envelope.Accepted((MESSAGE,)), envelope.GoingAway(), envelope.Card(ROOM, b"card")]
    return [
        {
            "direction": direction,
            "envelopes": [each.encode() for each in envelopes],
            "frame": b"".join(each.encode() for each in envelopes),
        }
        for direction, envelopes in (("requests", requests), ("deliveries", deliveries))
    ]


# -- section 4 --------------------------------------------------------------------------------------------------------


def statements() -> list[Vectors]:
    """Statements of every kind: the body's fields in order, the signed bytes, the id; of FOUND the room id as well."""
    title = names.seal_title(SECRET, ALICE.id, b"salt" * 4, "team")
    invite = identity.SigningKey(b"i" * 32)
    key = InviteId(invite.public)
    found = st.found(ALICE, b"salt" * 4, NOW, False, title)
    made = [
        (found, ALICE, [b"salt" * 4, NOW, False, title]),
        (st.grant(ALICE, ROOM, ANCHOR, key, 0, 0), ALICE, [ROOM, *ANCHOR, key, 0, 0]),
        (st.grant(BOB, ROOM, ANCHOR, key, 1_000_000, NOW), BOB, [ROOM, *ANCHOR, key, 1_000_000, NOW]),
        (st.admit(BOB, ROOM, ANCHOR, invite), BOB, [ROOM, *ANCHOR]),
        (st.role(ALICE, ROOM, ANCHOR, BOB.id, True), ALICE, [ROOM, *ANCHOR, BOB.id, True]),
        (st.role(ALICE, ROOM, ANCHOR, BOB.id, False), ALICE, [ROOM, *ANCHOR, BOB.id, False]),
        (st.remove(ALICE, ROOM, ANCHOR, BOB.id, False), ALICE, [ROOM, *ANCHOR, BOB.id, False]),
        (st.remove(ALICE, ROOM, ANCHOR, BOB.id, True), ALICE, [ROOM, *ANCHOR, BOB.id, True]),
        (st.revoke(ALICE, ROOM, ANCHOR, key), ALICE, [ROOM, *ANCHOR, key]),
        (st.leave(BOB, ROOM, ANCHOR), BOB, [ROOM, *ANCHOR]),
        (st.close(ALICE, ROOM, ANCHOR), ALICE, [ROOM, *ANCHOR]),
    ]
    vectors: list[Vectors] = []
    for raw, signer, body in made:
        kind = st.Kind(raw[0])
        vector: Vectors = {"name": kind.name, "kind": int(kind), "signer_seed": signer.seed}
        if kind is st.Kind.ADMIT:
            vector["invite_seed"] = invite.seed
        vector |= {"fields": body, "statement": raw, "id": st.statement_id(raw)}
        if kind is st.Kind.FOUND:
            vector["room"] = st.room_id(raw)
        vectors.append(vector)
    return vectors


def outcome(name: str, log: Membership) -> Vectors:
    """Return what a log folds to."""
    return {
        "name": name,
        "room": log.room,
        "statements": log.log,
        "heads": log.heads[1:],
        "roles": {peer.hex(): member.role.name.lower() for peer, member in log.members.items()},
        "since": {peer.hex(): member.since for peer, member in log.members.items()},
        "banned": sorted(log.banned),
        "gone": {peer.hex(): index for peer, index in log.left.items()},
        "invites": {
            key.hex(): {"granter": grant.signer, "uses": grant.uses, "used": log._admitted[key]}
            for key, grant in log.grants.items()
        },
        "departures": log.departures,
        "closed": log.closed,
    }


def logs_in_the_making() -> dict[str, Room]:
    """Return rooms with all that can happen in one."""
    founded = Room()
    everybody, _ = populated()
    free, _ = populated(members_invite=True)
    back = Room()
    invite = back.invites("first", uses=2)
    back.says(st.admit, BOB, invite)
    back.says(st.leave, BOB)
    back.says(st.admit, BOB, invite)
    back.promotes(CHUCK)
    back.says(st.revoke, CHUCK, InviteId(invite.public))
    back.says(st.role, ALICE, CHUCK.id, False)
    back.says(st.remove, ALICE, EVE.id, True)
    back.says(st.remove, ALICE, EVE.id, False)
    closed = Room()
    closed.admits(BOB)
    closed.says(st.close, ALICE)
    spent = Room()
    once = spent.invites("once", uses=1)
    spent.says(st.admit, BOB, once)
    return {
        "founded": founded,
        "everybody": everybody,
        "members invite": free,
        "back again": back,
        "closed": closed,
        "spent": spent,
    }


def logs() -> list[Vectors]:
    """Logs that fold: the head after each statement, and what the whole says. Objects are keyed by ids."""
    return [outcome(name, room.membership) for name, room in logs_in_the_making().items()]


# -- section 5 --------------------------------------------------------------------------------------------------------


def sealed_names() -> list[Vectors]:
    """Sealed nicks and titles: `aad` is room and owner, or founder and salt; the nonce is the first 24 bytes."""
    made: list[Vectors] = []
    for nick in ("alice", "", "é" * 16, "x" * 32):
        sealed = names.seal_nick(SECRET, ROOM, ALICE.id, nick)
        made.append({"of": "nick", "secret": SECRET, "aad": ROOM + ALICE.id, "name": nick, "sealed": sealed})
    for title in ("team", "x" * 64):
        sealed = names.seal_title(SECRET, ALICE.id, b"salt" * 4, title)
        made.append({"of": "title", "secret": SECRET, "aad": ALICE.id + b"salt" * 4, "name": title, "sealed": sealed})
    assert all(len(vector["sealed"]) == 40 + (36 if vector["of"] == "nick" else 68) for vector in made)  # type: ignore[arg-type]
    return made


def card_vectors() -> list[Vectors]:
    """Cards: the sealing key's private half, the fields, the signed bytes, and when they are looked at (`now`)."""
    made: list[Vectors] = []
    for who, generation, now in ((ALICE, NOW, NOW), (BOB, NOW + limits.CARD_AHEAD, NOW), (ALICE, NOW, NOW * 2)):
        keys = Keys(who, generation)
        nick = names.seal_nick(SECRET, ROOM, who.id, "nick")
        raw = cards.make(who, ROOM, generation, keys.key, nick)
        read = cards.Card.decode(raw, room=ROOM, now=now)
        made.append(
            {
                "owner_seed": who.seed,
                "room": ROOM,
                "generation": generation,
                "secret": keys.secret,
                "sealing_key": read.sealing_key,
                "not_after": read.not_after,
                "nick": nick,
                "card": raw,
                "now": now,
                "expired": read.expired(now),
            }
        )
    return made


# -- sections 6, 7 ----------------------------------------------------------------------------------------------------


def contents() -> list[Vectors]:
    """Contents: fields, and the plaintexts before padding; `room` is null for what no room message may hold."""
    made: list[Vectors] = []
    for content in CONTENTS:
        aside = Aside(ANCHOR, 5, 0b101, NOW, content)
        public = isinstance(content, Text | Action)
        made.append(
            {
                "kind": int(content.KIND),
                "fields": fields_of(content),
                "context": b"x" * 32,
                "index": ANCHOR.index,
                "head": ANCHOR.head,
                "counter": 5,
                "given_up": 0b101,
                "sent": NOW,
                "aside": encode_aside(b"x" * 32, aside),
                "room": encode_room(RoomMessage(NOW, content)) if public else None,
            }
        )
    return made


ALICES, BOBS = Keys(ALICE), Keys(BOB, NOW + 1)


def aside_vector(content: Content, *, given_up: int = 0, counter: int = 1) -> Vectors:
    """Seal something from Alice to Bob."""
    route = sealing.Route(
        room=ROOM,
        message=MESSAGE,
        sender=ALICES.id,
        sender_generation=ALICES.generation,
        recipient=BOBS.id,
        recipient_generation=BOBS.generation,
    )
    aside = Aside(ANCHOR, counter, given_up, NOW, content)
    body = sealing.seal(aside, route, ALICES.secret, BOBS.key)
    unsealed = sealing.unseal(body, BOBS.secret, BOBS.key)
    return {
        "room": ROOM,
        "message": MESSAGE,
        "sender": ALICES.id,
        "sender_generation": ALICES.generation,
        "sender_secret": ALICES.secret,
        "sender_key": ALICES.key,
        "recipient": BOBS.id,
        "recipient_generation": BOBS.generation,
        "recipient_secret": BOBS.secret,
        "index": ANCHOR.index,
        "head": ANCHOR.head,
        "counter": counter,
        "given_up": given_up,
        "sent": NOW,
        "kind": int(content.KIND),
        "fields": fields_of(content),
        "context": route.context(content.KIND),
        "ephemeral_secret": EPHEMERAL[-1],
        "nonce": unsealed.box[:24],
        "body": body,
    }


def asides() -> list[Vectors]:
    """Asides: everything that goes in, and the body. Open it with the recipient's secret; or make it again with the
    sender's secret, the ephemeral secret of the outer box and the nonce of the inner one."""
    made = [aside_vector(content) for content in CONTENTS]
    return [*made, aside_vector(Text("x" * 300), counter=limits.COUNTER - 1, given_up=(1 << 64) - 1)]


def chains() -> list[Vectors]:
    """Chains: from the key at one counter the message key there and the next key; and the chain's id."""
    key, verify_key = bytes(range(32)), identity.SigningKey(b"c" * 32).public
    steps = []
    for counter in range(4):
        steps.append({"counter": counter, "key": key, "message_key": derive(key, Label.MESSAGE_KEY)})
        key = derive(key, Label.CHAIN_STEP)
    made: Vectors = {
        "room": ROOM,
        "sender": ALICE.id,
        "verify_key": verify_key,
        "id": chain_id(ROOM, ALICE.id, verify_key),
        "steps": steps,
    }
    return [made]


def room_messages() -> list[Vectors]:
    """Room messages: the chain as its receiver was given it, everything that goes in, and the body."""
    chain = SendingChain(ROOM, ALICE.id, 7, NOW)
    made: list[Vectors] = []
    given = chain.share()
    for content in (Text("hello"), Action("waves"), Text("x" * 300), Text("")):
        key, counter = chain.share().key, chain.counter
        body = chain.encrypt(RoomMessage(NOW, content), MESSAGE, ANCHOR)
        made.append(
            {
                "room": ROOM,
                "sender": ALICE.id,
                "message": MESSAGE,
                "signing_seed": chain._signer.seed,
                "verify_key": given.verify_key,
                "made_at": given.made_at,
                "given_key": given.key,
                "given_counter": given.counter,
                "chain": chain.id,
                "counter": counter,
                "message_key": derive(key, Label.MESSAGE_KEY),
                "index": ANCHOR.index,
                "head": ANCHOR.head,
                "sent": NOW,
                "kind": int(content.KIND),
                "fields": fields_of(content),
                "nonce": body[170:194],
                "body": body,
            }
        )
        if counter == 1:
            given = chain.share()
    return made


# -- section 9 --------------------------------------------------------------------------------------------------------


def invites() -> list[Vectors]:
    """Invite words, as they are printed."""
    made: list[Vectors] = []
    for places in (["127.0.0.1:4850"], ["::1:1", "relay.example:65535"]):
        hosts = tuple(address.HostPort.parse(place) for place in places)
        word = Invite(RELAY, ROOM, b"i" * 32, SECRET, Anchor(2, Head(ANCHOR.head)), hosts)
        made.append(
            {
                "relay": RELAY,
                "room": ROOM,
                "seed": word.seed,
                "secret": SECRET,
                "index": word.anchor.index,
                "head": word.anchor.head,
                "addresses": places,
                "word": word.encode(),
            }
        )
    return made


FILES: Final[dict[str, Callable[[], list[Vectors]]]] = {
    "hashes": hashes,
    "padding": padding,
    "base32": base32_words,
    "identities": identities,
    "safety-numbers": safety_numbers,
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
    "chains": chains,
    "room-messages": room_messages,
    "invites": invites,
}
