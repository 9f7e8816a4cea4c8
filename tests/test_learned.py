"""What a row learns beside what was really there: endpoints, addresses, hours, shares, spreads, tails."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.engine import Engine
from ztcore.layout import EVENT

from .oracle.plain import clipped_moments

START = 1_750_032_000.0         # a midnight, UTC
HOUR, DAY = 3600.0, 86400.0


def fed(times, **columns):
    """An engine and the row of its one partner after a batch of events at these seconds."""
    engine = Engine(64, bytes(16))
    events = np.zeros(len(times), EVENT)
    events["partner"] = engine.partner_key("acme")
    events["endpoint"] = engine.endpoint_key("/e")
    events["status"], events["count"], events["latency_ms"] = 200, 1, 20.0
    events["timestamp"] = (np.asarray(times) * 1e3).round().astype("i8") * 1_000_000
    for name, values in columns.items():
        events[name] = values
    engine.observe_batch(events)
    return engine, engine.row("acme")


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0.0, 4000.0)), min_size=1, max_size=400))
def test_endpoint_counts_are_bounds(calls):
    """A slot's count never exceeds the truth, nor does the truth exceed it plus the rest; nothing is lost."""
    engine = Engine(64, bytes(16))
    at, true = START, Counter()
    for endpoint, gap in calls:
        at += gap
        engine.observe("acme", f"/e{endpoint}", timestamp=at)
        true[engine.endpoint_key(f"/e{endpoint}") >> 40 or 1] += 1
    row = engine.row("acme")
    rest, total = int(row["rest"]), int(row["rest"])
    for slot in row["endpoints"]:
        if slot["mark"]:
            count = int(slot["count"]) & 0xFFFFFF
            total += count
            assert count <= true[int(slot["mark"]) & 0xFFFFFF] <= count + rest
    assert total == len(calls)


def test_heavy_endpoints_keep_their_slots():
    """Of 200 endpoints by Zipf's law over three days the five heaviest are all remembered, four fifths of their calls."""
    rng = np.random.default_rng(3)
    engine = Engine(64, bytes(16))
    keys = np.array([engine.endpoint_key(f"/e{i}") for i in range(200)], "u8")
    share = 1.0 / np.arange(1, 201)
    drawn = rng.choice(200, 30_000, p=share / share.sum())
    _, row = fed(START + np.sort(rng.random(30_000)) * 3 * DAY, endpoint=keys[drawn])
    kept = {int(slot["mark"]) & 0xFFFFFF: int(slot["count"]) & 0xFFFFFF for slot in row["endpoints"]}
    true = Counter(drawn.tolist())
    for i in range(5):
        assert kept.get(int(keys[i]) >> 40, 0) >= 0.8 * true[i]


