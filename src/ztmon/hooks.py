"""Callbacks: what they get, and the thread that calls them.

The engine writes every change of a level into a journal of fixed size; one background thread a
monitor reads it and calls the callbacks, so that no request waits for them; what an async one returns
runs on an event loop of its own (tasks.py). A callback that fails is counted and logged at most once a
minute, and hurts nobody.
"""

import inspect
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ztcore.levels import Action
from ztcore.reason import Reason

if TYPE_CHECKING:
    from ztmon.tasks import Tasks

log = logging.getLogger("ztmon")

SEVERITIES = {Action.ALERT: "low", Action.THROTTLE: "medium", Action.QUARANTINE: "high", Action.BLOCK: "critical"}
PERIOD = 0.05
"""Seconds between looks into the journal."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A partner rose to alert or above. severity: low, medium, high, critical."""

    severity: str
    title: str
    partner: str
    app: str
    score: float
    reasons: tuple[Reason, ...]
    timestamp: float


@dataclass(frozen=True, slots=True)
class Throttled:
    """A partner rose to throttle or above. retry_after: seconds between the calls it may make."""

    partner: str
    app: str
    message: str
    retry_after: float
    level: Action
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A score crossed a threshold: once when an episode starts, and once for each higher threshold."""

    partner: str
    app: str
    score: float
    reasons: tuple[Reason, ...]
    timestamp: float


@dataclass(frozen=True, slots=True)
class Response:
    """A partner's level changed, up or down."""

    partner: str
    app: str
    action: Action
    previous: Action
    anomaly_score: float
    cause: str
    timestamp: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the journal. anomaly: the score crossed a threshold, the level stayed."""

    timestamp: float
    partner: str
    app: str
    previous: Action
    action: Action
    score: float
    cause: str
    reasons: tuple[Reason, ...]
    enforced: bool
    anomaly: bool
    retry_after: float
    key: int = 0

    @property
    def severity(self) -> str | None:
        """Of the alert that it is; None where nobody is to be told."""
        return SEVERITIES.get(self.action) if not self.anomaly and self.action > self.previous else None


class Dispatcher:
    """Reads the journal through `drain` and calls the callbacks of each kind."""

    def __init__(self, drain: Callable[[], list[Change]]) -> None:
        self.drain = drain
        self.callbacks: dict[str, list[Callable[[Any], object]]] = {}
        self.listeners: list[Callable[[list[Change]], object]] = []
        self.failed = 0
        self._logged = 0.0
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._tasks: Tasks | None = None

    @property
    def dropped(self) -> int:
        """Async callbacks that were not run, for too many were under way."""
        return self._tasks.dropped if self._tasks is not None else 0

    def add(self, kind: str, callback: Callable[[Any], object]) -> None:
        """Register a callback; the first one starts the thread."""
        if not callable(callback):
            raise TypeError(f"on_{kind} takes a function, not {type(callback).__name__}")
        self.callbacks.setdefault(kind, []).append(callback)
        self.start()

    def listen(self, listener: Callable[[list[Change]], object]) -> None:
        """Hand every batch of changes to a part of the monitor as well, before the callbacks."""
        self.listeners.append(listener)
        self.start()

    def start(self) -> None:
        """Start the thread where there are callbacks and none runs (after a fork there is none)."""
        wanted = (self.callbacks or self.listeners) and not self._stop.is_set()
        if wanted and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="ztmon-hooks", daemon=True)
            self._thread.start()

    def forked(self) -> None:
        """In a child: the locks may have been held by a thread that is not there."""
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread = None
        if self._tasks is not None:
            self._tasks.forked()
        self.start()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            self.turn()

    def flush(self) -> None:
        """The same, and wait for the async ones."""
        self.turn()
        if self._tasks is not None:
            self._tasks.flush()

    def turn(self) -> None:
        """Call the callbacks for everything that is in the journal. Returns when all have run."""
        with self._turn:
            try:
                changes = self.drain() if self.callbacks or self.listeners else []
            except Exception:
                self._failed("the journal")
                return
            for listener in self.listeners if changes else ():
                try:
                    listener(changes)
                except Exception:
                    self._failed("what is to be remembered")
            for change in changes:
                self._tell(change)

    def _tell(self, change: Change) -> None:
        who = {"partner": change.partner, "app": change.app}
        if change.anomaly:
            self._call("anomaly", Anomaly(**who, score=change.score, reasons=change.reasons,
                                          timestamp=change.timestamp))
            return
        name = change.action.name.lower()
        severity = change.severity
        if severity is not None:
            why = f": {change.reasons[0]}" if change.reasons else ""
            title = f"{change.partner} is at {name}{why}"
            self._call("alert", Alert(**who, severity=severity, title=title,
                                      score=change.score, reasons=change.reasons, timestamp=change.timestamp))
        if change.action > change.previous and change.action >= Action.THROTTLE:
            self._call("throttle", Throttled(**who, message=f"{change.partner} was moved to {name}",
                                             retry_after=change.retry_after, level=change.action,
                                             reasons=change.reasons))
        self._call("action", Response(**who, action=change.action, previous=change.previous, cause=change.cause,
                                      anomaly_score=change.score, timestamp=change.timestamp, reasons=change.reasons))

    def alert(self, alert: Alert) -> None:
        """Call those of on_alert()."""
        self._call("alert", alert)

    def _call(self, kind: str, what: object) -> None:
        for callback in self.callbacks.get(kind, ()):
            name = f"the callback {getattr(callback, '__qualname__', callback)!s} of on_{kind}"
            try:
                found = callback(what)
                if inspect.iscoroutine(found):
                    self._later(name, found)
            except Exception:
                self._failed(name)

    def _later(self, name: str, coroutine: Any) -> None:
        if self._tasks is None:
            from ztmon.tasks import Tasks
            self._tasks = Tasks(self._failed)
        self._tasks.run(name, coroutine)

    def _failed(self, what: str) -> None:
        self.failed += 1
        now = time.monotonic()
        if now - self._logged >= 60.0 or self._logged == 0.0:
            self._logged = now
            log.exception("%s failed (%d failures so far; said once a minute)", what, self.failed)

    def close(self) -> None:
        """Stop the thread; what was in the journal is told first."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout=5.0)
        self._thread = None
        self.turn()
        if self._tasks is not None:
            self._tasks.close()
