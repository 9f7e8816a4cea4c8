"""Three engine processes and a Redis Cluster: an attack spread evenly, that no host sees alone, is stopped on all of
them, while a master of the cluster is killed."""

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from ztcore.engine import Engine

from .fleet import prefix
from .hosts import guessing
from .servers import Cluster, programs, until

HOSTS = 3
START = 1_750_000_000.0
HOUR = 3600.0


class Worker:
    """An engine process."""

    def __init__(self, url, prefix, name):
        self.process = subprocess.Popen([sys.executable, "-m", "tests.fleet_worker", url, prefix, name],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        cwd=Path(__file__).parent.parent)

    def ask(self, **wanted):
        self.tell(**wanted)
        return self.hear()

    def tell(self, **wanted):
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=60)


@contextmanager
def started(url, prefixes):
    """A worker for each prefix, ended at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(Worker(url, prefix, f"host-{i}")) for i, prefix in enumerate(prefixes)]


def exchange(workers, times=2):
    """Everybody tells and hears: twice, so that what the last one told is heard by the first."""
    for _ in range(times):
        for worker in workers:
            worker.ask(exchange=True)


def send(workers, calls):
    """Each host its part, all at once; the highest level of any decision, by host."""
    for i, worker in enumerate(workers):
        worker.tell(calls=calls[i::len(workers)])
    return [worker.hear()["highest"] for worker in workers]


def day(rng, partners=("acme", "globex")):
    """26 hours of ordinary calls, two in a hundred of which fail to log in."""
    times = START + np.sort(rng.uniform(0, 26 * HOUR, 12_000))
    return [[partners[i % len(partners)], 401 if i % 100 < 2 else 200, float(at)] for i, at in enumerate(times)]


def attack(rng, partner="acme"):
    """Five minutes of guessing, spread evenly."""
    times, statuses = guessing(rng, START + 26 * HOUR)
    return [[partner, int(status), float(at)] for at, status in zip(times, statuses, strict=True)]


def run(workers, share, seed, kill=lambda i: None):
    """The day and the attack; the level at each host at the end."""
    rng = np.random.default_rng(seed)
    calls = day(rng)
    for i in range(0, len(calls), 60):      # eight minutes
        send(workers, calls[i : i + 60])
        if share:
            exchange(workers, 1)
    bad = attack(rng)
    for i in range(0, len(bad), 3):
        send(workers, bad[i : i + 3])
        kill(i)
        if share:
            exchange(workers)
    return len(calls) // 2 + len(bad)


@pytest.fixture
def cluster(tmp_path):
    """Three masters with a replica each: one of them will be killed."""
    if not programs():
        pytest.fail("no redis-server")
    with Cluster(tmp_path, replicas=1) as found:
        yield found


@pytest.mark.parametrize("seed", [1, 2])
def test_an_attack_spread_evenly_is_stopped_on_all_hosts(cluster, seed):
    """The same calls at three hosts: alone none of them acts. Sharing, all three throttle at least, although the
    master that has the partner's keys is killed during it; in the end all count the same calls."""
    with started(cluster.url, [prefix() for _ in range(HOSTS)]) as alone:      # each with a prefix of its own
        run(alone, False, seed)
        assert [worker.ask(profile="acme")["level"] for worker in alone] == [0, 0, 0]
    mine = prefix()
    with started(cluster.url, [mine] * HOSTS) as together:

        def kill(i):
            if i == 30:
                key = Engine(1, bytes(range(16))).partner_key("acme")
                cluster.of(f"{mine}:{{{key:016x}}}:parts").kill()
                # three calls stand for six seconds here; a failover takes a few
                until(lambda: all(worker.ask(exchange=True)["done"] for worker in together), "a new master")

        total = run(together, True, seed, kill)
        levels = [worker.ask(profile="acme")["level"] for worker in together]
        assert min(levels) >= 2, levels
        until(lambda: [worker.ask(profile="acme")["events"] for worker in together] == [total] * HOSTS, "the same calls at all")
        assert [worker.ask(profile="globex")["level"] for worker in together] == [0, 0, 0]
