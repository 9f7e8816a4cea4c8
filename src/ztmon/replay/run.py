"""A replay from its options to its facts."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ztmon.config import Config
from ztmon.monitor import Monitor
from ztmon.replay.ahead import ahead
from ztmon.replay.batch import Reader, newest_of, oldest_of
from ztmon.replay.formats import reader_of
from ztmon.replay.options import Options
from ztmon.replay.order import Head, in_order
from ztmon.replay.progress import Progress
from ztmon.replay.pseudonyms import KEY
from ztmon.replay.refused import Refused
from ztmon.replay.source import Source
from ztmon.replay.transitions import TransitionsFile
from ztmon.replay.watch import Watch
from ztmon.report.facts import Facts, Read

GROWN = 16
OURS = ("ZTMON_", "ANOMALY_THRESHOLD_", "SHADOW_MODE", "ENABLE_AUTO_THROTTLE")


def config_of(options: Options) -> Config:
    """Settings of the environment, then the options; levels are moved by the log's own clock, and
    everything is judged as if it were enforced. Raises ConfigError."""
    config = Config.from_env() if any(name.startswith(OURS) for name in os.environ) else Config()
    given = {name: value for name in ("learning_hours", "learning_events", "capacity")
             if (value := getattr(options, name)) is not None}
    levels = {level: value for level in ("alert", "throttle", "quarantine", "block")
              if (value := getattr(options, f"threshold_{level}")) is not None}
    if levels:
        given |= {"thresholds": replace(config.thresholds_in_force, **levels), "false_throttles_per_partner_year": None}
    return replace(config, clock="events", state=None, store=None, redis=None, hash_key=config.hash_key or KEY,
                   shadow=False, auto_throttle=True, kill_switch=False, **given)


class Replay:
    """One run over some sources. Raises InputError and ConfigError before anything is read."""

    def __init__(self, options: Options) -> None:
        self.started = time.perf_counter()
        config = config_of(options)
        sources = [Source(path) for path in options.files]
        self.monitor = Monitor(config)
        self.refused = Refused()
        self.readers: list[Reader] = []
        heads = []
        for source in sources:
            head = source.head()
            reader = reader_of(source, head, self.monitor, self.refused, options)
            self.readers.append(reader)
            if len(sources) > 1:
                heads.append(Head(reader, reader.starts(head)))
                source.close()
        self.heads = heads
        file = TransitionsFile(options.transitions, int(config.lateness_seconds * 1e9)) if options.transitions else None
        self.watch = Watch(self.monitor, self.refused, file)
        self.oldest = self.newest = 0
        self.interrupted = False

    def run(self) -> Facts:
        """Read everything; Ctrl-C ends it early."""
        progress = Progress(sum(reader.source.size for reader in self.readers))
        try:
            with suppress(KeyboardInterrupt):
                self.interrupted = True
                for oldest, newest in self._steps():
                    self.newest = max(self.newest, newest)
                    self.oldest = min(self.oldest or oldest, oldest)
                    self.watch.settle(self.newest)
                    progress.show(
                        sum(reader.source.done for reader in self.readers), sum(reader.lines for reader in self.readers)
                    )
                self.interrupted = False
        finally:
            progress.stop()
        return self._facts()

    def _steps(self) -> Iterator[tuple[int, int]]:
        """(oldest, newest) time, ns, of what was fed at each step."""
        if self.heads:
            yield from in_order(self.heads)
            return
        for batch in ahead(self.readers[0].batches()):
            batch.feed(0, len(batch.times))
            times = batch.times
            yield oldest_of(times), newest_of(times)

    def _facts(self) -> Facts:
        stories = self.watch.end(self.newest)
        rows = self.monitor.rows()
        rows = rows[rows["events"] > 0]
        stats = self.monitor.stats()
        return Facts(
            read=[
                Read(r.source.name, r.kind, r.source.done, r.lines, r.events, r.broken, r.bad, r.source.cut)
                for r in self.readers
            ],
            seconds=time.perf_counter() - self.started,
            oldest=self.oldest,
            newest=self.newest,
            interrupted=self.interrupted,
            partners=len(rows) + stats["evicted"],
            partners_missed=stats["turned_away"],
            learning=int((rows["flags"] & GROWN == 0).sum()),
            late=stats["late"],
            changes=self.watch.changes,
            changes_lost=stats["transitions_lost"],
            untold=len(self.watch.untold),
            stories=stories,
            config=self.monitor.config,
        )
