"""What a partner sends when nothing is wrong: its own endpoints at its own times, a few errors, its jobs."""

import numpy as np
from numpy.typing import NDArray

from ztmon.simulate.rhythm import DAY_NS, HOUR_NS, SECOND_NS, Factor, moments, poisson_times, rates, steps
from ztmon.simulate.traffic import CALL
from ztmon.simulate.world import EVERY, EXPORT, TOKEN, Floats, Ints, Partner

SPREAD = 0.35
"""Standard deviation of the logarithm of latencies and sizes within an endpoint."""
JOB_GAP_S = 0.5
"""Mean time between two calls of a job."""

Calls = NDArray[np.void]


def life(index: int, partner: Partner, first_source: int, start: int, hours: float, rng: np.random.Generator,
         factor: Factor | None = None, shape: Floats | None = None) -> list[Calls]:
    """All that a partner sends in so many hours from `start` (ns) on, in parts.

    index: of the partner, first_source: of its sources, both in the Traffic's tables; factor: what else moves its rate.
    """
    at, seconds = steps(start, hours)
    rate = rates(partner, at, rng, shape)
    if factor is not None:
        rate = rate * factor(at)
    times, session = moments(rate, at, seconds, partner.habits.session_calls, rng)
    inside = times < start + int(hours * HOUR_NS)
    calls = calm(index, partner, first_source, times[inside], rng, session[inside])
    _bouts(calls, partner, start, hours, rng)
    _expired_tokens(calls, partner, start, rng)
    return [calls, *_jobs(index, partner, first_source, start, hours, rng)]


def calm(index: int, partner: Partner, first_source: int, times: Ints, rng: np.random.Generator,
         session: Ints | None = None) -> Calls:
    """Calls at these times. session: numbers that calls of one session have in common; they come from one address,
    and half of them repeat what its first one was about."""
    n = len(times)
    own = rng.choice(len(partner.endpoints), size=n, p=partner.shares)
    source = rng.choice(len(partner.sources), size=n, p=partner.source_shares)
    thing = object_choice(len(partner.objects), n, rng)
    if session is not None and n and partner.habits.session_calls > 1.0:
        # which marks a session has: those drawn at the place of its number
        leader = session % n
        source = source[leader]
        again = rng.random(n) < 0.5
        own = np.where(again, own[leader], own)
        thing = np.where(again, thing[leader], thing)
    place = partner.endpoints[own]
    calls = np.zeros(n, CALL)
    calls["timestamp"] = times
    calls["partner"] = index
    calls["place"] = place
    calls["source"] = first_source + source
    calls["object_id"] = np.where(HAS_ID[place], partner.objects[thing], 0)
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


def measure(calls: Calls, pace: Floats, rng: np.random.Generator) -> None:
    """Fill in latencies and sizes as they are usual for the endpoints; a failed call has a short answer."""
    n, place = len(calls), calls["place"]
    calls["latency_ms"] = LATENCY[place] * pace * rng.lognormal(0.0, SPREAD, n)
    calls["request_bytes"] = REQUEST[place] * pace * rng.lognormal(0.0, SPREAD, n)
    full = RESPONSE[place] * pace * rng.lognormal(0.0, SPREAD, n)
    calls["response_bytes"] = np.where(calls["status"] >= 400, 120, full)


def _bouts(calls: Calls, partner: Partner, start: int, hours: float, rng: np.random.Generator) -> None:
    """For some minutes a third of the calls are refused as wrong: a bad record, a missing field."""
    times = calls["timestamp"]
    for begin in poisson_times(partner.habits.bouts, start, hours, rng):
        first, last = np.searchsorted(times, (begin, begin + int(rng.uniform(120, 900) * SECOND_NS)))
        bad = np.arange(first, last)[rng.random(last - first) < 0.33]
        calls["status"][bad] = rng.choice((400, 404, 422))
        calls["response_bytes"][bad] = 150


def _expired_tokens(calls: Calls, partner: Partner, start: int, rng: np.random.Generator) -> None:
    """When a token has expired the next one to four calls are refused, and a new one is fetched."""
    if not partner.habits.token_hours or len(calls) == 0:
        return
    times = calls["timestamp"]
    step = int(partner.habits.token_hours * HOUR_NS)
    due = np.unique(np.searchsorted(times, np.arange(start + step, int(times[-1]) + 1, step)))
    for first in due[due < len(calls) - 6]:
        refused = int(rng.integers(1, 5))
        calls["status"][first : first + refused] = 401
        calls["response_bytes"][first : first + refused] = 120
        renewed = first + refused
        calls["place"][renewed], calls["object_id"][renewed], calls["status"][renewed] = TOKEN, 0, 201


def _jobs(index: int, partner: Partner, first_source: int, start: int, hours: float,
          rng: np.random.Generator) -> list[Calls]:
    """What runs by itself: cron jobs, the nightly batch, exports, sequential reads, backfills."""
    habits, end = partner.habits, start + int(hours * HOUR_NS)
    own = partner.endpoints
    lists = own[~HAS_ID[own]]
    items = own[HAS_ID[own] & ~IS_POST[own]]
    found: list[Calls] = []

    def job(begin: int, n: int, places: Ints, gap: float = JOB_GAP_S, ids: Ints | None = None) -> None:
        times = begin + (np.cumsum(rng.exponential(gap, n)) * SECOND_NS).astype(np.int64)
        calls = calm(index, partner, first_source, times, rng)
        calls["source"] = first_source
        calls["place"] = rng.choice(places, n)
        if ids is not None:
            calls["object_id"] = ids
        calls["object_id"][~HAS_ID[calls["place"]]] = 0
        calls["status"] = statuses(calls["place"], partner.errors, rng)
        measure(calls, np.ones(n), rng)
        found.append(calls)

    if habits.cron_minutes and len(lists):
        period = habits.cron_minutes * 60 * SECOND_NS
        places = rng.choice(lists, min(2, len(lists)), replace=False)
        for begin in range(start + int(rng.random() * period), end, period):
            job(begin, habits.cron_calls, places)
    if habits.batch:
        n = int(np.clip(habits.batch * partner.requests_per_hour, 10, 5000))
        first = start - start % DAY_NS + int(habits.batch_hour * HOUR_NS)
        places = rng.choice(own, min(3, len(own)), replace=False)
        for begin in range(first if first >= start else first + DAY_NS, end, DAY_NS):
            job(begin + int(rng.uniform(0, 600) * SECOND_NS), int(n * rng.uniform(0.8, 1.2)), places, min(1.0, 900.0 / n))
    for begin in poisson_times(habits.exports, start, hours, rng):
        job(int(begin), int(rng.integers(1, 12)), np.array([EXPORT]), 8.0)
    if len(items):
        for begin in poisson_times(habits.sequences, start, hours, rng):
            n = int(rng.integers(15, 60))
            job(int(begin), n, items[:1], 2.0, int(partner.objects[0]) + np.arange(n))
    for begin in poisson_times(habits.backfills, start, hours, rng):
        job(int(begin), int(np.clip(partner.requests_per_hour * rng.uniform(0.2, 0.8), 15, 2000)), own, 0.6)
    return [calls[calls["timestamp"] < end] for calls in found]


HAS_ID = np.array([endpoint.has_id for endpoint in EVERY])
IS_POST = np.array([endpoint.method == "POST" for endpoint in EVERY])
LATENCY = np.array([endpoint.latency_ms for endpoint in EVERY])
REQUEST = np.array([endpoint.request_bytes for endpoint in EVERY])
RESPONSE = np.array([endpoint.response_bytes for endpoint in EVERY])
