"""What a partner sends when nothing is wrong: a daily rhythm, its own endpoints, a few errors."""

import numpy as np
from numpy.typing import NDArray

from ztmon.simulate.traffic import CALL
from ztmon.simulate.world import API, Floats, Ints, Partner

HOUR_NS = 3_600_000_000_000
SPREAD = 0.35
"""Standard deviation of the logarithm of latencies and sizes within an endpoint."""


def moments(partner: Partner, start: int, hours: float, rng: np.random.Generator) -> Ints:
    """When it calls: ns since the epoch between start (ns) and so many hours later, in order."""
    edges = np.append(np.arange(0.0, hours, 1.0), hours)
    lengths, begins = np.diff(edges), edges[:-1]
    of_day = (start / HOUR_NS + begins + lengths / 2) % 24.0
    rhythm = 1.0 + partner.swing * np.cos((of_day - partner.peak_hour) * (np.pi / 12.0))
    expected = partner.requests_per_hour * rhythm * lengths * rng.gamma(60.0, 1.0 / 60.0, len(lengths))
    counts = rng.poisson(expected)
    at = np.repeat(begins, counts) + rng.random(int(counts.sum())) * np.repeat(lengths, counts)
    return np.sort(start + (at * HOUR_NS).astype(np.int64))


def calm(index: int, partner: Partner, first_source: int, times: Ints, rng: np.random.Generator) -> NDArray[np.void]:
    """Calls at these times. index: of the partner; first_source: of its sources, both in the Traffic's tables."""
    n = len(times)
    own = rng.choice(len(partner.endpoints), size=n, p=partner.shares)
    place = partner.endpoints[own]
    calls = np.zeros(n, CALL)
    calls["timestamp"] = times
    calls["partner"] = index
    calls["place"] = place
    calls["source"] = first_source + rng.choice(len(partner.sources), size=n, p=partner.source_shares)
    calls["object_id"] = np.where(HAS_ID[place], partner.objects[object_choice(len(partner.objects), n, rng)], 0)
    calls["status"] = statuses(place, partner.errors, rng)
    measure(calls, partner.pace[own], rng)
    return calls


def object_choice(objects: int, n: int, rng: np.random.Generator) -> Ints:
    """Which of its objects: some are asked for far more often than others."""
    return (objects * rng.random(n) ** 2.5).astype(np.int64)


def statuses(place: Ints, errors: float, rng: np.random.Generator) -> Ints:
    """Answers: 2xx but for a small share of 400, 404, 401 and 500."""
    good = np.where(IS_POST[place], 201, 200)
    bad = rng.choice(np.array([400, 404, 401, 500]), size=len(place), p=(0.25, 0.4, 0.15, 0.2))
    return np.where(rng.random(len(place)) < errors, bad, good)


def measure(calls: NDArray[np.void], pace: Floats, rng: np.random.Generator) -> None:
    """Fill in latencies and sizes as they are usual for the endpoints; a failed call has a short answer."""
    n, place = len(calls), calls["place"]
    calls["latency_ms"] = LATENCY[place] * pace * rng.lognormal(0.0, SPREAD, n)
    calls["request_bytes"] = REQUEST[place] * pace * rng.lognormal(0.0, SPREAD, n)
    full = RESPONSE[place] * pace * rng.lognormal(0.0, SPREAD, n)
    calls["response_bytes"] = np.where(calls["status"] >= 400, 120, full)


HAS_ID = np.array([endpoint.has_id for endpoint in API])
IS_POST = np.array([endpoint.method == "POST" for endpoint in API])
LATENCY = np.array([endpoint.latency_ms for endpoint in API])
REQUEST = np.array([endpoint.request_bytes for endpoint in API])
RESPONSE = np.array([endpoint.response_bytes for endpoint in API])
