"""What sharing costs: a host, a request, and Redis.

    python benchmarks/sharing.py latency OUT.json [SECONDS]      a call and a request, with Redis up, stopped, and without
    python benchmarks/sharing.py scale OUT.json [HOSTS PARTNERS SECONDS]
                                                                 many hosts against a real Cluster of three masters

`scale` runs the hosts one after the other in one process, each with a table and books of its own: a second of calls at
every host, then as many exchanges as a second has. What a second costs Redis is what Redis counts; how long it takes
here is no figure. Partners' rates are by Zipf's law, each partner calls at `SPREAD` hosts.
"""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.servers import Cluster, Server
from ztcore.layout import EVENT
from ztmon import Config, Monitor
from ztmon.store.sharing import Sharing

KEY = bytes(16)
SPREAD = 5
ROUNDS = 5


# -- a call and a request ------------------------------------------------------------------------------


def calls(monitor, partners, seconds):
    """Latencies of observe(), ns."""
    end = time.perf_counter() + seconds
    found, i, clock = [], 0, time.perf_counter_ns
    observe, n = monitor.observe, len(partners)
    while time.perf_counter() < end:
        for _ in range(1000):
            before = clock()
            observe(partners[i % n], "/api/users", status=200, latency_ms=5.0)
            found.append(clock() - before)
            i += 1
    return np.array(found)


def requests(monitor, partners, seconds):
    """Latencies of a request that asks, works for a quarter of a millisecond, and tells; ns."""
    end = time.perf_counter() + seconds
    found, i, clock = [], 0, time.perf_counter_ns
    while time.perf_counter() < end:
        before = clock()
        monitor.check(partners[i % len(partners)])
        while clock() - before < 250_000:
            pass
        monitor.observe(partners[i % len(partners)], "/api/users", status=200, latency_ms=5.0)
        found.append(clock() - before)
        i += 1
    return np.array(found)


def latency(out, seconds=2.0):
    """p50, p99 and p99.9 with Redis up, stopped (SIGSTOP) and without sharing, in turns."""
    partners = [f"partner-{i}" for i in range(1000)]
    with tempfile.TemporaryDirectory() as folder, Server(folder) as server:
        shared = Monitor(Config(redis=server.url, hash_key=KEY, capacity=2000, host="bench"))
        alone = Monitor(Config(hash_key=KEY, capacity=2000))
        found = {what: {"without": [], "up": [], "stopped": []} for what in ("observe", "request")}
        for what, measure in (("observe", calls), ("request", requests)):
            for _ in range(ROUNDS):
                found[what]["without"].append(measure(alone, partners, seconds))
                found[what]["up"].append(measure(shared, partners, seconds))
                server.signal(signal.SIGSTOP)
                found[what]["stopped"].append(measure(shared, partners, seconds))
                server.signal(signal.SIGCONT)
        shared.close()
        alone.close()
    result = {}
    for what, states in found.items():
        for state, rounds in states.items():
            quantiles = np.median([np.quantile(one, [0.5, 0.99, 0.999]) for one in rounds], axis=0)
            result[f"{what}, {state}"] = [round(float(q) / 1000, 2) for q in quantiles]
            print(f"{what:8} {state:8} p50 {quantiles[0] / 1000:8.2f}  p99 {quantiles[1] / 1000:8.2f}  "
                  f"p99.9 {quantiles[2] / 1000:8.2f} us")
    Path(out).write_text(json.dumps(result, indent=2))


# -- many hosts ----------------------------------------------------------------------------------------


class Host:
    """A host of the simulation: its partners' events, a second at a time."""

    def __init__(self, number, url, keys, rates):
        config = Config(redis=url, hash_key=KEY, capacity=max(64, int(len(keys) * 1.1)), host=f"host-{number}", clock="events")
        self.monitor = Monitor(Config(hash_key=KEY, capacity=config.capacity, clock="events"))
        self.sharing = Sharing(self.monitor, config, f"host-{number}", lambda: None, threads=False)
        self.keys, self.share = keys, rates / rates.sum()
        self.rate = rates.sum()
        self.endpoints = np.array([self.monitor.endpoint_key(f"/a/{i}") for i in range(8)], "u8")
        self.took = 0.0

    def second(self, rng, at):
        self.sharing.clock = lambda: at         # a second here takes longer than one
        n = rng.poisson(self.rate)
        events = np.zeros(n, EVENT)
        events["partner"] = self.keys[rng.choice(len(self.keys), n, p=self.share)]
        events["timestamp"] = (np.sort(rng.uniform(at, at + 1, n)) * 1e9).astype("i8")
        events["endpoint"] = self.endpoints[rng.integers(0, 8, n)]
        events["status"] = rng.choice([200, 404, 401, 500], n, p=[0.96, 0.02, 0.01, 0.01])
        events["latency_ms"], events["response_bytes"], events["count"] = 20.0, 500.0, 1
        quarter = len(events) // 4 + 1
        for i in range(0, n, quarter):
            self.monitor.observe_batch(np.ascontiguousarray(events[i : i + quarter]))
            began = time.thread_time()
            self.sharing.turn()
            self.took += time.thread_time() - began
        return n


