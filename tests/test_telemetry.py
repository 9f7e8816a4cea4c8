"""Bodies of telemetry: the native reader agrees with msgspec about every event, and what becomes of a body is told whole."""

import gzip
import json
import time
import zlib

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ztcore.datagrams import Receiver
from ztcore.engine import Engine
from ztcore.telemetry import BROKEN, MANY, ODD, TelemetryReader
from ztmon import Config, GatewayConfig, Monitor, wire
from ztmon.gateway.http import Refused, unpack
from ztmon.gateway.intake import Intake, Taken
from ztmon.gateway.telemetry import decisions

GOOD = {"appId": "shop", "partnerId": "acme", "timestamp": 1_750_000_000_000, "endpoint": "/api/users/7", "method": "GET",
        "statusCode": 200, "responseTime": 45.5}  # fmt: skip
DEEP = json.loads("[" * 100 + "]" * 100)
"""More than is read natively."""

ALWAYS = (0, 4_000_000_000_000_000_000)
KEY = bytes(range(16))


def reader(**options):
    return TelemetryReader(Engine(64, KEY), **options)


def intake(**settings):
    monitor = Monitor(Config(capacity=64, hash_key=KEY))
    return Intake(monitor, GatewayConfig(back_seconds=86_400 * 366, **settings))


def everybody(monitor):
    """All partners but for the times, which are those of the clamping."""
    return [(p.app, p.partner, p.events, p.score, p.average_request_bytes, p.latency_ms, p.endpoints) for p in monitor.partners()]


def encoded(*events):
    return json.dumps(events).encode()


# -- one event: native or msgspec, the same ------------------------------------------------------

TEXT = st.text(max_size=12) | st.sampled_from(["GET", "/api/users/7?x=1'--", "a" * 255, "é" * 128, "/" + "x" * 8191, "😀"])
NUMBER = st.integers(-5, 1 << 60) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, 200, 599, 600, 1e15])
VALUE = st.none() | st.booleans() | TEXT | NUMBER | st.just([]) | st.just({"a": 1})
EVENTS = st.dictionaries(st.sampled_from(sorted(wire.ALLOWED)), VALUE, max_size=4).map(lambda d: GOOD | d)


def row_after(body, native):
    """What an engine knows of everybody after a body, read natively or through msgspec; None where it was not read."""
    engine = Engine(64, KEY)
    read = TelemetryReader(engine)
    if native:
        if read.take(body, *ALWAYS) != 1:
            return None
    else:
        event, problems = wire.read_event(0, body)
        if event is None or problems:
            return None
        read.begin(len(body), 1, *ALWAYS)
        assert read.put(0, event.app.encode(), event.partner.encode(), event.timestamp, event.endpoint.encode(),
                        event.method.encode(), event.status, event.latency_ms, event.request_bytes or 0.0,
                        event.response_bytes or 0.0, (event.source or "").encode(), event.count or 1)  # fmt: skip
        read.observe()
    return engine.rows().tobytes(), engine.stats()


@given(EVENTS, st.booleans(), st.booleans())
@example(GOOD | {"timestamp": 1_750_000_000_000.5}, True, False)
@example(GOOD | {"endpoint": "/a\\/b\u20ac\t\"", "requestSize": 0.1, "responseSize": 123456.789}, False, True)
def test_what_is_read_natively_is_what_msgspec_reads(event, ascii_only, slashes):
    """Whatever the fields hold, a body that is read natively leaves the engine as the same body read by msgspec does."""
    text = json.dumps(event, ensure_ascii=ascii_only)
    body = (text.replace("/", "\\/") if slashes else text).encode("utf-8", "surrogatepass")
    native = row_after(body, True)
    if native is not None:
        assert native == row_after(body, False)


