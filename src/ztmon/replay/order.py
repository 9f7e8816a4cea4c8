"""Several sources in the order of time: rotated logs in any order, logs of several hosts side by side.

A slice of at most a minute of each is fed in turn. Within it the order is that of the sources,
which is well inside the lateness that the engine takes in fully.
"""

from collections.abc import Iterator

import numpy as np

from ztmon.replay.batch import Batch, Reader, newest_of, oldest_of

SLICE_NS = 60_000_000_000


class Head:
    """Where one source stands: its batch and how far that has been fed."""

    def __init__(self, reader: Reader, starts: int) -> None:
        self.reader, self.next = reader, starts
        self.batches: Iterator[Batch] | None = None
        self.batch: Batch | None = None
        self.at = 0

    def feed(self, until: int) -> tuple[int, int]:
        """Feed what lies before `until`, ns; the oldest and the newest time fed, 0 and 0: none."""
        oldest = newest = 0
        if self.batches is None:
            self.reader.source.reopen()
            self.batches = self.reader.batches()
            self._more()
        while self.batch is not None and self.next < until:
            stop = self.at + int(np.searchsorted(self.highest[self.at :], until))
            self.batch.feed(self.at, stop)
            times = self.batch.times[self.at : stop]
            newest = max(newest, newest_of(times))
            oldest = min(oldest or newest, oldest_of(times))
            self.at = stop
            if stop < len(self.highest):
                self.next = int(self.highest[stop])
            else:
                self._more()
        return oldest, newest

    def _more(self) -> None:
        assert self.batches is not None
        self.batch = next(self.batches, None)
        self.at = 0
        if self.batch is None:
            self.reader.source.close()
            return
        # up to here nothing is newer: an old line behind a new one goes with it
        self.highest = np.maximum.accumulate(self.batch.times)
        self.next = int(self.highest[0])


def in_order(heads: list[Head]) -> Iterator[tuple[int, int]]:
    """Feed all of them; yields the oldest and the newest time, ns, of each slice."""
    waiting = sorted(heads, key=lambda head: head.next)
    while waiting:
        until = min(head.next for head in waiting) + SLICE_NS
        for head in waiting:
            if head.next < until:
                fed = head.feed(until)
                if fed[1]:
                    yield fed
        waiting = [head for head in waiting if head.batches is None or head.batch is not None]