def counters(cluster):
    """What the masters counted, all together."""
    found = {"commands": 0, "in": 0, "out": 0, "cpu": 0.0, "memory": 0, "scripts": 0, "script_us": 0}
    for server in cluster.servers:
        info = server.client().info("all")
        found["commands"] += info["total_commands_processed"]
        found["in"] += info["total_net_input_bytes"]
        found["out"] += info["total_net_output_bytes"]
        found["cpu"] += info["used_cpu_user"] + info["used_cpu_sys"]
        found["memory"] += info["used_memory"]
        scripts = server.client().info("commandstats").get("cmdstat_evalsha", {"calls": 0, "usec": 0})
        found["scripts"] += scripts["calls"]
        found["script_us"] += scripts["usec"]
    return found


def scale(out, hosts=50, partners=100_000, seconds=10, per_second=20_000.0):
    """Load on Redis a host and second, and memory a partner."""
    rng = np.random.default_rng(1)
    keys = rng.integers(1, 1 << 63, partners).astype("u8")
    rates = 1.0 / np.arange(1, partners + 1) ** 0.8
    rates *= per_second / rates.sum()
    places = np.stack([rng.permutation(hosts)[:SPREAD] for _ in range(partners)])
    with tempfile.TemporaryDirectory() as folder, Cluster(folder) as cluster:
        fleet = []
        for number in range(hosts):
            mine = (places == number).any(axis=1)
            fleet.append(Host(number, cluster.url, keys[mine], rates[mine] / SPREAD))
        at, before, events, idle = 1_750_000_000.0, counters(cluster), 0, None
        for second in range(seconds):
            if second == seconds // 2:      # the first seconds are all introductions
                idle, events, exchanged = counters(cluster), 0, sum(h.sharing.exchanged for h in fleet)
                for host in fleet:
                    host.took = 0.0
            for host in fleet:
                events += host.second(rng, at + second)
            print(f"second {second}: {sum(h.sharing.exchanged for h in fleet):,} exchanged so far", flush=True)
        after = counters(cluster)
        span = seconds - seconds // 2
        known = sum(1 for server in cluster.servers for _ in server.client().scan_iter("ztmon:{*}:parts", count=5000))
        exchanged = sum(h.sharing.exchanged for h in fleet) - exchanged
        result = {
            "hosts": hosts, "partners": partners, "spread": SPREAD, "events_per_second": events / span,
            "exchanges_per_host_second": exchanged / span / hosts,
            "commands_per_host_second": (after["commands"] - idle["commands"]) / span / hosts,
            "bytes_in_per_host_second": (after["in"] - idle["in"]) / span / hosts,
            "bytes_out_per_host_second": (after["out"] - idle["out"]) / span / hosts,
            "redis_cpu_us_per_exchange": (after["cpu"] - idle["cpu"]) * 1e6 / exchanged,
            "script_us": (after["script_us"] - idle["script_us"]) / max(1, after["scripts"] - idle["scripts"]),
            "host_cpu_us_per_exchange": sum(h.took for h in fleet) * 1e6 / exchanged,
            "partners_in_redis": known, "bytes_a_partner_in_redis": (after["memory"] - before["memory"]) / max(1, known),
            "failures": sum(h.sharing.failed + h.sharing.refused for h in fleet),
        }
        for host in fleet:
            host.monitor.close()
    print(json.dumps(result, indent=2))
    Path(out).write_text(json.dumps(result, indent=2))


def memory(out):
    """Bytes a partner in Redis by the number of hosts it calls at, with and without what is learned of it."""
    from ztcore.snapshot import row_of
    from ztmon.store.keys import Keys, partner_id
    from ztmon.store.packing import pack_row

    result = {}
    with tempfile.TemporaryDirectory() as folder, Server(folder) as server:
        for n in (1, 3, 10, 50):
            server.client().flushall()
            for number in range(n):
                host = Host(number, server.url, np.array([77], "u8"), np.array([40.0]))
                host.second(np.random.default_rng(number), 1_750_000_000.0)
                key = Keys("ztmon").partner(partner_id(77), "parts")
            server.client().hdel(key, "row", "row_at")
            bare = server.client().memory_usage(key)
            server.client().hset(key, "row", pack_row(row_of(host.monitor, 77), "default", 1.0))
            result[n] = [bare, server.client().memory_usage(key)]
            print(f"{n:3} hosts: {bare:,} bytes, {result[n][1]:,} with what is learned")
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    command, out, *numbers = sys.argv[1:]
    kind = float if command == "latency" else int
    {"latency": latency, "scale": scale, "memory": memory}[command](out, *map(kind, numbers))
