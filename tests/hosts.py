"""Several hosts in one process, exchanging contributions by hand: what sharing is to come out as."""

import numpy as np

from ztcore.engine import Engine
from ztcore.layout import EVENT
from ztcore.ledger import OTHERS, Ledger

HALF_LIVES = np.array([60.0, 600.0, 5400.0, 1800.0])
KEY = bytes(16)


def left_of(one, at, lanes):
    """What is left of a contribution's sums at a time (ns), a factor each half-life."""
    return 0.5 ** ((at - int(one["at"])) * 1e-9 / HALF_LIVES[:lanes])


class Exchange:
    """Engines with a ledger each; `turn(now)` lets each take in what the others counted, `now` in ns."""

    def __init__(self, n, contained=False, **settings):
        self.engines = [Engine(64, KEY, **settings) for _ in range(n)]
        self.ledgers = [Ledger(engine, contained) for engine in self.engines]
        self.published = [{} for _ in range(n)]

    def publish(self, host):
        """The host's contributions as they are now."""
        end = False
        while not end:
            found, end = self.ledgers[host].collect()
            for one in found:
                self.published[host][int(one["key"])] = one.copy()

    def others(self, host, key):
        """The sum of the others' contributions, a record of OTHERS; None where there are none."""
        found = [books[key] for i, books in enumerate(self.published) if i != host and key in books]
        if not found:
            return None
        sums = np.zeros(1, OTHERS)[0]
        sums["key"], sums["at"] = key, max(int(one["at"]) for one in found)
        sums["events"] = sum(int(one["events"]) for one in found)
        for name in ("whole", "hits"):
            sums["sums"][name] = sum(one["sums"][name].astype(float) * left_of(one, int(sums["at"]), one["sums"][name].shape[1])
                                     for one in found)
        return sums

    def turn(self, now, hosts=None):
        """Everybody publishes, then everybody takes in."""
        hosts = range(len(self.engines)) if hosts is None else hosts
        for host in hosts:
            self.publish(host)
        for host in hosts:
            found = [self.others(host, key) for key in self.published[host]]
            found = [one for one in found if one is not None]
            if found:
                assert len(self.ledgers[host].take_in(np.array(found, OTHERS), now)) == 0


def calls(engine, times, rng, status=(200,), share=(1.0,), endpoints=8):
    """Ordinary events of "acme" at these times (seconds)."""
    events = np.zeros(len(times), EVENT)
    events["partner"] = engine.partner_key("acme")
    events["timestamp"] = (np.asarray(times) * 1e9).astype("i8")
    keys = np.array([engine.endpoint_key(f"/e{i}") for i in range(endpoints)], dtype="u8")
    events["endpoint"] = keys[rng.integers(0, endpoints, len(times))]
    events["status"] = rng.choice(status, len(times), p=share)
    events["source"] = engine.source_key("192.0.2.1")
    events["latency_ms"] = rng.lognormal(3, 0.5, len(times))
    events["response_bytes"] = rng.lognormal(7, 0.5, len(times))
    events["count"] = 1
    return events


def guessing(rng, since, hosts=3):
    """Five minutes of guessing at log-ins, in turn over the hosts: times (seconds) and statuses of 150 calls of which each
    host's every fifth fails. A third of it is less than what a host acts on by itself, all of it far more."""
    times = since + np.sort(rng.uniform(0, 300, 150))
    return times, np.where(np.arange(150) % (5 * hosts) < hosts, 401, 200)


def decayed(row, name, at):
    """Decayed counts as of a time (ns), one a half-life; hits have three."""
    lanes = row[name].astype(float)[..., : 3 if name == "counts" else 4]
    return lanes / 2.0 ** (np.float64(at - int(row["reference"])) / 1e9 / HALF_LIVES[: lanes.shape[-1]])
