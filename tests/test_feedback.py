"""What people say of a partner's traffic: false alarms, announced events, and what comes of it."""

import re
from datetime import UTC, datetime

import numpy as np
import pytest

import ztmon
from tests.test_judged import DAY, HOUR, START, feed, steady
from ztcore.engine import Engine
from ztcore.layout import ROW
from ztcore.merge import merge

NOW = START + 2 * DAY


def known(per_hour=300):
    """An engine that has seen two ordinary days of a partner."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, NOW, per_hour))
    return engine


def burst(at, minutes=20.0, per_minute=120):
    return np.linspace(at, at + minutes * 60, int(minutes * per_minute))


def test_a_false_alarm_does_not_come_again_within_the_day():
    """A burst of twenty-four times the usual throttles; called a false alarm it goes on, and comes three more times
    that day, and nothing happens."""
    engine = known()
    at = burst(NOW + HOUR)
    assert feed(engine, "acme", at[:600]).max() >= 2
    assert engine.restore("acme", timestamp=at[600], false_positive=True)
    assert feed(engine, "acme", at[600:]).max() == 0
    for hours in (3, 8, 20):
        assert feed(engine, "acme", burst(NOW + hours * HOUR)).max() == 0


def test_without_the_word_it_does_come_again():
    """A restore that says nothing of a false alarm forgives, and the next burst throttles."""
    engine = known()
    at = burst(NOW + HOUR)
    assert feed(engine, "acme", at[:600]).max() >= 2
    assert engine.restore("acme", timestamp=at[600])
    assert feed(engine, "acme", burst(NOW + 3 * HOUR)).max() >= 2


def test_a_false_alarm_excuses_nothing_else():
    """While a burst is excused, failing log-ins still throttle."""
    engine = known()
    at = burst(NOW + HOUR)
    feed(engine, "acme", at[:600])
    engine.restore("acme", timestamp=at[600], false_positive=True)
    assert feed(engine, "acme", np.linspace(NOW + 3 * HOUR, NOW + 3 * HOUR + 120, 60), status=401).max() >= 2


def test_an_excuse_ends_after_a_day():
    """Two days later a burst three times as strong is news again."""
    engine = known()
    at = burst(NOW + HOUR)
    feed(engine, "acme", at[:600])
    engine.restore("acme", timestamp=at[600], false_positive=True)
    feed(engine, "acme", steady(at[600] + 1, NOW + 2 * DAY, 300))
    assert feed(engine, "acme", burst(NOW + 2 * DAY + HOUR, 20, 2000)).max() >= 2


def test_announced_calls_are_no_evidence_until_they_end():
    """Twelve times the usual for two hours, announced: nothing. The same an evening later, not announced: throttled."""
    engine = known()
    engine.expect("acme", NOW + 3 * HOUR, 15.0, timestamp=NOW)
    assert feed(engine, "acme", burst(NOW + HOUR, 120, 60)).max() == 0
    assert feed(engine, "acme", steady(NOW + 3 * HOUR + 1, NOW + 20 * HOUR, 300)).max() == 0
    assert feed(engine, "acme", burst(NOW + 20 * HOUR, 120, 60)).max() >= 2


def test_more_than_was_announced_is_evidence():
    """Three times were announced and thirty come."""
    engine = known()
    engine.expect("acme", NOW + 3 * HOUR, 3.0, timestamp=NOW)
    assert feed(engine, "acme", burst(NOW + HOUR, 20, 150)).max() >= 2


def test_announced_calls_become_no_habit():
    """A day of ten times the usual, announced, leaves the usual rate as it was, and is forgotten a day later."""
    engine = known()
    before = float(engine.row("acme")["rate"])
    engine.expect("acme", NOW + DAY, 12.0, timestamp=NOW)
    feed(engine, "acme", steady(NOW, NOW + DAY, 3000))
    assert float(engine.row("acme")["rate"]) == pytest.approx(before, rel=0.3)
    feed(engine, "acme", steady(NOW + DAY + 1, NOW + 2 * DAY, 300))
    row = engine.row("acme")
    assert float(row["expected_rate"]) == 0.0
    assert (row["gate"][:3] < 2.0).all()


def test_an_announcement_is_withdrawn():
    """rate=1 puts everything as it was."""
    engine = known()
    gate = engine.row("acme")["gate"].copy()
    engine.expect("acme", NOW + DAY, 10.0, timestamp=NOW)
    np.testing.assert_allclose(engine.row("acme")["gate"], gate * 10, rtol=1e-5)
    engine.expect("acme", NOW + DAY, 1.0, timestamp=NOW)
    np.testing.assert_allclose(engine.row("acme")["gate"], gate, rtol=1e-5)


def test_an_announcement_for_somebody_unknown_waits_for_him():
    """Who was announced before the first call has the factor from it on."""
    engine = Engine(64, bytes(16))
    engine.expect("new", START + DAY, 10.0, timestamp=START)
    engine.observe("new", "/e", timestamp=START + 10)
    np.testing.assert_allclose(engine.row("new")["gate"], 10.0 * np.exp(0.2), rtol=1e-5)


@pytest.mark.parametrize(("until", "rate", "why"), [
    (START - 1, 10.0, "a time in the future"), (NOW, 0.5, "from 1 to 1,000"), (NOW, 2000.0, "from 1 to 1,000"),
    (float("nan"), 2.0, "a time in the future"), (NOW, float("nan"), "from 1 to 1,000"),
])
def test_announcements_that_make_no_sense(until, rate, why):
    """Refused, with what is allowed."""
    engine = Engine(8, bytes(16))
    with pytest.raises(ValueError, match=why):
        engine.expect("acme", until, rate, timestamp=START)


def test_merged_rows_keep_announcement_and_excuse():
    """Of two hosts' rows: the announcement that lasts longer, the excuses of both; the gate holds the factor once."""
    a, b = known(), known()
    a.expect("acme", NOW + DAY, 4.0, timestamp=NOW)
    b.expect("acme", NOW + 2 * DAY, 8.0, timestamp=NOW)
    first, second = a.row("acme"), b.row("acme")
    second["excused"], second["excused_until"] = 5, 100
    found = merge(first, second)
    assert (found["expected_rate"], found["excused"], found["excused_until"]) == (8.0, 5, 100)
    np.testing.assert_allclose(found["gate"], known().row("acme")["gate"] * 8, rtol=1e-4)
    assert ROW["excused"].itemsize == 4


