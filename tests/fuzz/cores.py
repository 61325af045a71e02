"""The relay's core and a peer's, whole: what a member or a relay sends must never make them fall over.

A frame by the first byte: as it is (0), or what the rest says, properly signed, sealed or encrypted by a member, so
that it reaches the rules. Ids that are drawn anew at every run stand in the inputs as placeholders.
"""

from __future__ import annotations

import functools
import sqlite3
from dataclasses import replace

import nacl.bindings

from peer.core.commands import Transmit
from peer.core.events import Reading
from peer.core.room import RoomCore
from peer.store import Store
from protocol import VERSION, content, limits, wire
from protocol import card as cards
from protocol import envelope as ev
from protocol import statement as st
from protocol.content import Aside, RoomMessage, Text
from protocol.identity import Identity, hello_content
from protocol.ids import InviteId, RelayKey
from protocol.limits import RelayLimits
from protocol.names import seal_nick
from protocol.primitives import Label, aead_encrypt, blake2b, derive, pad
from relay.core.core import Core
from tests.fuzz.parsers import ROUTE, line, owner, signed
from tests.fuzz.target import Target, fine
from tests.protocol.builders import ALICE, BOB, CHUCK, MESSAGE, NOW, SECRET, Keys, populated

RELAY = RelayKey(bytes(range(32)))
REQUEST = b"the ATTACH's id."
M = bytes(MESSAGE)
room, invites = populated(members_invite=True)
alice, bob = Keys(ALICE, NOW), Keys(BOB, NOW)
CARDS = [cards.make(who, room.id, NOW, Keys(who).key, seal_nick(SECRET, room.id, who.id, "x")) for who in (ALICE, BOB)]

# -- the relay --------------------------------------------------------------------------------------------------------


def _hello(who: Identity, connection: bytes) -> bytes:
    signature = who.sign(Label.HELLO, hello_content(RELAY, connection.ljust(32)))
    return ev.Hello(M, VERSION, who.id, signature).encode()


BEFORE = [
    (b"alice", _hello(ALICE, b"alice")),
    (b"bob", _hello(BOB, b"bob")),
    (b"alice", ev.Restore(M, room.id, True, tuple(room.membership.log)).encode()),
]
OPEN = [
    (b"alice", b"".join(ev.Publish(M, room.id, card).encode() for card in CARDS)),
    (b"bob", ev.Attach(M, room.id, True, 0, bytes(32), 0, 0).encode()),
]


def relay(data: bytes) -> None:
    """A frame of Alice's, or (first byte a kind's) a statement that she signs in her room."""
    core = Core(RELAY, bytes(16), RelayLimits(), NOW)
    core.set_clock(NOW, NOW)
    for name in (b"alice", b"bob"):
        core.connect(name, name.ljust(32), "::1", NOW)
    for name, frame in BEFORE:
        core.receive(name, frame, NOW)
    now = NOW + limits.REVIVAL
    core.tick(now)
    for name, frame in OPEN:
        core.receive(name, frame, now)
    frame = data[1:] if data[:1] == b"\0" else ev.Submit(M, room.id, signed(data)[: limits.STATEMENT]).encode()
    core.receive(b"alice", frame, now)
    for _ in range(3):
        for push in core.turn(now):
            assert list(ev.decode_deliveries(push.frame))
    core.tick(now + limits.HOUR)


ASKED = [
    ev.Attach(M, room.id, False, room.anchor.index, room.anchor.head, 0, 0),
    ev.Attach(M, room.id, True, 0, bytes(32), None, None),
    ev.Post(M, room.id, None, room.anchor.index, 0, b"to all"),
    ev.Post(M, room.id, BOB.id, room.anchor.index, 1, b"to bob"),
    ev.Fetch(M, room.id, BOB.id, 0),
    ev.Fetch(M, room.id, None, 3),
    ev.Submit(M, room.id, st.leave(ALICE, room.id, room.anchor)),
    ev.Restore(M, room.id, True, tuple(room.membership.log[:3])),
    ev.Ping(M),
]
SPOKEN = [
    st.grant(ALICE, room.id, room.anchor, InviteId(b"n" * 32), 0, 0),
    st.role(ALICE, room.id, room.anchor, CHUCK.id, True),
    st.remove(ALICE, room.id, room.anchor, BOB.id, True),
    st.revoke(ALICE, room.id, room.anchor, InviteId(invites["admin"].public)),
    st.close(ALICE, room.id, room.anchor),
]
BODIES = [raw[:1] + raw[97:] for raw in SPOKEN]

# -- a peer -----------------------------------------------------------------------------------------------------------


@functools.cache
def alices_profile() -> Store:
    """Alice's profile: the room's log, her key, Bob's card and a chain of his."""
    store = Store.in_memory("alice")
    store.write("UPDATE profile SET seed = ?", ALICE.seed)
    store.add_room(
        room.id, name="team", title="team", nick="alice", secret=SECRET, relay=RELAY, addresses=["127.0.0.1:1"]
    )
    store.write("UPDATE rooms SET attached_at = ?, incarnation = ?, read_under = ?", NOW, bytes(16), bytes(16))
    for place, raw in enumerate(room.membership.log, 1):
        store.write("INSERT INTO log VALUES (?, ?, ?)", room.id, place, raw)
    store.write("INSERT INTO sealing_keys VALUES (?, ?, ?, ?, ?, 1, NULL)", room.id, NOW, alice.secret, CARDS[0], NOW)
    for owner_, card in zip((ALICE, BOB), CARDS, strict=True):
        store.write("INSERT INTO cards VALUES (?, ?, ?, ?, ?)", room.id, owner_.id, NOW, card, NOW)
    store.write(
        "INSERT INTO chains VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(
            room.id,
            CHAIN.id,
            BOB.id,
            CHAIN.state.key,
            0,
            owner.public,
            room.anchor.index,
            bytes(32),
            0,
            NOW + limits.HOUR,
        ),
    )
    return store