@given(st.data())
def test_changed_bytes_are_never_taken_for_something_else(data):
    """A byte changed anywhere: what is still read natively, msgspec reads with the same values."""
    body = bytearray(json.dumps(GOOD | {"extra": "x\\u00e9", "count": 2, "clientIp": "192.0.2.1"}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    native = row_after(bytes(body), True)
    if native is not None:
        assert native == row_after(bytes(body), False)


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?\Z"),
       st.sampled_from(["timestamp", "responseTime", "requestSize", "statusCode", "count", "extra"]))
@example("1750000000000.000000000000000000000000000000000000001", "timestamp")
@example("9007199254740993", "responseTime")
@example("0." + "0" * 330 + "1", "responseTime")
@example("1" + "0" * 400 + "e-400", "responseTime")
@example("16777217." + "0" * 900 + "1", "responseTime")
@example("1e400", "responseTime")
def test_numbers_are_those_of_msgspec(number, field):
    """However a number is written, what is read natively has the value that msgspec reads."""
    body = json.dumps(GOOD | {field: "here"}).replace('"here"', number).encode()
    native = row_after(body, True)
    if native is not None:
        assert native == row_after(body, False)
    elif field in ("responseTime", "requestSize"):
        assert number.startswith("-") or row_after(body, False) is None


WRITTEN = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", " : "), (",  ", ":"), (",", ":  "), (", " + " " * 40, ": ")])


SHUFFLED = EVENTS.flatmap(lambda event: st.permutations(list(event.items())))


@given(st.lists(st.tuples(SHUFFLED, WRITTEN, st.booleans()), min_size=2, max_size=6))
def test_how_others_write_changes_nothing(events):
    """Events whose fields come in any order and spacing, one after the other through one reader and through one listener:
    each is read as if it were the first."""
    read, together, apart = reader(), Engine(64, KEY), Engine(64, KEY)
    listener = Receiver(together, back_seconds=4e9, ahead_seconds=4e9)
    for pairs, written, known in events:
        event = dict(pairs if known else [("x", 1), *pairs, ("y", [2])])
        body = json.dumps(event, separators=written).encode()
        assert read.take(body, *ALWAYS) == reader().take(body, *ALWAYS)
        for raw in (body, msgpack.packb(event)):
            outcome = listener.take(raw, 2e9)
            assert outcome == Receiver(apart, back_seconds=4e9, ahead_seconds=4e9).take(raw, 2e9)
    assert together.rows().tobytes() == apart.rows().tobytes()


def test_ordinary_events_are_read_natively():
    """The wire format as clients send it needs no second look: escapes, unknown fields, nulls, fractions, UTF-8."""
    for event in (GOOD, GOOD | {"requestSize": 10, "responseSize": None, "clientIp": "192.0.2.1", "count": 3},
                  GOOD | {"extra": True, "more": "text", "none": None, "n": 1.5}, GOOD | {"partnerId": "ä€😀"},
                  GOOD | {"endpoint": "/a\\b\"c\n"}, GOOD | {"responseTime": 1e-7, "requestSize": 1e300},
                  GOOD | {"extra": {"a": [1, {"b": [], "c": {}}], "d": -1.5e3}}):
        for ascii_only in (False, True):
            body = json.dumps(event, ensure_ascii=ascii_only).encode()
            assert reader().take(body, *ALWAYS) == 1
    php = json.dumps(GOOD).replace("/", "\\/").encode()
    assert reader().take(php, *ALWAYS) == 1


# -- bodies --------------------------------------------------------------------------------------


@given(st.lists(EVENTS | VALUE, max_size=6), st.sampled_from(["array", "lines", "spaced"]))
def test_each_event_of_a_body_is_taken_or_has_a_problem(events, form):
    """Natively or not, each event of a body is accepted or named in a problem, and as many are in the engine."""
    events = [GOOD, *events]        # lines begin with an object
    text = [json.dumps(event) for event in events]
    body = {"array": "[" + ",".join(text) + "]", "lines": "\n".join(text), "spaced": " [\n" + " ,\r\n".join(text) + "\t] "}[form]
    take = intake()
    taken = take.take(body.encode())
    taken = Taken(taken, {}) if isinstance(taken, int) else taken
    assert taken.places == len(events)
    assert {problem.event for problem in taken.problems} == taken.bad
    read, _ = wire.read(body.encode())
    assert {place for place, _ in read} == set(range(len(events))) - taken.bad
    assert take.monitor.stats()["events"] == sum(min(event.count or 1, 1_000_000) for _, event in read)
    assert len(json.loads(b"[" + decisions(taken) + b"]")) == len(events)


@given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"[", b"[{", b'{"appId":"', encoded(GOOD)[:-1] + b","]))
def test_any_bytes_are_taken_or_refused(noise, start):
    """Arbitrary bytes never raise anything but a refusal that says why."""
    take = intake()
    for read in (take.take, take.take_msgpack):
        refused = None
        try:
            read(start + noise)
        except Refused as error:
            refused = error
        assert refused is None or (refused.status in (400, 413, 422) and refused.detail)


