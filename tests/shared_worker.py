"""A process that attaches to a state and sends events: `python shared_worker.py STATE TALLY PLACE SECONDS MODE`.

TALLY is a file of two columns of uint64, one row for each sending thread: events started, events completed.
It says "ready" and begins at the first line on standard input; it ends after SECONDS, or at the end of input.
MODE "spread": eight shared partners and one of its own, batches from threads that do not hold the GIL and
single calls from one that does; "one": all on one partner.
"""

import mmap
import sys
import threading
import time

import numpy as np

from ztcore.engine import Engine
from ztcore.layout import EVENT

THREADS = 4
SHARED = 8
CAPACITY = 1000


def record(app, partner):
    return bytes([len(app)]) + app.encode() + bytes([len(partner)]) + partner.encode()


def main(state, tally, place, seconds, mode):
    engine = Engine(CAPACITY, state=state, learning_hours=1e6)
    with open(tally, "r+b") as file:
        counts = np.frombuffer(mmap.mmap(file.fileno(), 0), "u8").reshape(-1, 2)[int(place) * THREADS :]
    partners = [f"partner-{i}" for i in range(SHARED)] + [f"own-{place}"] if mode == "spread" else ["partner-0"]
    records = [record("default", partner) for partner in partners]
    names = b"".join(records)
    offsets = np.cumsum([0] + [len(r) for r in records])[:-1] + 1
    keys = np.array([engine.partner_key(partner) for partner in partners], "u8")
    end = [0.0]

    def batches(thread, size):
        rng = np.random.default_rng([int(place), thread])
        events = np.zeros(size, EVENT)
        events["endpoint"], events["status"], events["count"] = engine.endpoint_key("/a"), 200, 1
        while time.monotonic() < end[0]:
            which = rng.integers(0, len(partners), size)
            events["partner"], events["name"] = keys[which], offsets[which]
            events["timestamp"] = time.time_ns()
            counts[thread, 0] += size
            engine.observe_batch(events, names)
            counts[thread, 1] += size

    def calls(thread):
        i = 0
        while time.monotonic() < end[0]:
            counts[thread, 0] += 1
            engine.observe(partners[i % len(partners)], "/a", latency_ms=5.0)
            counts[thread, 1] += 1
            i += 1

    print(f"ready {engine.slot}", flush=True)
    sys.stdin.readline()
    end[0] = time.monotonic() + float(seconds)
    threads = [threading.Thread(target=batches, args=(i, 500)) for i in range(THREADS - 1)]
    threads.append(threading.Thread(target=calls, args=(THREADS - 1,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.detach()


if __name__ == "__main__":
    main(*sys.argv[1:])
