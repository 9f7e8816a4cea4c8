"""The statistics as their definitions read, in double precision, from the list of all events."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from math import log

HALF_LIVES = (60.0, 600.0, 5400.0)
LOG_TRIED = 3.0
KNOTS = ((0.0, 0.0), (6.0, 31.0), (8.0, 61.0), (14.0, 81.0), (26.0, 96.0), (60.0, 100.0))


def decayed(events, at):
    """Sum of 2^-(age / half-life) over (time s, weight) pairs, per half-life, as of `at`."""
    return [sum(w * 2.0 ** (-(at - t) / h) for t, w in events) for h in HALF_LIVES]


def kl(q, p):
    """Kullback-Leibler divergence of two Bernoulli shares, nats."""
    found = 0.0
    if q > 0:
        found += q * log(q / p)
    if q < 1:
        found += (1 - q) * log((1 - q) / (1 - p))
    return found


REFUSALS = 2.0


def refusals(hits):
    """Authentication failures that count: two are what an expired token leaves."""
    return [max(k - REFUSALS, 0.0) for k in hits]


def worth_long(m):
    """Trials that a baseline worth m is worth at the longest half-life."""
    return 3 * m if 3 * m < 1000.0 else max(m, 1000.0)


def share_evidence(k, n, p, m):
    """Two samples: k of n recent against a baseline of m trials at share p; 0 below the norm."""
    if n <= 0 or k / n <= p:
        return 0.0
    n, k = (n, k) if n <= 65536 else (65536.0, k / n * 65536.0)
    q = min(k / n, 0.999999)
    c = (n * q + m * p) / (n + m)
    return n * kl(q, c) + m * kl(p, c)


def worth(p):
    """Trials that a baseline without a learned spread is worth."""
    return min(max(p * (1 - p) / (0.03 * p * p) - 1, 2.0), 3000.0)


def rate_evidence(seen, expected, mu, phi):
    """Evidence of the request rate."""
    r = log((seen + 1) / (expected + 1)) - mu - 0.2
    if r <= 0 or seen <= expected:
        return 0.0
    return min(r * r / (2 * (phi + 1 / (expected + 1))), seen * log(seen / expected) - seen + expected)


def score_of(nats):
    """Score of combined evidence."""
    for (a, x), (b, y) in itertools.pairwise(KNOTS):
        if nats < b:
            return x + (y - x) * (max(nats, 0.0) - a) / (b - a)
    return 100.0


def tempered(nats, mean, episodes, record):
    """Evidence in units of a signal's own past: excesses over 2 nats (ten episodes of 1 are the prior); up to the
    record at most 4 nats."""
    step = 1 / max((10 + mean * episodes) / (10 + episodes), 1.0)
    excess, record = nats - 2, record - 2
    if excess <= 0:
        return nats
    if record * step <= 4:
        return 2 + excess * step
    return 2 + excess * 4 / record if excess <= record else 6 + (excess - record) * step


def most(mean, episodes, record):
    """Nats that are counted at most."""
    return min(max(record + 58 * max((10 + mean * episodes) / (10 + episodes), 1.0), 60.0), 120.0)


@dataclass
class Twin:
    """One young partner, event by event: everything that is a plain function of the past."""

    late: float = 120.0
    times: list = field(default_factory=list)       # (time, count) taken in
    hits: dict = field(default_factory=dict)        # kind -> [(time, count)]
    taken: list = field(default_factory=list)       # events taken in
    newest: float = 0.0
    seen: int = 0                                   # all events, late ones too
    streak: int = 0

    def observe(self, event):
        """Take in an event (a dict); True unless it came too late."""
        t, count = event["timestamp"], event["count"]
        self.seen += count
        if t < self.newest - self.late:
            self.streak += 1
            return False
        self.streak = 0
        self.newest = max(self.newest, t)
        self.times.append((t, count))
        if event["status"] in (401, 403):
            self.hits.setdefault("auth_failures", []).append((t, count))
        if event["status"] >= 500:
            self.hits.setdefault("server_errors", []).append((t, count))
        self.taken.append(event)
        return True

    def trials(self):
        return decayed(self.times, self.newest)

    def count(self, kind):
        return decayed(self.hits.get(kind, []), self.newest)

    def calls(self):
        """Calls of each endpoint."""
        found = Counter()
        for event in self.taken:
            found[event["endpoint"]] += event["count"]
        return found


def ewma(values, most):
    """Mean with steps of 1/n, never smaller than 1/most."""
    mean = 0.0
    for n, x in enumerate(values, 1):
        mean += (x - mean) / min(n, most)
    return mean


def quantile_of(values, q):
    """The smallest value with at least q of all at or below it."""
    ordered = sorted(values)
    i = max(0, -(-q * len(ordered) // 1) - 1)
    return ordered[int(i)]


def gcra(times, interval, burst):
    """Which calls at those times a token bucket lets through."""
    arrival, passed = 0.0, []
    for t in times:
        at = max(arrival, t)
        ok = (at - t) + interval <= burst + 1e-6
        passed.append(ok)
        if ok:
            arrival = at + interval
    return passed




def clipped_moments(values, most=500):
    """Mean and variance with steps of 1/n; from the 21st value on what lies beyond three standard deviations
    (of at least 0.1 nats) counts as three."""
    mean = var = 0.0
    for n, x in enumerate(values, 1):
        step, d = 1.0 / min(n, most), x - mean
        if n > 21:
            bound = 3.0 * (var + (0.1 / log(2)) ** 2) ** 0.5
            d = min(max(d, -bound), bound)
        mean += step * d
        var = (1.0 - step) * (var + step * d * d)
    return mean, var