@given(st.lists(EVENTS | VALUE, max_size=5))
def test_msgpack_is_read_like_json(events):
    """The same events in msgpack are taken, or have the same problems."""
    one, two = intake(), intake()
    outcomes = []
    for take, body in ((one.take, json.dumps(events).encode()), (two.take_msgpack, msgpack.packb(events))):
        try:
            found = take(body)
            outcomes.append(Taken(found, {}) if isinstance(found, int) else found)
        except Refused as refused:
            outcomes.append(refused.detail)
    if isinstance(outcomes[0], Taken):
        assert [(p.event, p.field) for p in outcomes[0].problems] == [(p.event, p.field) for p in outcomes[1].problems]
        assert everybody(one.monitor) == everybody(two.monitor)
    else:
        assert isinstance(outcomes[1], str)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", BROKEN), (b"  ", BROKEN), (b"7", BROKEN), (b"[", BROKEN), (b"[{}", BROKEN), (b"[1}", BROKEN),
        (b"[" * 600 + b"]" * 600, BROKEN), (b"[] x", BROKEN), (b"[]", 0), (b"\xef\xbb\xbf[ ]\n", 0), (b"{}", ODD),
        (encoded(GOOD) + b",", BROKEN), (encoded(GOOD, GOOD), 2), (json.dumps(GOOD, indent=3).encode(), 1),
        (b"\n".join([json.dumps(GOOD).encode()] * 3) + b"\r\n\r\n", 3), (encoded(*[GOOD] * 9), MANY),
    ],
)  # fmt: skip
def test_the_shape_of_a_body(body, what):
    """Arrays, objects and lines; what is none of them is left to who can say why; more than the limit is refused."""
    assert reader(most=8).take(body, *ALWAYS) == what


def test_a_large_body_of_small_parts_is_no_way_in():
    """Millions of parts that are no events are refused by their number, not worked through one by one."""
    take = intake(body_events=1000)
    for body in (b"[" + b"1," * 500_000 + b"1]", b"{}\n" * 500_000):
        with pytest.raises(Refused) as refused:
            take.take(body)
        assert refused.value.status == 413


def test_only_events_of_allowed_applications_are_taken():
    """A token for given applications: the others' events have a problem, whichever way they are read."""
    take = intake()
    mixed = [GOOD, GOOD | {"appId": "bank"}, GOOD | {"appId": "bank", "extra": DEEP}, GOOD | {"extra": DEEP}]
    for read, body in ((take.take, encoded(*mixed)), (take.take_msgpack, msgpack.packb(mixed))):
        taken = read(body, frozenset({"shop"}))
        assert taken.bad == {1, 2}
        assert {(p.field, p.detail) for p in taken.problems} == {("appId", "is none that this token may send telemetry for")}
    assert {p.app for p in take.monitor.partners()} == {"shop"}
    assert take.take(encoded(*mixed)).bad == frozenset()
    assert {p.app for p in take.monitor.partners()} == {"shop", "bank"}


