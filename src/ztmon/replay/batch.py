"""What a reader makes of a chunk: events in the order of the file, to be fed from here to there."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ztmon.replay.source import Source

STRAYS = 100
"""One time stamp in so many may be a stray one."""

DAY_NS = 86_400_000_000_000

Times = npt.NDArray[np.int64]


class Batch(Protocol):
    """Some events of one source."""

    @property
    def times(self) -> Times:
        """ns since the epoch, as they stand in the file."""

    def feed(self, start: int, stop: int) -> None:
        """Let the engine observe the events from start up to stop."""


class Reader(Protocol):
    """One source and how it is read."""

    source: Source
    kind: str
    """The format, in words."""
    events: int
    bad: list[tuple[int, str]]
    """(line number, reason) of the first broken lines."""

    @property
    def lines(self) -> int:
        """Lines so far."""

    @property
    def broken(self) -> int:
        """Lines so far that could not be read."""

    def starts(self, head: bytes) -> int:
        """The time of the first events in the head of the source, ns; 0: there are none."""

    def batches(self) -> Iterator[Batch]:
        """One batch after the other, each valid until the next."""


def newest_of(times: Times) -> int:
    """The newest of some time stamps, ns, but for stray ones that are days ahead of the rest."""
    return int(times.max()) if len(times) < STRAYS else _without_strays(times)


def oldest_of(times: Times) -> int:
    """The oldest of some time stamps, ns, but for stray ones that are days before the rest."""
    return int(times.min()) if len(times) < STRAYS else -_without_strays(-times)


def _without_strays(times: Times) -> int:
    most = len(times) - 1 - len(times) // STRAYS
    newest, usual = int(times.max()), int(np.partition(times, most)[most])
    return newest if newest - usual < DAY_NS else usual
