"""When partners call: rates over the day, the week and the month, and the moments drawn from them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ztmon.errors import InputError
from ztmon.simulate.world import Floats, Ints, Partner

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
STEP_S = 600.0
"""Rates are constant for so long."""
GAP_S = 3.0
"""Mean time between two calls of a session."""

Factor = Callable[[Ints], Floats]
"""What else moves a partner's rate: moments (ns) to factors."""


def steps(start: int, hours: float) -> tuple[Ints, Floats]:
    """Where the steps of constant rate begin (ns since the epoch), and how long they are (s)."""
    edges = np.append(np.arange(0.0, hours * 3600.0, STEP_S), hours * 3600.0)
    return start + (edges[:-1] * SECOND_NS).astype(np.int64), np.diff(edges)


def rates(partner: Partner, at: Ints, rng: np.random.Generator, shape: Floats | None = None) -> Floats:
    """Expected requests a second at these steps. shape: a real series to follow instead of a made-up day."""
    if shape is not None:
        found = partner.requests_per_hour / 3600.0 * shape[(np.arange(len(at)) % len(shape))]
        return np.asarray(found, np.float64)
    of_day = (at / HOUR_NS) % 24.0
    days = at // DAY_NS
    rhythm = 1.0 + partner.swing * np.cos((of_day - partner.peak_hour) * (np.pi / 12.0))
    week = np.where((days + 3) % 7 >= 5, partner.weekend, 1.0)      # the epoch was a Thursday
    month = np.where(partner.weekend < 1.0, month_peak(days), 1.0)
    return partner.requests_per_hour / 3600.0 * rhythm * week * month * unrest(partner.habits.restless, len(at), rng)


def month_peak(days: Ints) -> Floats:
    """More on the last and the first day of a month, and on the 15th, when wages are paid."""
    dates = days.astype("M8[D]")
    of_month = (dates - dates.astype("M8[M]")).astype(np.int64)
    last = (dates + 1).astype("M8[M]") != dates.astype("M8[M]")
    peak: Floats = np.where(last | (of_month == 0), 1.5, np.where(of_month == 14, 1.3, 1.0))
    return peak


def unrest(size: float, n: int, rng: np.random.Generator) -> Floats:
    """Slow ups and downs around 1: the exponential of an AR(1) process that forgets within hours, and each hour's own."""
    own: Floats = rng.gamma(60.0, 1.0 / 60.0, n)
    if size == 0.0:
        return own
    noise = rng.normal(0.0, size * np.sqrt(1.0 - 0.95**2), n)
    level, found = rng.normal(0.0, size), np.empty(n)
    for i in range(n):
        level = 0.95 * level + noise[i]
        found[i] = level
    return own * np.exp(found - size * size / 2.0)


def moments(rate: Floats, at: Ints, seconds: Floats, session_calls: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """When calls happen (ns, in order), and to which session each belongs."""
    counts = rng.poisson(rate * seconds / session_calls)
    within = rng.random(int(counts.sum())) * np.repeat(seconds, counts)
    begins = np.repeat(at, counts) + (within * SECOND_NS).astype(np.int64)
    if session_calls <= 1.0:
        return np.sort(begins), np.arange(len(begins))
    lengths = rng.geometric(1.0 / session_calls, len(begins))
    session = np.repeat(np.arange(len(begins)), lengths)
    gaps = rng.exponential(GAP_S, len(session))
    firsts = np.cumsum(lengths) - lengths
    gaps[firsts] = 0.0
    total = np.cumsum(gaps)
    since = total - np.repeat(total[firsts], lengths)
    times = begins[session] + (since * SECOND_NS).astype(np.int64)
    order = np.argsort(times, kind="stable")
    return times[order], session[order]


def poisson_times(per_day: float, start: int, hours: float, rng: np.random.Generator) -> Ints:
    """Moments (ns) of something that happens so often, in order."""
    n = int(rng.poisson(per_day * hours / 24.0))
    return np.sort(start + (rng.random(n) * hours * HOUR_NS).astype(np.int64))


def real_shapes(folder: Path) -> list[Floats]:
    """Series to follow, from the CSV files (also gzipped) of a folder: the second column counts, its mean
    becomes 1. Raises InputError where there is none."""
    found = []
    try:
        for path in sorted(folder.iterdir()):
            if path.name.endswith((".csv", ".csv.gz")):
                with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
                    values = np.array([v for v in map(_number, stream) if v is not None and v >= 0.0])
                if len(values) >= 100 and values.mean() > 0:
                    found.append(values / values.mean())
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from None
    if not found:
        raise InputError(f"{folder}: has no CSV file with a series of at least 100 numbers")
    return found


def _number(line: str) -> float | None:
    for text in line.strip().split(",")[1:2]:
        try:
            return float(text)
        except ValueError:
            return None
    return None
