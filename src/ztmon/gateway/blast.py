"""How many may be acted on at once: better a human than an outage.

Where more than a few partners, and either a large share of all partners or of the calls they usually make, reach throttle
or above within a few minutes, something else is going on than that many attacks: a release, a broken clock, a wrong
threshold. Then the first few stay acted on and who reached it after them is not, and people are told. It ends when somebody
has looked and says so.

The engine tells of a rise a moment after it acted on it. Who came in that moment, however many, is held when it is known.
"""

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from ztcore.levels import Action
from ztmon.gateway.settings import GatewayConfig
from ztmon.hooks import Alert, Change
from ztmon.monitor import Monitor

log = logging.getLogger("ztmon.gateway")

PEOPLE = {"pin", "setting"}
"""Causes of a rise that somebody decided on."""


class BlastRadius:
    """Listens to a Monitor's changes. tell: what is told to listeners of events."""

    def __init__(self, monitor: Monitor, settings: GatewayConfig, tell: Callable[[str, dict[str, Any]], None]) -> None:
        self.monitor = monitor
        self.settings = settings
        self._tell = tell
        self._lock = threading.Lock()
        self._risen: dict[int, tuple[float, float]] = {}
        """Time of the rise (s) and usual calls a second, by the partner's key, in the order of the rises."""
        monitor.listen(self.changed)

    @property
    def tripped(self) -> bool:
        """Whether newcomers are held."""
        return self.monitor.newcomers_held

    def changed(self, changes: list[Change]) -> None:
        """From the hooks' thread."""
        now = time.time()
        with self._lock:
            self._forget(now)
            new = [change.key for change in changes if self._rose(change, now)]
            tripped, why = self.tripped, ""
            if new and not tripped and (why := self._too_many(len(self._risen))):
                self.monitor.hold_newcomers(True)
                stay = next(n for n in range(len(self._risen)) if self._too_many(n + 1))
                new = list(self._risen)[stay:]
            if tripped or why:
                self._hold(new)
        if why:
            self._trip(why, stay, now)

    def _rose(self, change: Change, now: float) -> bool:
        """Whether that is one more to be counted."""
        if change.anomaly or change.action < Action.THROTTLE or change.previous >= Action.THROTTLE or change.cause in PEOPLE:
            return False
        row = self.monitor.row(change.partner, change.app)
        if row is not None and int(row["flags"]) & 1:       # who is on the allow list is never acted on
            return False
        self._risen.pop(change.key, None)
        self._risen[change.key] = now, 0.0 if row is None else float(row["rate"])
        return True

    def _hold(self, keys: list[int]) -> None:
        """Those rose before anybody could say that newcomers are held."""
        for key in keys:
            try:
                self.monitor.hold(key)
            except TimeoutError as error:
                log.error("a partner that rose too late is still acted on: %s", error)

    def _forget(self, now: float) -> None:
        since = now - self.settings.blast_minutes * 60.0
        self._risen = {key: risen for key, risen in self._risen.items() if risen[0] > since}

    def _too_many(self, n: int) -> str:
        """Why the first n are too many, "" where they are not."""
        s = self.settings
        if n <= s.blast_partners:
            return ""
        partners = sum(self.monitor.levels())
        if n > s.blast_partner_share * partners:
            return f"{n} of {partners:,} partners reached throttle or above within {s.blast_minutes:g} minutes"
        calls, all_calls = sum(rate for _, rate in islice(self._risen.values(), n)), self.monitor.usual_rate()
        if calls > s.blast_traffic_share * all_calls > 0.0:
            return (f"{n} partners who usually make {100 * calls / all_calls:.0f} % of all calls reached throttle or above "
                    f"within {s.blast_minutes:g} minutes")
        return ""

    def _trip(self, why: str, stay: int, now: float) -> None:
        title = f"{why}: the first {stay} are acted on, who reached it after them is not until somebody has looked"
        log.critical("%s", title)
        self.monitor.note("blast radius", title, after="newcomers held")
        self.monitor.alert(Alert("critical", title, "", "", 0.0, (), now))
        self._tell("blast-radius", {"at": now, "tripped": True, "why": why})

    def reset(self, by: str, reason: str) -> None:
        """Somebody looked: newcomers are acted on again, and counting starts anew."""
        with self._lock:
            was = self.tripped
            self._risen.clear()
            self.monitor.hold_newcomers(False)
        if was:
            log.warning("newcomers are acted on again (%s)", reason)
            self.monitor.note("blast radius", reason, by, before="newcomers held")
            self._tell("blast-radius", {"at": time.time(), "tripped": False, "why": reason})

    def shown(self) -> dict[str, Any]:
        """Whether it tripped, and how many rose within the window."""
        with self._lock:
            self._forget(time.time())
            return {"tripped": self.tripped, "risen": len(self._risen), "minutes": self.settings.blast_minutes}
