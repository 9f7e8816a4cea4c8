"""The monitor as an application uses it."""

import math
import threading

import pytest

import ztmon
from ztmon import Action, Config, Monitor

DAY = 86400.0
START = 1_750_000_000.0


def steady(monitor, partner="acme", days=1.5, every=30.0, start=START):
    """An ordinary partner: one call every half minute; returns when it ended."""
    at = start
    for i in range(int(days * DAY / every)):
        at = start + i * every
        monitor.observe(partner, "/api/users", status=200, latency_ms=20.0 + i % 7, response_bytes=500 + i % 50,
                        source="192.0.2.1", timestamp=at)
    return at


def stuff(monitor, at, partner="acme", calls=200):
    """Credential stuffing: authentication failures, four a second. Returns the last Decision and when."""
    decision = None
    for i in range(calls):
        at += 0.25
        decision = monitor.observe(partner, "/api/login", method="POST", status=401, latency_ms=9.0,
                                   source=f"198.51.100.{i % 200}", timestamp=at)
    return decision, at


def quiet(**settings):
    """A monitor whose levels fall by the events' time."""
    return Monitor(Config(clock="events", **settings))


def test_an_ordinary_partner_stays_at_monitor():
    """A day and a half of steady calls raise nothing and score nothing."""
    monitor = quiet()
    steady(monitor)
    assert monitor.check("acme", timestamp=START).action is Action.MONITOR
    assert monitor.profile("acme").score == 0.0
    assert monitor.changes() == []


def test_by_the_events_clock_asking_lets_no_level_fall():
    """Of traffic of long ago, check() without a time stamp answers as of its newest event."""
    monitor = quiet()
    _, at = stuff(monitor, steady(monitor))
    assert monitor.check("acme").action is Action.BLOCK
    monitor.observe("other", "/a", timestamp=at + 3 * 3600)
    assert monitor.check("acme").action is Action.MONITOR


def test_an_attack_rises_through_the_levels_with_reasons_in_words():
    """Stuffing reaches block within its 200 calls; the reasons say what was seen and what is usual."""
    monitor = quiet()
    decision, _ = stuff(monitor, steady(monitor))
    assert decision.action is Action.BLOCK
    assert decision.score >= 96.0
    assert "auth_failures" in [reason.signal for reason in decision.reasons]
    assert "authentication failures, usually" in " ".join(str(reason) for reason in decision.reasons)
    changes = [change for change in monitor.changes() if not change.anomaly]
    assert [change.action for change in changes] == sorted(change.action for change in changes)
    assert changes[0].previous is Action.MONITOR
    assert changes[-1].action is Action.BLOCK


def test_shadow_mode_enforces_nothing():
    """By default the level is reached and nothing is to be done."""
    monitor = quiet()
    decision, at = stuff(monitor, steady(monitor))
    assert (decision.action, decision.enforced) == (Action.BLOCK, False)
    assert not monitor.check("acme", timestamp=at).enforced


@pytest.mark.parametrize(("settings", "enforced"), [
    ({"shadow": False}, True),
    ({"shadow": False, "auto_throttle": False}, False),
    ({"shadow": False, "kill_switch": True}, False),
    ({"shadow": False, "allow": ("acme",)}, False),
    ({"shadow": True}, False),
])
def test_who_enforces(settings, enforced):
    """Shadow mode, auto_throttle, the kill switch and the allow list decide whether to act."""
    monitor = quiet(**settings)
    decision, at = stuff(monitor, steady(monitor))
    assert decision.action is Action.BLOCK
    assert decision.enforced is enforced
    assert monitor.check("acme", timestamp=at).enforced is enforced


def test_max_action_bounds_one_partner():
    """A partner capped at alert goes no further."""
    monitor = quiet(max_action={"acme": "alert"}, shadow=False)
    decision, _ = stuff(monitor, steady(monitor))
    assert (decision.action, decision.enforced) == (Action.ALERT, False)
    assert decision.score >= 96.0


def test_a_new_partner_is_only_learned():
    """In the first day the score is told and raises no level."""
    monitor = quiet()
    decision, _ = stuff(monitor, steady(monitor, days=0.5))
    assert decision.action is Action.MONITOR
    assert decision.score > 61.0
    assert monitor.profile("acme").learning


