"""The native row beside its plain-Python twin, driven by the same events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.engine import Engine
from ztcore.layout import histogram_quantile

from .oracle.plain import (
    LOG_TRIED,
    Twin,
    ewma,
    gcra,
    most,
    quantile_of,
    refusals,
    score_of,
    share_evidence,
    tempered,
    worth,
    worth_long,
)

START = 1_750_000_000.0

EVENTS = st.lists(
    st.fixed_dictionaries({
        "gap": st.one_of(st.just(0.0), st.floats(0.0, 5.0), st.floats(0.0, 3000.0), st.floats(0.0, 2e6)),
        "back": st.one_of(st.just(0.0), st.just(0.0), st.floats(0.0, 119.0), st.floats(0.0, 300.0)),
        "status": st.sampled_from([200, 200, 200, 201, 401, 403, 404, 500, 503]),
        "endpoint": st.integers(0, 11),
        "latency_ms": st.floats(0.3, 60_000.0),
        "request_bytes": st.floats(0.0, 1e6),
        "response_bytes": st.floats(0.0, 1e7),
        "count": st.integers(1, 3),
    }),
    min_size=1, max_size=120,
)


def drive(events, **settings):
    """An engine and its twin after the same events; and the last Decision."""
    engine, twin = Engine(64, bytes(16)), Twin()
    engine.configure(learning_hours=1e6, **settings)
    now, decision = START, None
    for event in events:
        now += event["gap"]
        # what both are given: a time stamp in whole ns, as a double of seconds
        timestamp = round((now - event["back"]) * 1000) / 1000
        twin.observe({**event, "timestamp": timestamp})
        decision = engine.observe("acme", f"/e{event['endpoint']}", status=event["status"], count=event["count"],
                                  latency_ms=event["latency_ms"], request_bytes=event["request_bytes"],
                                  response_bytes=event["response_bytes"], timestamp=timestamp)
    return engine, twin, decision


def lanes(row, values):
    """Forward-decayed lanes as of the row's last event."""
    age = (int(row["last_seen"]) - int(row["reference"])) / 1e9
    return [float(v) / 2.0 ** (age / h) for v, h in zip(values, (60.0, 600.0, 5400.0), strict=False)]


@given(EVENTS)
def test_decayed_counts_equal_their_definition(events):
    """Trials and hits at three half-lives, for any order within the lateness, across rebases and weeks."""
    engine, twin, _ = drive(events)
    row = engine.row("acme")
    assert int(row["events"]) == twin.seen
    np.testing.assert_allclose(lanes(row, row["trials"]), twin.trials(), rtol=3e-4, atol=1e-6)
    np.testing.assert_allclose(lanes(row, row["counts"][0]), twin.count("auth_failures"), rtol=3e-4, atol=1e-6)
    np.testing.assert_allclose(lanes(row, row["counts"][2]), twin.count("server_errors"), rtol=3e-4, atol=1e-6)
    assert engine.stats()["late"] == twin.seen - sum(count for _, count in twin.times)


@given(EVENTS)
def test_means_and_histogram_equal_their_definition(events):
    """Response mean and variance (Welford), request mean (EWMA), latency buckets, endpoint counts."""
    engine, twin, _ = drive(events)
    row = engine.row("acme")
    good = [e for e in twin.taken if e["status"] < 400]
    response = [e["response_bytes"] for e in good]
    if 0 < len(response) <= 100:
        assert float(row["response"]["n"]) == len(response)
        assert float(row["response"]["mean"]) == pytest.approx(np.mean(response), rel=1e-4, abs=1e-3)
        assert float(row["response"]["m2"]) == pytest.approx(np.var(response) * len(response), rel=1e-3, abs=1.0)
        assert float(row["request_mean"]) == pytest.approx(ewma([e["request_bytes"] for e in good], 5000),
                                                           rel=1e-4, abs=1e-3)
    assert int(row["latency"].sum()) == sum(e["count"] for e in twin.taken)
    counted = sorted(int(s["count"]) & 0xFFFFFF for s in row["endpoints"] if s["mark"])
    assert sum(counted) + int(row["rest"]) == sum(twin.calls().values())
    if int(row["rest"]) == 0:
        assert counted == sorted(twin.calls().values())


