"""What ThreadSanitizer watches (`make races`): several attached workers in one address space.

    python races.py FOLDER SECONDS

Each worker is an engine with a slot, a janitor and a pool of records of its own, but all see the state at the same
address, as processes do not: a race between two processes is one between two threads here. Threads send batches, which
run without the GIL, on shared, own and ever new partners of a table that is too small for them; meanwhile the interpreter's
thread checks, observes, pins, restores, reads rows and changes the settings, and two more do what stands behind the store
and behind sharing: copy rows, take in, take over.
"""

import contextlib
import mmap
import os
import sys
import threading
import time

import numpy as np

from ztcore import snapshot, statefile
from ztcore.engine import Engine
from ztcore.layout import EVENT
from ztcore.ledger import OTHERS, Ledger
from ztcore.standing import Standings, put_standing, standing_of
from ztmon.state import read

WORKERS, SENDERS = 3, 2
CAPACITY = 64
SIZE = 2000
COUNTED = ("events", "turned_away", "dropped")


class OneMapping:
    """mmap.mmap, but what maps the same file again gets the first mapping."""

    def __init__(self):
        self.made = {}

    def __call__(self, fd, size, **options):
        return self.made.setdefault(os.fstat(fd).st_ino, mmap.mmap(fd, size, **options))

    def __getattr__(self, name):
        return getattr(mmap, name)

    @property
    def mmap(self):
        return self


def record(partner):
    return b"\x07default" + bytes([len(partner)]) + partner.encode()


def send(engine, number, rng, end, sent):
    """Batches until the end. Half of the events on four shared partners, a quarter on one's own, a quarter on strangers."""
    partners = [f"shared-{i}" for i in range(4)] + [f"own-{number}"] + [f"stranger-{number}-{i}" for i in range(300)]
    records = [record(partner) for partner in partners]
    names = b"".join(records)
    offsets = np.cumsum([0] + [len(r) for r in records])[:-1] + 1
    keys = np.array([engine.partner_key(partner) for partner in partners], "u8")
    events = np.zeros(SIZE, EVENT)
    levels = np.zeros(SIZE, "u1")
    while time.monotonic() < end:
        kind = rng.integers(0, 4, SIZE)
        which = np.where(kind < 2, rng.integers(0, 4, SIZE), np.where(kind == 2, 4, rng.integers(5, len(partners), SIZE)))
        events["partner"], events["name"], events["count"] = keys[which], offsets[which], 1
        events["endpoint"] = rng.integers(1, 40, SIZE, "u8") << np.uint64(40)
        events["source"] = rng.integers(1, 60, SIZE, "u8") << np.uint64(32)
        events["status"] = np.where(rng.random(SIZE) < 0.3, 401, 200)
        events["latency_ms"] = events["response_bytes"] = rng.gamma(2.0, 20.0, SIZE)
        events["timestamp"] = time.time_ns()
        engine.observe_batch(events, names, levels)
        sent[number] += SIZE


def people(engines, end):
    """What is done with the GIL held, or by a person."""
    i = 0
    while time.monotonic() < end:
        engine = engines[i % len(engines)]
        partner = f"shared-{i % 4}"
        engine.check(partner)
        engine.observe(partner, f"/api/{i % 50}/x", "POST", 200, 5.0, 10, 20, "10.0.0.1")
        if i % 20 == 0:
            with contextlib.suppress(MemoryError):      # all rows that could be had are under an action
                engine.pin(partner, i % 5, time.time() + 1.0)
                engine.restore(partner)
                engine.allow(f"own-{i % 6}", i % 40 == 0)
        if i % 50 == 0:
            engine.rows()
            engine.stats()
            engine.transitions()
            engine.advance()
            engine.configure(shadow=i % 100 == 0)
        if i % 200 == 0:
            engine.forget(f"shared-{i // 200 % 4}")
        i += 1
        os.sched_yield()        # the senders need the GIL between two batches
    return i


def share(engine, end):
    """What the thread behind sharing does: tell what is its own, take in what others counted, let them be away."""
    ledger = Ledger(engine)
    rounds = 0
    while time.monotonic() < end:
        found, _ = ledger.collect(64)
        others = np.zeros(len(found), OTHERS)
        others["key"], others["events"], others["at"] = found["key"], rounds, time.time_ns()
        others["sums"]["whole"], others["sums"]["hits"] = 10.0 * (rounds % 3), rounds % 2
        ledger.take_in(others, time.time_ns())
        ledger.current(found["key"])
        if rounds % 10 == 0:
            ledger.suppose(time.time_ns())
        rounds += 1
        os.sched_yield()


def keep(engine, end):
    """What the store's thread does, and whoever takes over what other hosts know and decided."""
    snapshots, standings = snapshot.Snapshots(engine), Standings(engine)
    known = {}
    while time.monotonic() < end:
        rows, _ = snapshots.changed(64)
        for row in rows[:8]:
            with contextlib.suppress(TimeoutError):
                snapshot.put_row(engine, known.setdefault(int(row["key"]), row), "default", learned=True)
        snapshot.scores(engine)
        snapshot.common(engine)
        for key in [*standings.changed(), *map(int, rows["key"][:4])]:
            with contextlib.suppress(BlockingIOError, TimeoutError):
                record = standing_of(engine, key)
                if record is not None:
                    record["level"] = (int(record["level"]) + 1) % 5
                    put_standing(engine, record, "default", time.time_ns())
        os.sched_yield()


def main(folder, seconds):
    statefile.mmap = OneMapping()
    state = os.path.join(folder, "state")
    engines = [Engine(CAPACITY, state=state, learning_hours=0.0001, learning_events=10) for _ in range(WORKERS)]
    assert [engine.slot for engine in engines] == list(range(WORKERS))
    engines[1].observe("seen-by-all", "/a")
    assert engines[0].row("seen-by-all")["events"] == 1
    sent = [0] * (WORKERS * SENDERS)
    end = time.monotonic() + float(seconds)
    threads = [threading.Thread(target=send, args=(engines[i % WORKERS], i, np.random.default_rng(i), end, sent))
               for i in range(len(sent))]
    kept = [threading.Thread(target=share, args=(engines[0], end)), threading.Thread(target=keep, args=(engines[1], end))]
    for thread in threads + kept:
        thread.start()
    done = people(engines, end)
    for thread in threads + kept:
        thread.join()
    posted = sum(worker["posted"] for worker in read(state)["workers"])
    for engine in engines[1:]:
        engine.detach()
    stats = engines[0].stats()
    while sum(stats[name] for name in COUNTED) < sum(sent) + done + 1 and time.monotonic() < end + 10:
        stats = engines[0].stats()          # its janitor takes in what is still posted
    engines[0].detach()
    assert sum(stats[name] for name in COUNTED) == sum(sent) + done + 1, (stats, sum(sent), done)
    assert read(state, verify=True)["broken"] == []
    print(f"{sum(sent):,} events in batches and {done:,} calls, {posted:,} of them posted, all counted once")


if __name__ == "__main__":
    main(*sys.argv[1:])