CHAIN = replace(line, room=room.id, sender=BOB.id)
TO_ALICE = replace(
    ROUTE, room=room.id, sender=BOB.id, sender_generation=NOW, recipient=ALICE.id, recipient_generation=NOW
)


def _whispered(data: bytes) -> bytes:
    """Return the body of an aside of Bob's that says ``data``: an array of all that follows the context."""
    values = wire.unpack(data, limits.BODY)
    kind = values[5] if len(values) > 5 and type(values[5]) is int and 0 <= values[5] < 256 else 0
    inner = pad(wire.pack(TO_ALICE.context(kind), *values))  # type: ignore[arg-type]
    box = bytes(24) + nacl.bindings.crypto_box(inner, bytes(24), alice.key, bob.secret)
    return NOW.to_bytes(8) + nacl.bindings.crypto_box_seal(BOB.id + NOW.to_bytes(8) + box, alice.key)


def _said(plaintext: bytes) -> bytes:
    """Return the body of a room message of Bob's with this plaintext."""
    clear = CHAIN.id + bytes(2) + room.anchor.index.to_bytes(8) + room.anchor.head
    aad = room.id + BOB.id + MESSAGE + clear
    key = derive(CHAIN.state.key, Label.MESSAGE_KEY)
    sealed, commitment = aead_encrypt(key, pad(plaintext), aad), blake2b(Label.COMMITMENT, aad, key=key)
    return clear + commitment + owner.sign(Label.ROOM_MESSAGE, aad + commitment + sealed) + sealed


def wakes(store: Store) -> tuple[RoomCore, bytes]:
    """Let the owner of a profile connect to the relay; return the core of the room and the id of its ATTACH."""
    kept = store.room_by_id(room.id)
    assert kept
    core = RoomCore(store, kept, store.identity(), reading=Reading.BACKLOG, present=True)
    core.connected(ev.Welcome(VERSION, bytes(16), NOW, 600), NOW, since=NOW)
    (attach,) = [c.request for c in core.take() if isinstance(c, Transmit) and isinstance(c.request, ev.Attach)]
    return core, attach.id


def peer(data: bytes) -> None:
    """A frame of the relay's, or an aside (1), a room message (2) or a statement (3) of Bob's."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    alices_profile()._connection.backup(connection)
    connection.row_factory = sqlite3.Row
    store = Store(connection, None)
    core, attach = wakes(store)
    attached = ev.Attached(attach, room.id, room.anchor.index, room.anchor.head, 0, 0)
    with fine():
        core.receive([attached], NOW)
        core.receive(list(_delivered(data, attach)), NOW)
    for later in (limits.SECOND, limits.MINUTE):
        core.tick(NOW + later)
        core.take()
    store.close()


def _delivered(data: bytes, attach: bytes) -> list[ev.Delivery]:
    match data[:1]:
        case b"\1":
            return [ev.Message(room.id, BOB.id, True, 1, NOW, M, _whispered(data[1:]))]
        case b"\2":
            return [ev.Message(room.id, BOB.id, False, 1, NOW, M, _said(data[1:]))]
        case b"\3":
            return [ev.Statement(room.id, room.anchor.index + 1, signed(data[1:]))]
    return list(ev.decode_deliveries(data[1:].replace(REQUEST, attach)))


def _aside(said: content.Content) -> bytes:
    whole = content.encode_aside(bytes(32), Aside(room.anchor, 1, 0, NOW, said))
    return b"\1" + wire.pack(*wire.unpack(whole, limits.BODY)[1:])


WHISPERS = [_aside(each) for each in (Text("hi"), content.Receipt(MESSAGE), CHAIN.state, content.Ask(CHAIN.id))]
FRAMES = [
    ev.Statement(room.id, room.anchor.index + 1, SPOKEN[0]),
    ev.Card(room.id, CARDS[1]),
    ev.Presence(room.id, True, (BOB.id,), ()),
    ev.Message(room.id, BOB.id, False, 1, NOW, M, _said(b"\x93\0\1\xa2hi")),
    ev.Attached(REQUEST, room.id, room.anchor.index, room.anchor.head, 0, 0),
    ev.Accepted((REQUEST,)),
    ev.Refused(REQUEST, "stale-anchor"),
    ev.Closed(room.id, "closed"),
    ev.GoingAway(),
]

TARGETS = {
    "relay": Target(relay, [b"\0" + each.encode() for each in ASKED] + BODIES),
    "peer": Target(
        peer,
        WHISPERS
        + [b"\2" + content.encode_room(RoomMessage(NOW, Text("hi")))]
        + [b"\3" + each for each in BODIES]
        + [b"\0" + each.encode() for each in FRAMES],
    ),
}
