"""What a monitor remembers beyond its end: partners, history, scores, who did what; and how it forgets."""

import json
import os
import signal
import subprocess
import sys

import pytest

from ztmon import Action, Config, ConfigError, Monitor
from ztmon.audit import export, verify
from ztmon.store.sqlite import SQLiteStore

from .logs import run
from .servers import until
from .test_monitor import steady, stuff


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store.db")


def attacked(path, **settings):
    """A monitor with a store, after an attack on acme."""
    monitor = Monitor(Config(store=path, clock="events", **settings))
    stuff(monitor, steady(monitor))
    return monitor


def opened(path):
    return SQLiteStore(path)


def test_a_bare_monitor_writes_nothing(tmp_path, monkeypatch):
    """No file, no thread of its own."""
    monkeypatch.chdir(tmp_path)
    with Monitor() as monitor:
        monitor.observe("acme", "/a")
        monitor.pin("acme", Action.BLOCK)
    assert list(tmp_path.iterdir()) == []


def test_partners_outlive_the_process(path):
    """Everything learned, the level and its reasons, the names of endpoints, the hash key: as they were."""
    monitor = attacked(path)
    before = monitor.profile("acme")
    assert before.level == Action.BLOCK
    monitor.close()
    monitor = Monitor(Config(store=path, clock="events"))
    assert monitor.profile("acme") == before
    assert monitor.explain("acme")
    monitor.close()


