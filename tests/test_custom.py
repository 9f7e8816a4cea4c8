"""Signals of the user's own: compiled and in Python, refused with the reason, the same in every process."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ztmon
from tests.test_judged import DAY, HOUR, START, feed, steady
from ztcore.custom import STATE_BYTES, Signal, SignalError, fingerprint, places, signals
from ztcore.engine import Engine
from ztcore.layout import EVENT
from ztcore.levels import SIGNALS

FIRST = SIGNALS.index("custom_1")
CLEAN = {"PATH": "/usr/bin:/bin"}


def large_posts(event):
    return event.method == 3 and event.request_bytes > 5000.0


def quick(event, state):
    """Four calls in a row less than two seconds apart."""
    near = event.timestamp - state.last < 2_000_000_000
    state.last = event.timestamp
    state.streak = state.streak + 1 if near else 0
    return state.streak > 3


def quick_signal():
    return ztmon.signal(quick, state={"last": "i8", "streak": "u4"})


@pytest.fixture(params=["compiled", "python"])
def way(request, monkeypatch):
    """Both ways of calling a signal; without numba the import fails as it would on a bare machine."""
    if request.param == "python":
        monkeypatch.setitem(sys.modules, "numba", None)
    else:
        pytest.importorskip("numba")
    return request.param


def test_a_signal_finds_what_no_other_does(way):
    """Calls that are only taken note of (202), from who never had one, throttle within the minute; the reason names the
    signal. Without it nothing happens."""
    engine = Engine(64, bytes(16), signals=[accepted])
    assert (engine.signals[0].address() != 0) is (way == "compiled")
    feed(engine, "acme", steady(START, START + 2 * DAY, 200))
    engine.transitions()
    for i in range(20):
        d = engine.observe("acme", "/e", status=202, timestamp=START + 2 * DAY + i * 20)
    assert d.level >= 2
    assert d.reasons[0].signal == "accepted"
    assert re.fullmatch(r"\d+ of the last \d+ calls were what accepted looks for, usually next to none", d.reasons[0].detail)
    assert "accepted" in [r.signal for entry in engine.transitions() for r in engine.reasons(entry)]
    plain = Engine(64, bytes(16))
    feed(plain, "acme", steady(START, START + 2 * DAY, 200))
    assert feed(plain, "acme", START + 2 * DAY + np.arange(20) * 20.0, status=202).max() == 0


def test_what_is_usual_is_learned_of_them_too(way):
    """A partner half of whose calls are hits has that for its usual share, and nothing happens."""
    engine = Engine(64, bytes(16), signals=[large_posts])
    for i in range(2000):
        d = engine.observe("acme", "/e", method="POST" if i % 2 else "GET", request_bytes=9000, timestamp=START + i * 120.0)
    assert d.level == 0
    assert float(engine.row("acme")["counts"][FIRST][3]) == pytest.approx(0.5, abs=0.05)


def test_state_is_kept_of_each_partner(way):
    """Two signals have their own bytes, two partners theirs; zero at first."""
    count = Signal(lambda event, state: _bump(state), "bump", {"n": "u2"}) if way == "python" else Signal(bump, None, {"n": "u2"})
    engine = Engine(64, bytes(16), signals=[count, quick_signal()])
    for i in range(5):
        engine.observe("a", "/e", timestamp=START + i)
    engine.observe("b", "/e", timestamp=START)
    a, b = (engine.row(name)["user"] for name in "ab")
    assert places(engine.signals) == [0, 4]
    assert (int(a[:2].view("u2")[0]), int(b[:2].view("u2")[0])) == (5, 1)
    last, streak = int(a[4:12].copy().view("i8")[0]), int(a[12:16].copy().view("u4")[0])
    assert (last, streak) == (int((START + 4) * 1e9), 4)


def bump(event, state):
    state.n += 1
    return False


def _bump(state):
    state.n += 1
    return False


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.sampled_from([200, 401, 500]), st.floats(0, 1e6, width=32)), max_size=60))
def test_compiled_and_python_agree(calls):
    """Whatever events come, state and hits are the same."""
    pytest.importorskip("numba")
    native = quick_signal()
    assert native.address()
    events = np.zeros(len(calls), EVENT)
    events["timestamp"] = int(START * 1e9) + (np.cumsum([c[0] for c in calls]) * 1e9).astype("i8")
    events["status"], events["request_bytes"] = [c[1] for c in calls], [c[2] for c in calls]
    plain, kept = bytearray(STATE_BYTES), np.zeros(STATE_BYTES, "u1")
    for i in range(len(events)):
        wanted = native.run(memoryview(events[i : i + 1].tobytes()), memoryview(plain))
        assert bool(native._compiled.ctypes(events[i : i + 1].ctypes.data, kept.ctypes.data, 0)) == wanted
        assert bytes(plain) == kept.tobytes()


def no_bool(event):
    return event.latency_ms


def reads_beyond(event):
    return (10.0, 20.0, 30.0)[event.method] > event.latency_ms


def divides(event):
    return 100 / event.source > 1


def accepted(event):
    return event.status == 202


def raises(event):
    if event.status == 500:
        raise ValueError("no")
    return False


def opens(event):
    return open("/etc/hostname").read() == ""


def two(event, other):
    return other


def overflows(event, state):
    state.n = state.n + np.uint8(200)
    return state.n > 255


@pytest.mark.parametrize(("made", "why"), [
    (lambda: Signal(3), "is no function"),
    (lambda: Signal(lambda event: True), "its name is not a word"),
    (lambda: Signal(bump), "it must take event and nothing else"),
    (lambda: Signal(large_posts, state={"n": "u1"}), "it must take event and state and nothing else"),
    (lambda: Signal(large_posts, "endpoint_focus"), "exists already"),
    (lambda: Signal(raises), "it raises or yields"),
    (lambda: Signal(bump, state={"n": "O"}), "allowed are named numbers"),
    (lambda: Signal(bump, state={"n": "nonsense"}), "allowed is a map of names"),
    (lambda: Signal(bump, state={"n": ("f8", 3)}), "its state takes 24 bytes; there is room for 20"),
    (lambda: signals([large_posts, quick_signal(), Signal(two, state={"n": "u1"})]), "there are 3 signals; there is room for 2"),
    (lambda: signals([large_posts, large_posts]), "two signals have the same name"),
    (lambda: signals([quick_signal(), Signal(bump, state={"n": "f8"})]), "take 20 bytes together|take 24 bytes together"),
    (lambda: signals(["nowhere.at_all:x"]), "cannot be loaded"),
    (lambda: signals(["os.path:nothing"]), "cannot be loaded"),
])
def test_what_cannot_be_a_signal(made, why):
    """Refused when it is made, or when the set is."""
    if "take 20" in why:
        assert len(made()) == 2     # 12 and 8 bytes: just fits
        return
    with pytest.raises(SignalError, match=why):
        made()


@pytest.mark.parametrize(("function", "why"), [
    (no_bool, "must return true or false"), (opens, "numba cannot compile it"),
])
def test_what_cannot_be_compiled(function, why):
    """Refused when the engine is made, with what is wrong; the configuration's error names the setting."""
    pytest.importorskip("numba")
    with pytest.raises(SignalError, match=f"signal {function.__name__}: .*{why}"):
        Engine(8, bytes(16), signals=[function])
    with pytest.raises(ztmon.ConfigError, match=f"signals: signal {function.__name__}"):
        ztmon.Monitor(ztmon.Config(capacity=8, signals=[function]))