def test_the_monitor_takes_dates_and_says_what_it_did(caplog):
    """expect() takes a datetime; both calls are in the log with their reason."""
    caplog.set_level("INFO", "ztmon")
    with ztmon.Monitor(ztmon.Config(clock="events", learning_hours=1)) as monitor:
        feed(monitor, "acme", steady(START, NOW, 300))
        monitor.expect("acme", until=datetime.fromtimestamp(NOW + HOUR, UTC), rate=5, reason="sale")
        assert monitor.row("acme")["expected_until"] == int(NOW + HOUR)
        assert feed(monitor, "acme", np.linspace(NOW + 2 * HOUR, NOW + 2 * HOUR + 60, 60), status=401).max() >= 2
        assert monitor.restore("acme", reason="our own test", false_positive=True)
        assert monitor.row("acme")["excused"] & 1
    assert "acme may call 5 times as much until 2025-06-18 01:00:00 UTC (sale)" in caplog.text
    assert "acme was restored as a false alarm (our own test)" in caplog.text


def test_a_reason_says_how_unlikely_and_since_when():
    """In words and as data; the start is that of the evidence, not of the level."""
    engine = known()
    began = NOW + 1800.0
    decisions = [engine.observe("acme", "/e", status=401, timestamp=began + i) for i in range(60)]
    first = next(d for d in decisions if d.level >= 2)
    reason = first.reasons[0]
    assert reason.signal == "auth_failures"
    assert began <= reason.since <= began + 5
    assert re.fullmatch(re.escape(reason.detail) + r" \(by chance 1 in [\d,.]+( million)?, since 00:30:0\d UTC\)", str(reason))
    assert reason.to_dict()["since"] == round(reason.since * 1000)
    entry = engine.transitions()[-1]
    assert engine.reasons(entry)[0].since == reason.since
