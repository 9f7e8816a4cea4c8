"""Life for the page: simulated partners in real time, one of which turns bad every two and a half minutes.

Two simulated days are taken in at the start, so that learning is over when the page opens.
"""

import logging
import threading
import time
from dataclasses import replace

import numpy as np

from ztmon.config import Config
from ztmon.monitor import Monitor
from ztmon.simulate import Attack, Traffic, make_traffic
from ztmon.simulate.world import Partner, make_partners

log = logging.getLogger("ztmon.gateway")

PARTNERS = 8
PAST_HOURS = 48.0
BLOCK_SECONDS = 600.0
"""So much traffic is made at a time."""
FIRST_ATTACK, EVERY, LASTS = 20.0, 150.0, 40.0
"""Seconds: when the first attack begins, from one to the next, how long each lasts."""
ORDER = ("credential_stuffing", "enumeration", "burst", "injection", "exfiltration", "stolen_key", "deletes", "probing")
STRENGTH = 0.5
"""Of the attacks: blatant, but not so much that the first second decides."""
ONE_BY_ONE = 5000
"""Calls taken in as an application would, so that the words of paths are known; the rest in one go."""


def demo_config(config: Config) -> Config:
    """The same, but levels fall soon enough for a person to watch it."""
    return replace(config, fall_minutes=0.25, hold_minutes=0.5, hold_strong_minutes=1.0)


class Demo:
    """Sends traffic to a monitor from a thread of its own until stopped."""

    def __init__(self, monitor: Monitor, seed: int = 1) -> None:
        self.monitor = monitor
        self._rng = np.random.default_rng(seed)
        self.partners = tuple(busy(partner) for partner in make_partners(PARTNERS, self._rng))
        self._targets = self._rng.permutation(PARTNERS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ztmon-demo", daemon=True)

    def warm_up(self, now: float) -> int:
        """Take in the days before now (s); returns how many events these were."""
        start = int((now - PAST_HOURS * 3600.0) * 1e9)
        past = make_traffic(self.partners, start, PAST_HOURS, (), self._rng)
        past.observe(self.monitor, 0, ONE_BY_ONE)
        events, names = past.events(self.monitor)
        self.monitor.observe_batch(events[ONE_BY_ONE:], names)
        return len(past)

    def start(self) -> None:
        """Take in the past and go on in real time."""
        self._began = time.time()
        self.warm_up(self._began)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        block = 0
        while not self._stop.is_set():
            begin = self._began + block * BLOCK_SECONDS
            try:
                self._play(self.block(begin, block))
            except Exception:
                log.exception("the demo's traffic failed; it goes on with the next part")
                self._stop.wait(5.0)
            block += 1

    def block(self, begin: float, number: int) -> Traffic:
        """The traffic of BLOCK_SECONDS from begin (s) on."""
        attacks = []
        per_block = int(BLOCK_SECONDS // EVERY)
        for i in range(per_block):
            turn = number * per_block + i
            start = begin + FIRST_ATTACK + i * EVERY
            who = int(self._targets[turn % PARTNERS])
            attacks.append(Attack(ORDER[turn % len(ORDER)], who, int(start * 1e9), LASTS, STRENGTH))
        return make_traffic(self.partners, int(begin * 1e9), BLOCK_SECONDS / 3600.0, attacks, self._rng)

    def _play(self, traffic: Traffic) -> None:
        times = traffic.calls["timestamp"]
        sent = 0
        while sent < len(times):
            due = int(np.searchsorted(times, int(time.time() * 1e9), side="right"))
            traffic.observe(self.monitor, sent, due)
            sent = max(sent, due)
            if self._stop.wait(0.2):
                return


def busy(partner: Partner) -> Partner:
    """The same partner with enough calls at every hour that a person sees it move."""
    rate = float(np.clip(partner.requests_per_hour * 5.0, 1500.0, 8000.0))
    return replace(partner, requests_per_hour=rate, swing=partner.swing * 0.5)
