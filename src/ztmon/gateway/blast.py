"""How many may be acted on at once: better a human than an outage.

Where more than a few partners, and either a large share of all partners or of the calls they usually make, reach throttle
or above within a few minutes, something else is going on than that many attacks: a release, a broken clock, a wrong
threshold. Then who reaches it next is not acted on, and people are told; who was acted on before stays so. It ends when
somebody has looked and says so.
"""

import logging
import threading
import time
from collections.abc import Callable
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
        """Time of the rise (s) and usual calls a second, by the partner's key."""
        monitor.listen(self.changed)

    @property
    def tripped(self) -> bool:
        """Whether newcomers are held."""
        return self.monitor.newcomers_held

    def changed(self, changes: list[Change]) -> None:
        """From the hooks' thread."""
        now = time.time()
        with self._lock:
            for change in changes:
                if change.anomaly or change.action < Action.THROTTLE or change.previous >= Action.THROTTLE \
                        or change.cause in PEOPLE:
                    continue
                row = self.monitor.row(change.partner, change.app)
                if row is None or not int(row["flags"]) & 1:        # who is on the allow list is never acted on
                    self._risen[change.key] = now, 0.0 if row is None else float(row["rate"])
            self._forget(now)
            why = self._too_many() if changes and not self.tripped else ""
            if why:
                self.monitor.hold_newcomers(True)
        if why:
            self._trip(why, now)

    def _forget(self, now: float) -> None:
        since = now - self.settings.blast_minutes * 60.0
        self._risen = {key: risen for key, risen in self._risen.items() if risen[0] > since}

    def _too_many(self) -> str:
        """Why it is too many, "" where it is not."""
        n, s = len(self._risen), self.settings
        if n <= s.blast_partners:
            return ""
        partners = sum(self.monitor.levels())
        if n > s.blast_partner_share * partners:
            return f"{n} of {partners:,} partners reached throttle or above within {s.blast_minutes:g} minutes"
        calls, all_calls = sum(rate for _, rate in self._risen.values()), self.monitor.usual_rate()
        if calls > s.blast_traffic_share * all_calls > 0.0:
            return (f"{n} partners who usually make {100 * calls / all_calls:.0f} % of all calls reached throttle or above "
                    f"within {s.blast_minutes:g} minutes")
        return ""

    def _trip(self, why: str, now: float) -> None:
        title = f"{why}: who reaches it next is not acted on until somebody has looked"
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
