"""Which calls would have been refused: those of a throttled partner beyond its bucket, all of a
partner in quarantine or blocked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.levels import Action

THROTTLE = int(Action.THROTTLE)
BURST_NS = 6_000_000_000
"""What a throttled partner may spend at once: six seconds' worth of calls, as in the engine."""


class Bucket:
    """The throttle of one partner: GCRA (ITU-T I.371), times in ns."""

    def __init__(self, interval: int) -> None:
        self.interval, self.arrival = interval, 0

    def passes(self, now: int) -> bool:
        """Whether a call passes now; takes its token if it does."""
        burst = max(BURST_NS, self.interval)
        arrival = max(self.arrival, now)
        if arrival + self.interval - now > burst:
            return False
        self.arrival = arrival + self.interval
        return True


class Refused:
    """Counts by partner key.

    rose: called when a partner rises to throttle or above; sets `interval` of that partner.
    """

    def __init__(self) -> None:
        self.refused: dict[int, int] = {}
        self.made: dict[int, int] = {}
        """Calls made at throttle or above, let through or not."""
        self.level: dict[int, int] = {}
        """Of partners that are at throttle or above."""
        self.interval: dict[int, int] = {}
        """ns between the calls that a throttle lets through."""
        self.rose: Callable[[], object] = lambda: None
        self._bucket: dict[int, Bucket] = {}

    def batch(self, events: npt.NDArray[Any], levels: npt.NDArray[np.uint8]) -> None:
        """events: of ztcore.layout.EVENT, in order; levels: the level after each."""
        high = np.flatnonzero(levels >= THROTTLE)
        if not len(high) and not self.level:
            return
        partners = events["partner"]
        for key in {*partners[high].tolist(), *self.level}:
            own = np.flatnonzero(partners == key)
            times, counts = events["timestamp"][own].tolist(), events["count"][own].tolist()
            for level, now, count in zip(levels[own].tolist(), times, counts, strict=True):
                self.call(key, level, now, count)

    def call(self, key: int, level: int, now: int, count: int = 1) -> None:
        """A call (or `count` of them) at `now`, ns, after which the partner was at `level`. It is judged
        by the level it found: the call that raises the level still passed."""
        found = self.level.get(key, 0)
        if level < THROTTLE:
            if found:
                del self.level[key]
                self._bucket.pop(key, None)
            return
        self.level[key] = level
        if not found:
            self.rose()
            return
        self.made[key] = self.made.get(key, 0) + count
        if min(found, level) == THROTTLE:
            bucket = self._bucket.get(key)
            if bucket is None:
                bucket = self._bucket[key] = Bucket(self.interval.get(key, BURST_NS))
            if bucket.passes(now):
                return
        self.refused[key] = self.refused.get(key, 0) + count