@given(EVENTS)
def test_evidence_of_shares_equals_its_formula(events):
    """What a reason gives as evidence is the two-sample formula of exact counts, within 1 % and 1/32 nat."""
    engine, twin, decision = drive(events)
    row = engine.row("acme")
    if int(row["shares"]["windows"]):
        return                          # the worth of the baseline has begun to be learned
    for reason in decision.reasons if decision.score > 0 else ():
        index = {"auth_failures": 0, "server_errors": 2}.get(reason.signal)
        if index is None:
            continue
        p = float(row["counts"][index][3])
        hits = twin.count(reason.signal) if reason.signal != "auth_failures" else refusals(twin.count(reason.signal))
        one, ten, ninety = (share_evidence(k, n, p, m) for k, n, m in
                            zip(hits, twin.trials(), (worth(p), worth(p), worth_long(worth(p))), strict=True))
        past = [(row["tails"]["mean"][index][i] / 8, row["tails"]["episodes"][index], row["tails"]["record"][index][i] / 2)
                for i in range(2)]
        nats = max(tempered(min(nats, most(*past[0])), *past[i]) for i, nats in enumerate((max(one, ten), ninety)))
        if reason.signal == "server_errors":
            nats = min(nats, 6.0)       # at most; less where the rest of the fleet fails too
            assert reason.evidence <= nats * 1.01 + 1 / 32
        else:
            assert reason.evidence == pytest.approx(nats, rel=0.01, abs=1 / 32)


@given(st.integers(1, 60), st.integers(0, 40))
def test_score_of_failures_is_the_documented_one(failures, successes):
    """Authentication failures among successes: evidence, the price of many tries, the knots of the score."""
    engine = Engine(64, bytes(16))
    engine.configure(learning_hours=1e6)
    for i in range(successes):
        engine.observe("acme", "/e", timestamp=START + i * 1e-3)
    for i in range(failures):
        decision = engine.observe("acme", "/e", status=401, timestamp=START + 1 + i * 1e-3)
    p = float(engine.row("acme")["counts"][0][3])
    n = failures + successes
    (counted,) = refusals([failures])
    nats = max(share_evidence(counted, n, p, worth(p)), share_evidence(counted, n, p, worth_long(worth(p))))
    assert decision.score == pytest.approx(score_of(max(min(nats, 60.0) - LOG_TRIED, 0.0)), abs=0.5)


@pytest.mark.parametrize(("name", "draw"), [
    ("lognormal", lambda rng, n: rng.lognormal(3.0, 0.6, n)),
    ("exponential", lambda rng, n: rng.exponential(80.0, n) + 0.3),
    ("bimodal", lambda rng, n: np.where(rng.random(n) < 0.7, rng.normal(20, 2, n), rng.normal(900, 40, n))),
    ("constant", lambda rng, n: np.full(n, 42.0)),
    ("heavy tail", lambda rng, n: np.minimum(5.0 * (1 - rng.random(n)) ** -0.9, 90_000.0)),
])
def test_latency_quantiles_are_within_ten_percent(name, draw):
    """On named distributions, against exact quantiles of the values that were counted."""
    values = draw(np.random.default_rng(7), 60)     # until values are well known all of them are counted
    engine = Engine(64, bytes(16))
    for i, latency in enumerate(values):
        engine.observe("acme", "/e", latency_ms=float(latency), timestamp=START + i)
    counts = engine.row("acme")["latency"]
    for q in (0.1, 0.5, 0.9, 0.95):
        assert histogram_quantile(counts, q) == pytest.approx(quantile_of(values, q), rel=0.101)


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=300))
def test_the_token_bucket_is_gcra(gaps):
    """Which calls an enforced throttle lets through is what the plain algorithm says."""
    engine = Engine(64, bytes(16))
    engine.configure(shadow=False)
    for i in range(600):
        engine.observe("acme", "/e", timestamp=START + i * 10.0)
    at = START + 6000.0
    engine.pin("acme", 2, float("inf"))
    row = engine.row("acme")
    interval = 60.0 / max(float(row["minutes"]["busy"]), float(row["rate"]) * 60.0, 1.0)
    times, passed = [], []
    for gap in gaps:
        at = round((at + gap) * 1000) / 1000
        times.append(at)
        passed.append(not engine.check("acme", timestamp=at).enforced)
    wanted = gcra(times, interval, max(6.0, interval))
    assert sum(a != b for a, b in zip(passed, wanted, strict=True)) <= 1 + len(times) // 100    # rounding at the edge


def test_ids_in_sequence_and_new_ids_are_told_apart():
    """Ids one after the other hit sequential_ids; ids seen before hit neither."""
    engine = Engine(64, bytes(16))
    engine.configure(learning_hours=2.0)        # burn-in is the first of them
    engine.observe("acme", "/accounts/0", timestamp=START - 7200)
    for i in range(200):
        engine.observe("acme", f"/accounts/{(i * 7) % 10}", timestamp=START + i)
    before = engine.row("acme")["counts"][[8, 13], 2].copy()
    for i in range(8):
        engine.observe("acme", f"/accounts/{5000 + i}", timestamp=START + 200 + i)
    after = engine.row("acme")["counts"][[8, 13], 2]
    weight = 2.0 ** (250.0 / 5400.0)
    assert 7 <= (after - before)[0] <= 7 * weight
    assert 8 <= (after - before)[1] <= 8 * weight
    assert before[1] <= 11 * weight
