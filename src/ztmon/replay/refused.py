"""Which calls would have been refused: those of a throttled partner beyond its bucket, all of a
partner in quarantine or blocked."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.levels import Action

THROTTLE = int(Action.THROTTLE)
BURST_NS = 6_000_000_000
"""What a throttled partner may spend at once: six seconds' worth of calls, as in the engine."""


class Bucket:
    """The throttle of one partner: GCRA, times in ns."""

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
    """Counts by partner key. `level` holds the partners that are at throttle or above."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}
        self.seen: dict[int, int] = {}
        """Calls made at throttle or above, let through or not."""
        self.level: dict[int, int] = {}
        self.interval: dict[int, int] = {}
        """ns between the calls that a throttle lets through, from the partner's last change of level."""
        self._bucket: dict[int, Bucket] = {}

    def batch(self, events: npt.NDArray[Any], levels: npt.NDArray[np.uint8]) -> None:
        """events: of ztcore.layout.EVENT, in order; levels: the level after each."""
        high = np.flatnonzero(levels >= THROTTLE)
        if not len(high) and not self.level:
            return
        partners = events["partner"]
        for key in {*partners[high].tolist(), *self.level}:
            own = np.flatnonzero(partners == key)
            if not len(own):
                continue
            after = levels[own].tolist()
            # a call is judged by the level it finds; the one that raises the level still passed
            before = [self.level.get(key, 0), *after[:-1]]
            times, counts = events["timestamp"][own].tolist(), events["count"][own].tolist()
            for level, then, now, count in zip(before, after, times, counts, strict=True):
                if level >= THROTTLE and then >= THROTTLE:
                    self.one(key, min(level, then), now, count)
            self.now(key, after[-1])

    def now(self, key: int, level: int) -> None:
        """The partner is at this level."""
        if level >= THROTTLE:
            self.level[key] = level
        else:
            self.level.pop(key, None)
            self._bucket.pop(key, None)

    def one(self, key: int, level: int, now: int, count: int = 1) -> None:
        """A call of a partner at throttle or above; `count` of them."""
        self.seen[key] = self.seen.get(key, 0) + count
        if level == THROTTLE:
            bucket = self._bucket.get(key)
            if bucket is None:
                bucket = self._bucket[key] = Bucket(self.interval.get(key, BURST_NS))
            if bucket.passes(now):
                return
        self.calls[key] = self.calls.get(key, 0) + count
