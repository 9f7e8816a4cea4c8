"""Callbacks: what they get, in which order, and that a failing one hurts nobody."""

import logging
import os
import threading

import pytest

from ztmon import Action, Config, Monitor

from .test_monitor import START, steady, stuff


def attacked(*kinds):
    """A monitor with recording hooks of those kinds, after an attack; and what they got."""
    monitor = Monitor(Config(clock="events"))
    seen = {kind: [] for kind in kinds}
    for kind in kinds:
        getattr(monitor, f"on_{kind}")(seen[kind].append)
    stuff(monitor, steady(monitor))
    monitor.flush()
    return monitor, seen


def test_each_hook_gets_its_fields():
    """Alerts, throttles, anomalies and actions with the documented fields."""
    monitor, seen = attacked("alert", "throttle", "anomaly", "action")
    last = seen["alert"][-1]
    assert (last.partner, last.app, last.severity) == ("acme", "default", "critical")
    assert last.score >= 96
    assert last.reasons
    assert "acme is at block" in last.title
    assert [a.severity for a in seen["alert"]] == sorted(
        (a.severity for a in seen["alert"]), key=["low", "medium", "high", "critical"].index)
    assert all(t.retry_after > 0 and t.message and t.level >= Action.THROTTLE for t in seen["throttle"])
    response = seen["action"][0]
    assert (response.partner, response.previous) == ("acme", Action.MONITOR)
    assert response.action > response.previous
    assert response.anomaly_score > 0
    monitor.close()


def test_an_episode_is_one_anomaly_a_threshold():
    """Once when it starts and once for each higher threshold, however many calls."""
    monitor, seen = attacked("anomaly")
    assert 1 <= len(seen["anomaly"]) <= 4
    scores = [a.score for a in seen["anomaly"]]
    assert scores == sorted(scores)
    assert all(a.partner == "acme" for a in seen["anomaly"])
    monitor.close()


def test_a_failing_callback_hurts_nobody(caplog):
    """Others still run, the failure is counted, and the log says so once."""
    monitor = Monitor(Config(clock="events"))
    seen = []

    @monitor.on_action
    def broken(response):
        raise RuntimeError("pager is down")

    monitor.on_action(seen.append)
    with caplog.at_level(logging.ERROR, "ztmon"):
        for i in range(3):
            monitor.pin(f"p{i}", Action.BLOCK)
        monitor.flush()
    assert len(seen) == 3
    assert monitor.stats()["hook_failures"] == 3
    assert sum("on_action failed" in record.getMessage() for record in caplog.records) == 1
    monitor.close()


def test_hooks_run_by_themselves_on_another_thread():
    """Without flush the background thread tells, and not the caller's."""
    monitor = Monitor()
    told = threading.Event()
    where = []

    @monitor.on_alert
    def alert(alert):
        where.append(threading.current_thread())
        told.set()

    monitor.pin("acme", Action.BLOCK)
    assert told.wait(10)
    assert where[0] is not threading.current_thread()
    monitor.close()
    monitor.close()


def test_close_tells_what_is_left():
    """Nothing that happened before close() is lost."""
    seen = []
    with Monitor() as monitor:
        monitor.on_action(seen.append)
        monitor.pin("acme", Action.BLOCK)
    assert [response.action for response in seen] == [Action.BLOCK]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_has_hooks_of_its_own():
    """After fork the child's hooks run in the child."""
    monitor = Monitor()
    monitor.on_action(lambda response: None)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        told = threading.Event()
        monitor.on_action(lambda response: told.set())
        monitor.pin("acme", Action.BLOCK)
        os.write(write, b"1" if told.wait(10) else b"0")
        os._exit(0)
    os.close(write)
    assert os.read(read, 1) == b"1"
    os.waitpid(child, 0)
    os.close(read)
    monitor.close()


def test_falls_are_told_with_the_time_they_fell_due():
    """A level that ended by time says when it was due, not when it was noticed."""
    monitor = Monitor(Config(clock="events"))
    _, at = stuff(monitor, steady(monitor))
    monitor.changes()
    monitor.advance(at + 86400)
    falls = [change for change in monitor.changes() if not change.anomaly]
    assert falls[-1].action is Action.MONITOR
    assert at < falls[-1].timestamp <= at + 3600 + 1
    assert {change.cause for change in falls} <= {"fall", "expiry"}
    assert falls[0].timestamp > START


def test_async_callbacks_run_on_a_loop_of_their_own():
    """They wait for what they wait for, on neither the caller's thread nor the one of the others, and flush() waits for them."""
    import asyncio

    monitor = Monitor()
    seen, threads = [], set()

    @monitor.on_alert
    async def page(alert):
        await asyncio.sleep(0.01)
        threads.add(threading.current_thread().name)
        seen.append(alert.partner)

    @monitor.on_action
    async def broken(response):
        raise RuntimeError("chat is down")

    for i in range(5):
        monitor.pin(f"p{i}", Action.BLOCK)
    monitor.flush()
    assert sorted(seen) == [f"p{i}" for i in range(5)]
    assert threads == {"ztmon-tasks"}
    assert monitor.stats()["hook_failures"] == 5
    monitor.close()
    monitor.close()


def test_async_callbacks_that_do_not_end_are_bounded(monkeypatch):
    """Beyond so many under way they are dropped and counted; close() cancels what does not end."""
    import asyncio

    from ztmon import tasks

    monkeypatch.setattr(tasks, "MOST", 3)
    monkeypatch.setattr(tasks.Tasks.flush, "__defaults__", (0.1,))
    monitor = Monitor()
    cancelled = []

    @monitor.on_alert
    async def endless(alert):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(alert.partner)
            raise

    for i in range(5):
        monitor.pin(f"p{i}", Action.BLOCK)
    monitor.flush()
    assert monitor.stats()["hooks_dropped"] == 2
    monitor.close()
    assert len(cancelled) == 3
