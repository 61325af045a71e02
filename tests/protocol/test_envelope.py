"""The wire as a table: every kind of envelope beside its bytes, fed whole, in pieces, joined and with rubbish after."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import envelope as ev
from protocol import limits, wire
from protocol.envelope import decode_deliveries, decode_requests
from protocol.errors import BackchannelError, Malformed, TooLarge
from tests.protocol.builders import briefly_and_for_long

ID, ROOM, PEER, HEAD = b"i" * 16, b"r" * 32, b"p" * 32, b"h" * 32
_ID, _ROOM, _PEER, _HEAD = (b"\xc4" + bytes([len(value)]) + value for value in (ID, ROOM, PEER, HEAD))

TABLE = [
    # envelope, its bytes: array header, kind, fields in order
    (ev.Hello(ID, 1, PEER, b"s" * 64), b"\x95\x01" + _ID + b"\x01" + _PEER + b"\xc4\x40" + b"s" * 64),
    (ev.Submit(ID, ROOM, b"statement"), b"\x94\x02" + _ID + _ROOM + b"\xc4\x09statement"),
    (ev.Restore(ID, ROOM, True, (b"a", b"b")), b"\x95\x03" + _ID + _ROOM + b"\xc3\x92\xc4\x01a\xc4\x01b"),
    (ev.Restore(ID, ROOM, False, ()), b"\x95\x03" + _ID + _ROOM + b"\xc2\x90"),
    (ev.Publish(ID, ROOM, b"card"), b"\x94\x04" + _ID + _ROOM + b"\xc4\x04card"),
    (ev.Attach(ID, ROOM, True, 7, HEAD, None, 5), b"\x98\x05" + _ID + _ROOM + b"\xc3\x07" + _HEAD + b"\xc0\x05"),
    (ev.Attach(ID, ROOM, False, 0, HEAD, 0, None), b"\x98\x05" + _ID + _ROOM + b"\xc2\x00" + _HEAD + b"\x00\xc0"),
    (ev.Post(ID, ROOM, None, 7, 0, b"body"), b"\x97\x06" + _ID + _ROOM + b"\xc0\x07\x00\xc4\x04body"),
    (ev.Post(ID, ROOM, PEER, 300, 1, b""), b"\x97\x06" + _ID + _ROOM + _PEER + b"\xcd\x01\x2c\x01\xc4\x00"),
    (ev.Fetch(ID, ROOM, PEER, 0), b"\x95\x07" + _ID + _ROOM + _PEER + b"\x00"),
    (ev.Fetch(ID, ROOM, None, 7), b"\x95\x07" + _ID + _ROOM + b"\xc0\x07"),
    (ev.Ping(ID), b"\x92\x08" + _ID),
    (ev.Welcome(1, ID, 1 << 40, 600), b"\x95\x21\x01" + _ID + b"\xcf\x00\x00\x01" + bytes(5) + b"\xcd\x02\x58"),
    (ev.Accepted((ID, ID)), b"\x92\x22\x92" + _ID + _ID),
    (ev.Accepted(()), b"\x92\x22\x90"),
    (ev.Refused(ID, "rate"), b"\x93\x23" + _ID + b"\xa4rate"),
    (ev.Attached(ID, ROOM, 7, HEAD, 3, 4), b"\x97\x24" + _ID + _ROOM + b"\x07" + _HEAD + b"\x03\x04"),
    (ev.Statement(ROOM, 1, b"statement"), b"\x94\x25" + _ROOM + b"\x01\xc4\x09statement"),
    (ev.Card(ROOM, b"card"), b"\x93\x26" + _ROOM + b"\xc4\x04card"),
    (ev.Presence(ROOM, True, (PEER,), ()), b"\x95\x27" + _ROOM + b"\xc3\x91" + _PEER + b"\x90"),
    (
        ev.Message(ROOM, PEER, True, 5, 6, ID, b"body"),
        b"\x98\x28" + _ROOM + _PEER + b"\xc3\x05\x06" + _ID + b"\xc4\x04body",
    ),
    (ev.Closed(ROOM, "closed"), b"\x93\x29" + _ROOM + b"\xa6closed"),
    (ev.GoingAway(), b"\x91\x2a"),
]
IDS = [f"{type(envelope).__name__}-{place}" for place, (envelope, _) in enumerate(TABLE)]
KINDS = [*ev.REQUESTS.values(), *ev.DELIVERIES.values()]


def decoder_of(envelope: ev.Envelope | type[ev.Envelope]):
    return decode_requests if envelope.KIND in ev.REQUESTS else decode_deliveries


def decode(frame: bytes, envelope: ev.Envelope) -> list[ev.Envelope]:
    return list(decoder_of(envelope)(frame))


def test_the_table_has_every_kind_and_each_goes_one_way() -> None:
    assert {type(envelope) for envelope, _ in TABLE} == set(KINDS)
    assert {kind.KIND for kind in KINDS} == set(ev.Kind)
    assert not ev.REQUESTS.keys() & ev.DELIVERIES.keys()


@pytest.mark.parametrize(("envelope", "data"), TABLE, ids=IDS)
def test_an_envelope_is_these_bytes_and_back(envelope, data) -> None:
    assert envelope.encode() == data
    assert decode(data, envelope) == [envelope]


@pytest.mark.parametrize(("envelope", "data"), TABLE, ids=IDS)
def test_every_beginning_of_an_envelope_is_refused(envelope, data) -> None:
    for end in range(len(data)):
        with pytest.raises(Malformed):
            decode(data[:end], envelope)


@pytest.mark.parametrize(
    "rubbish", [b"\xc1", b"\x00", b"\xc0", b"\x90", b"\x91", b"\x91\x00", b"\x92\x08", b"\xff" * 64]
)
@pytest.mark.parametrize(("envelope", "data"), TABLE, ids=IDS)
def test_rubbish_after_an_envelope_is_refused_and_what_stood_before_was_delivered(envelope, data, rubbish) -> None:
    frame = decoder_of(envelope)(data + rubbish)
    assert next(frame) == envelope
    with pytest.raises(Malformed):
        next(frame)
    with pytest.raises(Malformed):
        decode(rubbish + data, envelope)


@pytest.mark.parametrize("decoder", [decode_requests, decode_deliveries])
def test_envelopes_stand_back_to_back_in_a_frame(decoder) -> None:
    its_own = [(envelope, data) for envelope, data in TABLE if decoder_of(envelope) is decoder]
    assert list(decoder(b"".join(data for _, data in its_own))) == [envelope for envelope, _ in its_own]


@pytest.mark.parametrize(("envelope", "data"), TABLE, ids=IDS)
def test_a_delivery_is_no_request_and_a_request_no_delivery(envelope, data) -> None:
    other = decode_deliveries if decoder_of(envelope) is decode_requests else decode_requests
    with pytest.raises(Malformed):
        list(other(data))


@pytest.mark.parametrize(("envelope", "data"), TABLE, ids=IDS)
def test_a_field_too_many_or_too_few_is_refused(envelope, data) -> None:
    values = wire.unpack(data, limits.ENVELOPE)
    for wrong in (values[:-1], (*values, None), (*values, 0), (values[0],) * len(values), ()):
        if wrong != values:
            with pytest.raises(Malformed):
                decode(wire.pack(*wrong), envelope)


WRONG = [None, True, -1, 2**53, 2**64 - 1, 1.5, "text", b"", b"x" * 31, b"x" * 33, b"x" * 100_000, (), ((b"x",),), {}]


@pytest.mark.parametrize(("envelope", "data"), TABLE, ids=IDS)
def test_each_field_is_checked_by_itself(envelope, data) -> None:
    values = wire.unpack(data, limits.ENVELOPE)
    for place, wrong in itertools.product(range(len(values)), WRONG):
        frame = wire.pack(*values[:place], wrong, *values[place + 1 :])
        try:
            (decoded,) = decode(frame, envelope)
        except (Malformed, TooLarge):
            continue
        assert place > 0, "the kind"
        assert decoded.encode() == frame, "read as it stands, not as something near"


TOO_MUCH = [
    ev.Submit(ID, ROOM, bytes(limits.STATEMENT + 1)),
    ev.Restore(ID, ROOM, True, (b"",) * (limits.RESTORED + 1)),
    ev.Restore(ID, ROOM, True, (bytes(limits.STATEMENT + 1),)),
    ev.Publish(ID, ROOM, bytes(limits.CARD + 1)),
    ev.Post(ID, ROOM, None, 7, 0, bytes(limits.BODY + 1)),
    ev.Post(ID, ROOM, None, 7, 2, b""),
    ev.Post(ID, ROOM, None, limits.COUNTER, 0, b""),
    ev.Attach(ID, ROOM, True, 0, HEAD, limits.COUNTER, 0),
    ev.Hello(ID, 1 << 16, PEER, b"s" * 64),
    ev.Welcome(1, ID, limits.TIME, 600),
    ev.Accepted((ID,) * (limits.ACCEPTED + 1)),
    ev.Refused(ID, "x" * (limits.CODE + 1)),
    ev.Presence(ROOM, True, (PEER,) * (limits.PRESENT + 1), ()),
    ev.Presence(ROOM, True, (), (PEER,) * (limits.PRESENT + 1)),
    ev.Statement(ROOM, 1, bytes(limits.STATEMENT + 1)),
    ev.Card(ROOM, bytes(limits.CARD + 1)),
    ev.Message(ROOM, PEER, False, 5, 6, ID, bytes(limits.BODY + 1)),
    ev.Closed(ROOM, "x" * (limits.CODE + 1)),
]


@pytest.mark.parametrize("envelope", TOO_MUCH, ids=lambda envelope: type(envelope).__name__)
def test_one_more_than_the_bound_is_refused(envelope) -> None:
    with pytest.raises(Malformed):
        decode(envelope.encode(), envelope)


# -- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", [decode_requests, decode_deliveries])
def test_attack_15_short_frames_of_every_byte_are_refused(decoder) -> None:
    for size in range(65):
        for byte in range(256):
            with pytest.raises(Malformed):
                list(decoder(bytes([byte]) * size))
        with pytest.raises(Malformed):
            list(decoder(bytes(range(256))[-size:] if size else b""))


def test_an_envelope_of_more_than_96_kib_is_refused_though_its_fields_are_in_bounds() -> None:
    restore = ev.Restore(ID, ROOM, True, (bytes(limits.STATEMENT),) * 100)
    with pytest.raises(TooLarge):
        decode(restore.encode(), restore)


def test_a_frame_holds_256_kib_and_4096_envelopes_and_no_more() -> None:
    ping = ev.Ping(ID).encode()
    assert len(list(decode_requests(ping * limits.FRAME_ENVELOPES))) == limits.FRAME_ENVELOPES
    with pytest.raises(TooLarge):
        list(decode_requests(ping * (limits.FRAME_ENVELOPES + 1)))
    post = ev.Post(ID, ROOM, None, 7, 0, bytes(limits.BODY)).encode()
    assert len(list(decode_requests(post * 2))) == 2
    with pytest.raises(TooLarge):
        list(decode_requests(post * 3))


@pytest.mark.parametrize(
    "frame",
    [
        b"\x90" * limits.FRAME,
        b"\x91" * limits.FRAME,
        b"\x91\x2a" * (limits.FRAME // 2),
        b"\x92\x22\xdc\x10\x00" + (b"\xc4\x10" + ID) * 4_095,
        b"\x92\x22\xdc\x10\x01" + (b"\xc4\x10" + ID) * 4_097,
        b"\x92\x22\xdd\xff\xff\xff\xff",
        b"\x92\x22" + b"\x91" * 100_000,
        b"\x92\x22" + b"\xdc\x10\x00" * 300_000,
    ],
)
def test_attack_26_bombs_of_depth_length_and_count_are_refused_at_once(frame) -> None:
    begun = time.process_time()
    with pytest.raises((Malformed, TooLarge)):
        list(decode_deliveries(frame))
    assert time.process_time() - begun < 0.5


def test_joining_keeps_order_and_fills_frames() -> None:
    parts = [bytes([n]) * 10 for n in range(10)]
    assert list(ev.join(parts)) == [b"".join(parts)]
    assert list(ev.join(parts, most=30)) == [b"".join(parts[n : n + 3]) for n in (0, 3, 6, 9)]
    assert list(ev.join(parts, most=5)) == parts, "an envelope is never cut"
    assert list(ev.join([])) == []
    with pytest.raises(TooLarge):
        list(ev.join([bytes(limits.ENVELOPE + 1)]))


@given(st.lists(st.integers(1, limits.ENVELOPE).map(bytes), max_size=40), st.integers(limits.ENVELOPE, limits.FRAME))
def test_joined_frames_are_within_bounds_and_lose_nothing(envelopes, most) -> None:
    frames = list(ev.join(envelopes, most))
    assert b"".join(frames) == b"".join(envelopes)
    assert all(0 < len(frame) <= most for frame in frames)
    for one, following in itertools.pairwise(frames):
        assert len(one) + len(following) > most, "as few as hold them"


def test_joined_frames_hold_no_more_envelopes_than_are_accepted() -> None:
    frames = list(ev.join([ev.Ping(ID).encode()] * 10_000))
    assert [len(list(decode_requests(frame))) for frame in frames] == [4_096, 4_096, 1_808]


# -- anything at all --------------------------------------------------------------------------------------------------


def exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


request, identity, counter = exactly(16), exactly(32), st.integers(0, limits.COUNTER - 1)
body, code = st.binary(max_size=200), st.text(st.characters(max_codepoint=0x7F), max_size=limits.CODE)
maybe, clock = st.none() | counter, st.integers(0, limits.TIME - 1)
FIELDS = {
    ev.Hello: (request, st.integers(0, 65_535), identity, exactly(64)),
    ev.Submit: (request, identity, body),
    ev.Restore: (request, identity, st.booleans(), st.lists(body, max_size=5).map(tuple)),
    ev.Publish: (request, identity, body),
    ev.Attach: (request, identity, st.booleans(), counter, identity, maybe, maybe),
    ev.Post: (request, identity, st.none() | identity, counter, st.sampled_from(ev.Flag), body),
    ev.Fetch: (request, identity, st.none() | identity, counter),
    ev.Ping: (request,),
    ev.Welcome: (st.integers(0, 65_535), request, clock, st.integers(0, 2**31 - 1)),
    ev.Accepted: (st.lists(request, max_size=5).map(tuple),),
    ev.Refused: (request, code),
    ev.Attached: (request, identity, counter, identity, counter, counter),
    ev.Statement: (identity, counter, body),
    ev.Card: (identity, body),
    ev.Presence: (identity, st.booleans(), *[st.lists(identity, max_size=4).map(tuple)] * 2),
    ev.Message: (identity, identity, st.booleans(), counter, clock, request, body),
    ev.Closed: (identity, code),
    ev.GoingAway: (),
}
envelopes = st.sampled_from(KINDS).flatmap(lambda kind: st.builds(kind, *FIELDS[kind]))


@given(envelopes)
def test_every_envelope_comes_back_as_it_was(envelope) -> None:
    assert decode(envelope.encode(), envelope) == [envelope]


@briefly_and_for_long
@given(
    data=st.binary(max_size=300) | st.lists(envelopes.map(lambda e: e.encode()) | st.binary(max_size=9)).map(b"".join)
)
def test_whatever_comes_only_our_own_errors_leave_and_what_is_read_is_well_formed(drawn, data) -> None:
    for decoder in (decode_requests, decode_deliveries):
        try:
            for envelope in decoder(data):
                assert decode(envelope.encode(), envelope) == [envelope]
        except BackchannelError:
            pass
