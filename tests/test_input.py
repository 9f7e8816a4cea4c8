"""Whatever comes in, nothing breaks: absurd values, names and times through every way in."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.layout import EVENT
from ztmon import Action, Config, Monitor

START = 1_750_000_000.0
DAY = 86400.0

NUMBERS = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 0, -1, 1e308, -1e308, 5e-324, 10**400, -(10**400), 2**63, 2**64, True]),
    st.floats(), st.integers(),
)
WHOLE = st.one_of(st.sampled_from([0, -1, 10**400, -(10**400), 2**31, 2**63, 2**64, True]), st.integers())
TEXTS = st.one_of(
    st.sampled_from(["", "\0", "\ud800", "a\udfffb", "é" * 5000, "x" * 10_240, "/" * 10_240, "../" * 4000, "%", "%%%zz", "\r\n"]),
    st.text(st.characters(codec=None), max_size=30),
)
ABSURD = st.fixed_dictionaries({
    "partner": TEXTS, "endpoint": TEXTS, "method": TEXTS, "status": WHOLE, "latency_ms": NUMBERS,
    "request_bytes": NUMBERS, "response_bytes": NUMBERS, "source": st.none() | TEXTS, "app": TEXTS,
    "timestamp": st.none() | NUMBERS, "count": WHOLE,
})  # fmt: skip

TIMES = st.lists(
    st.one_of(
        st.just(0.0), st.floats(0.0, 10.0), st.floats(-10.0, 0.0), st.sampled_from([-3600.0, 3600.0, 400 * DAY, -400 * DAY])
    ),
    min_size=1, max_size=200,
)  # fmt: skip


def values_of(row):
    """Every floating-point number of a row."""
    def walk(value):
        if value.dtype.names:
            for name in value.dtype.names:
                yield from walk(value[name])
        elif value.dtype.kind == "f":
            yield from np.atleast_1d(value).ravel().tolist()
    return list(walk(row))


def sound(monitor):
    """Every row has finite numbers, levels that exist and scores from 0 to 100."""
    for row in monitor.rows():
        assert np.isfinite(values_of(row)).all()
        assert int(row["level"]) <= Action.BLOCK
        assert 0.0 <= float(row["score"]) <= 100.0


@given(st.lists(ABSURD, min_size=1, max_size=40))
def test_observe_takes_whatever_comes(events):
    """No value of an event raises; rows stay sound, and a known partner is served as before."""
    monitor = Monitor(Config(capacity=64, clock="events"))
    for event in events:
        decision = monitor.observe(**event)
        assert 0.0 <= decision.score <= 100.0
        monitor.check(event["partner"], app=event["app"])
    sound(monitor)
    monitor.observe("acme", "/api/users", timestamp=START)
    assert monitor.profile("acme").events == 1
    assert all(value >= 0 for value in monitor.stats().values() if isinstance(value, int))


@pytest.mark.parametrize(("field", "value"), [
    ("latency_ms", math.nan), ("latency_ms", -1.0), ("request_bytes", math.inf), ("response_bytes", -5), ("status", 9),
    ("status", 10**30), ("count", 0), ("count", -(10**30)), ("timestamp", math.nan), ("timestamp", 1e300), ("partner", ""),
])
def test_what_cannot_be_used_is_counted_by_kind(field, value):
    """Each kind has a count of its own, and no other is touched."""
    monitor = Monitor()
    monitor.observe(**{"partner": "acme", "endpoint": "/a", "timestamp": START, field: value})
    assert {name: n for name, n in monitor.stats().items() if name.startswith("bad_") and n} == {f"bad_{field}": 1}


def test_surrogates_and_huge_names_are_partners_like_others():
    """A lone surrogate and ten thousand letters name two partners, found again, told apart, shown as text."""
    monitor = Monitor()
    names = ["a\ud800", "a\udc00", "x" * 10_240, "x" * 10_239, "\0", "é" * 40]
    for n, name in enumerate(names, 1):
        for _ in range(n):
            monitor.observe(name, "/a", app="shop", timestamp=START)
    assert [monitor.profile(name, app="shop").events for name in names] == [1, 2, 3, 4, 5, 6]
    for profile in monitor.partners():
        profile.partner.encode("utf-8")
        assert len(profile.partner.encode()) <= 64


@given(TIMES)
def test_time_may_jump(gaps):
    """Backward, years ahead and standing still: every event counts, rows stay sound, quiet traffic is no offence."""
    monitor = Monitor(Config(capacity=64, clock="events"))
    now = START
    for gap in gaps:
        now += gap
        decision = monitor.observe("acme", "/api/users", latency_ms=20.0, timestamp=now)
    sound(monitor)
    assert monitor.profile("acme").events == len(gaps)
    assert decision.action is Action.MONITOR


def test_a_clock_that_is_set_back_is_followed():
    """After a stretch of late events the partner's clock is taken to be right, and attacks count again."""
    monitor = Monitor(Config(clock="events"))
    for i in range(3000):
        monitor.observe("acme", "/api/users", timestamp=START + i * 60.0)
    for i in range(100):                    # the clock is two hours behind from now on
        monitor.observe("acme", "/api/users", timestamp=START + 2900 * 60.0 - 7200 + i)
    stats = monitor.stats()
    assert stats["rewound"] == 1
    assert 0 < stats["late"] < 50
    at = START + 2900 * 60.0 - 7000
    for i in range(100):
        decision = monitor.observe("acme", "/api/login", method="POST", status=401, timestamp=at + i * 0.25)
    assert decision.action >= Action.QUARANTINE