def test_everything_is_new_to_a_new_partner():
    """Fresh ids, endpoints, methods and addresses in the first hours are no evidence of anything."""
    monitor = quiet()
    for i in range(300):
        decision = monitor.observe("acme", f"/api/thing-{i % 9}/{i * 977 % 1000}", method=("GET", "POST")[i % 2],
                                   latency_ms=20.0, source=f"192.0.2.{i % 40}", timestamp=START + i * 20.0)
        assert decision.score == 0.0


def test_patterns_act_from_the_first_event():
    """A fresh name is no immunity for injections."""
    monitor = quiet(shadow=False)
    decisions = [monitor.observe("fresh", "/api/users?id=1' OR '1'='1", source="192.0.2.9", timestamp=START + i)
                 for i in range(6)]
    assert decisions[-1].action >= Action.THROTTLE
    assert decisions[-1].reasons[0].signal == "suspicious_patterns"


def test_ceilings_act_from_the_first_event():
    """More than the ceiling within a minute is throttled, learning or not, even without auto_throttle."""
    monitor = quiet(shadow=False, auto_throttle=False, max_requests_per_minute=100)
    for i in range(150):
        decision = monitor.observe("fresh", "/api/users", timestamp=START + i * 0.1)
    assert decision.action is Action.THROTTLE
    assert decision.reasons[0].signal == "ceiling_request_rate"
    answers = [monitor.check("fresh", timestamp=START + 15.0) for _ in range(40)]
    assert any(answer.enforced and answer.retry_after > 0 for answer in answers)


@pytest.mark.parametrize(("setting", "value", "event", "signal"), [
    ("max_error_rate", 0.2, {"status": 503}, "ceiling_error_rate"),
    ("max_response_time_ms", 500.0, {"latency_ms": 900.0}, "ceiling_response_time"),
])
def test_ceilings_that_may_be_the_backends_fault_only_alert(setting, value, event, signal):
    """Errors and slowness above their ceiling lead to alert and no further."""
    monitor = quiet(**{setting: value})
    for i in range(60):
        decision = monitor.observe("fresh", "/api/users", timestamp=START + i * 0.5, **event)
    assert decision.action is Action.ALERT
    assert decision.reasons[0].signal == signal


def test_a_throttled_partner_gets_its_usual_rate():
    """Under an enforced throttle calls at the learned rate pass and what exceeds it waits."""
    monitor = quiet(shadow=False)
    at = steady(monitor, every=10.0)
    monitor.pin("acme", Action.THROTTLE)
    passed = sum(not monitor.check("acme", timestamp=at + i * 0.1).enforced for i in range(6000))
    assert 40 <= passed <= 80      # six a minute for ten minutes, and a small burst


def test_pin_and_restore():
    """A pin beats the score; restore ends it and forgives."""
    monitor = Monitor(Config(shadow=False))
    monitor.observe("acme", "/api/users")
    monitor.pin("acme", Action.BLOCK, ttl=3600, reason="key seen in public")
    decision = monitor.check("acme")
    assert (decision.action, decision.enforced) == (Action.BLOCK, True)
    assert 3500 < decision.retry_after <= 3600
    assert monitor.profile("acme").pinned
    assert "pinned" in monitor.explain("acme")
    assert monitor.restore("acme", reason="rotated")
    assert monitor.check("acme").action is Action.MONITOR
    assert not monitor.restore("nobody", reason="typo")


def test_a_pin_ends_by_itself():
    """After its time a pin is gone, without any event."""
    monitor = Monitor(Config(shadow=False))
    monitor.pin("acme", Action.BLOCK, ttl=-1.0)
    assert monitor.check("acme").action is Action.MONITOR


def test_reauthenticated_ends_a_quarantine_only():
    """A new login lifts quarantine and nothing stronger."""
    monitor = Monitor(Config(shadow=False))
    monitor.pin("acme", Action.QUARANTINE)
    assert monitor.reauthenticated("acme")
    assert monitor.check("acme").action is Action.MONITOR
    monitor.pin("acme", Action.BLOCK)
    assert not monitor.reauthenticated("acme")
    assert monitor.check("acme").action is Action.BLOCK


def test_the_same_name_in_two_apps_is_two_partners():
    """Partners are told apart by application and name."""
    monitor = Monitor()
    monitor.observe("acme", "/a", app="shop")
    monitor.observe("acme", "/a", app="shop")
    monitor.observe("acme", "/a", app="bank")
    found = {(p.app, p.partner): p.events for p in monitor.partners()}
    assert found == {("shop", "acme"): 2, ("bank", "acme"): 1}
    assert monitor.profile("acme") is None


