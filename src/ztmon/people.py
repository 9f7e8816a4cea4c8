"""What people do to partners: each act is logged, remembered in the audit log where there is one, and told to the
other hosts where there are some."""

import logging
import math
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ztcore.engine import Engine
from ztcore.levels import Action

if TYPE_CHECKING:
    from ztmon.store.keeper import Keeper
    from ztmon.store.sharing import Sharing

log = logging.getLogger("ztmon")

NO_PIN, ALLOWED = 255, 1


def when(seconds: float | None) -> str:
    """A time for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds is not None else "no time"


class People(Engine):
    """An Engine with the acts of people. `by` says who did it; empty: who runs the process."""

    _keepers: "tuple[Keeper, ...]" = ()
    _sharing: "Sharing | None" = None

    def pin(self, partner: str, level: Action, ttl: float | None = None,  # type: ignore[override]
            reason: str = "", app: str = "default", by: str = "") -> None:
        """Hold a partner at a level for `ttl` seconds (None: until unpinned), whatever its score."""
        before = self._standing(partner, app)
        super().pin(partner, int(Action(level)), time.time() + ttl if ttl is not None else math.inf, app=app)
        log.warning("%s was pinned to %s (%s)", partner, Action(level).name.lower(), reason or "no reason given")
        self._acted("pin", partner, app, reason, by, before)

    def unpin(self, partner: str, reason: str = "", app: str = "default", by: str = "") -> bool:  # type: ignore[override]
        """Lift a pin; the score decides again. False where there was none."""
        before = self._standing(partner, app)
        done = super().unpin(partner, app)
        if done:
            log.warning("%s was unpinned (%s)", partner, reason or "no reason given")
            self._acted("unpin", partner, app, reason, by, before)
        return done

    def allow(self, partner: str, on: bool = True, reason: str = "", app: str = "default",  # type: ignore[override]
              by: str = "") -> None:
        """Put a partner on the allow list or take it off: scored, never acted on."""
        before = self._standing(partner, app)
        super().allow(partner, on, app)
        self._acted("allow", partner, app, reason, by, before)

    def cap(self, partner: str, level: int, reason: str = "", app: str = "default", by: str = "") -> None:  # type: ignore[override]
        """Bound the level a partner's score can reach (Action.BLOCK: no bound)."""
        before = self._standing(partner, app)
        super().cap(partner, int(level), app)
        self._acted("cap", partner, app, reason, by, before)

    def restore(self, partner: str, reason: str = "", app: str = "default",  # type: ignore[override]
                false_positive: bool = False, by: str = "") -> bool:
        """End any action, pins too, and forgive the evidence. false_positive: the alarm was false; the signals that
        raised it score nothing for this partner for 24 hours, and what they show is learned as usual. False for an
        unknown partner."""
        before = self._standing(partner, app)
        done = super().restore(partner, app, self._moment(), false_positive)
        if done:
            log.warning("%s was restored%s (%s)", partner, " as a false alarm" if false_positive else "",
                        reason or "no reason given")
            self._acted("false alarm" if false_positive else "restore", partner, app, reason, by, before)
        return bool(done)

    def reauthenticated(self, partner: str, app: str = "default",
                        timestamp: float | None = None, by: str = "") -> bool:
        """The application authenticated the partner anew: ends a quarantine. False where there is none."""
        before = self._standing(partner, app)
        done = super().reauthenticated(partner, app, timestamp)
        if done:
            self._acted("reauthenticated", partner, app, "", by, before)
        return done

    def expect(self, partner: str, until: float | datetime, rate: float = 10.0,  # type: ignore[override]
               reason: str = "", app: str = "default", by: str = "") -> None:
        """Announce that a partner will call more: until a time (seconds since the epoch, or a datetime) up to `rate`
        (1..1,000) times its usual calls, and the bytes they bring, are no evidence and do not become its habit. Everything
        else is judged as ever. rate=1 withdraws it. Raises ValueError."""
        end = until.timestamp() if isinstance(until, datetime) else float(until)
        before = self._standing(partner, app)
        super().expect(partner, end, rate, app, self._moment())
        log.info("%s may call %g times as much until %s (%s)", partner, rate, when(end), reason or "no reason given")
        self._acted("expect", partner, app, reason, by, before)

    def forget(self, partner: str, app: str = "default", reason: str = "", by: str = "") -> bool:
        """Erase all that is known of a partner: here, in the store, in its history, at the other hosts. Its name in the
        audit log becomes a pseudonym for nobody. False where nothing was."""
        key = self.partner_key(partner, app)
        done = super().forget(partner, app)
        for keeper in self._keepers:
            done = keeper.forget(key, app, partner, reason, by) or done
        if self._sharing is not None:
            done = self._sharing.forget(key) or done
        return done

    def forgotten(self, key: int) -> None:
        """Another host was told to forget the partner of that key."""
        from ztcore.snapshot import row_of
        from ztmon.profile import partner_name

        row = row_of(self, key)
        app, partner = ("", "") if row is None else (self.app_name(int(row["app"])), partner_name(row))
        self.forget_key(key)
        for keeper in self._keepers:
            keeper.erase(key, app, partner)
        if self._sharing is not None and self._sharing.ledger is not None:
            self._sharing.ledger.forget(key)

    def configure(self, *, by: str = "", reason: str = "", **settings: Any) -> None:
        """Change settings while running; see Engine.configure()."""
        super().configure(**settings)
        for keeper in self._keepers:
            keeper.settings(self.settings, by, reason)

    def note(self, what: str, why: str, by: str = "", before: Any = None, after: Any = None) -> None:
        """Put a line that is about nobody into the audit log, where there is one."""
        if self._keepers:
            from ztmon.audit import Act
            self._keepers[0].act(Act(time.time(), what, by, why=why, before=before, after=after))

    # -- what is remembered of it ------------------------------------------------------------------

    def _moment(self) -> float | None:
        """The time of an act, None: now."""
        return None

    def _standing(self, partner: str, app: str) -> dict[str, Any] | None:
        """What people and the score decided about a partner so far, for the audit log."""
        if not self._keepers and self._sharing is None:
            return None
        row = self.row(partner, app)
        if row is None:
            return {"level": "monitor"}
        pinned = int(row["pin_level"]) != NO_PIN
        level = int(row["pin_level"]) if pinned else min(int(row["level"]), int(row["max_action"]))
        found: dict[str, Any] = {"level": Action(level).name.lower()}
        if pinned:
            found["pinned_until"] = int(row["pin_until"]) * 1e-9 if int(row["pin_until"]) < 1 << 62 else "unpinned"
        if int(row["max_action"]) != Action.BLOCK:
            found["at_most"] = Action(int(row["max_action"])).name.lower()
        if int(row["flags"]) & ALLOWED:
            found["allowed"] = True
        if float(row["expected_rate"]) > 0.0:
            found |= {"expected_rate": float(row["expected_rate"]), "expected_until": int(row["expected_until"])}
        return found

    def _acted(self, what: str, partner: str, app: str, why: str, by: str, before: Any) -> None:
        """Write an act down and tell the other hosts."""
        if self._keepers:
            from ztmon.audit import Act
            from ztmon.store.base import Entry

            after, now = self._standing(partner, app), time.time()
            self._keepers[0].act(Act(now, what, by, app, partner, why, before, after))
            key = self.partner_key(partner, app)
            for keeper in self._keepers:
                keeper.entry(Entry(now, key, "decision", {"what": what, "before": before, "after": after}))
        if self._sharing is not None:
            self._sharing.acted(self.partner_key(partner, app))
