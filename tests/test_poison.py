"""What an attacker with two weeks of patience can teach: not enough."""

import numpy as np

from tests.test_judged import DAY, HOUR, START, feed, steady
from ztcore.engine import Engine

WEEKS = 14


def test_bursts_that_grow_for_two_weeks_make_no_flood_usual():
    """Every day a burst half as large again as yesterday's, from twice the usual on: after two weeks a flood of sixty
    times the usual still throttles, and what the bursts taught is no more than a quarter a day."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 2 * DAY, 120))
    first = engine.row("acme")["jobs"]["record"][0].astype(int)
    size = 4.0
    for day in range(WEEKS):
        at = START + (2 + day) * DAY
        own = steady(at, at + DAY, 120, day)
        feed(engine, "acme", np.sort(np.concatenate([own, at + 12 * HOUR + np.linspace(0, 120, int(size))])))
        size *= 1.5
    learned = engine.row("acme")["jobs"]["record"][0].astype(int)
    assert (learned - first <= 3 * (WEEKS + 1)).all()       # steps of an eighth of an octave
    at = START + (2 + WEEKS) * DAY
    assert feed(engine, "acme", at + np.arange(0, 900, 0.5)).max() >= 2


def test_failing_log_ins_a_few_more_every_day_become_no_habit():
    """Two failing log-ins an hour on the first day, two more an hour every day: long before they are a flood the partner
    has been throttled for them, and a quick attack after two weeks is blocked as ever."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 2 * DAY, 120))
    highest = []
    for day in range(WEEKS):
        at = START + (2 + day) * DAY
        own, wrong = steady(at, at + DAY, 120, day), steady(at, at + DAY, 2 * (day + 1), day + 500)
        order = np.argsort(np.concatenate([own, wrong]))
        failed = np.concatenate([np.zeros(len(own), bool), np.ones(len(wrong), bool)])[order]
        times = np.concatenate([own, wrong])[order]
        highest.append(max(engine.observe("acme", "/e", status=401 if bad else 200, timestamp=float(t)).level
                           for t, bad in zip(times, failed, strict=True)))
    assert float(engine.row("acme")["counts"][0][3]) < 0.25       # what is usual, after a fifth of all calls failed
    at = START + (2 + WEEKS) * DAY + 3 * HOUR
    assert feed(engine, "acme", at + np.arange(0, 300, 1.0), status=401).max() >= 3


def test_slow_stuffing_does_not_teach_its_own_share():
    """One failing log-in in half a minute among two calls a minute: throttled within the hour, and what is usual has
    hardly moved."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 2 * DAY, 120))
    feed(engine, "acme", START + np.arange(1, 40) * HOUR + 7.0, status=401)
    at = START + 2 * DAY
    usual = float(engine.row("acme")["counts"][0][3])
    own, wrong = steady(at, at + HOUR, 120, 3), at + np.arange(0, 3600, 30.0)
    times = np.concatenate([own, wrong])
    failed = np.concatenate([np.zeros(len(own), bool), np.ones(len(wrong), bool)])
    order = np.argsort(times)
    levels = [engine.observe("acme", "/e", status=401 if failed[i] else 200, timestamp=float(times[i])).level for i in order]
    assert max(levels) >= 2
    assert float(engine.row("acme")["counts"][0][3]) < 3 * usual + 0.002
