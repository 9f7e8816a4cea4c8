"""What two tables know of one partner, put together: sums equal the whole, the rest obeys its rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.engine import Engine
from ztcore.layout import EVENT, histogram_quantile
from ztcore.merge import merge

START = 1_750_000_000 * 10**9
KEY = bytes(16)


def traffic(n, seed, hours=30.0):
    """n ordinary events of one partner over some hours."""
    engine = Engine(1, KEY)
    rng = np.random.default_rng(seed)
    events = np.zeros(n, EVENT)
    events["partner"] = engine.partner_key("acme")
    events["timestamp"] = START + np.sort(rng.uniform(0, hours * 3600e9, n)).astype("i8")
    keys = np.array([engine.endpoint_key(f"/e{i}") for i in range(8)], dtype="u8")
    events["endpoint"] = keys[rng.integers(0, 8, n)]
    events["source"] = rng.integers(1, 5, n).astype("u8") << 40
    events["status"] = rng.choice([200, 404, 500, 401], n, p=[0.9, 0.05, 0.03, 0.02])
    events["latency_ms"] = rng.lognormal(3, 0.5, n)
    events["request_bytes"] = rng.lognormal(5, 0.3, n)
    events["response_bytes"] = rng.lognormal(7, 0.5, n)
    events["count"] = 1
    return events


def row_of(events):
    """The row after these events, of a partner that is still being learned."""
    engine = Engine(1, KEY)
    engine.configure(learning_hours=1000.0)
    engine.observe_batch(np.ascontiguousarray(events))
    return engine.row("acme")


def decayed(row, name, at):
    """Decayed counts as of a time (ns), one a half-life."""
    lanes = row[name].astype(float)[..., :3]
    return lanes / 2.0 ** (np.float64(at - int(row["reference"])) / 1e9 / np.array([60.0, 600.0, 5400.0]))


@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(2, 4), n=st.integers(10, 3000))
def test_sums_of_parts_equal_the_whole(seed, parts, n):
    """Decayed counts, events, shares and histogram of the parts are those of the whole."""
    events = traffic(n, seed)
    who = np.random.default_rng(seed + 1).integers(0, parts, n)
    rows = [row_of(events[who == part]) for part in range(parts) if (who == part).any()]
    whole, found = row_of(events), rows[0]
    for row in rows[1:]:
        found = merge(found, row)
    at = int(whole["last_seen"])
    assert int(found["last_seen"]) == at
    assert int(found["events"]) == int(whole["events"]) == n
    for name in ("trials", "seen", "bytes_out"):
        np.testing.assert_allclose(decayed(found, name, at), decayed(whole, name, at), rtol=2e-4, atol=1e-3)
    plain = [0, 2]              # hits that do not depend on what was seen before: authentication, server errors
    np.testing.assert_allclose(decayed(found, "counts", at)[plain], decayed(whole, "counts", at)[plain],
                               rtol=2e-4, atol=1e-3)
    hits = (found["shares"]["hits"] + found["shares"]["pending"])[plain]
    wanted = (whole["shares"]["hits"] + whole["shares"]["pending"])[plain]
    np.testing.assert_allclose(hits, wanted, rtol=0.1, atol=1.0)    # both fade by 1/20,000 an event
    calls = {int(s["mark"]) & 0xFFFFFF: int(s["count"]) & 0xFFFFFF for s in found["endpoints"] if s["mark"]}
    assert sum(calls.values()) + int(found["rest"]) == n


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(30, 3000))
def test_merging_is_associative(seed, n):
    """(a + b) + c is a + (b + c), up to rounding."""
    events = traffic(n, seed)
    a, b, c = (row_of(events[i::3]) for i in range(3))
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    at = int(left["last_seen"])
    for name in ("trials", "seen", "expected", "bytes_out", "counts"):
        np.testing.assert_allclose(decayed(left, name, at), decayed(right, name, at), rtol=1e-4, atol=1e-4)
    for name in ("hits", "trials", "discovery"):
        np.testing.assert_allclose(left["shares"][name], right["shares"][name], rtol=1e-5)
    np.testing.assert_allclose(left["moments"]["mean"], right["moments"]["mean"], rtol=1e-4)
    np.testing.assert_allclose(left["moments"]["var"][:3], right["moments"]["var"][:3], rtol=1e-3)
    np.testing.assert_allclose(left["response"]["m2"], right["response"]["m2"], rtol=1e-3)
    np.testing.assert_array_equal(left["latency"], right["latency"])
    assert sorted(left["endpoints"]["mark"] & 0xFFFFFF) == sorted(right["endpoints"]["mark"] & 0xFFFFFF)


def test_sizes_and_latencies_meet_in_between():
    """Means, variances and quantiles of the merged row are near those of all values."""
    events = traffic(6000, 3)
    found, values = merge(row_of(events[::2]), row_of(events[1::2])), np.log2(1.0 + events["response_bytes"] / 64)
    assert found["moments"]["mean"][2] == pytest.approx(values.mean(), abs=0.05)
    assert found["moments"]["var"][2] == pytest.approx(values.var(), rel=0.15)
    for q in (0.5, 0.9, 0.99):
        assert histogram_quantile(found["latency"], q) == pytest.approx(np.quantile(events["latency_ms"], q), rel=0.2)


def test_familiarity_is_never_more_than_one_side_knew():
    """Hours of the two sides may be the same hours: the larger number stands, not the sum."""
    events = traffic(4000, 5, hours=6.0)
    a, b = row_of(events[::2]), row_of(events[1::2])
    found = merge(a, b)
    assert found["sources"]["familiar"]["hours"].max() == max(a["sources"]["familiar"]["hours"].max(),
                                                               b["sources"]["familiar"]["hours"].max())


def test_two_partners_do_not_merge():
    """Rows with different keys are refused."""
    engine = Engine(8, KEY)
    engine.observe("a", "/x")
    engine.observe("b", "/x")
    with pytest.raises(ValueError, match="two partners"):
        merge(engine.row("a"), engine.row("b"))
