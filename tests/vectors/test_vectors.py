"""The published vectors are what the program makes today, and the program reads each of them as they say.

A stranger who implements docs/protocol.md has these files and nothing else, so a byte that changes in them is a change
of the protocol: it wants a new version of the document, not a new vector.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nacl.bindings
import pytest

from protocol import card as cards
from protocol import chain as ch
from protocol import envelope, identity, names, seal
from protocol import statement as st
from protocol.address import RelayAddress
from protocol.base32 import base32, from_base32
from protocol.content import ChainKey, Content, RoomMessage, decode_aside, decode_room
from protocol.errors import BackchannelError, Refused, UnknownCard, UnknownPeer, UnknownRoom
from protocol.ids import Anchor, Head, MessageId, PeerId, RelayKey, RoomId, RoomSecret, SealingKey, SealingSecret
from protocol.invite import Invite
from protocol.limits import RelayLimits
from protocol.membership import Membership
from protocol.primitives import Label, blake2b, derive, pad, unpad
from relay.core.core import Core
from tests.vectors import generate, structures

FOLDER = Path(__file__).parent
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
Vector = dict[str, object]


def each(name: str, what: str) -> pytest.MarkDecorator:
    """Run a test with each vector of a file."""
    vectors = FILES[name][what]
    ids = [str(vector.get("why") or vector.get("name") or place) for place, vector in enumerate(vectors)]
    return pytest.mark.parametrize("v", [Read(vector) for vector in vectors], ids=ids)


class Read:
    """A vector as it is read: ``v["key"]`` as it stands, ``v("key")`` as the bytes that it says."""

    def __init__(self, vector: Vector) -> None:
        self._vector = vector

    def __getitem__(self, key: str):
        return self._vector[key]

    def __call__(self, key: str) -> bytes:
        return bytes.fromhex(str(self._vector[key]))

    @contextlib.contextmanager
    def refuses(self) -> Iterator[None]:
        """Expect the refusal that the vector names."""
        with pytest.raises(BackchannelError) as refusal:
            yield
        assert refusal.value.code == self["error"]


def said(content: Content) -> tuple[int, list[object]]:
    """Return kind and fields as they stand in a vector."""
    return int(content.KIND), generate.jsonable(structures.fields_of(content))


# -- the files --------------------------------------------------------------------------------------------------------


def test_they_are_what_the_program_makes():
    """If this fails, either the wire has changed, and with it the protocol; or `make vectors` has not been run."""
    made = generate.build()
    assert {path.name for path in FOLDER.glob("*.json")} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, name


def test_the_document_names_every_file():
    document = (FOLDER.parents[1] / "docs" / "protocol.md").read_text()
    assert [name for name in FILES if f"`{name}.json`" not in document] == []


# -- section 1 --------------------------------------------------------------------------------------------------------


@each("hashes", "valid")
def test_hashes(v: Read):
    label = Label(v["label"].encode())
    assert blake2b(label, v("data")) == v("hash")
    assert blake2b(label, v("data"), key=v("key")) == v("keyed")
    assert derive(v("key"), label) == v("kdf")


def test_every_label_is_there():
    assert [vector["label"] for vector in FILES["hashes"]["valid"]] == [label.value.decode() for label in Label]


@each("padding", "valid")
def test_padding(v: Read):
    plaintext = b"*" * v["length"]
    padded = plaintext + v("after_p").ljust(v["padded_length"] - v["length"], b"\0")
    assert len(padded) == v["padded_length"]
    assert pad(plaintext) == padded
    assert unpad(padded) == plaintext


@each("padding", "refused")
def test_padding_refused(v: Read):
    with v.refuses():
        unpad(v("padded"))


@each("base32", "valid")
def test_base32(v: Read):
    assert base32(v("bytes")) == v["word"]
    assert from_base32(v["word"].upper()) == v("bytes")


@each("base32", "refused")
def test_base32_refused(v: Read):
    with pytest.raises(ValueError, match="base32"):
        from_base32(v["word"])


@each("identities", "valid")
def test_identities(v: Read):
    who = identity.Identity(v("seed"))
    assert (who.id, identity.id_text(who.id), identity.fingerprint(who.id)) == (v("id"), v["text"], v["fingerprint"])
    assert who.sign(Label(v["label"].encode()), v("content")) == v("signature")
    identity.verify(v("id"), Label(v["label"].encode()), v("content"), v("signature"))


@each("identities", "refused")
def test_signatures_refused(v: Read):
    with v.refuses():
        identity.verify(v("id"), Label(v["label"].encode()), v("content"), v("signature"))


@each("safety-numbers", "valid")
def test_safety_numbers(v: Read):
    assert identity.safety_number(PeerId(v("one")), PeerId(v("other"))).replace(" ", "") == v["number"]


# -- sections 2, 3 ----------------------------------------------------------------------------------------------------


@each("addresses", "valid")
def test_addresses(v: Read):
    read = RelayAddress.parse(v["address"])
    assert (read.at.host, read.at.port, from_base32(read.key)) == (v["host"], v["port"], v("key"))
    assert str(read) == v["address"]


@each("addresses", "refused")
def test_addresses_refused(v: Read):
    with v.refuses():
        RelayAddress.parse(v["address"])


def answer(v: Read) -> envelope.Delivery:
    """Say HELLO to a relay with this key, on a connection with that one; return what it answers."""
    relay = Core(RelayKey(v("relay")), bytes(16), RelayLimits(), 0)
    relay.connect(b"connection", v("connection"), "::1", 0)
    relay.receive(b"connection", v("envelope"), 0)
    (push,) = relay.turn(0)
    (delivery,) = envelope.decode_deliveries(push.frame)
    return delivery


@each("hello", "valid")
def test_hello(v: Read):
    assert identity.hello_content(RelayKey(v("relay")), v("connection")) == v("content")
    assert identity.Identity(v("seed")).sign(Label.HELLO, v("content")) == v("signature")
    assert isinstance(answer(v), envelope.Welcome)


@each("hello", "refused")
def test_hello_refused(v: Read):
    refusal = answer(v)
    assert isinstance(refusal, envelope.Refused)
    assert refusal.reason == v["error"]


DECODERS = {"requests": envelope.decode_requests, "deliveries": envelope.decode_deliveries}


@each("envelopes", "valid")
def test_envelopes(v: Read):
    (read,) = DECODERS["requests" if v["kind"] < 32 else "deliveries"](v("envelope"))
    assert (read.KIND.name, int(read.KIND)) == (v["name"], v["kind"])
    assert read.encode() == v("envelope")
    assert read in structures.samples()


@each("envelopes", "refused")
def test_envelopes_refused(v: Read):
    with v.refuses():
        list(DECODERS[v["direction"]](v("envelope")))


def test_every_envelope_is_there():
    assert {vector["kind"] for vector in FILES["envelopes"]["valid"]} == set(envelope.Kind)


@each("frames", "valid")
def test_frames(v: Read):
    assert [read.encode().hex() for read in DECODERS[v["direction"]](v("frame"))] == v["envelopes"]


@each("frames", "refused")
def test_frames_refused(v: Read):
    with v.refuses():
        list(DECODERS[v["direction"]](v("frame")))


# -- section 4 --------------------------------------------------------------------------------------------------------


@each("statements", "valid")
def test_statements(v: Read):
    raw = v("statement")
    read = st.decode(raw)
    assert (type(read).__name__.upper(), st.Kind[v["name"]], raw[0]) == (v["name"], v["kind"], v["kind"])
    assert read.signer == identity.Identity(v("signer_seed")).id
    assert st.statement_id(raw) == v("id")
    if isinstance(read, st.Found):
        assert st.room_id(raw) == v("room")


@each("statements", "refused")
def test_statements_refused(v: Read):
    with v.refuses():
        st.decode(v("statement"))


def test_every_statement_is_there():
    assert {vector["kind"] for vector in FILES["statements"]["valid"]} == set(st.Kind)


@each("logs", "valid")
def test_logs(v: Read):
    log = Membership.fold([bytes.fromhex(raw) for raw in v["statements"]])
    folded = generate.jsonable(structures.outcome(v["name"], log))
    assert folded == {key: v[key] for key in folded}  # type: ignore[union-attr,call-overload]


@each("logs", "refused")
def test_logs_refused(v: Read):
    logs = {log["name"]: [bytes.fromhex(raw) for raw in log["statements"]] for log in FILES["logs"]["valid"]}
    with v.refuses():
        Membership.fold([*logs.get(v["log"], []), v("statement")])


# -- section 5 --------------------------------------------------------------------------------------------------------

LABELS = {"nick": Label.NICKS, "title": Label.TITLE}


@each("names", "valid")
def test_names(v: Read):
    secret, aad, sealed = RoomSecret(v("secret")), v("aad"), v("sealed")
    if v["of"] == "nick":
        opened = names.open_nick(secret, RoomId(aad[:32]), PeerId(aad[32:]), sealed)
    else:
        opened = names.open_title(secret, PeerId(aad[:32]), aad[32:], sealed)
    assert opened == v["name"]


@each("names", "refused")
def test_names_refused(v: Read):
    with v.refuses():
        names.open_nick(RoomSecret(v("secret")), RoomId(v("aad")[:32]), PeerId(v("aad")[32:]), v("sealed"))


@each("cards", "valid")
def test_cards(v: Read):
    read = cards.Card.decode(v("card"), room=RoomId(v("room")), now=v["now"])
    assert read.owner == identity.Identity(v("owner_seed")).id
    assert (read.generation, read.not_after, read.expired(v["now"])) == (v["generation"], v["not_after"], v["expired"])
    assert read.sealing_key == v("sealing_key") == cards.sealing_key(SealingSecret(v("secret")))
    assert read.nick == v("nick")


@each("cards", "refused")
def test_cards_refused(v: Read):
    room, now = RoomId(v("room")), v["now"]
    held = cards.Card.decode(v("held"), room=room, now=now) if v["held"] else None
    with v.refuses():
        cards.check_newer(cards.Card.decode(v("card"), room=room, now=now), held)


# -- sections 6, 7 ----------------------------------------------------------------------------------------------------


@each("contents", "valid")
def test_contents(v: Read):
    context, aside = decode_aside(v("aside"))
    assert said(aside.content) == (v["kind"], v["fields"])
    assert (context, aside.anchor) == (v("context"), Anchor(v["index"], Head(v("head"))))
    assert (aside.counter, aside.given_up, aside.sent_at) == (v["counter"], v["given_up"], v["sent"])
    if v["room"]:
        assert decode_room(v("room")) == RoomMessage(v["sent"], aside.content)


@each("contents", "refused")
def test_contents_refused(v: Read):
    with v.refuses():
        {"room": decode_room, "aside": decode_aside}[v["channel"]](v("plaintext"))


def opened(v: Read):
    """Open an aside as its recipient does."""
    secret = SealingSecret(v("recipient_secret"))
    assert seal.recipient_generation(v("body")) == v["recipient_generation"]
    unsealed = seal.unseal(v("body"), secret, cards.sealing_key(secret))
    route = seal.Route(
        room=RoomId(v("room")),
        message=MessageId(v("message")),
        sender=PeerId(v("sender")),
        sender_generation=unsealed.sender_generation,
        recipient=PeerId(v("recipient")),
        recipient_generation=v["recipient_generation"],
    )
    return unsealed, seal.open_box(unsealed, route, secret, SealingKey(v("sender_key"))), route


@each("asides", "valid")
def test_asides(v: Read):
    unsealed, aside, route = opened(v)
    assert said(aside.content) == (v["kind"], v["fields"])
    assert (aside.counter, aside.given_up, aside.sent_at) == (v["counter"], v["given_up"], v["sent"])
    assert aside.anchor == Anchor(v["index"], Head(v("head")))
    assert (unsealed.sender_generation, unsealed.box[:24]) == (v["sender_generation"], v("nonce"))
    assert route.context(aside.content.KIND) == v("context")
    assert nacl.bindings.crypto_scalarmult_base(v("ephemeral_secret")) == v("body")[8:40]


@each("asides", "refused")
def test_asides_refused(v: Read):
    with v.refuses():
        opened(v)


def test_chains():
    (v,) = map(Read, FILES["chains"]["valid"])
    assert ch.chain_id(RoomId(v("room")), PeerId(v("sender")), v("verify_key")) == v("id")
    for step, following in zip(v["steps"], [*v["steps"][1:], None], strict=True):
        key = bytes.fromhex(step["key"])
        assert derive(key, Label.MESSAGE_KEY).hex() == step["message_key"]
        assert following is None or derive(key, Label.CHAIN_STEP).hex() == following["key"]


def received(v: Read) -> RoomMessage:
    """Open a room message as a member does who was given the chain at some counter."""
    state = ChainKey(v("given_key"), v["given_counter"], v("verify_key"), v["made_at"], *ch.NOTHING)
    return ch.ReceivedChain(RoomId(v("room")), PeerId(v("sender")), state).open(v("body"), MessageId(v("message")))


@each("room-messages", "valid")
def test_room_messages(v: Read):
    inside = received(v)
    assert said(inside.content) == (v["kind"], v["fields"])
    assert inside.sent_at == v["sent"]
    head = ch.header(v("body"))
    assert (head.chain, head.counter) == (v("chain"), v["counter"])
    assert head.anchor == Anchor(v["index"], Head(v("head")))


@each("room-messages", "refused")
def test_room_messages_refused(v: Read):
    with v.refuses():
        received(v)


# -- section 9 --------------------------------------------------------------------------------------------------------


@each("invites", "valid")
def test_invites(v: Read):
    read = Invite.decode(v["word"])
    assert (read.relay, read.room, read.seed, read.secret) == (v("relay"), v("room"), v("seed"), v("secret"))
    assert read.anchor == Anchor(v["index"], Head(v("head")))
    assert [str(address) for address in read.addresses] == v["addresses"]
    assert read.encode() == v["word"]


@each("invites", "refused")
def test_invites_refused(v: Read):
    with v.refuses():
        Invite.decode(v["word"])


# -- the document -----------------------------------------------------------------------------------------------------

OURS = {"refused", "clock", "cannot-open", "no-key", "expired"}
"""What a peer says of its own accord, and no relay."""


def test_the_document_lists_every_code_that_a_relay_may_refuse_with():
    document = (FOLDER.parents[1] / "docs" / "protocol.md").read_text()
    listed = document.partition("Refusal codes: ")[2].partition(". Unknown codes")[0]
    codes = {error.code for error in everything_below(Refused)} | {UnknownRoom.code, UnknownPeer.code, UnknownCard.code}
    assert set(re.findall("`([^`]+)`", listed)) == codes - OURS


def everything_below(error: type[BackchannelError]) -> set[type[BackchannelError]]:
    return {error}.union(*map(everything_below, error.__subclasses__()))


def test_the_document_lists_every_label():
    document = (FOLDER.parents[1] / "docs" / "protocol.md").read_text()
    table = document.partition("### Labels")[2].partition("### Padding")[0]
    assert sorted(re.findall("`(bc1 [^`]+)`", table)) == sorted(label.value.decode() for label in Label)
