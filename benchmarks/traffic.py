"""The traffic that is measured: partners by Zipf's law, a few endpoints, a steady 1,000 events a second."""

import os
from pathlib import Path

import numpy as np

from ztcore.layout import EVENT

REAL = Path(os.environ.get("ZTMON_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
"""The folder of real traffic."""

RATE = 1000.0
"""Events a second, of all partners together."""

START = 1_750_000_000.0
"""Seconds; where the warm-up begins."""

TEMPLATES = ("/api/users/{id}", "/api/orders", "/api/orders/{id}", "/api/payments",
             "/api/accounts/{id}/balance", "/health", "/api/login", "/api/search")
SHARES = (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05)
RAW = ("/api/accounts/{}/balance", "/api/orders")
"""Raw paths; every second event has a fresh number in it."""

METHODS = ("GET", "POST")
STATUSES = (200, 201, 404, 401, 500)
STATUS_SHARES = (0.9, 0.06, 0.02, 0.01, 0.01)


def partner_name(i):
    return f"partner-{i:07d}"


def source_address(partner, i):
    return f"203.0.113.{(partner * 7 + i) % 250}"


def columns(partners, n, rng):
    """Who, which endpoint, method, status, latency, sizes, source: arrays of n."""
    weights = 1.0 / np.arange(1, partners + 1)
    edges = np.cumsum(weights / weights.sum())
    return {
        "who": np.minimum(np.searchsorted(edges, rng.random(n)), partners - 1),
        "endpoint": rng.choice(len(TEMPLATES), size=n, p=SHARES),
        "method": rng.choice(2, size=n, p=(0.7, 0.3)),
        "status": rng.choice(STATUSES, size=n, p=STATUS_SHARES),
        "latency": rng.lognormal(3.0, 0.4, n),
        "request": rng.integers(100, 900, n),
        "response": rng.lognormal(7.0, 0.5, n).astype(int),
        "source": rng.integers(0, 3, n),
        "fresh": rng.integers(1, 10**9, n),
    }


POOL = 20_000
"""Calls that are repeated with the clock going on, in the warm-up and when measured: what is
measured is what was learned."""


def tuples(partners, raw):
    """The pool as tuples of the positional arguments of observe() up to the application."""
    c, n = columns(partners, POOL, np.random.default_rng(1)), POOL
    names = {int(i): partner_name(i) for i in np.unique(c["who"])}
    calls = []
    for i in range(n):
        who = int(c["who"][i])
        endpoint = RAW[i % 2].format(c["fresh"][i]) if raw else TEMPLATES[c["endpoint"][i]]
        source = source_address(who, int(c["source"][i])) if raw else None
        calls.append((names[who], endpoint, METHODS[c["method"][i]], int(c["status"][i]), float(c["latency"][i]),
                      int(c["request"][i]), int(c["response"][i]), source, "default"))
    return calls


def events(engine, partners, raw, n=1_000_000):
    """The pool, repeated to n events, as an array for observe_batch(); time stamps are the caller's."""
    c = {name: np.resize(column, n) for name, column in columns(partners, POOL, np.random.default_rng(1)).items()}
    if raw:
        c["fresh"] = np.random.default_rng(2).integers(1, 10**9, n)
    found = np.zeros(n, EVENT)
    keys = np.fromiter((engine.partner_key(partner_name(i)) for i in range(partners)), "u8", partners)
    paths = [p.format(1) for p in RAW] if raw else TEMPLATES
    endpoints = np.array([[engine.endpoint_key(p, m) for p in paths] for m in METHODS], dtype="u8")
    found["partner"] = keys[c["who"]]
    found["method"] = np.array([0, 3])[c["method"]]
    found["endpoint"] = endpoints[c["method"], np.arange(n) % 2 if raw else c["endpoint"]]
    if raw:
        addresses = {a: engine.source_key(a) for a in (f"203.0.113.{i}" for i in range(250))}
        ring = np.array([addresses[f"203.0.113.{i}"] for i in range(250)], dtype="u8")
        found["source"] = ring[(c["who"] * 7 + c["source"]) % 250]
        found["object_id"] = np.where(np.arange(n) % 2 == 0, c["fresh"], 0)
    found["status"] = c["status"]
    found["latency_ms"] = c["latency"]
    found["request_bytes"] = c["request"]
    found["response_bytes"] = c["response"]
    found["count"] = 1
    return found


def warm_up(engine, partners, raw, hours=25.0):
    """Let the engine see more than a day, so that learning is over; returns when it ended, s."""
    block = 1_000_000
    found = events(engine, partners, raw, block)
    steps = (np.arange(block) * (1e9 / RATE)).astype("i8")
    now = START
    while now < START + hours * 3600.0:
        found["timestamp"] = int(now * 1e9) + steps
        engine.observe_batch(found)
        now += block / RATE
    return now
