"""The JSON of the wire: what is read, and what is said of what cannot be."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztmon import wire

GOOD = {
    "appId": "shop",
    "partnerId": "acme",
    "timestamp": 1_750_000_000_000,
    "endpoint": "/api/users/7",
    "method": "GET",
    "statusCode": 200,
    "responseTime": 45.5,
}


def lines(*events):
    return "\n".join(json.dumps(event) for event in events).encode()


def test_one_object():
    """A single object is one event, and optional fields that are not there stay empty."""
    (event,), problems = wire.read(lines(GOOD))
    assert event[0] == 0
    assert event[1].partner == "acme"
    assert event[1].latency_ms == 45.5
    assert event[1].request_bytes is None
    assert problems == []


def test_optional_fields_and_unknown_ones():
    """Optional fields are read, null stands for absent, and what is unknown is ignored."""
    more = {"requestSize": 10, "responseSize": None, "clientIp": "192.0.2.1", "count": 3, "extra": {"a": [1]}}
    ((_, event),), _ = wire.read(lines(GOOD | more))
    assert (event.request_bytes, event.response_bytes, event.source, event.count) == (10, None, "192.0.2.1", 3)


@pytest.mark.parametrize("form", [lines(GOOD, GOOD), b"\n\n" + lines(GOOD, GOOD) + b"\r\n\n", json.dumps([GOOD, GOOD]).encode()])
def test_array_and_lines(form):
    """An array and one object a line are the same batch; empty lines do not count."""
    events, problems = wire.read(form)
    assert [place for place, _ in events] == [0, 1]
    assert problems == []


def test_object_over_many_lines():
    """An object that is printed over many lines is one event."""
    events, _ = wire.read(json.dumps(GOOD, indent=2).encode())
    assert len(events) == 1


@pytest.mark.parametrize("join", [lines, lambda *events: json.dumps(events).encode()])
def test_good_events_of_a_bad_batch_are_kept(join):
    """Each problem names the event and the field and says what is allowed; the others are read."""
    events, problems = wire.read(join(GOOD, GOOD | {"statusCode": "200", "responseTime": -1}, GOOD, {"partnerId": ""}))
    assert [place for place, _ in events] == [0, 2]
    assert [(p.event, p.field) for p in problems[:2]] == [(1, "statusCode"), (1, "responseTime")]
    assert str(problems[0]) == "statusCode is a text; allowed is a whole number from 100 to 599"
    assert str(problems[1]) == "responseTime is -1; allowed is a number that is not negative: milliseconds"
    missing = {p.field: p.detail for p in problems if p.event == 3}
    assert missing.pop("partnerId") == "is an empty text; allowed is a text of 1 to 255 bytes"
    assert missing == dict.fromkeys(["appId", "timestamp", "endpoint", "method", "statusCode", "responseTime"], "is missing")


def test_broken_line_among_good_ones():
    """A line that is no JSON is one problem of one event."""
    events, problems = wire.read(lines(GOOD) + b'\n{"appId": \n' + lines(GOOD))
    assert [place for place, _ in events] == [0, 2]
    assert [(p.event, p.field) for p in problems] == [(1, "")]


def test_lone_broken_object():
    """A single object with a wrong value is told by field, not as broken JSON."""
    events, problems = wire.read(json.dumps(GOOD | {"count": 0}, indent=1).encode())
    assert events == []
    assert [str(p) for p in problems] == ["count is 0; allowed is a whole number from 1 to 4294967295"]


@pytest.mark.parametrize(
    "body", [b"", b"  \n", b"hello", b"[1, 2", b'"text"', b"[" * 100_000 + b"]" * 100_000, b"\xff\xfe{}"]
)
def test_what_is_no_telemetry(body):
    """A body that holds no objects at all is refused with a reason."""
    with pytest.raises(wire.NotTelemetry) as refused:
        wire.read(body)
    assert str(refused.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b'"\\ud800"', "surrogate"),
        (b'"a\xff"', "is not UTF-8"),
        (b"NaN", "invalid character"),
        (b"1e999", "number out of range"),
        (b"[" * 50_000 + b"]" * 50_000, "nested too deeply"),
    ],
)
def test_hostile_values(value, said):
    """Lone surrogates, bytes that are no text, NaN, endless numbers and deep nesting break one event only."""
    bad = lines(GOOD).replace(b'"GET"', value)
    events, problems = wire.read(bad + b"\n" + lines(GOOD))
    assert [place for place, _ in events] == [1]
    assert [p.event for p in problems] == [0]
    assert said in problems[0].detail


def test_private_values_are_not_repeated():
    """What is said of a bad value does not repeat a text, for it may be a key or an address."""
    _, problems = wire.read(lines(GOOD | {"timestamp": "secret", "responseSize": ["secret"]}))
    assert len(problems) == 2
    assert "secret" not in "".join(map(str, problems))


def test_every_field_says_what_is_allowed():
    """Each field of the format has words for what it may hold."""
    assert set(wire.ALLOWED) == {field.encode_name for field in msgspec.structs.fields(wire.Event)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(wire.ALLOWED)), JSON) | JSON, min_size=1, max_size=5), st.booleans())
def test_every_event_is_read_or_has_a_problem(events, as_array):
    """Whatever the values, each event of an array is either read or named in a problem."""
    mixed = [GOOD | event if isinstance(event, dict) and as_array else event for event in events]
    read, problems = wire.read(msgspec.json.encode(mixed))
    assert {place for place, _ in read} | {p.event for p in problems} == set(range(len(events)))
    assert {place for place, _ in read}.isdisjoint({p.event for p in problems})


@given(st.binary(max_size=200))
def test_any_bytes(body):
    """Arbitrary bytes are read, sorted out or refused, never anything else."""
    for prefix in (b"", b"{", b"[", b'{"appId":'):
        try:
            wire.read(prefix + body)
        except wire.NotTelemetry:
            continue
