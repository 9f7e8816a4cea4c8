"""One state for several processes: nothing is counted twice or lost, whoever is killed or stopped."""

import contextlib
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ztcore.engine import Engine
from ztcore.inspect import describe
from ztcore.layout import ROW
from ztcore.statefile import SLOTS
from ztmon.state import read

from .shared_worker import CAPACITY, THREADS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a state file needs Linux")

WORKER = Path(__file__).with_name("shared_worker.py")
PATIENCE = 60
KILLS = int(os.environ.get("ZTMON_TEST_KILLS", "30"))
OWNER = np.uint64(54)


class Fleet:
    """Worker processes on one state, started together, with a tally of what each of them did."""

    def __init__(self, folder, places):
        self.state = str(folder / "state")
        self.tally = folder / "tally"
        self.tally.write_bytes(bytes(places * THREADS * 16))
        self.engine = Engine(CAPACITY, state=self.state, learning_hours=1e6)
        self.place = 0
        self.running = []

    def start(self, n, seconds, mode="spread"):
        """n more of them, behind a barrier."""
        new = []
        for _ in range(n):
            new.append(subprocess.Popen(
                [sys.executable, WORKER, self.state, self.tally, str(self.place), str(seconds), mode],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            ))  # fmt: skip
            self.place += 1
        for process in new:
            process.slot = int(process.stdout.readline().split()[1])
        for process in new:
            process.stdin.write("go\n")
            process.stdin.flush()
        self.running += new
        return new

    def end(self, process, number=None):
        if number is not None:
            process.send_signal(number)
        process.wait(PATIENCE)
        process.stdin.close()
        process.stdout.close()
        self.running.remove(process)

    def close(self):
        for process in list(self.running):
            process.kill()
            self.end(process)
        self.engine.detach()

    def until(self, true):
        """Wait for it to come true; the janitor's thread needs some hundredths of a second."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, "it did not come true"
            os.sched_yield()

    def totals(self):
        """(started, completed, taken in or counted)"""
        with self.tally.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            started, completed = np.frombuffer(bytes(view), "u8").reshape(-1, 2).sum(axis=0)
        stats = self.engine.stats()
        return int(started), int(completed), sum(stats[name] for name in ("events", "dropped", "lost", "turned_away"))


@pytest.fixture
def fleet(tmp_path):
    shm = Path("/dev/shm")
    folder = tmp_path
    if os.access(shm, os.W_OK):
        folder = shm / f"ztmon-test-{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir()
    made = Fleet(folder, 2 * KILLS + 16)
    yield made
    made.close()
    if folder != tmp_path:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def sound(fleet):
    """Nobody is at work any more, every row is whole, and nothing is left posted."""
    found = read(fleet.state, verify=True)
    assert found["broken"] == []
    rows = fleet.engine.rows()
    for field in ("todo", "candidate", "applying"):
        assert not rows[field].any()
    fleet.until(lambda: read(fleet.state)["waiting"] == 0)
    return found


@pytest.mark.parametrize("processes", [1, 4, 8])
def test_every_event_counts_once(fleet, processes):
    """Threads of several processes on shared and own partners: started, completed and taken in are equal. A process
    alone drops nothing; several do where one is kept from its core with a row in hand, as on a busy machine: four hardly any."""
    for process in fleet.start(processes, 1.5):
        fleet.end(process)
    started, completed, counted = fleet.totals()
    assert started == completed == counted > 10_000
    if processes <= 4:
        assert fleet.engine.stats()["dropped"] <= (0 if processes == 1 else started // 1000)
    assert sound(fleet)["counters"]["lost"] == 0


def test_killed_workers_leave_a_sound_state(fleet):
    """Workers are killed at random and replaced: completed <= counted <= started, no row is broken, what they left
    posted is taken in, no record is left behind, and their slots are used again."""
    rng = random.Random(7)
    alive = fleet.start(4, 1000)
    for _ in range(KILLS):
        deadline = time.monotonic() + rng.random() * 0.05
        while time.monotonic() < deadline:
            os.sched_yield()
        victim = alive.pop(rng.randrange(len(alive)))
        fleet.end(victim, signal.SIGKILL)
        alive += fleet.start(1, 1000, rng.choice(["spread", "one"]))
    for process in list(alive):
        fleet.end(process, signal.SIGKILL)
    fleet.until(lambda: len(read(fleet.state)["workers"]) == 1)
    started, completed, counted = fleet.totals()
    assert completed <= counted <= started
    sound(fleet)
    for i in range(9):          # whoever was left at work on a row does not keep it
        before = fleet.engine.row(f"partner-{i % 8}")["events"]
        fleet.engine.observe(f"partner-{i % 8}", "/a")
        assert fleet.engine.row(f"partner-{i % 8}")["events"] == before + 1


def owner(fleet, partner):
    """The tag in the word of a partner's row."""
    found = read(fleet.state, verify=False)
    assert found["rows"] > 0
    rows = np.memmap(fleet.state, "u1", "r")
    table = rows[describe(rows)["rows_at"] :][: found["rows"] * ROW.itemsize].view(ROW)
    return int(table["word"][table["key"] == fleet.engine.partner_key(partner)][0] >> OWNER)


