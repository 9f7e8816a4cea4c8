"""A flood of made-up partners: memory stays flat, real partners stay untouched."""

import ctypes

import numpy as np
import pytest

from ztcore.engine import Engine
from ztcore.layout import EVENT

START = 1_750_000_000.0
REAL = 50


def resident():
    """Bytes of this process that are in memory, without those that numpy has given back."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def flood(engine, names, n, seed, at):
    """n events of so many made-up partners, uniformly drawn."""
    rng = np.random.default_rng(seed)
    events = np.zeros(n, EVENT)
    keys = np.random.default_rng(99).integers(1, 2**63, names).astype("u8") * 2 + 1
    events["partner"] = keys[rng.integers(0, names, n)]
    events["endpoint"] = rng.integers(1, 2**63, n).astype("u8")
    events["status"] = 200
    events["count"] = 1
    events["timestamp"] = int(at * 1e9) + np.arange(n)
    return engine.observe_batch(events)


@pytest.mark.memory
def test_ten_million_events_of_a_million_names_change_nothing():
    """Memory is what it was once the table had been full, and 50 real partners' rows are bit for bit the same."""
    engine = Engine(65_536, bytes(16))
    for i in range(400):
        for p in range(REAL):
            engine.observe(f"real-{p}", f"/e{i % 5}", status=200, latency_ms=10.0 + i % 9, timestamp=START + i * 60.0 + p)
    before = {p: engine.row(f"real-{p}") for p in range(REAL)}
    at = START + 400 * 60.0
    flood(engine, 1_000_000, 1_000_000, 0, at)
    full = resident()
    for i in range(1, 10):
        flood(engine, 1_000_000, 1_000_000, i, at + i * 10.0)
    assert resident() - full < 8_000_000
    stats = engine.stats()
    assert stats["partners"] <= stats["capacity"] * 1.03
    assert stats["turned_away"] > 0
    for p in range(REAL):
        now = engine.row(f"real-{p}")
        for name in now.dtype.names:
            if name != "word":          # the word counts who owned the row
                assert now[name].tobytes() == before[p][name].tobytes(), (p, name)
    assert stats["events"] + stats["turned_away"] == 400 * REAL + 10_000_000


def test_a_persistent_newcomer_gets_in():
    """Who goes on calling gets a row, even where the table is full of strangers."""
    engine = Engine(1000, bytes(16))
    flood(engine, 100_000, 300_000, 0, START)
    for i in range(2000):
        engine.observe("newcomer", "/e", timestamp=START + 10 + i)
    assert engine.row("newcomer") is not None
    assert int(engine.row("newcomer")["events"]) > 1500


@pytest.mark.parametrize("how", ["pin", "allow", "cap"])
def test_a_person_s_setting_is_never_evicted(how):
    """Pinned, allowed and capped partners stay through a flood, and count as they did."""
    engine = Engine(1000, bytes(16))
    if how == "pin":
        engine.pin("kept", 4, float("inf"), timestamp=START)
    elif how == "allow":
        engine.allow("kept", True, timestamp=START)
    else:
        engine.cap("kept", 1, timestamp=START)
    flood(engine, 200_000, 400_000, 1, START)
    row = engine.row("kept")
    assert row is not None
    assert (int(row["pin_level"]), int(row["flags"]) & 1, int(row["max_action"])) == {
        "pin": (4, 0, 4), "allow": (255, 1, 4), "cap": (255, 0, 1)}[how]


def test_nobody_under_an_action_is_evicted():
    """A partner that was raised stays until it has come down."""
    engine = Engine(1000, bytes(16))
    engine.configure(learning_hours=0.0, learning_events=0)
    for i in range(40):
        decision = engine.observe("bad", "/e?q=' or 1=1 --", timestamp=START + i)
    assert decision.level > 0
    flood(engine, 200_000, 400_000, 2, START + 50.0)
    assert engine.check("bad", timestamp=START + 60.0).level == decision.level


def test_full_to_the_brim():
    """Almost as many partners as the capacity says find room at the same time."""
    engine = Engine(20_000, bytes(16))
    for p in range(20_000):
        engine.observe(f"partner-{p}", "/e", timestamp=START + p)
    assert engine.stats()["partners"] >= 20_000 * 0.99


def test_the_smallest_table():
    """A capacity of one remembers somebody and breaks nothing."""
    engine = Engine(1, bytes(16))
    for p in range(200):
        engine.observe(f"partner-{p}", "/e", timestamp=START + p)
    assert 1 <= engine.stats()["partners"] <= 16


def test_memory_is_at_most_two_kib_a_partner():
    """All tables together, a million partners in two GiB."""
    engine = Engine(1_000_000, bytes(16))
    assert engine.memory_bytes <= 2048 * 1_000_000


def test_forgetting_leaves_no_byte_of_the_name():
    """After forget() neither row nor journal holds the name."""
    engine = Engine(64, bytes(16))
    engine.pin("a-name-to-be-forgotten", 4, float("inf"))
    engine.observe("a-name-to-be-forgotten", "/e")
    assert b"a-name-to-be-forgotten" in engine.rows().tobytes()
    assert engine.forget("a-name-to-be-forgotten")
    assert b"a-name-to-be-forgotten" not in engine.rows().tobytes() + engine.transitions().tobytes()