def test_time_stamps_are_clamped_and_counted():
    """Fifteen minutes back and ten seconds ahead are as far as a time stamp may be; beyond, the nearest is taken."""
    monitor = Monitor(Config(capacity=64))
    take = Intake(monitor, GatewayConfig())
    for partner, offset in (("past", -3600), ("future", 3600), ("now", 0), ("late", -890), ("early", 9)):
        take.take(encoded(GOOD | {"partnerId": partner, "appId": "default", "timestamp": (time.time() + offset) * 1000}))
    seen = {p.partner: p.last_seen - time.time() for p in monitor.partners()}
    assert take.clamped == 2
    assert seen == {name: pytest.approx(value, abs=5) for name, value in
                    {"past": -900, "future": 10, "now": 0, "late": -890, "early": 9}.items()}


def test_long_texts_have_a_problem():
    """A name over 255 bytes and a path over 8,192 are told by field, and the good events around them are kept."""
    taken = intake().take(encoded(GOOD, GOOD | {"partnerId": "x" * 256}, GOOD | {"endpoint": "/" + "é" * 4096}, GOOD))
    assert [(p.event, p.field) for p in taken.problems] == [(1, "partnerId"), (2, "endpoint")]
    assert str(taken.problems[0]) == "partnerId is a text; allowed is a text of 1 to 255 bytes"
    assert taken.places - len(taken.bad) == 2


def test_decisions_stand_at_their_events():
    """Of a batch in which one partner turns bad the decisions that are not calm are that partner's, in their places."""
    take = intake()
    now = time.time() * 1000
    bad = GOOD | {"partnerId": "mallory", "endpoint": "/api/x?q=1' OR 1=1--", "timestamp": now}
    events = [bad if i % 2 else GOOD | {"timestamp": now} for i in range(40)]
    events[10] = {"partnerId": "mallory"}
    taken = take.take(encoded(*events))
    found = json.loads(b"[" + decisions(taken) + b"]")
    assert found[10] is None
    assert {d["action"] for d in found[::2] if d} == {"monitor"}
    assert found[39]["action"] in ("throttle", "quarantine", "block")
    assert found[39]["reasons"][0]["signal"] == "suspicious_patterns"


# -- packed bodies -------------------------------------------------------------------------------


@given(st.binary(max_size=2000), st.sampled_from([gzip.compress, zlib.compress]))
def test_packed_bodies_are_unpacked(body, pack):
    """gzip and zlib, also one after the other, come out as they were."""
    assert unpack(pack(body), 2000) == body
    assert unpack(gzip.compress(body) + gzip.compress(body), 4000) == body * 2


def test_a_packed_body_cannot_grow_beyond_the_limit():
    """A megabyte of packed zeros that would be a gigabyte is refused after the limit."""
    with pytest.raises(Refused) as refused:
        unpack(gzip.compress(bytes(50_000_000)), 100_000)
    assert refused.value.status == 413


PACKED = gzip.compress(b"x" * 1000, mtime=0)


@pytest.mark.parametrize("body", [b"", b"not packed", PACKED[:-9], PACKED + b"rest"])
def test_what_is_not_packed_is_refused(body):
    """Bytes that are no gzip, and gzip that ends too early, are a 400."""
    with pytest.raises(Refused) as refused:
        unpack(body, 10_000)
    assert refused.value.status == 400


def test_the_readers_memory_does_not_grow():
    """A thousand hostile bodies after a large one need no more room than the large one did."""
    take = reader()
    take.take(encoded(*[GOOD] * 1000), *ALWAYS)
    rng = np.random.default_rng(1)
    for _ in range(1000):
        noise = rng.integers(0, 256, 200, np.uint8).tobytes()
        take.take(b"[" + noise, *ALWAYS)
    assert take.take(encoded(*[GOOD] * 1000), *ALWAYS) == 1000


def test_limits_are_the_same_in_both_languages():
    """What the core takes for the longest name and text is what wire.py says."""
    for size, ok in ((wire.NAME_BYTES, 1), (wire.NAME_BYTES + 1, ODD)):
        assert reader().take(json.dumps(GOOD | {"partnerId": "x" * size}).encode(), *ALWAYS) == ok
    for size, ok in ((wire.TEXT_BYTES, 1), (wire.TEXT_BYTES + 1, ODD)):
        assert reader().take(json.dumps(GOOD | {"endpoint": "/" * size}).encode(), *ALWAYS) == ok