def caught(fleet, number):
    """A worker that got the signal (a stop) while it owned the row of partner-0."""
    process, = fleet.start(1, 1000, "one")
    fleet.until(lambda: fleet.totals()[1] > 1000)
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if owner(fleet, "partner-0") == process.slot + 1:
            return process
        process.send_signal(signal.SIGCONT)


def test_a_dead_owner_is_replaced(fleet):
    """A process killed while it owns a row: others' events are taken in all the same, and the row is put in order."""
    process = caught(fleet, signal.SIGSTOP)
    sent = 100
    for _ in range(sent):
        fleet.engine.observe("partner-0", "/a")         # posted: its owner does not go on
    assert owner(fleet, "partner-0") == process.slot + 1
    fleet.end(process, signal.SIGKILL)
    fleet.until(lambda: fleet.engine.stats()["takeovers"] > 0)

    def all_there():            # what is posted is taken in by and by
        started, completed, counted = fleet.totals()
        assert counted <= started + sent
        return completed + sent <= counted

    fleet.until(all_there)
    sound(fleet)


def test_a_stopped_owner_holds_up_nobody(fleet):
    """Events for its row wait, are coalesced, and are all there when it goes on; its decision stays readable, other
    partners are as before, and a person's change says whom it waits for."""
    process = caught(fleet, signal.SIGSTOP)
    sent = 6000                 # more than there are records
    for _ in range(sent):
        fleet.engine.observe("partner-0", "/a")
    before = fleet.engine.stats()["events"]
    for _ in range(1000):
        fleet.engine.observe("somebody-else", "/a")
    assert fleet.engine.stats()["events"] == before + 1000
    assert fleet.engine.check("partner-0").level == 0
    with pytest.raises(TimeoutError, match="'partner-0' is being worked on by a process that does not go on"):
        fleet.engine.pin("partner-0", 4, float("inf"))
    assert len(fleet.engine.rows()) == 2
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)
    fleet.until(lambda: fleet.engine.row("partner-0")["todo"] == 0)
    fleet.end(process, signal.SIGKILL)

    def all_there():
        started, completed, counted = fleet.totals()
        return completed + sent + 1000 <= counted <= started + sent + 1000

    fleet.until(all_there)
    assert fleet.engine.stats()["dropped"] == 0
    sound(fleet)


POSTER = """
import os, signal, sys
from ztcore.engine import Engine
engine = Engine(int(sys.argv[1]), state=sys.argv[2])
for _ in range(int(sys.argv[3])):
    engine.observe("partner-0", "/a")
if sys.argv[4] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
engine.detach()
"""


