"""The state machine of levels, walked completely through the public doors."""

import math

import pytest

from ztcore.engine import Engine
from ztcore.levels import CAUSES

START = 1_750_000_000.0
MINUTE, HOUR = 60.0, 3600.0
SCORES = {1: 31, 2: 61, 3: 81, 4: 96}


def raised_to(level):
    """An engine in which "acme" has just been raised to a level by fresh evidence; and when."""
    engine = Engine(64, bytes(16))
    engine.configure(shadow=False, learning_hours=0.0, learning_events=300)
    at = START
    for i in range(400):
        at = START + i * 30.0
        engine.observe("acme", "/e", status=200, timestamp=at)
    engine.transitions()
    for _ in range(200):
        at += 0.2
        # other client errors lead to an alert at most
        decision = engine.observe("acme", "/e", status=404 if level == 1 else 401, timestamp=at)
        if decision.level == level:
            return engine, at
    raise AssertionError(f"{level} was not reached: {decision}")


def changes(engine):
    """(from, to, cause, time s) of each change since the last look."""
    return [(int(t["from_level"]), int(t["to_level"]), CAUSES.get(int(t["cause"]), "signal"), int(t["timestamp"]) / 1e9)
            for t in engine.transitions() if not t["anomaly"]]


def test_an_anomaly_has_only_its_own_reasons():
    """Places for reasons that it does not use are empty, whatever the memory held before."""
    engine = Engine(64, bytes(16), learning_hours=0.0)
    for i in range(600):
        engine.observe("acme", "/e", status=200 if i < 400 else 401, timestamp=START + i * 30.0)
    found = [entry for entry in engine.transitions() if entry["anomaly"]]
    assert any(entry["whys"] < len(entry["why"]) for entry in found)
    assert all(not any(entry["why"][entry["whys"]:].tobytes()) for entry in found)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_rises_at_once(level):
    """A level is reached with the event that brings the score to its threshold, from wherever it was."""
    engine, at = raised_to(level)
    last = changes(engine)[-1]
    assert last[1] == level
    assert last[2] == "signal"
    assert last[3] == pytest.approx(at, abs=1e-6)
    assert engine.row("acme")["score"] >= SCORES[level]


@pytest.mark.parametrize(("level", "hold"), [(1, 15 * MINUTE), (2, 15 * MINUTE), (3, HOUR), (4, HOUR)])
@pytest.mark.parametrize("noticed", ["advance", "check", "observe"])
def test_expires_to_monitor_when_no_evidence_comes(level, hold, noticed):
    """15 minutes (alert, throttle) or an hour (quarantine, block) after the last evidence, at that very time."""
    engine, at = raised_to(level)
    changes(engine)
    engine.advance(at + hold - 1.0)
    assert engine.row("acme")["level"] == level
    late = at + hold + 7.0
    if noticed == "advance":
        engine.advance(late)
    elif noticed == "check":
        assert engine.check("acme", timestamp=late).level == 0
    else:
        assert engine.observe("acme", "/e", timestamp=late).level == 0
    ((before, after, cause, when),) = changes(engine)
    assert (before, after, cause) == (level, 0, "expiry")
    assert when == pytest.approx(at + hold, abs=1e-3)
    assert engine.row("acme")["score"] == 0.0


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_falls_one_level_after_five_quiet_minutes(level):
    """Five minutes below the threshold less five points: one level down; and so on to monitor."""
    engine, at = raised_to(level)
    changes(engine)
    engine.configure(hold_minutes=10_000.0, hold_strong_minutes=10_000.0)
    engine.observe("acme", "/e", status=401, timestamp=at + 0.1)    # prolongs it by the new times
    level = int(engine.row("acme")["level"])
    changes(engine)
    below, falls = {}, []
    for i in range(1, 3000):
        now = at + i * 30.0
        decision = engine.observe("acme", "/e", status=200, timestamp=now)
        for n in range(1, 5):
            if decision.score < SCORES[n] - 5:
                below.setdefault(n, now)
        falls += changes(engine)
        if decision.level == 0:
            break
    assert [(before, after, cause) for before, after, cause, _ in falls] == [(n, n - 1, "fall") for n in range(level, 0, -1)]
    due = 0.0
    for n, (_, _, _, when) in zip(range(level, 0, -1), falls, strict=True):
        due = max(below[n], due) + 5 * MINUTE
        assert when == pytest.approx(due, abs=1e-3)
        due = when


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("pinned", [0, 1, 2, 3, 4])
def test_a_pin_beats_every_level(level, pinned):
    """Whatever the score reached, a pin decides; and lifted, the score decides again."""
    engine, at = raised_to(level) if level else (Engine(64, bytes(16)), START)
    engine.configure(shadow=False)
    engine.pin("acme", pinned, at + 100.0, timestamp=at)
    assert engine.check("acme", timestamp=at + 1).level == pinned
    assert engine.unpin("acme", timestamp=at + 2)
    assert engine.check("acme", timestamp=at + 3).level == level
    assert not engine.unpin("acme", timestamp=at + 4)


