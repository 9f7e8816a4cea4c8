"""The monitor: an engine with configuration, words and hooks around it."""

import logging
import os
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np

from ztcore.custom import SignalError
from ztcore.engine import Engine
from ztcore.levels import CAUSES, SIGNALS, Action
from ztcore.statefile import StateError
from ztmon.config import Config
from ztmon.errors import ConfigError
from ztmon.hooks import Alert, Anomaly, Change, Dispatcher, Response, Throttled
from ztmon.people import People, when
from ztmon.profile import Profile, partner_name, read_profile

log = logging.getLogger("ztmon")

Callback = TypeVar("Callback", bound=Callable[..., object])

_alive: "weakref.WeakSet[Monitor]" = weakref.WeakSet()


class Monitor(People):
    """Watches partners, scores their every call, and says what to do.

    config: a Config; None: the defaults. Everything is kept in memory and nothing is written.
    With config.state it is kept in a file that other processes attach to as well; close() leaves it.
    observe() and check() are the engine's own: no Python stands between the caller and the core.
    Usable from any thread.
    """

    def __new__(cls, config: Config | None = None) -> Self:
        if config is None:
            config = Config()
        if not isinstance(config, Config):
            raise TypeError(f"config must be ztmon.Config, not {type(config).__name__}")
        key = config.hash_key
        if config.store is not None or config.redis is not None:
            from ztmon.store.remember import hash_key
            key = hash_key(config)
        try:
            return super().__new__(cls, config.capacity, key, config.huge_pages, config.state, config.signals)
        except StateError as error:
            raise ConfigError(f"state: {error}") from error
        except SignalError as error:
            raise ConfigError(f"signals: {error}") from error

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else Config()
        super().__init__(**self.config.engine_settings())
        self.by_events = self.config.clock == "events"
        self.know_segments(self.config.known_segments)
        for name in self.config.allow:
            app, partner = _split(name)
            Engine.allow(self, partner, True, app=app)
        for name, level in self.config.max_action.items():
            app, partner = _split(name)
            self.cap(partner, int(level), app=app)
        self._hooks = Dispatcher(self.changes)
        _alive.add(self)
        if self.config.store is not None or self.config.redis is not None:
            self._remember()

    def _remember(self) -> None:
        """Set up what writes and what shares. Raises ConfigError."""
        from ztmon.store import remember
        try:
            self._keepers, self._sharing = remember.remember(self, self.config)
        except ConfigError:
            self.detach()
            raise
        self._hooks.listen(lambda changes: remember.listen(self._keepers, self._sharing, changes))

    # -- what happened -----------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """Take out the changes of level, and the crossings of thresholds, since the last call, in the
        order of their time. Whoever registers a hook leaves this to the hooks' thread."""
        if not self.by_events:
            self.advance()
        found = self.transitions()
        return [self._change(entry) for entry in found[found["timestamp"].argsort(kind="stable")]]

    def _change(self, entry: Any) -> Change:
        cause = int(entry["cause"])
        app = bytes(entry["app"])[: int(entry["app_length"])].decode("utf-8", "replace")
        return Change(
            timestamp=int(entry["timestamp"]) * 1e-9, partner=_entry_name(entry), app=app or "?",
            previous=Action(int(entry["from_level"])), action=Action(int(entry["to_level"])),
            score=float(entry["score"]), cause=SIGNALS[cause] if cause < len(SIGNALS) else CAUSES[cause],
            reasons=self.reasons(entry), enforced=bool(entry["enforced"]), anomaly=bool(entry["anomaly"]),
            retry_after=float(entry["interval"]), key=int(entry["partner"]))

    # -- reading -----------------------------------------------------------------------------

    def profile(self, partner: str, app: str = "default") -> Profile | None:
        """What is known of a partner, None for an unknown one."""
        self._let_fall()
        row = self.row(partner, app)
        return None if row is None else read_profile(self, row, self._elsewhere(row))

    def partners(self, limit: int | None = None) -> list[Profile]:
        """All partners, the highest levels and scores first; limit: no more than so many."""
        self._let_fall()
        rows = self.rows() if limit is None else self._highest(limit)
        found = [read_profile(self, row, self._elsewhere(row)) for row in rows]
        return sorted(found, key=lambda p: (-p.level, -p.score, p.app, p.partner))

    def _highest(self, limit: int) -> list[Any]:
        """Rows of the partners with the highest levels and scores."""
        from ztcore.snapshot import row_of, scores
        found = scores(self, True)
        order = np.lexsort((-found["score"], -found["level"].astype(int)))[:limit]
        return [row for key in found["key"][order] if (row := row_of(self, int(key))) is not None]

    def highest(self, level: Action, score: float | None = None) -> list[Profile]:
        """Partners at that level or above; score: and who is at alert with such a score or a higher one."""
        from ztcore.snapshot import row_of, scores
        self._let_fall()
        found = scores(self)
        wanted = found["level"] >= level
        if score is not None:
            wanted |= (found["level"] == Action.ALERT) & (found["score"] >= score)
        rows = [row_of(self, int(key)) for key in found["key"][wanted]]
        return [read_profile(self, row) for row in rows if row is not None]

    def listen(self, listener: Callable[[list[Change]], object]) -> None:
        """Hand changes of level and crossings of thresholds, as they come, to a part that does not wait: before hooks run."""
        self._hooks.listen(listener)

    def by_key(self, key: int) -> tuple[str, str]:
        """Application and name of the partner of that key; a pseudonym where it is not known any more."""
        from ztcore.snapshot import row_of
        row = row_of(self, key)
        return ("?", f"partner-{key >> 32:08x}") if row is None else (self.app_name(int(row["app"])), partner_name(row))

    def _elsewhere(self, row: Any) -> int:
        """How many calls of a partner other hosts counted."""
        return self._sharing.elsewhere(int(row["key"])) if self._sharing is not None else 0

    def explain(self, partner: str, app: str = "default") -> str:
        """In words: which level, why, what is usual, and what happens next."""
        p = self.profile(partner, app)
        if p is None:
            return f"{partner} is not known in {app}."
        lines = [f"{p.partner} is at {p.level.name.lower()}, score {p.score:.0f}."]
        if p.pinned:
            lines.append("Somebody pinned it there" + (f" until {when(p.until)}." if p.until else "."))
        elif p.level:
            lines.append(f"Since {when(p.since)}, because:" if p.reasons else f"Since {when(p.since)}.")
            lines += [f"  - {reason}" for reason in p.reasons]
            lines.append(f"Without new evidence it ends at {when(p.until)} at the latest.")
        if p.learning:
            lines.append("It is still being learned: the score alone raises no level yet.")
        if p.allowed:
            lines.append("It is on the allow list: scored, never acted on.")
        lines.append(f"Usual: {p.requests_per_hour:,.0f} requests an hour at this time of day, "
                     f"{len(p.endpoints)} endpoints, {p.familiar_sources} familiar addresses.")
        return "\n".join(lines)

    def _moment(self) -> float | None:
        """What the clock shows, where it is not the one on the wall."""
        return self.clock if self.by_events else None

    # -- hooks -------------------------------------------------------------------------------

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[Alert], object]:
        """Call back when a partner rises to alert or above."""
        self._hooks.add("alert", callback)
        return callback

    def on_throttle(self, callback: Callable[[Throttled], object]) -> Callable[[Throttled], object]:
        """Call back when a partner rises to throttle or above."""
        self._hooks.add("throttle", callback)
        return callback

    def on_anomaly(self, callback: Callable[[Anomaly], object]) -> Callable[[Anomaly], object]:
        """Call back when a score crosses a threshold: once an episode, and once for each higher one."""
        self._hooks.add("anomaly", callback)
        return callback

    def on_action(self, callback: Callable[[Response], object]) -> Callable[[Response], object]:
        """Call back for every change of a level, up or down."""
        self._hooks.add("action", callback)
        return callback

    def alert(self, alert: Alert) -> None:
        """Call back those of on_alert() for something that no partner's level says."""
        self._hooks.alert(alert)

    def flush(self) -> None:
        """Return when the hooks have run for everything that happened so far, and it is written where it is to be
        remembered."""
        self._hooks.flush()
        if self._sharing is not None:
            self._sharing.turn()
        for keeper in self._keepers:
            keeper.turn()

    def stats(self) -> dict[str, int]:
        """Counts since the start, by name; `hook_failures` and `hooks_dropped` among them; where something is remembered
        `store_failures` and `store_dropped`, where hosts share `shared`, `share_failures`, `share_refused`, `share_away`."""
        found = {**super().stats(), "hook_failures": self._hooks.failed, "hooks_dropped": self._hooks.dropped}
        if self._keepers:
            found["store_failures"] = sum(keeper.failed for keeper in self._keepers)
            found["store_dropped"] = sum(keeper.dropped for keeper in self._keepers)
        return found if self._sharing is None else found | self._sharing.stats()

    # -- parts -------------------------------------------------------------------------------

    @cached_property
    def collector(self) -> "Any":
        """Where events go in."""
        from ztmon.parts import Collector
        return Collector(self)

    @cached_property
    def baselines(self) -> "Any":
        """What is usual for partners."""
        from ztmon.parts import Baselines
        return Baselines(self)

    @cached_property
    def features(self) -> "Any":
        """What is known of partners: get_profile()."""
        from ztmon.parts import Features
        return Features(self)

    @cached_property
    def throttle(self) -> "Any":
        """What is done about partners: restore_partner(), on_alert()."""
        from ztmon.parts import Throttle
        return Throttle(self)

    # -- end ---------------------------------------------------------------------------------

    def _let_fall(self) -> None:
        if not self.by_events:
            self.advance()

    def close(self) -> None:
        """Tell the hooks what is left and stop their thread; write what is to be remembered. May be called twice."""
        self._hooks.close()
        if self._sharing is not None:
            self._sharing.close()
        for keeper in self._keepers:
            keeper.close()
        self.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _split(name: str) -> tuple[str, str]:
    """App and partner of "partner" or "app/partner"."""
    app, found, partner = name.partition("/")
    return (app, partner) if found else ("default", name)


def _entry_name(entry: Any) -> str:
    return partner_name({"name_length": entry["name_length"], "name": entry["name"], "key": entry["partner"]})


def _forked() -> None:
    for monitor in _alive:
        monitor._hooks.forked()
        for keeper in monitor._keepers:
            keeper.forked()
        if monitor._sharing is not None:
            monitor._sharing.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
