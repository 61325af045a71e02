"""Statements: what was signed is what is read, under its own kind alone, and nothing is unpacked before it verifies."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from protocol import limits, wire
from protocol import statement as st
from protocol.errors import BackchannelError, BadSignature, Malformed, TooLarge
from protocol.identity import SigningKey
from protocol.ids import Anchor, InviteId
from protocol.primitives import Label
from protocol.statement import Kind
from tests.protocol.builders import ALICE, ANCHOR, BOB, CHUCK, NOW, OTHER_ROOM, ROOM, briefly_and_for_long, flips

KEY = SigningKey(b"i" * 32)
INVITE = InviteId(KEY.public)
SALT = b"salt" * 4
PLACE = (ROOM, 7, b"h" * 32)

TABLE = [
    # bytes, what they say, do they only take away?
    (st.found(ALICE, SALT, NOW, True, b"title"), st.Found(ALICE.id, SALT, NOW, True, b"title"), False),
    (st.grant(ALICE, ROOM, ANCHOR, INVITE, 3, NOW), st.Grant(ALICE.id, ROOM, ANCHOR, INVITE, 3, NOW), False),
    (st.admit(BOB, ROOM, ANCHOR, KEY), st.Admit(BOB.id, ROOM, ANCHOR, INVITE), False),
    (st.role(ALICE, ROOM, ANCHOR, BOB.id, True), st.Role(ALICE.id, ROOM, ANCHOR, BOB.id, True), False),
    (st.role(ALICE, ROOM, ANCHOR, BOB.id, False), st.Role(ALICE.id, ROOM, ANCHOR, BOB.id, False), True),
    (st.remove(ALICE, ROOM, ANCHOR, BOB.id, False), st.Remove(ALICE.id, ROOM, ANCHOR, BOB.id, False), True),
    (st.remove(ALICE, ROOM, ANCHOR, BOB.id, True), st.Remove(ALICE.id, ROOM, ANCHOR, BOB.id, True), True),
    (st.revoke(ALICE, ROOM, ANCHOR, INVITE), st.Revoke(ALICE.id, ROOM, ANCHOR, INVITE), True),
    (st.leave(ALICE, ROOM, ANCHOR), st.Leave(ALICE.id, ROOM, ANCHOR), True),
    (st.close(ALICE, ROOM, ANCHOR), st.Close(ALICE.id, ROOM, ANCHOR), True),
]
IDS = [f"{type(said).__name__}-{place}" for place, (_, said, _) in enumerate(TABLE)]
every = pytest.mark.parametrize(("raw", "said", "restricts"), TABLE, ids=IDS)


def kind_of(said: st.Statement) -> Kind:
    return Kind[type(said).__name__.upper()]


def signers(kind: Kind) -> list[SigningKey]:
    return [BOB, KEY] if kind is Kind.ADMIT else [ALICE]


def signed(kind: Kind, body: bytes, *, label: Label | None = None) -> bytes:
    """Return any body as a statement of any kind, properly signed."""
    keys = b"".join(key.public for key in signers(kind))
    signatures = b"".join(key.sign(label or Label[kind.name], keys + body) for key in signers(kind))
    return bytes([kind]) + keys + signatures + body


def body_of(raw: bytes) -> bytes:
    return raw[1 + 96 * len(signers(Kind(raw[0]))) :]


def test_the_table_has_every_kind() -> None:
    assert {kind_of(said) for _, said, _ in TABLE} == set(Kind)
    assert {Label[kind.name] for kind in Kind} <= set(Label)


@every
def test_what_was_signed_is_what_is_read(raw, said, restricts) -> None:
    assert st.decode(raw) == said
    assert isinstance(said, st.Statement)
    assert signed(Kind(raw[0]), body_of(raw)) == raw
    assert st.is_restriction(said) is restricts
    if isinstance(said, st.Anchored):
        assert said.anchor == ANCHOR


@every
def test_a_statement_changed_anywhere_is_refused(raw, said, restricts) -> None:
    for damaged in flips(raw):
        with pytest.raises((BadSignature, Malformed)):
            st.decode(damaged)


@every
def test_attack_15_every_cut_of_a_statement_is_refused(raw, said, restricts) -> None:
    for end in range(len(raw)):
        with pytest.raises((BadSignature, Malformed)):
            st.decode(raw[:end])
    with pytest.raises(BadSignature):
        st.decode(raw + b"\0")


@every
def test_attack_10_one_kind_never_passes_for_another(raw, said, restricts) -> None:
    """Neither by another first byte, nor signed under another label, HELLO's and a card's among them."""
    for kind in set(Kind) - {kind_of(said)}:
        with pytest.raises((BadSignature, Malformed)):
            st.decode(bytes([kind]) + raw[1:])
    for label in set(Label) - {Label[kind_of(said).name]}:
        with pytest.raises(BadSignature):
            st.decode(signed(kind_of(said), body_of(raw), label=label))


@pytest.mark.parametrize("size", range(65))
def test_attack_15_short_rubbish_is_refused(size) -> None:
    for raw in (bytes(size), b"\xff" * size, b"\x01" * size, b"\x03" * size):
        for read in (st.decode, st.statement_id):
            with pytest.raises(Malformed):
                read(raw)


@pytest.mark.parametrize("kind", [0, 9, 10, 0x7F, 0xFF])
def test_an_unknown_kind_is_refused(kind) -> None:
    with pytest.raises(Malformed):
        st.decode(bytes([kind]) + bytes(300))


def test_more_than_a_kibibyte_is_refused_before_it_is_looked_at() -> None:
    for read in (st.decode, st.statement_id):
        with pytest.raises(TooLarge):
            read(b"\x01" + bytes(limits.STATEMENT))
    assert len(st.statement_id(b"\x01" + bytes(limits.STATEMENT - 1))) == 32


@pytest.mark.parametrize(("kind", "header"), [(Kind.LEAVE, 97), (Kind.ADMIT, 193)])
def test_a_statement_is_more_than_its_header(kind, header) -> None:
    with pytest.raises(Malformed):
        st.statement_id(bytes([kind]) + bytes(header - 1))
    assert len(st.statement_id(bytes([kind]) + bytes(header))) == 32


# -- an admission has two signatures ----------------------------------------------------------------------------------


def test_an_admission_needs_both_the_identity_and_the_invite() -> None:
    raw = st.admit(BOB, ROOM, ANCHOR, KEY)
    head, identity, invite, body = raw[:65], raw[65:129], raw[129:193], raw[193:]
    assert st.decode(head + identity + invite + body)
    nothing = bytes(64)
    for one, other in itertools.product((identity, invite, nothing), repeat=2):
        if (one, other) != (identity, invite):
            with pytest.raises(BadSignature):
                st.decode(head + one + other + body)


def test_nobody_is_admitted_in_another_s_place() -> None:
    """Chuck holds the invite too; he cannot make Bob enter, nor enter with what Bob signed."""
    keys, body = BOB.public + KEY.public, body_of(st.admit(BOB, ROOM, ANCHOR, KEY))
    by_chuck = CHUCK.sign(Label.ADMIT, keys + body) + KEY.sign(Label.ADMIT, keys + body)
    with pytest.raises(BadSignature):
        st.decode(bytes([Kind.ADMIT]) + keys + by_chuck + body)
    raw = st.admit(BOB, ROOM, ANCHOR, KEY)
    with pytest.raises(BadSignature):
        st.decode(raw[:1] + CHUCK.public + raw[33:])
    with pytest.raises(BadSignature):
        st.decode(raw[:33] + CHUCK.public + raw[65:])


# -- what is inside ---------------------------------------------------------------------------------------------------

BAD_BODIES = [
    # kind, body, properly signed
    (Kind.FOUND, wire.pack()),
    (Kind.FOUND, wire.pack(SALT, NOW, 1, b"title")),
    (Kind.FOUND, wire.pack(SALT[1:], NOW, True, b"title")),
    (Kind.FOUND, wire.pack(SALT, 1 << 48, True, b"title")),
    (Kind.FOUND, wire.pack(SALT, NOW, True, b"t" * 161)),
    (Kind.FOUND, wire.pack(SALT, NOW, True, "title")),
    (Kind.FOUND, wire.pack(*PLACE)),
    (Kind.GRANT, wire.pack(*PLACE, INVITE, -1, 0)),
    (Kind.GRANT, wire.pack(*PLACE, INVITE, limits.INVITE_USES + 1, 0)),
    (Kind.GRANT, wire.pack(*PLACE, INVITE, 0, 1 << 48)),
    (Kind.GRANT, wire.pack(*PLACE, INVITE[1:], 0, 0)),
    (Kind.GRANT, wire.pack(*PLACE, INVITE, 0, 0, 0)),
    (Kind.ADMIT, wire.pack(*PLACE, INVITE)),
    (Kind.ADMIT, wire.pack(*PLACE[:2])),
    (Kind.ROLE, wire.pack(*PLACE, BOB.id, 1)),
    (Kind.ROLE, wire.pack(*PLACE, None, True)),
    (Kind.REMOVE, wire.pack(*PLACE, BOB.id)),
    (Kind.REMOVE, wire.pack(*PLACE, BOB.id, None)),
    (Kind.REVOKE, wire.pack(*PLACE)),
    (Kind.LEAVE, wire.pack(*PLACE, None)),
    (Kind.LEAVE, wire.pack(ROOM, -1, b"h" * 32)),
    (Kind.LEAVE, wire.pack(ROOM, limits.COUNTER, b"h" * 32)),
    (Kind.LEAVE, wire.pack(ROOM, 7, b"h" * 31)),
    (Kind.LEAVE, wire.pack(b"r" * 31, 7, b"h" * 32)),
    (Kind.CLOSE, wire.pack(list(PLACE))),
    (Kind.CLOSE, wire.pack(*PLACE) * 2),
    (Kind.CLOSE, wire.pack(*PLACE) + b"\xc0"),
    (Kind.CLOSE, b"\x80"),
    (Kind.CLOSE, b"\xc1"),
    (Kind.CLOSE, b"\x91" * 900),
    (Kind.CLOSE, b"\xdd\xff\xff\xff\xff"),
]


@pytest.mark.parametrize(("kind", "body"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_body_that_is_wrong_anywhere_is_malformed_though_properly_signed(kind, body) -> None:
    with pytest.raises(Malformed):
        st.decode(signed(kind, body))


EDGES = [
    st.found(ALICE, SALT, limits.TIME - 1, False, b"t" * 160),
    st.found(ALICE, SALT, 0, False, b""),
    st.grant(ALICE, ROOM, Anchor(limits.COUNTER - 1, ANCHOR.head), INVITE, limits.INVITE_USES, limits.TIME - 1),
    st.grant(ALICE, ROOM, Anchor(0, ANCHOR.head), INVITE, 0, 0),
]


@pytest.mark.parametrize("raw", EDGES)
def test_a_body_at_the_edge_is_taken(raw) -> None:
    assert signed(Kind(raw[0]), body_of(raw)) == raw
    st.decode(raw)


def test_nothing_is_unpacked_before_its_signature_verifies(monkeypatch) -> None:
    monkeypatch.setattr(wire, "unpack", lambda *_: pytest.fail("unpacked"))
    for raw, _, _ in TABLE:
        with pytest.raises(BadSignature):
            st.decode(raw[:-1] + bytes([raw[-1] ^ 1]))


# -- names of statements and rooms ------------------------------------------------------------------------------------


@every
def test_another_signature_is_no_other_statement(raw, said, restricts) -> None:
    """Ed25519 lets a signer make any number of signatures over the same bytes."""
    first = 1 + 32 * len(signers(kind_of(said)))
    resigned = raw[:first] + bytes(64 * len(signers(kind_of(said)))) + body_of(raw)
    assert len(resigned) == len(raw)
    assert st.statement_id(resigned) == st.statement_id(raw)


def test_whatever_is_said_differently_is_another_statement() -> None:
    everything = [raw for raw, _, _ in TABLE] + [
        st.found(ALICE, SALT, NOW, False, b"title"),
        st.found(ALICE, SALT, NOW + 1, True, b"title"),
        st.found(BOB, SALT, NOW, True, b"title"),
        st.leave(CHUCK, ROOM, ANCHOR),
        st.leave(BOB, OTHER_ROOM, ANCHOR),
        st.close(BOB, ROOM, ANCHOR),
        st.admit(BOB, ROOM, ANCHOR, CHUCK),
        st.admit(CHUCK, ROOM, ANCHOR, KEY),
    ]
    assert len({st.statement_id(raw) for raw in everything}) == len(everything)


def test_a_room_is_named_by_every_byte_of_its_founding() -> None:
    """So an invite that names a room names its founder and settings."""
    raw = st.found(ALICE, SALT, NOW, True, b"title")
    assert len(st.room_id(raw)) == 32
    assert len({st.room_id(other) for other in (raw, *flips(raw))}) == len(raw) + 1


# -- anything at all --------------------------------------------------------------------------------------------------

values = hs.none() | hs.booleans() | hs.integers(-(2**63), 2**64 - 1) | hs.binary(max_size=40) | hs.just(b"x" * 32)
bodies = hs.binary(max_size=200) | hs.lists(values, max_size=7).map(lambda items: wire.pack(*items))


@briefly_and_for_long
@given(raw=hs.binary(max_size=400) | hs.builds(signed, hs.sampled_from(Kind), bodies))
def test_whatever_comes_only_our_own_errors_leave(drawn, raw) -> None:
    try:
        said = st.decode(raw)
    except BackchannelError:
        return
    assert raw[0] == kind_of(said)
    assert said.signer == raw[1:33]
    assert len(st.statement_id(raw)) == 32