@pytest.mark.parametrize("pinned", [1, 2, 3, 4])
def test_a_pin_ends_when_it_is_due(pinned):
    """The transition bears the time at which the pin ran out."""
    engine = Engine(64, bytes(16))
    engine.pin("acme", pinned, START + 50.0, timestamp=START)
    engine.advance(START + 1000.0)
    assert changes(engine) == [(0, pinned, "pin", START), (pinned, 0, "expiry", START + 50.0)]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_restore_ends_every_level_and_forgives(level):
    """After restore the partner is at monitor, its evidence is gone, ordinary calls raise nothing."""
    engine, at = raised_to(level)
    changes(engine)
    assert engine.restore("acme", timestamp=at + 1)
    assert changes(engine) == [(level, 0, "restore", pytest.approx(at + 1))]
    assert engine.observe("acme", "/e", timestamp=at + 2).score < 31


@pytest.mark.parametrize(("level", "after"), [(1, 1), (2, 2), (3, 0), (4, 4)])
def test_reauthentication_ends_quarantine_only(level, after):
    """A new login lifts quarantine and changes nothing else."""
    engine, at = raised_to(level)
    assert engine.reauthenticated("acme", timestamp=at + 1) is (level == 3)
    assert engine.check("acme", timestamp=at + 1).level == after


@pytest.mark.parametrize("cap", [0, 1, 2, 3, 4])
def test_a_cap_bounds_what_the_score_reaches(cap):
    """max_action of one partner; the score is told in full, and lifting the cap shows the level."""
    engine, at = raised_to(4)
    engine.cap("acme", cap, timestamp=at)
    decision = engine.check("acme", timestamp=at)
    assert decision.level == cap
    assert decision.score >= 96
    engine.cap("acme", 4, timestamp=at)
    assert engine.check("acme", timestamp=at).level == 4


@pytest.mark.parametrize("settings", [{"shadow": True}, {"kill_switch": True}, {"auto_throttle": False}])
def test_modes_enforce_nothing_and_keep_the_level(settings):
    """Shadow mode, the kill switch and auto_throttle=False leave the level and take the enforcement."""
    engine, at = raised_to(4)
    assert engine.check("acme", timestamp=at).enforced
    engine.configure(**settings)
    decision = engine.check("acme", timestamp=at)
    assert (decision.level, decision.enforced) == (4, False)


def test_pins_are_enforced_without_auto_throttle():
    """auto_throttle=False enforces pins, and the allow list beats them."""
    engine = Engine(64, bytes(16))
    engine.configure(shadow=False, auto_throttle=False)
    engine.pin("acme", 4, math.inf, timestamp=START)
    assert engine.check("acme", timestamp=START).enforced
    engine.allow("acme", True, timestamp=START)
    assert not engine.check("acme", timestamp=START).enforced


def test_stale_evidence_neither_raises_nor_prolongs():
    """After an attack, ordinary calls with a high score in the counts keep no level up."""
    engine, at = raised_to(2)
    fresh_at = int(engine.row("acme")["fresh_at"])
    for i in range(1, 20):
        engine.observe("acme", "/e", status=200, timestamp=at + i * 30.0)
    assert int(engine.row("acme")["fresh_at"]) == fresh_at
