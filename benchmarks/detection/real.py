"""Real series with experts' labels, from the folder ms-cloud-monitoring under ZTMON_TEST_DATA: each as the traffic of one
partner, and what the shipped configuration makes of it.

A series of calls a minute or an hour becomes calls at random moments of each step, so many as the series says (scaled to
a mean that is quick to replay); one of latencies, steady calls that take so long. The labels mark what experts found
odd: rises and falls alike. A fall is nobody's attack, so rises are counted by themselves.
"""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ztcore.layout import EVENT
from ztmon import Config, Monitor

from .verdicts import ALERT, LEVELS, THROTTLE

DAY_NS = 86_400_000_000_000
A_MINUTE, AN_HOUR = 30.0, 120.0         # calls of a partner, in the mean, by the step of its series, where that is a rate
SERIES = ("api", "ingress", "mongo", "outbound", "purchase")
LATENCIES = ("outbound",)
COUNTS = ("purchase",)                  # of what happened, not of a rate: taken as they are
GAP_STEPS = 2                           # labelled steps no further apart are one segment

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """One series: its labelled segments that are rises and those that are none, how many reached each of LEVELS, and
    the rises of the level to alert and to throttle outside every segment."""

    name: str
    days: float
    rises: int
    reached: tuple[int, ...]
    others: int
    false_alerts: int
    false_throttles: int


def judged(folder: Path) -> Iterator[Judged]:
    """All series of the folder."""
    for path in sorted(folder.glob("*.csv.gz")):
        if path.name.startswith(SERIES):
            yield judge(path)


def read(path: Path) -> tuple[Ints, NDArray[np.float64], NDArray[np.bool_]]:
    """Time stamps (ns), values and labels."""
    with gzip.open(path, "rt") as stream:
        rows = list(csv.DictReader(stream))
    at = np.array([row["TimeStamp"].rstrip("Z") for row in rows], "M8[ns]").astype(np.int64)
    return at, np.array([float(row["Value"] or 0) for row in rows]), np.array([row["Label"] == "1" for row in rows])


def calls(path: Path, engine: Monitor, at: Ints, values: NDArray[np.float64], step: int) -> tuple[NDArray[np.void], bytes]:
    """The series, a value each `step` ns, as a partner's calls."""
    rng = np.random.default_rng(1)
    mean = A_MINUTE if step <= 60_000_000_000 else AN_HOUR
    slow = path.name.startswith(LATENCIES)
    shape = np.ones(len(values)) if slow else values / max(values.mean(), 1e-9)
    counts = values.astype(np.int64) if path.name.startswith(COUNTS) else rng.poisson(mean * shape)
    events = np.zeros(counts.sum(), EVENT)
    events["timestamp"] = np.repeat(at, counts) + (rng.random(len(events)) * step).astype(np.int64)
    latency = np.repeat(values, counts) * rng.lognormal(0.0, 0.3, len(events)) if slow else np.full(len(events), 30.0)
    events["latency_ms"] = latency
    events = events[np.argsort(events["timestamp"], kind="stable")]
    name = path.name.split(".")[0].encode()
    events["partner"], events["name"] = engine.partner_key(name.decode()), 1
    events["endpoint"], events["status"], events["count"] = engine.endpoint_key("/calls", "GET"), 200, 1
    return events, b"\x07default" + bytes([len(name)]) + name


def segments(at: Ints, labels: NDArray[np.bool_], step: int) -> list[tuple[int, int]]:
    """First and last index of each run of labelled steps."""
    where = np.flatnonzero(labels)
    if not len(where):
        return []
    cuts = np.flatnonzero(np.diff(at[where]) > GAP_STEPS * step) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(where, cuts)]


def judge(path: Path) -> Judged:
    at, values, labels = read(path)
    step = int(np.median(np.diff(at)))
    with Monitor(Config(clock="events", hash_key=bytes(16))) as monitor:
        monitor.observe_batch(*calls(path, monitor, at, values, step))
        monitor.advance(int(at[-1]) * 1e-9 + 7200)
        changes = [entry for entry in monitor.transitions() if entry["anomaly"] == 0]
    times = np.array([int(entry["timestamp"]) for entry in changes], np.int64)
    after = np.array([int(entry["to_level"]) for entry in changes], np.int64)
    before = np.array([int(entry["from_level"]) for entry in changes], np.int64)
    rises, others, reached = 0, 0, [0] * len(LEVELS)
    inside = np.zeros(len(changes), bool)
    for first, last in segments(at, labels, step):
        within = (times >= at[first] - step) & (times < at[last] + 2 * step)
        inside |= within
        usual = values[max(0, first - 30) : first]
        if not len(usual) or values[first : last + 1].max() <= 1.2 * max(usual.max(), 1e-9):
            others += 1
            continue
        rises += 1
        for i, level in enumerate(LEVELS):
            reached[i] += bool((after[within & (after > before)] >= level).any())
    false = [int(((before < level) & (after >= level) & ~inside).sum()) for level in (ALERT, THROTTLE)]
    return Judged(path.name.split(".")[0], (int(at[-1]) - int(at[0])) / DAY_NS, rises, tuple(reached), others, *false)
