"""Access logs to events: the native parser, a chunk at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.accesslog import AccessLogParser
from ztmon.errors import ConfigError
from ztmon.replay.batch import Times
from ztmon.replay.options import Options
from ztmon.replay.pseudonyms import SECRET
from ztmon.replay.refused import Refused
from ztmon.replay.source import Source

PARTNERS = ("client", "user", "vhost")
MOST = 16_384
"""Events that the parser hands out at once."""


class LogBatch:
    """Events of one call of the parser, with the names they refer to."""

    def __init__(self, reader: "LogReader", events: npt.NDArray[Any], names: bytes) -> None:
        self.reader, self.events, self.names = reader, events, names
        self.times: Times = events["timestamp"]

    def feed(self, start: int, stop: int) -> None:
        events = self.events[start:stop]
        levels = self.reader.levels[: stop - start]
        self.reader.engine.observe_batch(events, self.names, levels)
        self.reader.refused.batch(events, levels)


class LogReader:
    """One access log. Raises ConfigError for a --partner that a log does not have."""

    kind = "access log"

    def __init__(self, source: Source, engine: Any, refused: Refused, options: Options) -> None:
        partner = options.partner or "client"
        if partner not in PARTNERS:
            raise ConfigError(f"--partner is {partner}; in an access log it is one of {', '.join(PARTNERS)}")
        self.source, self.engine, self.refused = source, engine, refused
        self.parser = AccessLogParser(
            engine.hash_key, app=options.app, partner=partner, show_clients=options.show_clients, engine=engine,
            pseudonym_key=SECRET,
        )
        self.levels = np.zeros(MOST, np.uint8)
        self.events = 0
        self.bad: list[tuple[int, str]] = []

    @property
    def lines(self) -> int:
        return self.parser.lines

    @property
    def broken(self) -> int:
        return self.parser.broken

    def starts(self, head: bytes) -> int:
        events, *_ = AccessLogParser(self.engine.hash_key).parse(head)
        return int(events["timestamp"].min()) if len(events) else 0

    def batches(self) -> Iterator[LogBatch]:
        while True:
            self.source.fill()
            consumed = 1
            while consumed:
                with self.source.view() as view:
                    events, names, consumed, bad = self.parser.parse(view, self.source.ended)
                self.source.take(consumed)
                self.bad += bad
                self.events += len(events)
                if len(events):
                    # a copy: the parser goes on while these are being used
                    yield LogBatch(self, events.copy(), names)
            if self.source.ended:
                return