@given(st.lists(st.tuples(st.integers(0, 19), st.floats(0.0, 2 * HOUR)), min_size=1, max_size=300))
def test_an_address_is_as_familiar_as_the_hours_it_was_seen_in(calls):
    """Distinct clock hours for each of up to 20 addresses, up to 200; one seen again after 256 hours to the hour may miss one."""
    engine = Engine(64, bytes(16))
    engine.configure(learning_hours=1e6)
    at, hours = START, defaultdict(set)
    for source, gap in calls:
        at += gap
        decision = engine.observe("acme", "/e", source=f"192.0.2.{source}", timestamp=at)
        assert decision.level == 0              # still being learned: all of them teach
        hours[engine.source_key(f"192.0.2.{source}") >> 40 & 0xFFFF].add(int(at // HOUR))
    found = {int(s["mark"]): int(s["familiar"]["hours"]) for s in engine.row("acme")["sources"] if s["mark"]}
    assert found.keys() == {mark or 1 for mark in hours}
    for mark, seen in hours.items():
        assert len(seen) - len(seen) // 20 - 1 <= found[mark or 1] <= min(len(seen), 200)


def test_rates_by_hour_of_the_day():
    """Two weeks of office hours: each hour's learned rate is within 5 % of the true one; nights are next to nothing."""
    rng = np.random.default_rng(5)
    true = np.where((np.arange(24) >= 8) & (np.arange(24) < 18), 0.05 + 0.002 * np.arange(24), 0.0005)
    times = np.concatenate([
        START + day * DAY + hour * HOUR + np.sort(rng.random(rng.poisson(true[hour] * HOUR))) * HOUR
        for day in range(14) for hour in range(24)
    ])
    _, row = fed(times)
    learned = rates(row) * (row["hours"]["week"] / 8192).mean()
    office = true > 0.01
    np.testing.assert_allclose(learned[office], true[office], rtol=0.05)
    assert (learned[~office] < 0.002).all()
    called = int(row["hours"]["called"])
    assert all(called >> hour & 1 for hour in np.flatnonzero(office))
    np.testing.assert_allclose(row["hours"]["week"] / 8192, 1.0, atol=0.1)


def test_days_of_the_week_are_learned():
    """Four weeks of which Saturdays bring a third and Sundays a tenth: factors within 15 % of the true ones, and
    a Sunday's expected rate is that of Sundays."""
    rng = np.random.default_rng(8)
    true = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.33, 0.1])
    first = (int(START) // 86400 + 3) % 7
    per_hour = [int(100 * true[(first + day) % 7]) for day in range(28) for _ in range(24)]
    times = np.concatenate([START + hour * HOUR + np.sort(rng.random(n)) * HOUR for hour, n in enumerate(per_hour)])
    engine, row = fed(times)
    week = row["hours"]["week"] / 8192
    np.testing.assert_allclose(week / week[:5].mean(), true, rtol=0.15, atol=0.05)
    usual = rates(row).mean()
    now = START + 28 * DAY
    ahead = (6 - first) % 7
    engine.observe("acme", "/e", timestamp=now + ahead * DAY + 12 * HOUR)
    engine.observe("acme", "/e", timestamp=now + ahead * DAY + 12 * HOUR + 61)
    assert float(engine.row("acme")["rate"]) == pytest.approx(usual * week[6], rel=0.3)


def rates(row):
    """Learned calls a second on a day like any other, one an hour of the day."""
    kept = row["hours"]["rate"].astype(float)
    return np.where(kept > 0, 2.0 ** ((kept - 1) / 1536 - 24), 0.0)


@pytest.mark.parametrize("share", [0.003, 0.02, 0.3])
def test_the_usual_share_of_errors_is_learned(share):
    """Two days of a constant share of 404s: the share in force comes within three standard errors and a prior's worth."""
    rng = np.random.default_rng(11)
    n = 17_280
    _, row = fed(START + np.arange(n) * 10.0, status=np.where(rng.random(n) < share, 404, 200))
    p = float(row["counts"][1][3])
    error = 3.0 * (share / n) ** 0.5 + 0.05 * share + 1e-4
    assert p == pytest.approx(share, abs=error)
    assert float(row["shares"]["trials"]) == pytest.approx(20_000 * (1 - np.exp(-n / 20_000)), rel=0.02)


def test_a_busy_minute_is_the_learned_95th_percentile():
    """Requests of a usual minute by Poisson: the learned percentile lies within 20 % of the true one."""
    rng = np.random.default_rng(2)
    counts = rng.poisson(30.0, 2 * 1440)
    times = np.concatenate([START + minute * 60.0 + np.sort(rng.random(n)) * 60.0 for minute, n in enumerate(counts)])
    _, row = fed(times)
    assert float(row["minutes"]["busy"]) == pytest.approx(np.quantile(counts, 0.95), rel=0.2)


@given(st.lists(st.floats(0.0, 60_000.0, width=32), min_size=1, max_size=60))
def test_means_and_spreads_of_latencies(values):
    """log2(1 + latency) of a partner as the definition reads; of its endpoint the mean in its 16 bits."""
    _, row = fed(START + np.arange(len(values)) * 30.0, latency_ms=values)
    logs = np.log2(1.0 + np.array(values))
    mean, var = clipped_moments(logs)
    assert float(row["moments"]["mean"][0]) == pytest.approx(mean, rel=1e-3, abs=1e-3)
    assert float(row["moments"]["var"][0]) == pytest.approx(var, rel=1e-2, abs=1e-3)
    if np.ptp(logs) < 1.0:          # nothing to clip, by the endpoint's own spread either
        slot = next(s for s in row["endpoints"] if s["mark"])
        assert int(slot["latency_mean"]) / 1600 == pytest.approx(logs.mean(), abs=0.02)


def test_past_bursts_temper_a_signal():
    """A partner with a bout of errors every few hours scores its next bout lower than one that never had any."""
    calm = np.arange(2 * 8640) * 10.0
    bouts = np.zeros(len(calm), bool)
    for start in range(3000, len(calm), 700):
        bouts[start : start + 6] = True
    scores = []
    for history in (np.zeros(len(calm), bool), bouts):
        engine, row = fed(START + calm, status=np.where(history, 404, 200))
        at = START + calm[-1] + 1000.0
        for i in range(12):
            decision = engine.observe("acme", "/e", status=404, latency_ms=20.0, timestamp=at + i * 5.0)
        scores.append(decision.score)
        assert (int(row["tails"]["episodes"][1]) > 0) is bool(history.any())
    assert scores[1] < 0.8 * scores[0]
