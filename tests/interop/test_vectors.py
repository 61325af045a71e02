"""The published vectors, read and made again by the peer that was written from docs/protocol.md alone.

Every valid vector is made once more, byte for byte, from the input that it names; every refused one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt, crypto_box, crypto_scalarmult_base
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from tests.interop import codec, log
from tests.interop.client import DELIVERIES, Came, Card, Client, ReceivingChain
from tests.interop.codec import COUNT, TIME, Attack, H, Invite, base32, big, fields, kdf, pack, pad, sign, unbase32

FOLDER = Path(__file__).parents[1] / "vectors"
FILES = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
REQUESTS = {
    1: (16, range(1 << 16), 32, 64),
    2: (16, 32, -1024),
    3: (16, 32, bool, [-1024]),
    4: (16, 32, -512),
    5: (16, 32, bool, range(COUNT), 32, (range(COUNT),), (range(COUNT),)),
    6: (16, 32, (32,), range(COUNT), range(2), -97792),
    7: (16, 32, (32,), range(COUNT)),
    8: (16,),
}
KINDS = {"requests": REQUESTS, "deliveries": DELIVERIES}


class Vector:
    """``v["key"]`` is what stands there, ``v("key")`` the bytes that it says."""

    def __init__(self, values: dict) -> None:
        self.values = values

    def __getitem__(self, key: str):
        return self.values[key]

    def __call__(self, key: str) -> bytes:
        return bytes.fromhex(self.values[key])


def each(name: str, what: str) -> pytest.MarkDecorator:
    vectors = FILES[name][what]
    return pytest.mark.parametrize(
        "v", [*map(Vector, vectors)], ids=[v.get("why", str(i)) for i, v in enumerate(vectors)]
    )


def plain(value: object) -> object:
    """A field as it is packed: hexadecimal digits are bytes, {"text": …} is a text."""
    if isinstance(value, dict):
        return value["text"]
    if isinstance(value, list):
        return [plain(item) for item in value]
    return bytes.fromhex(value) if isinstance(value, str) else value


def refuses():
    return pytest.raises(Attack)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client("reader")
    yield client
    client.close()


# --- Sections 1 to 3


@each("hashes", "valid")
def test_hashes(v):
    assert H(v["label"], v("data")) == v("hash")
    assert H(v["label"], v("data"), key=v("key")) == v("keyed")
    assert kdf(v("key"), v["label"]) == v("kdf")


@each("padding", "valid")
def test_padding(v):
    padded = pad(b"*" * v["length"])
    assert len(padded) == v["padded_length"]
    assert padded[v["length"] :][:8] == v("after_p")
    assert codec.unpad(padded) == b"*" * v["length"]


@each("padding", "refused")
def test_padding_refused(v):
    with refuses():
        codec.unpad(v("padded"))


@each("base32", "valid")
def test_base32(v):
    assert (base32(v("bytes")), unbase32(v["word"])) == (v["word"], v("bytes"))


@each("base32", "refused")
def test_base32_refused(v):
    with refuses():
        unbase32(v["word"])


@each("identities", "valid")
def test_identities(v):
    key = SigningKey(v("seed"))
    id = bytes(key.verify_key)
    assert (id, base32(id), codec.fingerprint(id)) == (v("id"), v["text"], v["fingerprint"])
    assert sign(key, v["label"], v("content")) == v("signature")


@each("identities", "refused")
def test_signatures_refused(v):
    with refuses():
        codec.verify(v("id"), v["label"], v("content"), v("signature"))


@each("safety-numbers", "valid")
def test_safety_numbers(v):
    assert codec.safety_number(v("one"), v("other")) == v["number"]


@each("addresses", "valid")
def test_addresses(v):
    assert codec.Address.read(v["address"]) == (v["host"], v["port"], v("key"))


@each("addresses", "refused")
def test_addresses_refused(v):
    with refuses():
        codec.Address.read(v["address"])


@each("hello", "valid")
def test_hello(v):
    key = SigningKey(v("seed"))
    signature = sign(key, "bc1 hello", v("relay") + v("connection"))
    assert signature == v("signature")
    assert pack(1, v("id"), 1, bytes(key.verify_key), signature) == v("envelope")


def read_frame(direction: str, frame: bytes) -> list[list]:
    """The envelopes of a frame, each checked."""
    read = codec.envelopes(frame)
    for kind, *values in read:
        if type(kind) is not int or kind not in KINDS[direction]:
            raise Attack("an unknown kind")
        fields(values, *KINDS[direction][kind])
    return read


@each("envelopes", "valid")
def test_envelopes(v):
    assert pack(v["kind"], *map(plain, v["fields"])) == v("envelope")
    direction = "requests" if v["kind"] < 33 else "deliveries"
    assert read_frame(direction, v("envelope")) == [[v["kind"], *map(plain, v["fields"])]]


@each("envelopes", "refused")
def test_envelopes_refused(v):
    with pytest.raises((Attack, ValueError)):
        read_frame(v["direction"], v("envelope"))


@each("frames", "valid")
def test_frames(v):
    assert [pack(*each) for each in read_frame(v["direction"], v("frame"))] == plain(v["envelopes"])


@each("frames", "refused")
def test_frames_refused(v):
    with refuses():
        read_frame(v["direction"], v("frame"))


# --- Sections 4 and 5


@each("statements", "valid")
def test_statements(v):
    invite = SigningKey(v("invite_seed")) if v["name"] == "ADMIT" else None
    key = SigningKey(v("signer_seed"))
    body = pack(*map(plain, v["fields"]))
    assert log.state(v["kind"], key, body, invite) == v("statement")
    keys = bytes(key.verify_key) + (bytes(invite.verify_key) if invite else b"")
    assert H("bc1 statement id", bytes([v["kind"]]) + keys + body) == v("id")
    if v["name"] == "FOUND":
        assert H("bc1 room id", v("statement")) == v("room")


def known_log(name: str | None) -> log.Log:
    """Fold a log of the vectors."""
    found = next((each for each in FILES["logs"]["valid"] if each["name"] == name), {"room": "", "statements": []})
    folded = log.Log(bytes.fromhex(found["room"]))
    for statement in found["statements"]:
        folded.append(bytes.fromhex(statement))
    return folded


@each("statements", "refused")
def test_statements_refused(v):
    with refuses():
        known_log("founded").append(v("statement"))


@each("logs", "valid")
def test_logs(v):
    folded = known_log(v["name"])
    assert [head.hex() for head in folded.heads[1:]] == v["heads"]
    assert {who.hex(): role for who, role in folded.roles.items()} == v["roles"]
    assert {who.hex(): folded.stays[who][-1] for who in folded.roles} == v["since"]
    assert sorted(who.hex() for who in folded.banned) == v["banned"]
    assert {who.hex(): index for who, index in folded.gone.items()} == v["gone"]
    assert {
        key.hex(): {"granter": grant.by.hex(), "uses": grant.uses, "used": grant.used}
        for key, grant in folded.invites.items()
    } == v["invites"]
    assert folded.departures[1:] == v["departures"]
    assert folded.closed is v["closed"]


@each("logs", "refused")
def test_logs_refused(v):
    folded = known_log(v["log"])
    before = folded.anchor
    with refuses():
        folded.append(v("statement"))
    assert folded.anchor == before


NAMES = {"nick": (36, 32), "title": (68, 64)}


@each("names", "valid")
def test_names(v):
    key, (padded, most) = kdf(v("secret"), f"bc1 {v['of']}{'s' * (v['of'] == 'nick')}"), NAMES[v["of"]]
    nonce, name = v("sealed")[:24], pack(v["name"]).ljust(padded, b"\0")
    assert nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(name, v("aad"), nonce, key) == v("sealed")
    assert codec.unpack_name(codec.unseal(key, v("sealed"), v("aad")), most) == v["name"]


@each("names", "refused")
def test_names_refused(v):
    with refuses():
        codec.unpack_name(codec.unseal(kdf(v("secret"), "bc1 nicks"), v("sealed"), v("aad")), 32)


@each("cards", "valid")
def test_cards(v):
    owner = SigningKey(v("owner_seed"))
    key = bytes(PrivateKey(v("secret")).public_key)
    assert key == v("sealing_key")
    body = pack(v("room"), v["generation"], key, v["not_after"], v("nick"))
    id = bytes(owner.verify_key)
    assert id + sign(owner, "bc1 card", id + body) + body == v("card")
    assert v["expired"] is (v["now"] >= v["not_after"])


@each("cards", "refused")
def test_cards_refused(v, client, monkeypatch):
    """Those whose nick does not open are refused for something else before."""
    monkeypatch.setattr("tests.interop.client.now", lambda: v["now"])
    monkeypatch.setattr("tests.interop.client.unseal", lambda key, sealed, aad: pack("nick"))
    client.log, client.secret = log.Log(v("room")), bytes(32)
    if v["held"]:
        client.on_card(v("held"))
        newest = client.newest(v("held")[:32])
    if v["error"] == "older-card":
        client.on_card(v("card"))
        assert client.newest(v("held")[:32]) == newest
        return
    with refuses():
        client.on_card(v("card"))


# --- Sections 6 and 7

ASIDE = (32, range(COUNT), 32, range(COUNT), range(2**64), range(TIME), range(256))


@each("contents", "valid")
def test_contents(v):
    content = [v["kind"], *map(plain, v["fields"])]
    front = [v("context"), v["index"], v("head"), v["counter"], v["given_up"], v["sent"]]
    assert pack(*front, *content) == v("aside")
    if v["room"]:
        assert pack(v["sent"], *content) == v("room")


def opened(client: Client, v: Vector) -> list:
    """An aside, opened as its recipient does."""
    own, inside = v["recipient_generation"], v("sender")
    client.id, client.log = v("recipient"), log.Log(v("room"))
    client.keys = {own: PrivateKey(v("recipient_secret"))}

    class Any(dict):
        """The card of any generation: which one is named inside."""

        def get(self, generation: int, _: object = None) -> Card:
            return Card(inside, generation, v("sender_key"), 0, "", b"")

    client.cards = {inside: Any()}
    card, front, values = client.read_aside(Came(v("sender"), True, v("message"), v("body")))
    return [card.generation, *front, *values]


@each("asides", "valid")
def test_asides(v, client):
    content = [v["kind"], *map(plain, v["fields"])]
    front = [v["index"], v("head"), v["counter"], v["given_up"], v["sent"]]
    assert opened(client, v) == [v["sender_generation"], *front, *content]
    scene = v("room") + v("message") + v("sender") + v("recipient")
    context = H("bc1 aside", bytes([v["kind"]]) + scene + big(v["sender_generation"]) + big(v["recipient_generation"]))
    assert context == v("context")
    recipient, ephemeral = crypto_scalarmult_base(v("recipient_secret")), v("ephemeral_secret")
    box = crypto_box(pad(pack(context, *front, *content)), v("nonce"), recipient, v("sender_secret"))
    inner = v("sender") + big(v["sender_generation"]) + v("nonce") + box
    public = crypto_scalarmult_base(ephemeral)
    nonce = codec.hashlib.blake2b(public + recipient, digest_size=24).digest()
    sealed = public + crypto_box(inner, nonce, recipient, ephemeral)
    assert big(v["recipient_generation"]) + sealed == v("body")


@each("asides", "refused")
def test_asides_refused(v, client):
    with refuses():
        opened(client, v)


@each("chains", "valid")
def test_chains(v):
    assert H("bc1 chain id", v("room") + v("sender") + v("verify_key")) == v("id")
    key = bytes.fromhex(v["steps"][0]["key"])
    for step in v["steps"]:
        assert (key.hex(), kdf(key, "bc1 message key").hex()) == (step["key"], step["message_key"])
        key = kdf(key, "bc1 chain step")


def received(client: Client, v: Vector) -> list:
    """A room message, opened by who was given its chain."""
    client.log = log.Log(v("room"))
    chain = ReceivingChain(v("sender"), v("given_key"), v["given_counter"], v("verify_key"), v["made_at"])
    came = Came(v("sender"), False, v("message"), v("body"))
    client.split(came.body)
    client.verify_signature(chain, came)
    return client.decrypt(chain, came)


@each("room-messages", "valid")
def test_room_messages(v, client):
    content = [v["sent"], v["kind"], *map(plain, v["fields"])]
    assert received(client, v) == content
    assert client.split(v("body")) == (v("chain"), v["counter"], v["index"], v("head"))
    clear = v("chain") + big(v["counter"], 2) + big(v["index"]) + v("head")
    aad = v("room") + v("sender") + v("message") + clear
    text = pad(pack(*content))
    sealed = v("nonce") + crypto_aead_xchacha20poly1305_ietf_encrypt(text, aad, v("nonce"), v("message_key"))
    commitment = H("bc1 commitment", aad, key=v("message_key"))
    signature = sign(SigningKey(v("signing_seed")), "bc1 room message", aad + commitment + sealed)
    assert clear + commitment + signature + sealed == v("body")


@each("room-messages", "refused")
def test_room_messages_refused(v, client):
    with refuses():
        received(client, v)


# --- Section 9


@each("invites", "valid")
def test_invites(v):
    invite = Invite(v("relay"), v("room"), v("seed"), v("secret"), v["index"], v("head"), v["addresses"])
    assert invite.word() == v["word"]
    assert Invite.read(v["word"].upper()) == invite


@each("invites", "refused")
def test_invites_refused(v):
    with refuses():
        Invite.read(v["word"])