def test_what_fails_on_an_event_it_may_meet(way):
    """A look beyond the end of a tuple is refused either way; a division by an address that is not there has numpy's
    answer either way."""
    with pytest.raises(SignalError, match="signal reads_beyond: it failed on an event it may meet"):
        Engine(8, bytes(16), signals=[reads_beyond])
    engine = Engine(8, bytes(16), signals=[divides])
    engine.observe("acme", "/e", timestamp=START)
    assert float(engine.row("acme")["counts"][FIRST][0]) == 1.0


def test_a_python_signal_that_fails_later_is_no_hit(monkeypatch, caplog):
    """It is counted, logged once, and the event is taken in."""
    monkeypatch.setitem(sys.modules, "numba", None)
    table = [1]

    def fails_later(event):
        return table[0] > 0 and table[event.status - 777 if event.status == 777 else 0] < 0

    engine = Engine(8, bytes(16), signals=[fails_later])
    table.clear()
    for i in range(3):
        engine.observe("acme", "/e", timestamp=START + i)
    assert engine.row("acme")["events"] == 3
    assert engine.signals[0].failures == 3
    assert caplog.text.count("signal fails_later failed") == 1


def test_python_signals_from_threads(monkeypatch):
    """Batches without the GIL take it for each call; four threads, no event lost."""
    monkeypatch.setitem(sys.modules, "numba", None)
    engine = Engine(64, bytes(16), signals=[Signal(bump, state={"n": "u4"})])
    threads = [threading.Thread(target=feed, args=(engine, f"p{i}", START + np.arange(500.0))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i in range(4):
        assert int(engine.row(f"p{i}")["user"][:4].view("u4")[0]) == 500


ONE_PARTNER = """
import sys, threading
sys.modules["numba"] = None
from ztcore.engine import Engine

def busy(event):
    n = 0
    for i in range(50):
        n += i
    return n < 0

sys.setswitchinterval(1e-5)
engine = Engine(8, bytes(16), signals=[busy], state=sys.argv[1] if len(sys.argv) > 1 else None)

def work():
    for _ in range(2000):
        engine.observe("acme", "/e")
        engine.row("acme")

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(engine.row("acme")["events"])
"""


@pytest.mark.parametrize("shared", [False, True])
def test_a_python_signal_is_not_waited_for_with_the_gil(tmp_path, shared):
    """A thread that is switched away from in a signal owns its partner's row and needs the GIL to go on: who meets
    it there must not keep the GIL."""
    state = [str(tmp_path / "state")] if shared else []
    said = subprocess.run([sys.executable, "-c", ONE_PARTNER, *state], capture_output=True, text=True, timeout=120)
    assert said.stdout == "8000\n", said.stderr


def test_the_same_signals_in_every_process(tmp_path):
    """Who has other signals, or none, is refused; who has the same is let in and they count together."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys, ztmon\n"
        "from ztmon import Config, ConfigError, Monitor\n"
        "def large(event):\n    return event.request_bytes > LIMIT\n"
        "LIMIT = float(sys.argv[2])\n"
        "try:\n"
        "    with Monitor(Config(state=sys.argv[1], capacity=64, signals=[large] if LIMIT else [])) as monitor:\n"
        "        monitor.observe('acme', '/e', request_bytes=9000, timestamp=1750000000)\n"
        "        print(monitor.row('acme')['counts'][15][0], flush=True)\n"
        "        sys.stdin.read()\n"
        "except ConfigError as error:\n    print(error)\n")
    command = [sys.executable, str(script), str(tmp_path / "state")]
    first = subprocess.Popen([*command, "5000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert float(first.stdout.readline()) == 1.0
        other = subprocess.run([*command, "6000"], capture_output=True, text=True, input="", timeout=60)
        none = subprocess.run([*command, "0"], capture_output=True, text=True, input="", timeout=60)
        same = subprocess.run([*command, "5000"], capture_output=True, text=True, input="", timeout=60)
    finally:
        first.communicate("", timeout=30)
    assert "was made with other signals of your own; give every process the same ones" in other.stdout
    assert "was made with other signals of your own" in none.stdout
    assert float(same.stdout) == 2.0


def test_a_set_is_known_by_what_it_does():
    """Name, state, code and the constants it reads; not where they are in memory."""
    def made(limit):
        def large(event):
            return event.request_bytes > limit
        return Signal(large)
    assert fingerprint([made(3.0)]) == fingerprint([made(3.0)])
    assert fingerprint([made(3.0)]) != fingerprint([made(4.0)])
    assert fingerprint([]) == bytes(16)


def test_signals_from_a_file_and_the_environment(tmp_path):
    """package.module:name, in TOML and in ZTMON_SIGNALS."""
    (tmp_path / "mine.py").write_text("def slow_errors(event):\n    return event.status >= 500 and event.latency_ms > 1000.0\n")
    (tmp_path / "ztmon.toml").write_text('signals = ["mine:slow_errors"]\ncapacity = 64\n')
    code = ("import os, ztmon; print(ztmon.Monitor(ztmon.Config.from_file('ztmon.toml')).signals[0].name);"
            "print(ztmon.Monitor(ztmon.Config.from_env()).signals[0].name)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env={**CLEAN, "ZTMON_SIGNALS": '["mine:slow_errors"]', "ZTMON_CAPACITY": "64",
                               "PYTHONPATH": str(tmp_path)})
    assert done.stdout.split() == ["slow_errors", "slow_errors"], done.stderr


def test_importing_ztmon_does_not_import_numba():
    """Nor does a monitor without signals."""
    code = "import sys, ztmon; ztmon.Monitor(ztmon.Config(capacity=8)); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "False", done.stderr
    assert HOUR == 3600.0
