"""Rates against a partner's own past: jobs by day and by night, ramps and growth, one endpoint at the pace of a machine."""

import numpy as np
import pytest

from tests.test_judged import DAY, HOUR, START, feed, steady
from ztcore.engine import Engine

NOON, NIGHT = 12 * HOUR, 2 * HOUR
MIDNIGHT = START - START % DAY


def day_and_night(days):
    """Three hundred calls an hour by day, thirty by night."""
    parts = []
    for day in range(days):
        at = MIDNIGHT + day * DAY
        parts += [steady(at, at + 6 * HOUR, 30, day), steady(at + 6 * HOUR, at + DAY, 300, day + 50)]
    return np.concatenate(parts)


def job(at, calls):
    return at + np.linspace(0, 600, calls)


def test_a_job_known_by_day_is_known_by_night():
    """Six hundred calls in ten minutes are three times the usual at noon and twenty times the usual at night, and the
    same job; six times as many are none."""
    engine = Engine(64, bytes(16))
    noons = [job(MIDNIGHT + day * DAY + NOON, 600) for day in range(3)]
    feed(engine, "acme", np.sort(np.concatenate([day_and_night(3), *noons])))
    at = MIDNIGHT + 3 * DAY
    quiet = steady(at, at + NIGHT, 30, 77)
    assert feed(engine, "acme", np.sort(np.concatenate([quiet, job(at + NIGHT, 600)]))).max() < 2
    assert feed(engine, "acme", job(at + NIGHT + HOUR, 3600)).max() >= 2


def test_who_never_had_a_job_has_none_at_night():
    """The same night job of who has never had one throttles."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", day_and_night(3))
    at = MIDNIGHT + 3 * DAY
    quiet = steady(at, at + NIGHT, 30, 77)
    assert feed(engine, "acme", np.sort(np.concatenate([quiet, job(at + NIGHT, 600)]))).max() >= 2


def rising(at, hours, from_rate, to_rate, seed=5):
    """Calls whose rate (an hour) rises evenly."""
    minutes = np.arange(int(hours * 60))
    rates = from_rate + (to_rate - from_rate) * minutes / len(minutes)
    counts = np.random.default_rng(seed).poisson(rates / 60)
    within = np.random.default_rng(seed + 1).uniform(0, 60, counts.sum())
    return np.sort(at + np.repeat(minutes * 60.0, counts) + within)


@pytest.mark.parametrize(("hours", "to_rate", "throttled"), [(3, 3000, True), (8, 900, False)])
def test_a_ramp_is_seen_and_growth_is_not_punished(hours, to_rate, throttled):
    """To ten times within three hours throttles; to three times within eight hours, and on, does not."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 3 * DAY, 300))
    at = START + 3 * DAY
    found = feed(engine, "acme", rising(at, hours, 300, to_rate)).max()
    if not throttled:
        found = max(found, feed(engine, "acme", steady(at + hours * HOUR, at + hours * HOUR + DAY, to_rate, 9)).max())
    assert bool(found >= 2) is throttled


def turns(engine, times, endpoints, seed=1):
    """Calls at these times, each to one of the endpoints; the levels."""
    which = np.random.default_rng(seed).integers(0, len(endpoints), len(times))
    return np.array([engine.observe("acme", endpoints[i], timestamp=float(t)).level
                     for i, t in zip(which, times, strict=True)])


def test_one_endpoint_at_the_pace_of_a_machine_throttles():
    """Of six endpoints called alike one is called six times as often as all together, for a quarter of an hour."""
    engine = Engine(64, bytes(16))
    endpoints = [f"/e{i}" for i in range(6)]
    assert turns(engine, steady(START, START + 3 * DAY, 300), endpoints).max() < 2
    at = START + 3 * DAY
    machine = at + np.arange(0, 900, 2.0)
    both = np.sort(np.concatenate([machine, steady(at, at + 900, 300, 4)]))
    own = set(machine.tolist())
    levels = [engine.observe("acme", "/e0" if t in own else endpoints[i % 6], timestamp=float(t)).level
              for i, t in enumerate(both)]
    assert max(levels) >= 2
    assert engine.reasons(engine.row("acme"))[0].signal in ("endpoint_focus", "request_rate")


def test_what_is_usual_of_an_endpoint_is_its_share_in_its_hours():
    """A report that is fetched forty times at six every morning, and never else, raises nobody on the next morning."""
    engine = Engine(64, bytes(16))
    endpoints = [f"/e{i}" for i in range(6)]
    highest = 0
    for day in range(16):
        at = START + day * DAY
        turns(engine, steady(at, at + 6 * HOUR, 60, day), endpoints, day)
        levels = [engine.observe("acme", "/report", timestamp=at + 6 * HOUR + i * 20.0).level for i in range(40)]
        if day >= 3:
            highest = max(highest, *levels)
        turns(engine, steady(at + 7 * HOUR, at + DAY, 60, day + 99), endpoints, day)
    assert highest < 2


def test_one_endpoint_stands_out_at_a_partner_of_a_month_too():
    """Hours of an endpoint are counted up to two hundred; beyond, its share of all calls is what is usual. One that has a
    sixth of them has four fifths for half an hour."""
    engine = Engine(64, bytes(16))
    endpoints = [f"/e{i}" for i in range(6)]
    last = START + 30 * DAY
    turns(engine, steady(START, last, 60), endpoints)
    both = np.sort(np.concatenate([machine := last + np.arange(0, 1800, 20.0), steady(last, last + 1800, 60, 4)]))
    own = set(machine.tolist())
    for i, t in enumerate(both):
        engine.observe("acme", "/e0" if t in own else endpoints[i % 6], timestamp=float(t))
    assert "endpoint_focus" in [reason.signal for reason in engine.reasons(engine.row("acme"))]


@pytest.mark.parametrize("away_days", [1.5, 3, 6])
def test_who_was_away_comes_back_as_it_was(away_days):
    """A partner that calls around the clock and says nothing for days is expected at its usual rate when it returns."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 1.2 * DAY, 600))
    back = START + (1.2 + away_days) * DAY
    assert feed(engine, "acme", steady(back, back + 3 * HOUR, 600, 8)).max() == 0
    assert 0.8 < float(engine.row("acme")["rate"]) * HOUR / 600 < 1.25


def test_a_weekly_job_is_not_expected_all_week():
    """Who calls for an hour a week was not away in between: the same calls at another hour are news."""
    engine = Engine(64, bytes(16))
    for week in range(4):
        at = START + week * 7 * DAY + 3 * HOUR
        feed(engine, "acme", steady(at, at + HOUR, 600, week))
    at = START + 24 * DAY + NOON
    assert feed(engine, "acme", steady(at, at + HOUR, 600, 9)).max() >= 2


def test_the_first_monday_is_no_burst():
    """Weekdays at four times the rate of a weekend, from a Thursday on: of Mondays nothing is known yet."""
    engine = Engine(64, bytes(16))
    days = [(3, 6000), (4, 6000), (5, 1500), (6, 1500), (7, 6000)]
    levels = [feed(engine, "acme", steady(START + day * DAY, START + (day + 1) * DAY, rate, day)).max() for day, rate in days]
    assert levels[-1] == 0