def test_a_killed_process_leaves_its_last_snapshot(path):
    """Killed at once after a snapshot: the next one starts from it."""
    code = ("import os, signal, sys\nfrom ztmon import Config, Monitor\n"
            "m = Monitor(Config(store=sys.argv[1]))\n"
            "for i in range(50): m.observe('acme', '/a')\n"
            "m._keepers[0].turn(all_rows=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    with Monitor(Config(store=path)) as monitor:
        assert monitor.profile("acme").events == 50


def test_what_happened_is_in_the_history(path):
    """Changes of level with reasons, alerts, crossings of thresholds, decisions."""
    monitor = attacked(path)
    key = monitor.partner_key("acme")
    monitor.restore("acme", reason="the key was changed", by="ops")
    monitor.flush()
    monitor.close()
    store = opened(path)
    kinds = {entry.kind for entry in store.history(key)}
    assert kinds == {"level", "alert", "anomaly", "decision"}
    rises = [entry.data for entry in store.history(key) if entry.kind == "level" and entry.data["cause"] != "restore"]
    assert rises[0]["from"] == "monitor"
    assert [rise["to"] for rise in rises][-1] == "block"
    assert "auth_failures" in {reason["signal"] for rise in rises for reason in rise["reasons"]}
    alerts = [entry.data for entry in store.history(key) if entry.kind == "alert"]
    assert [alert["action"] for alert in alerts] == [rise["to"] for rise in rises]
    assert alerts[-1]["severity"] == "critical"
    assert alerts[-1]["reasons"] == rises[-1]["reasons"]
    store.close()


def test_scores_are_sampled_each_minute(path):
    """A partner with a score has one; when it is over the 0 is written once."""
    monitor = attacked(path)
    keeper, key = monitor._keepers[0], monitor.partner_key("acme")
    keeper._score(1000)
    keeper._score(1001)
    monitor.restore("acme")
    keeper._score(1002)
    keeper._score(1003)
    assert [score.level for score in keeper.store.scores(key) if score.minute < 2000] == [4, 4, 0]
    monitor.close()


def test_the_audit_log_says_who_did_what(path):
    """Every act of a person, every change of level and of the settings: when, who, why, before and after."""
    monitor = attacked(path)
    monitor.flush()
    monitor.restore("acme", reason="acme changed its key", by="anna")
    monitor.pin("acme", Action.THROTTLE, ttl=60, reason="to be sure", by="anna")
    monitor.unpin("acme", by="anna")
    monitor.allow("acme", by="anna")
    monitor.cap("acme", Action.ALERT, by="anna")
    monitor.expect("acme", monitor.clock + 60, 5, by="anna")
    monitor.configure(shadow=False, by="bert", reason="now for real")
    monitor.close()
    store = opened(path)
    lines = [one["line"] for one in export(store)]
    assert verify(store).problems == ()
    by = {}
    for line in lines:
        by.setdefault(line["who"], []).append(line["what"])
    assert by["anna"] == ["restore", "pin", "unpin", "allow", "cap", "expect"]
    assert set(by["ztmon"]) == {"level"}
    settings = [line for line in lines if line["what"] == "settings"]
    assert (settings[-1]["who"], settings[-1]["why"], settings[-1]["before"], settings[-1]["after"]) == (
        "bert", "now for real", {"shadow": True}, {"shadow": False})
    restored = next(line for line in lines if line["what"] == "restore")
    assert (restored["before"], restored["after"]) == ({"level": "block"}, {"level": "monitor"})
    assert restored["why"] == f"{restored['partner']} changed its key"
    store.close()


def test_the_same_settings_are_no_change(path):
    """A restart with the same settings writes no line, one with others does."""
    for shadow in (True, True, False):
        Monitor(Config(store=path, shadow=shadow)).close()
    store = opened(path)
    found = [one["line"] for one in export(store)]
    assert [line["after"].get("shadow") for line in found] == [True, False]
    store.close()


def test_forgetting_leaves_no_trace_of_the_name(path):
    """Not in the file nor beside it; the log still verifies, and after a restart nobody is known."""
    monitor = Monitor(Config(store=path))
    name = "a-partner-to-be-forgotten"
    for _ in range(50):
        monitor.observe(name, "/a")
    monitor.pin(name, Action.BLOCK, reason=f"{name} misbehaved")
    monitor.flush()
    monitor._keepers[0].turn(all_rows=True)
    assert monitor.forget(name, reason="they asked", by="anna")
    monitor.close()
    for file in os.listdir(os.path.dirname(path)):
        with open(os.path.join(os.path.dirname(path), file), "rb") as found:
            assert name.encode() not in found.read()
    with Monitor(Config(store=path)) as monitor:
        assert monitor.profile(name) is None
        assert verify(monitor._keepers[0].store).problems == ()


def test_one_process_keeps_the_partners(path, tmp_path):
    """A second with memory of its own is refused; with one state both write what they see, and one the partners."""
    with Monitor(Config(store=path)), pytest.raises(ConfigError, match="another process keeps its partners there"):
        Monitor(Config(store=path))
    state = str(tmp_path / "state")
    with Monitor(Config(store=path, state=state, capacity=100)) as first, \
            Monitor(Config(store=path, state=state, capacity=100)) as second:
        assert (first._keepers[0].leads(), second._keepers[0].leads()) == (True, False)
        second.pin("acme", Action.BLOCK, by="second")
        first.pin("globex", Action.BLOCK, by="first")
        first.flush()
        second.flush()
        assert {one["line"]["who"] for one in export(first._keepers[0].store)} >= {"first", "second"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_for_itself(path):
    """It opens the store anew; the parent's partners stay the parent's."""
    monitor = Monitor(Config(store=path))
    monitor.observe("acme", "/a")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            monitor.pin("acme", Action.BLOCK, by="child")
            monitor.flush()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    monitor.pin("acme", Action.BLOCK, by="parent")
    monitor.close()
    store = opened(path)
    assert {one["line"]["who"] for one in export(store)} >= {"child", "parent"}
    assert verify(store).problems == ()
    store.close()


def test_a_store_that_fails_hurts_no_request(path, caplog):
    """A full disk: calls go on, the failure is counted and said, what is to be written is kept and written later."""
    monitor = Monitor(Config(store=path))
    keeper = monitor._keepers[0]
    keeper.store._all("pragma query_only=on")
    monitor.pin("acme", Action.BLOCK, by="anna")
    until(lambda: monitor.stats()["store_failures"] > 0)
    assert monitor.observe("acme", "/a").action == Action.BLOCK
    keeper.store._all("pragma query_only=off")
    monitor.flush()
    assert "anna" in {one["line"]["who"] for one in export(keeper.store)}
    assert "the store:" in caplog.text
    monitor.close()


def test_no_address_path_or_query_is_at_rest(path):
    """Only names of partners, templates and numbers."""
    monitor = Monitor(Config(store=path, learning_hours=0.0, learning_events=0))
    for i in range(200):
        monitor.observe("acme", f"/users/max.mustermann@example.com/{i}?token=verysecret&q=' or 1=1--", status=401,
                        source="198.51.100.77")
    monitor.flush()
    monitor.close()
    for file in os.listdir(os.path.dirname(path)):
        with open(os.path.join(os.path.dirname(path), file), "rb") as found:
            data = found.read()
        for secret in (b"198.51.100.77", b"mustermann", b"verysecret", b"or 1=1"):
            assert secret not in data


# -- the program -----------------------------------------------------------------------------------


def said(*words):
    done = run(*words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_program_looks_into_a_store(path, tmp_path):
    """inspect, export, import, partners, profile, explain, audit."""
    attacked(path).close()
    assert json.loads(said("store", "inspect", "--store", path, "--json"))["partners"] == 1
    out, new = tmp_path / "out.ztmon", str(tmp_path / "new.db")
    assert "1 partners" in said("store", "export", "--store", path, out)
    assert "1 partners" in said("store", "import", "--store", new, out)
    os.link(path + ".key", new + ".key")
    for store in (path, new):
        assert "block" in said("partners", "--store", store)
        assert json.loads(said("profile", "acme", "--store", store, "--json"))["level"] == "block"
        assert "acme is at block" in said("explain", "acme", "--store", store)
        assert "none missing" in said("audit", "verify", "--store", store)
    assert "level acme: monitor -> " in said("audit", "--store", new)
    lines = tmp_path / "audit.jsonl"
    lines.write_text(said("audit", "export", "--store", path))
    assert "none missing" in said("audit", "verify", "--file", lines)
    whole = lines.read_text()
    for broken, problem in ((whole.replace('"block"', '"alert"', 1), b"was changed"),
                            ("".join(whole.splitlines(keepends=True)[:-2]), b"is cut short after line")):
        lines.write_text(broken)
        done = run("audit", "verify", "--file", lines)
        assert done.returncode == 1
        assert problem in done.stderr


@pytest.mark.parametrize(("words", "why"), [
    (("store", "inspect"), "which store?"),
    (("store", "inspect", "--store", "nowhere.db"), "there is no such store"),
    (("pin", "acme", "block", "--store", "nowhere.db"), "a snapshot can only be looked at"),
    (("profile", "acme", "--state", "nowhere"), "cannot be read"),
    (("store", "inspect", "--redis", "http://127.0.0.1"), "redis is (hidden); allowed is"),
])
def test_what_cannot_be_done_is_one_line(words, why, tmp_path, monkeypatch):
    """Exit code 2 and why, no traceback."""
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.returncode == 2
    assert why in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_the_program_acts_on_a_running_state(path, tmp_path):
    """pin, restore and forget change what running processes obey, leave their settings, and are in the audit log."""
    state = str(tmp_path / "state")
    monitor = Monitor(Config(state=state, capacity=100, shadow=False, store=path))
    monitor.observe("acme", "/a")
    said("pin", "acme", "block", "--state", state, "--store", path, "--reason", "leaked", "--by", "anna")
    assert monitor.check("acme").enforced
    said("restore", "acme", "--state", state, "--store", path, "--by", "anna")
    assert not monitor.check("acme").enforced
    said("forget", "acme", "--state", state, "--store", path, "--by", "anna")
    assert monitor.profile("acme") is None
    monitor.flush()
    store = opened(path)
    assert [one["line"]["what"] for one in export(store) if one["line"]["who"] == "anna"] == ["pin", "restore", "forget"]
    assert store.names() == {}
    store.close()
    monitor.close()


def test_the_program_forgets_in_a_store_that_nobody_uses(path):
    """And refuses while somebody does, whose memory would write the partner again."""
    with Monitor(Config(store=path)) as monitor:
        monitor.observe("acme", "/a")
        monitor._keepers[0].turn(all_rows=True)
        assert b"has this one in memory" in run("forget", "acme", "--store", path).stderr
    said("forget", "acme", "--store", path)
    assert run("forget", "acme", "--store", path).returncode == 2
    with Monitor(Config(store=path)) as monitor:
        assert monitor.profile("acme") is None


def test_an_export_that_is_cut_short_is_noticed(path, tmp_path):
    """Wherever it ends."""
    attacked(path).close()
    out = tmp_path / "out.ztmon"
    said("store", "export", "--store", path, out)
    whole = out.read_bytes()
    for i, part in enumerate((0.3, 0.9)):
        out.write_bytes(whole[: int(len(whole) * part)])
        done = run("store", "import", "--store", tmp_path / f"{i}.db", out)
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr
