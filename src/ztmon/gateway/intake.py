"""From a body of telemetry to the decisions about it.

    body -> TelemetryReader (native): most events never become Python objects
         -> what it found odd: wire.py reads it, or says what is wrong with which field
         -> observed in one go -> Taken: how many, the decisions that are not calm, the problems
"""

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from ztcore.decision import Decision
from ztcore.telemetry import BROKEN, MANY, ODD, TelemetryReader
from ztmon import wire
from ztmon.gateway.http import Refused
from ztmon.gateway.settings import GatewayConfig
from ztmon.monitor import Monitor

SHOWN = 100
"""Problems that an answer lists; all are counted."""

Read = tuple[list[tuple[int, wire.Event]], list[wire.Problem]]


class Taken(msgspec.Struct, frozen=True):
    """What became of a body. places: its events, good and bad; noted: decisions that are not calm, by place; bad: places
    of events that could not be used; problems: what is wrong with them."""

    places: int
    noted: dict[int, Decision]
    bad: frozenset[int] = frozenset()
    problems: tuple[wire.Problem, ...] = ()


class Intake:
    """Takes bodies in, in whichever thread. settings: limits and the clock's slack."""

    def __init__(self, monitor: Monitor, settings: GatewayConfig) -> None:
        self.monitor = monitor
        self._readers: list[TelemetryReader] = []
        self.use(settings)
        self._own = threading.local()

    @property
    def clamped(self) -> int:
        """Time stamps so far that were too far back or ahead."""
        return sum(reader.clamped for reader in self._readers)

    def reader(self) -> TelemetryReader:
        """This thread's."""
        reader: TelemetryReader | None = getattr(self._own, "reader", None)
        if reader is None:
            self._own.reader = reader = TelemetryReader(self.monitor, self.settings.body_events)
            self._set(reader)
            self._readers.append(reader)
        return reader

    def use(self, settings: GatewayConfig) -> None:
        """Other settings from now on; the number of events is fixed."""
        self.settings = settings
        for reader in self._readers:
            self._set(reader)

    def _set(self, reader: TelemetryReader) -> None:
        reader.back = int(self.settings.back_seconds * 1e9)
        reader.ahead = int(self.settings.ahead_seconds * 1e9)

    def take(self, body: bytes, apps: Collection[str] | None = None) -> Taken | int:
        """JSON: one object, an array, or one object a line. apps: the applications it may be about, None: any. A plain
        number: so many events, all of them calm. Raises Refused (400, 413, 422)."""
        reader = self.reader()
        n = reader.take_now(body, apps)
        if n >= 0:
            return Taken(n, reader.noted) if reader.noted else n
        if n == MANY:
            raise self._many()
        if n == ODD:
            return self._odd(reader, body)
        assert n == BROKEN
        return self._all(reader, lambda: wire.read(body), len(body), apps)

    def take_msgpack(self, body: bytes, apps: Collection[str] | None = None) -> Taken | int:
        """The same in msgpack: one map or an array of maps."""
        return self._all(self.reader(), lambda: wire.read_msgpack(body), len(body), apps)

    def _odd(self, reader: TelemetryReader, body: bytes) -> Taken:
        """Some events need a second look."""
        events: list[tuple[int, wire.Event]] = []
        problems: list[wire.Problem] = []
        for place, start, end in reader.odd:
            event, wrong = wire.read_event(place, body[start:end])
            problems += wrong
            if event is not None and not wrong:
                events.append((place, event))
        return self._put_all(reader, events, problems)

    def _all(self, reader: TelemetryReader, read: Callable[[], Read], size: int,
             apps: Collection[str] | None) -> Taken:
        """The whole body is read by wire.py."""
        try:
            events, problems = read()
        except wire.NotTelemetry as error:
            raise Refused(400, str(error)) from None
        bad = {problem.event for problem in problems}
        if len(events) + len(bad) > self.settings.body_events:
            raise self._many()
        now = time.time_ns()
        reader.begin(size, len(events) + len(bad), now - reader.back, now + reader.ahead, apps)
        return self._put_all(reader, events, problems)

    def _put_all(self, reader: TelemetryReader, events: list[tuple[int, wire.Event]], problems: list[wire.Problem]) -> Taken:
        """Add what wire.py read to what the reader has, and observe it all."""
        for place, event in events:
            problems += put(reader, place, event)
        bad = {problem.event for problem in problems}
        places = reader.observe() + len(bad)
        problems.sort(key=lambda problem: problem.event)
        if bad and len(bad) == places:
            first = f"event {problems[0].event}: {problems[0]}"
            listed = msgspec.to_builtins(problems[:SHOWN])
            raise Unusable(places, f"none of {places:,} events could be used; the first: {first}", listed)
        return Taken(places, reader.noted, frozenset(bad), tuple(problems))

    def _many(self) -> Refused:
        return Refused(413, f"a body may have {self.settings.body_events:,} events; send them in several requests")


class Unusable(Refused):
    """No event of a body could be used. events: how many there were."""

    def __init__(self, events: int, detail: str, problems: list[dict[str, Any]]) -> None:
        super().__init__(422, detail, problems=problems)
        self.events = events


def put(reader: TelemetryReader, place: int, event: wire.Event) -> list[wire.Problem]:
    """An event that wire.py read into the reader; what is wrong with it."""
    done = reader.put(
        place, event.app.encode(), event.partner.encode(), event.timestamp, event.endpoint.encode(), event.method.encode(),
        event.status, event.latency_ms, event.request_bytes or 0.0, event.response_bytes or 0.0,
        (event.source or "").encode(), event.count or 1)  # fmt: skip
    return [] if done else [wire.Problem(place, "appId", "is none that this token may send telemetry for")]