def test_a_year_of_silence_is_no_offence():
    """A partner that returns after a year is where it was, without a flood of learning ticks."""
    monitor = Monitor(Config(clock="events"))
    for i in range(3000):
        monitor.observe("acme", "/api/users", timestamp=START + i * 60.0)
    for i in range(600):
        decision = monitor.observe("acme", "/api/users", timestamp=START + 400 * DAY + i * 60.0)
        assert decision.action is Action.MONITOR
    sound(monitor)


def batch_of(monitor, n=1):
    events = np.zeros(n, EVENT)
    events["partner"] = monitor.partner_key("acme")
    events["endpoint"] = monitor.endpoint_key("/a", "GET")
    events["status"], events["count"] = 200, 1
    events["timestamp"] = int(START * 1e9)
    return events


@pytest.mark.parametrize(("make", "error", "said"), [
    (lambda m: [1, 2], TypeError, "events must be a numpy array"),
    (lambda m: np.zeros(3, "f8"), TypeError, "events must be a numpy array"),
    (lambda m: np.zeros((2, 2), EVENT), ValueError, "one-dimensional"),
    (lambda m: batch_of(m, 4)[::2], ValueError, "contiguous"),
])
def test_a_batch_of_the_wrong_kind_is_refused(make, error, said):
    """The message names the argument and what it must be."""
    monitor = Monitor()
    with pytest.raises(error, match=said):
        monitor.observe_batch(make(monitor))


def test_decisions_must_fit():
    """An array of another length for the decisions is refused before anything is taken in."""
    monitor = Monitor()
    with pytest.raises(ValueError, match="decisions has 3 places for 4 events"):
        monitor.observe_batch(batch_of(monitor, 4), b"", np.zeros(3, "u1"))
    assert monitor.stats()["events"] == 0


@given(st.binary(max_size=4 * EVENT.itemsize), st.binary(max_size=80))
def test_a_batch_of_noise_breaks_nothing(noise, names):
    """Random bytes as events, with names that point anywhere: rows stay sound."""
    monitor = Monitor(Config(capacity=64, clock="events"))
    whole = len(noise) // EVENT.itemsize
    events = np.frombuffer(noise[: whole * EVENT.itemsize], EVENT)
    levels = np.full(whole, 77, "u1")
    assert monitor.observe_batch(events, names, levels) <= whole
    assert not (levels == 77).any()
    sound(monitor)


def test_batches_from_threads_lose_nothing():
    """Four threads send batches of the same and of their own partners at once; every event counts once."""
    monitor = Monitor(Config(capacity=1024))
    rounds, size, threads = 20, 2000, 4
    keys = [monitor.partner_key(f"own-{i}") for i in range(threads)]
    names = b"".join(bytes([7]) + b"default" + bytes([5]) + f"own-{i}".encode() for i in range(threads))

    def send(i):
        for n in range(rounds):
            events = batch_of(monitor, size)
            events["partner"][1::2] = keys[i]
            events["name"][1::2] = 1 + i * 14
            events["timestamp"] += n * 1_000_000
            monitor.observe_batch(events, names)

    monitor.observe("acme", "/a", timestamp=START)
    running = [threading.Thread(target=send, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert monitor.profile("acme").events == 1 + threads * rounds * size // 2
    for i in range(threads):
        assert monitor.profile(f"own-{i}").events == rounds * size // 2
    assert monitor.stats()["events"] == 1 + threads * rounds * size
