"""A small peer: joins a room by its invite word, talks in it, and refuses what it must.

Written from docs/protocol.md alone, as a test of that document: it shares no code with the program. It keeps nothing on
disk, never rotates by itself, and is in one room. What it refused, and why, is in `refused`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

import zmq
from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey
from nacl.utils import random
from zmq.utils import z85

from tests.interop import log as statements
from tests.interop.codec import (
    COUNT,
    TIME,
    ZERO,
    Attack,
    H,
    Invite,
    big,
    envelopes,
    fields,
    kdf,
    now,
    pack,
    pad,
    seal,
    sign,
    unpack,
    unpack_name,
    unpad,
    unseal,
    verify,
)
from tests.interop.log import Log

HELLO, SUBMIT, RESTORE, PUBLISH, ATTACH, POST, FETCH, PING = range(1, 9)
WELCOME, ACCEPTED, REFUSED, ATTACHED, STATEMENT, CARD, PRESENCE, MESSAGE, CLOSED, GOING_AWAY = range(33, 43)
DELIVERIES = {
    WELCOME: (range(COUNT), 16, range(TIME), range(COUNT)),
    ACCEPTED: ([16],),
    REFUSED: (16, str),
    ATTACHED: (16, 32, range(COUNT), 32, range(COUNT), range(COUNT)),
    STATEMENT: (32, range(COUNT), -1024),
    CARD: (32, -512),
    PRESENCE: (32, bool, [32], [32]),
    MESSAGE: (32, 32, bool, range(COUNT), range(TIME), 16, -97792),
    CLOSED: (32, str),
    GOING_AWAY: (),
}
TEXT, ACTION, RECEIPT, CHAIN_KEY, ASK = range(1, 6)
CONTENTS = {
    TEXT: (str,),
    ACTION: (str,),
    RECEIPT: (16,),
    CHAIN_KEY: (32, range(1001), 32, range(COUNT), 32, range(COUNT)),
    ASK: (32,),
}
MINUTE = 60_000


class Refused(Exception):
    """The relay refused a request, with this code."""


class Wait(Exception):
    """A message cannot be opened before something else has come."""


class Card(NamedTuple):
    owner: bytes
    generation: int
    key: bytes
    not_after: int
    nick: str
    data: bytes


class Message(NamedTuple):
    """What a person is shown."""

    sender: bytes
    text: str
    direct: bool
    id: bytes
    late: bool


class Came(NamedTuple):
    """A MESSAGE as the relay delivered it."""

    sender: bytes
    direct: bool
    id: bytes
    body: bytes


@dataclass
class SendingChain:
    key: bytes
    signer: SigningKey
    made_at: int
    made: int
    previous: tuple[bytes, int]
    n: int = 0
    holders: set[bytes] = field(default_factory=set)

    def id(self, room: bytes, sender: bytes) -> bytes:
        return H("bc1 chain id", room + sender + bytes(self.signer.verify_key))

    def message_key(self) -> bytes:
        key, self.key, self.n = kdf(self.key, "bc1 message key"), kdf(self.key, "bc1 chain step"), self.n + 1
        return key


@dataclass
class ReceivingChain:
    sender: bytes
    key: bytes
    n: int
    verify_key: bytes
    made_at: int
    skipped: dict[int, bytes] = field(default_factory=dict)

    def message_key(self, n: int) -> bytes:
        while self.n <= n < 1000:
            self.skipped[self.n] = kdf(self.key, "bc1 message key")
            self.key, self.n = kdf(self.key, "bc1 chain step"), self.n + 1
        if n not in self.skipped:
            raise Attack("a room message from before the chain key, or one for the second time")
        return self.skipped[n]


class Client:
    """One identity in one room."""

    def __init__(self, nick: str) -> None:
        self.nick = nick
        self.identity = SigningKey.generate()
        self.id = bytes(self.identity.verify_key)
        self.messages: list[Message] = []
        self.refused: list[str] = []
        self.receipts: set[bytes] = set()
        self.missing: dict[bytes, set[int]] = {}  # by sender: counters of asides that were skipped
        self.online: set[bytes] = set()
        self.answers: dict[bytes | int, str | None] = {}  # by request, or WELCOME: nil, or the code of a refusal
        self.parked: list[Came] = []
        self.fetched: dict[bytes, tuple[bytes, int]] = {}  # by request: the card that was asked for
        self.posted: dict[bytes, tuple[bytes, int]] = {}  # by request: to whom an aside went, and its counter
        self.asked: set[object] = set()  # cards and chains, each asked for once
        self.unknown: set[tuple[bytes, int]] = set()  # cards that the relay does not have
        self.seen: set[tuple] = set()
        self.highest: dict[bytes, int] = {}
        self.cards: dict[bytes, dict[int, Card]] = {}
        self.keys: dict[int, PrivateKey] = {}
        self.sent: dict[bytes, int] = {}
        self.given_up: dict[bytes, set[int]] = {}
        self.whispered: dict[bytes, bytes] = {}  # by message id: to whom
        self.chain: SendingChain | None = None
        self.chains: dict[bytes, ReceivingChain] = {}
        self.context = zmq.Context()

    # --- The connection

    def connect(self, address: str, relay: bytes) -> None:
        public, secret = zmq.curve_keypair()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_serverkey = relay
        self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        self.socket.connect(f"tcp://{address}")
        self.ask(HELLO, 1, self.id, sign(self.identity, "bc1 hello", relay + z85.decode(public)), until=WELCOME)

    def close(self) -> None:
        self.context.destroy(linger=0)

    def request(self, kind: int, *values: object) -> bytes:
        id = random(16)
        self.socket.send(pack(kind, id, *values))
        return id

    def ask(self, kind: int, *values: object, until: int = ACCEPTED) -> bytes:
        """Send a request and wait for its answer. Returns its id."""
        id = self.request(kind, *values)
        self.answered(id, until)
        return id

    def answered(self, id: bytes, until: int = ACCEPTED) -> None:
        """Wait for the answer to a request."""
        self.pump(lambda: id in self.answers or until in self.answers)
        self.answers.pop(until, None)
        if code := self.answers.pop(id, None):
            raise Refused(code)

    def pump(self, until: Callable[[], object], timeout: float = 60) -> None:
        """Take what the relay delivers until something holds."""
        deadline = monotonic() + timeout
        while not until():
            if monotonic() > deadline:
                raise TimeoutError(f"refused so far: {self.refused}")
            if not self.socket.poll(20):
                continue
            for envelope in envelopes(self.socket.recv()):
                self.take(envelope)

    def take(self, envelope: list) -> None:
        """Take one delivery. What is an attack is refused, noted, and changes nothing."""
        try:
            kind, *values = envelope
            values = fields(values, *DELIVERIES[kind])
            self.delivered(kind, *values)
        except Attack as attack:
            self.refused.append(str(attack))
        self.settle()

    def delivered(self, kind: int, *values: object) -> None:  # noqa: C901
        if kind in (STATEMENT, CARD, MESSAGE, PRESENCE, CLOSED) and values[0] != self.log.room:
            raise Attack("a delivery of a room that was not asked for")
        match kind, *values:
            case 33, version, _, clock, _:
                assert version == 1
                self.answers[WELCOME] = None
                self.skew = clock - now()
            case 34, ids:
                self.answers |= dict.fromkeys(ids)
            case 35, id, code:
                self.answers[id] = code
                if id in self.posted:
                    to, counter = self.posted[id]
                    self.given_up.setdefault(to, set()).add(counter)
                if id in self.fetched:
                    self.unknown.add(self.fetched[id])
            case 36, id, _, index, head, _, _:
                if (index, head) != self.log.anchor:
                    raise Attack("a log that ends elsewhere than the relay says")
                self.answers[id] = None
            case 37, _, index, statement:
                self.on_statement(index, statement)
            case 38, _, card:
                self.on_card(card)
            case 39, _, whole, online, offline:
                self.online = (set() if whole else self.online) - set(offline) | set(online)
            case 40, _, sender, direct, _, _, id, body:
                if direct or sender != self.id:
                    self.parked.append(Came(sender, direct, id, body))

    # --- The room

    def join(self, word: str) -> None:
        invite = Invite.read(word)
        self.invite, self.secret, self.log = invite, invite.secret, Log(invite.room)
        self.connect(invite.addresses[0], invite.relay)
        body = pack(invite.room, invite.index, invite.head)
        self.submit(statements.state(statements.ADMIT, self.identity, body, SigningKey(invite.seed)))
        self.publish()
        self.attach()
        if not self.log.is_place(invite.index, invite.head):
            raise Attack("a log that is not the invite's")

    def found(self, address: str, relay: bytes, title: str) -> None:
        salt, self.secret = random(16), random(32)
        sealed = seal(kdf(self.secret, "bc1 title"), pack(title).ljust(68, b"\0"), self.id + salt)
        found = statements.state(statements.FOUND, self.identity, pack(salt, now(), False, sealed))
        self.log = Log(H("bc1 room id", found))
        self.connect(address, relay)
        self.submit(found)
        self.publish()
        self.attach()

    def state(self, kind: int, *values: object) -> None:
        """Make a statement at the end of the log and have it folded."""
        self.submit(statements.state(kind, self.identity, statements.body(self.log, *values)))

    def submit(self, statement: bytes) -> None:
        self.ask(SUBMIT, self.log.room, statement)

    def grant(self, address: str, relay: bytes) -> str:
        """Make an invite and return its word."""
        seed = random(32)
        self.state(statements.GRANT, bytes(SigningKey(seed).verify_key), 0, 0)
        self.pump(lambda: bytes(SigningKey(seed).verify_key) in self.log.invites)
        return Invite(relay, self.log.room, seed, self.secret, *self.log.anchor, [address]).word()

    def attach(self) -> None:
        self.ask(ATTACH, self.log.room, True, *self.log.anchor, 0, 0)

    @property
    def title(self) -> str:
        key = kdf(self.secret, "bc1 title")
        return unpack_name(unseal(key, self.log.sealed_title, self.log.founder + self.log.salt), 64)

    def on_statement(self, index: int, statement: bytes) -> None:
        if 1 <= index <= len(self.log):
            if self.log.statements[index - 1] != statement:
                raise Attack("another view of the room: a different statement at one place")
        elif index == len(self.log) + 1:
            self.log.append(statement)
        else:
            raise Attack("a gap in the log")

    # --- Cards

    def publish(self) -> None:
        generation = max([now(), *(made + 1 for made in self.keys)])
        self.keys[generation] = PrivateKey.generate()
        self.ask(PUBLISH, self.log.room, self.card(generation))

    def card(self, generation: int) -> bytes:
        nick = pack(self.nick).ljust(36, b"\0")
        sealed = seal(kdf(self.secret, "bc1 nicks"), nick, self.log.room + self.id)
        key = bytes(self.keys[generation].public_key)
        body = pack(self.log.room, generation, key, generation + 60 * MINUTE, sealed)
        return self.id + sign(self.identity, "bc1 card", self.id + body) + body

    def on_card(self, data: bytes) -> None:
        owner, signature, body = data[:32], data[32:96], data[96:]
        verify(owner, "bc1 card", owner + body, signature)
        room, generation, key, not_after, sealed = fields(unpack(body), 32, range(TIME), 32, range(TIME), -128)
        if room != self.log.room or generation > now() + 11 * MINUTE:
            raise Attack("a card of another room, or of another day")
        if not generation < not_after <= generation + 24 * 60 * MINUTE:
            raise Attack("a card with a wrong end")
        try:
            Box(PrivateKey.generate(), PublicKey(key))
        except CryptoError:
            raise Attack("a card with a low-order key") from None
        known = self.cards.setdefault(owner, {})
        if generation in known and known[generation].data != data:
            raise Attack("a second card of one generation")
        nick = unpack_name(unseal(kdf(self.secret, "bc1 nicks"), sealed, room + owner), 32)
        known[generation] = Card(owner, generation, key, not_after, nick, data)

    def newest(self, owner: bytes) -> Card:
        return max(self.cards[owner].values(), key=lambda card: card.generation)

    def named(self, nick: str) -> bytes:
        (who,) = [who for who in self.log.roles if who in self.cards and self.newest(who).nick == nick]
        return who

    # --- Asides: section 6

    def whisper(self, to: bytes, text: str) -> bytes:
        """Say something to one member alone. Returns the message's id."""
        id = self.aside(self.newest(to), TEXT, text)
        self.answered(id)
        return id

    def aside(self, to: Card, content: int, *values: object) -> bytes:
        id, generation = random(16), max(self.keys)
        self.sent[to.owner] = counter = self.sent.get(to.owner, 0) + 1
        lost = sum(1 << counter - 1 - each for each in self.given_up.get(to.owner, ()) if counter - 1 - each < 64)
        context = H(
            "bc1 aside",
            bytes([content]) + self.log.room + id + self.id + to.owner + big(generation) + big(to.generation),
        )
        plain = pack(context, *self.log.anchor, counter, lost, now(), content, *values)
        if content in (TEXT, ACTION):
            self.whispered[id] = to.owner
        self.posted[id] = (to.owner, counter)
        self.post(id, to.owner, self.seal_aside(to, self.id, generation, plain), int(content == CHAIN_KEY))
        return id

    def post(self, id: bytes, to: bytes | None, body: bytes, flags: int = 0) -> None:
        self.socket.send(pack(POST, id, self.log.room, to, len(self.log), flags, body))

    def seal_aside(self, to: Card, sender: bytes, generation: int, plain: bytes) -> bytes:
        box = Box(self.keys[max(self.keys)], PublicKey(to.key)).encrypt(pad(plain))
        inner = sender + big(generation) + box
        return big(to.generation) + SealedBox(PublicKey(to.key)).encrypt(inner)

    def unwrap(self, came: Came) -> tuple[Card, int, bytes]:
        """The sender's card, our generation and the plaintext of an aside, by its two boxes."""
        own = int.from_bytes(came.body[:8], "big")
        if own not in self.keys:
            raise Attack("an aside to a key that is not here")
        try:
            inner = SealedBox(self.keys[own]).decrypt(came.body[8:])
            sender, generation = inner[:32], int.from_bytes(inner[32:40], "big")
            if sender != came.sender:
                raise Attack("an aside that another sealed than the relay says")
            card = self.cards.get(sender, {}).get(generation)
            if card is None and (sender, generation) in self.unknown:
                raise Attack("an aside from a card that nobody has")
            if card is None:
                self.fetch(sender, generation)
                raise Wait
            return card, own, unpad(Box(self.keys[own], PublicKey(card.key)).decrypt(inner[40:]))
        except (CryptoError, ValueError):
            raise Attack("an aside that does not open") from None

    def read_aside(self, came: Came) -> tuple[Card, list, list]:
        """The sender's card, what stands before the content of an aside, and the content's fields."""
        card, own, plain = self.unwrap(came)
        head = (32, range(COUNT), 32, range(COUNT), range(2**64), range(TIME), range(256))
        array = unpack(plain)
        context, index, place, counter, given_up, _, content = fields(array[:7], *head)
        if content not in CONTENTS:
            raise Attack("an unknown kind of content")
        values = fields(array[7:], *CONTENTS[content])
        scene = self.log.room + came.id + came.sender + self.id + big(card.generation) + big(own)
        if context != H("bc1 aside", bytes([content]) + scene):
            raise Attack("an aside out of its context")
        return card, [index, place, counter, given_up, array[5], content], values

    def open_aside(self, came: Came) -> None:
        card, (index, place, counter, given_up, _, content), values = self.read_aside(came)
        if not self.anchored(came.sender, index, place):
            return
        if came.sender not in self.log.roles:
            return
        self.count(came.sender, counter, given_up)
        if content in (TEXT, ACTION):
            self.messages.append(Message(came.sender, values[0], True, came.id, False))
            self.aside(card, RECEIPT, came.id)
        elif content == RECEIPT and self.whispered.get(values[0]) == came.sender:
            self.receipts.add(values[0])
        elif content == CHAIN_KEY:
            self.on_chain_key(came.sender, *values)
        elif content == ASK:
            self.on_ask(came.sender, *values)

    def count(self, sender: bytes, counter: int, given_up: int) -> None:
        """Refuse an aside whose counter came before, and note the counters that it skips."""
        missing, highest = self.missing.setdefault(sender, set()), self.highest.get(sender, 0)
        if counter <= highest and counter not in missing:
            raise Attack("a replay: an aside's counter for the second time")
        missing |= set(range(highest + 1, min(counter, highest + 1000)))
        missing -= {counter, *(counter - 1 - i for i in range(64) if given_up >> i & 1)}
        self.highest[sender] = max(highest, counter)

    def fetch(self, owner: bytes, generation: int) -> None:
        if (owner, generation) not in self.asked:
            self.asked.add((owner, generation))
            self.fetched[self.request(FETCH, self.log.room, owner, generation)] = (owner, generation)

    def anchored(self, sender: bytes, index: int, head: bytes) -> bool:
        """Hold an anchor against the log: section 8. Whether the message is for us at all."""
        if index > len(self.log):
            raise Wait
        if not self.log.is_place(index, head):
            raise Attack("another view of the room: a head that is not the log's")
        if not self.log.was_member(sender, index):
            raise Attack("a message by who was no member")
        return index >= self.log.stays[self.id][::2][-1]

    # --- Room messages: section 7

    def say(self, text: str) -> bytes:
        """Say something to the room. Returns the message's id."""
        chain = self.ready_chain()
        for who in self.log.roles:
            card = self.newest(who) if who in self.cards and who != self.id else None
            if card and who not in chain.holders and card.not_after > now():
                self.aside(card, CHAIN_KEY, *self.chain_key(chain))
                chain.holders.add(who)
        id = random(16)
        body = self.seal_room_message(chain, id, pack(now(), TEXT, text))
        self.post(id, None, body)
        self.answered(id)
        return id

    def ready_chain(self) -> SendingChain:
        chain, last = self.chain, (ZERO, 0)
        if chain:
            departed = self.log.departed_by(len(self.log)) > chain.made_at
            if not departed and chain.n < 1000 and now() < chain.made + 10 * MINUTE:
                return chain
            last = (chain.id(self.log.room, self.id), chain.n)
        self.chain = SendingChain(random(32), SigningKey.generate(), len(self.log), now(), last)
        return self.chain

    def chain_key(self, chain: SendingChain) -> tuple:
        return chain.key, chain.n, bytes(chain.signer.verify_key), chain.made_at, *chain.previous

    def seal_room_message(self, chain: SendingChain, id: bytes, plain: bytes) -> bytes:
        index, head = self.log.anchor
        clear = chain.id(self.log.room, self.id) + big(chain.n, 2) + big(index) + head
        key, aad = chain.message_key(), self.log.room + self.id + id + clear
        sealed = seal(key, pad(plain), aad)
        commitment = H("bc1 commitment", aad, key=key)
        signature = sign(chain.signer, "bc1 room message", aad + commitment + sealed)
        return clear + commitment + signature + sealed

    def on_chain_key(self, sender: bytes, key: bytes, n: int, verify_key: bytes, made_at: int, *_: object) -> None:
        id = H("bc1 chain id", self.log.room + sender + verify_key)
        self.chains.setdefault(id, ReceivingChain(sender, key, n, verify_key, made_at))

    def on_ask(self, asker: bytes, chain: bytes) -> None:
        if self.chain and self.chain.id(self.log.room, self.id) == chain and asker in self.log.roles:
            self.aside(self.newest(asker), CHAIN_KEY, *self.chain_key(self.chain))

    def split(self, body: bytes) -> tuple[bytes, int, int, bytes]:
        """Chain, number and anchor of a room message."""
        if len(body) <= 170:
            raise Attack("a short room message")
        n = int.from_bytes(body[32:34], "big")
        if n >= 1000:
            raise Attack("a number that no chain has")
        return body[:32], n, int.from_bytes(body[34:42], "big"), body[42:74]

    def decrypt(self, chain: ReceivingChain, came: Came) -> list:
        """What is in a room message whose signature is good: when, kind, text."""
        commitment, sealed = came.body[74:106], came.body[170:]
        aad = self.log.room + came.sender + came.id + came.body[:74]
        key = chain.message_key(self.split(came.body)[1])
        if commitment != H("bc1 commitment", aad, key=key):
            raise Attack("a room message without its commitment")
        plain = unpack(unpad(unseal(key, sealed, aad)))
        return fields(plain, range(TIME), range(TEXT, ACTION + 1), str)

    def verify_signature(self, chain: ReceivingChain, came: Came) -> None:
        clear, commitment, signature, sealed = (
            came.body[a:b] for a, b in ((0, 74), (74, 106), (106, 170), (170, None))
        )
        if clear[:32] != H("bc1 chain id", self.log.room + came.sender + chain.verify_key):
            raise Attack("a room message of another chain")
        aad = self.log.room + came.sender + came.id + clear
        verify(chain.verify_key, "bc1 room message", aad + commitment + sealed, signature)

    def open_room_message(self, came: Came) -> None:
        id, n, index, head = self.split(came.body)
        chain = self.chains.get(id)
        if chain is None:
            if id not in self.asked and came.sender in self.cards:
                self.asked.add(id)
                self.aside(self.newest(came.sender), ASK, id)
            raise Wait
        if chain.sender != came.sender:
            raise Attack("a room message by another's chain")
        self.verify_signature(chain, came)
        if not self.anchored(came.sender, index, head):
            return
        if chain.made_at < self.log.departed_by(index):
            raise Attack("a chain from before somebody went")
        if ("n", id, n) in self.seen:
            raise Attack("a replay: a room message's number for the second time")
        _, _, text = self.decrypt(chain, came)
        self.seen.add(("n", id, n))
        del chain.skipped[n]
        late = self.log.departed_by(len(self.log)) > index
        self.messages.append(Message(came.sender, text, False, came.id, late))

    # --- What waits

    def settle(self) -> None:
        """Open what can be opened by now."""
        moved = True
        while moved:
            waiting, self.parked, moved = self.parked, [], False
            for came in waiting:
                try:
                    if (came.sender, came.id) in self.seen:
                        raise Attack("a replay: a message's id for the second time")
                    (self.open_aside if came.direct else self.open_room_message)(came)
                    self.seen.add((came.sender, came.id))
                except Wait:
                    self.parked.append(came)
                    continue
                except Attack as attack:
                    self.refused.append(str(attack))
                moved = True