@pytest.mark.parametrize("end", ["killed", "exited"])
def test_what_a_process_left_posted_is_taken_in(fleet, end):
    """Its calls had returned, so its events count, the coalesced ones too, however it ended and whoever holds the row."""
    owner = caught(fleet, signal.SIGSTOP)
    sent = 6000                 # more than there are records
    subprocess.run([sys.executable, "-c", POSTER, str(CAPACITY), fleet.state, str(sent), end], check=end == "exited")
    fleet.until(lambda: len(read(fleet.state)["workers"]) == 2)
    assert read(fleet.state)["waiting"] >= sent
    owner.send_signal(signal.SIGCONT)
    fleet.until(lambda: fleet.totals()[2] >= fleet.totals()[1] + sent)
    fleet.end(owner, signal.SIGKILL)

    def all_there():
        started, completed, counted = fleet.totals()
        return completed + sent <= counted <= started + sent

    fleet.until(all_there)
    stats = fleet.engine.stats()
    assert (stats["dropped"], stats["turned_away"]) == (0, 0)
    sound(fleet)


def test_a_level_set_in_one_process_is_seen_in_the_other(fleet):
    """The next check() of any process obeys."""
    code = ("import sys; from ztcore.engine import Engine\n"
            f"e = Engine({CAPACITY}, state=sys.argv[1], shadow=False); e.pin('acme', 4, float('inf')); e.detach()")
    fleet.engine.observe("acme", "/a")
    assert fleet.engine.check("acme").level == 0
    subprocess.run([sys.executable, "-c", code, fleet.state], check=True)
    decision = fleet.engine.check("acme")
    assert (decision.level, decision.enforced) == (4, True)


def test_a_forked_child_is_a_process_of_its_own(fleet):
    """It attaches anew by itself, its events count, and its end is its own."""
    slot = fleet.engine.slot
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            for _ in range(500):
                fleet.engine.observe("acme", "/a")
            os._exit(0 if fleet.engine.slot != slot else 1)
        os._exit(2)
    for _ in range(500):
        fleet.engine.observe("acme", "/a")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    fleet.until(lambda: len(read(fleet.state)["workers"]) == 1)
    assert fleet.engine.row("acme")["events"] == 1000


def test_who_left_goes_on_alone(fleet):
    """Calls after detach() see and change a copy; the others' state stays as it is."""
    other = Engine(CAPACITY, state=fleet.state)
    for engine in (fleet.engine, other):
        engine.observe("acme", "/a")
    other.detach()
    other.detach()
    for _ in range(10):
        other.observe("acme", "/a")
    other.pin("acme", 4, float("inf"))
    assert (other.row("acme")["events"], other.check("acme").level) == (12, 4)
    assert (fleet.engine.row("acme")["events"], fleet.engine.check("acme").level) == (2, 0)
    sound(fleet)


def test_a_child_for_whom_there_is_no_slot_goes_on_alone(fleet, caplog):
    """It says so, and neither waits for the others nor disturbs them, nor does a child of its own."""
    engines = [Engine(CAPACITY, state=fleet.state) for _ in range(SLOTS - 1)]
    fleet.engine.observe("acme", "/a")
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            fleet.engine.observe("acme", "/a")
            inner = os.fork()
            fleet.engine.observe("acme", "/a")
            good = fleet.engine.row("acme")["events"] == 3 and "goes on with a copy of its own" in caplog.text
            if inner:
                good = good and os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) == 0
            os._exit(0 if good else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert fleet.engine.row("acme")["events"] == 1
    for engine in engines:
        engine.detach()


def test_a_private_engine_is_two_after_a_fork():
    """Without a state file parent and child go separate ways, and neither waits for the other's threads."""
    engine = Engine(100)
    engine.observe("acme", "/a")
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            engine.observe("acme", "/a")
            os._exit(0 if engine.row("acme")["events"] == 2 else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert engine.row("acme")["events"] == 1


CYCLE = """
import gc, sys
from ztcore.engine import Engine

class Own(Engine):
    pass

for name in sys.argv[1:]:
    own = Own(100, state=name)
    own.self = own
    own.observe("acme", "/a")
    if name != sys.argv[-1]:
        del own
        gc.collect()
"""


def test_an_engine_in_a_cycle_is_collected_whole(tmp_path):
    """By the collector or at the end of the interpreter: its janitor ends before its memory does."""
    states = [str(tmp_path / name) for name in ("collected", "at the end")]
    subprocess.run([sys.executable, "-c", CYCLE, *states], check=True)
    for state in states:
        assert read(state, verify=True)["broken"] == []
