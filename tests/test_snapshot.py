"""Rows put back into a new table: whoever stops and starts again comes out as if nothing had been."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ztcore import snapshot
from ztcore.engine import Engine
from ztcore.layout import EVENT, ROW

from .hosts import KEY

START = 1_750_000_000
HOUR = 3600.0
PLACE = {"word", "todo", "candidate", "applying", "app"}
"""What says where a row is and who is at work on it."""


def restarted(engine, **options):
    """A new engine with what a store would keep of this one."""
    new = Engine(64, KEY, **options)
    snapshot.put_common(new, *snapshot.common(engine))
    found, end = snapshot.Snapshots(engine).changed(64)
    assert end
    for row in found:
        assert snapshot.put_row(new, row, "default")
    return new


def traffic(engine, rng, since, hours, n):
    """Calls of three partners: some fail, some are new, some come in bursts."""
    events = np.zeros(n, EVENT)
    times = since + np.sort(np.where(rng.random(n) < 0.2, rng.uniform(0, 300, n), rng.uniform(0, hours * HOUR, n)))
    events["timestamp"] = (times * 1e9).astype("i8")
    events["partner"] = np.array([engine.partner_key(name) for name in PARTNERS], "u8")[rng.integers(0, 3, n)]
    events["endpoint"] = np.array([engine.endpoint_key(f"/e{i}") for i in range(40)], "u8")[rng.geometric(0.1, n) % 40]
    events["source"] = np.array([engine.source_key(f"192.0.2.{i}") for i in range(60)], "u8")[rng.geometric(0.2, n) % 60]
    events["object_id"] = rng.integers(0, 50, n)
    events["status"] = rng.choice([200, 401, 404, 500], n, p=[0.9, 0.05, 0.03, 0.02])
    events["method"] = rng.integers(0, 4, n)
    events["latency_ms"] = rng.lognormal(3, 1, n)
    events["request_bytes"], events["response_bytes"] = rng.lognormal(5, 1, n), rng.lognormal(7, 1, n)
    events["count"] = rng.integers(1, 3, n)
    return events


PARTNERS = ("acme", "globex", "initech")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.floats(0.0, 80.0), st.floats(0.1, 30.0), st.integers(0, 3000), st.booleans())
def test_whoever_starts_again_judges_as_if_it_had_never_stopped(seed, hours, more, n, acts):
    """The same calls after a restart: the same level of every event, and the same rows to the last bit."""
    rng = np.random.default_rng(seed)
    engine = Engine(64, KEY, learning_hours=8, shadow=False)
    for name in PARTNERS:
        engine.observe(name, "/a", timestamp=float(START))
    engine.observe_batch(traffic(engine, rng, START + 1, hours, n))
    if acts:
        at = START + hours * HOUR
        engine.pin("acme", 2, at + 60.0)
        engine.allow("globex", True)
    new = restarted(engine, learning_hours=8, shadow=False)
    events = traffic(engine, rng, START + hours * HOUR + 2, more, 600)
    levels = [np.zeros(len(events), "u1") for _ in range(2)]
    for one, found in zip((engine, new), levels, strict=True):
        one.observe_batch(events, b"", found)
    np.testing.assert_array_equal(*levels)
    for name in PARTNERS:
        first, second = engine.row(name), new.row(name)
        for field in ROW.names:
            if field not in PLACE:
                assert first[field].tobytes() == second[field].tobytes(), (name, field)


@pytest.mark.parametrize("field", [name for name in ROW.names if name not in PLACE | {"key"}])
def test_every_field_of_a_row_is_put_back(field):
    """Whatever is in it."""
    engine, new = Engine(64, KEY), Engine(64, KEY)
    engine.observe("acme", "/a", timestamp=float(START))
    row = snapshot.row_of(engine, engine.partner_key("acme")).copy()
    if field not in ("name", "name_length", "level", "pin_level", "max_action", "whys", "flags", "decision"):
        raw = np.random.default_rng(1).integers(1, 100, row[field].nbytes, "u1").tobytes()
        row[field] = np.frombuffer(raw, row[field].dtype if row[field].shape == () else ROW[field].base).reshape(row[field].shape)
    assert snapshot.put_row(new, row, "default")
    assert new.row("acme")[field].tobytes() == row[field].tobytes()


def test_what_stands_out_is_seen_at_a_host_that_took_over_what_the_fleet_knows():
    """A partner of two days meets a new host: one endpoint at the pace of a machine stands out there as where it is known."""
    known, fresh = (Engine(64, KEY, learning_hours=8) for _ in range(2))
    times = START + np.sort(np.random.default_rng(1).uniform(0, 48 * HOUR, 8000))
    for i, at in enumerate(times):
        known.observe("acme", f"/e{i % 6}", timestamp=float(at), source="192.0.2.1")
    end = float(times[-1])
    fresh.observe("acme", "/e1", timestamp=end, source="192.0.2.1")
    assert snapshot.put_row(fresh, snapshot.row_of(known, known.partner_key("acme")), "default", learned=True)
    row = fresh.row("acme")
    assert int(row["events"]) == 1
    assert int(row["events"]) + int(row["borrowed"]) == int((row["endpoints"]["count"] & 0xffffff).sum()) + int(row["rest"])
    for engine in (known, fresh):
        for i in range(120):
            engine.observe("acme", "/e0", timestamp=end + 1 + i, source="192.0.2.1")
        assert int(engine.row("acme")["hot"]) >> 17 & 1