def test_forget_erases_a_partner():
    """Nothing is left of a forgotten partner, its name in no part of the memory."""
    monitor = quiet()
    stuff(monitor, steady(monitor, partner="very-special-name"), partner="very-special-name")
    assert monitor.forget("very-special-name")
    assert monitor.profile("very-special-name") is None
    assert not monitor.forget("very-special-name")
    assert all(change.partner != "very-special-name" for change in monitor.changes())


def test_profile_says_what_is_usual():
    """Rates, sizes, endpoints, latencies and hours of a steady partner."""
    monitor = quiet(known_segments=("api", "users"))
    steady(monitor, days=2.0)
    p = monitor.profile("acme")
    assert p.events == 5760
    assert p.requests_per_hour == pytest.approx(120.0, rel=0.1)
    assert p.average_response_bytes == pytest.approx(524.5, rel=0.05)
    assert p.latency_ms["p50"] == pytest.approx(23.0, rel=0.1)
    assert p.endpoints == (("GET /api/users", 5760),)
    assert p.familiar_sources == 1
    assert len(p.active_hours) == 24
    assert (p.level, p.learning, p.pinned, p.allowed) == (Action.MONITOR, False, False, False)
    assert p.first_seen == pytest.approx(START)
    shown = p.to_dict()
    assert shown["level"] == "monitor"
    assert shown["endpoints"] == [{"endpoint": "GET /api/users", "calls": 5760}]


def test_explain_says_level_reasons_and_end():
    """What a person on call reads at night."""
    monitor = quiet()
    stuff(monitor, steady(monitor))
    text = monitor.explain("acme")
    assert text.startswith("acme is at block, score")
    assert "of the last" in text
    assert "authentication failures, usually next to none (by chance" in text
    assert "came from an unfamiliar address, usually" in text
    assert "at the latest" in text
    assert monitor.explain("nobody") == "nobody is not known in default."


def test_parts_are_the_same_monitor():
    """The documented part names are views of one object."""
    monitor = Monitor()
    monitor.collector.observe("acme", "/a", status=200)
    assert monitor.features.get_profile("acme").events == 1
    assert [p.partner for p in monitor.baselines.partners()] == ["acme"]
    monitor.pin("acme", Action.BLOCK)
    assert monitor.throttle.restore_partner("acme", reason="fine")
    assert monitor.collector.stats()["events"] == 1


def test_observe_from_many_threads_loses_nothing():
    """Eight threads, one partner: every event is counted."""
    monitor = Monitor()
    def work():
        for _ in range(2000):
            monitor.observe("acme", "/api/users", status=200)
            monitor.check("acme")
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.profile("acme").events == 16000


def test_wrong_types_name_the_argument():
    """A programming error is told at once, with the argument's name."""
    monitor = Monitor()
    for named, said in [({"status": "200"}, "status"), ({"latency_ms": "fast"}, "latency_ms"), ({"source": 5}, "source"),
                        ({"timestamp": "now"}, "timestamp"), ({"method": None}, "method"), ({"app": 1}, "app")]:
        with pytest.raises(TypeError, match=said):
            monitor.observe("acme", "/a", **named)
    with pytest.raises(TypeError, match="partner"):
        monitor.observe(b"acme", "/a")
    with pytest.raises(TypeError, match=r"config must be ztmon\.Config"):
        Monitor({"shadow": False})


def test_absurd_values_are_counted_not_raised():
    """Nothing that an event can hold breaks a request."""
    monitor = Monitor()
    for value in (math.nan, math.inf, -1.0, 1e300):
        monitor.observe("acme", "/a", latency_ms=value, request_bytes=value, response_bytes=value, timestamp=value)
    monitor.observe("acme", "/a", status=10**30)
    monitor.observe("", "/a")
    stats = monitor.stats()
    assert stats["bad_latency_ms"] == 4
    assert stats["bad_status"] == 1
    assert stats["bad_partner"] == 1
    assert stats["bad_timestamp"] == 4


def test_version_and_names_are_public():
    """What the documentation names can be imported from the top."""
    for name in ztmon.__all__:
        assert hasattr(ztmon, name)
