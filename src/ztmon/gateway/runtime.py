"""Settings changed while running: they are kept in the store and win over the file until they are cleared.

    file, environment -> Config -> what was changed (store) -> what is in force
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import msgspec

from ztcore.levels import Action
from ztmon.config import Config, Thresholds
from ztmon.errors import ConfigError
from ztmon.store.packing import seal, unseal

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from ztmon.monitor import Monitor
    from ztmon.store.base import Store

KEPT = "runtime"
"""Its name in the store."""

THRESHOLDS = tuple(f"threshold_{f.name}" for f in fields(Thresholds))

SETTINGS = ("shadow", "auto_throttle", "kill_switch", *THRESHOLDS, "max_requests_per_minute", "max_error_rate",
            "max_response_time_ms", "suspicious_patterns", "learning_hours", "learning_events", "hold_minutes",
            "hold_strong_minutes", "fall_minutes", "lateness_seconds")
"""What can be changed; besides it the lists of partners, allow and max_action."""


class Changed(msgspec.Struct, frozen=True):
    """A setting as somebody set it. at: s since the epoch."""

    value: Any
    by: str
    reason: str
    at: float


Changes = dict[str, Changed]
"""By name: a setting, "allow:APP/PARTNER" or "max_action:APP/PARTNER"."""


def read_changes(store: "Store | None") -> Changes:
    """Raises StoreError."""
    raw = store.get(KEPT) if store is not None else None
    return {} if raw is None else {name: Changed(*line) for name, line in unseal(KEPT, raw).items()}


def write_changes(store: "Store", changes: Changes) -> None:
    """Raises StoreError."""
    store.put(KEPT, seal(KEPT, {name: [c.value, c.by, c.reason, c.at] for name, c in changes.items()}))


def in_force(config: Config, changes: Changes) -> Config:
    """The file's settings with the changes. Raises ConfigError for a value that is not allowed."""
    new: dict[str, Any] = {name: c.value for name, c in changes.items() if name in SETTINGS}
    thresholds = {name.removeprefix("threshold_"): new.pop(name) for name in THRESHOLDS if name in new}
    if thresholds:
        try:
            new |= {"thresholds": replace(config.thresholds_in_force, **thresholds), "false_throttles_per_partner_year": None}
        except TypeError as error:
            raise ConfigError(str(error)) from None
    allow = dict.fromkeys(map(full_name, config.allow), True) | _list(changes, "allow:")
    most = {full_name(name): level for name, level in config.max_action.items()} | _list(changes, "max_action:")
    return replace(config, **new, allow=tuple(name for name, on in allow.items() if on),
                   max_action={name: Action(level) for name, level in most.items() if level is not None})


def _value(value: Any) -> str:
    """Of a setting, in a line for people."""
    if value is None:
        return "unset"
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}"


def different(one: "DataclassInstance", other: "DataclassInstance") -> list[str]:
    """Names of the settings in which two of a kind differ."""
    return [f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)]


def full_name(name: str) -> str:
    """ "app/partner" of that or of "partner"."""
    return name if "/" in name else f"default/{name}"


def _list(changes: Changes, kind: str) -> dict[str, Any]:
    return {name.removeprefix(kind): c.value for name, c in changes.items() if name.startswith(kind)}


class Runtime:
    """What is in force, and why. file: settings as they are without changes."""

    def __init__(self, file: Config, store: "Store | None") -> None:
        self.file = file
        self.changes = read_changes(store)
        self.config = in_force(file, self.changes)

    def apply(self, monitor: "Monitor", file: Config, changes: Changes, by: str = "", reason: str = "") -> list[str]:
        """Put other settings or changes in force; the names of what is different now. Raises ConfigError, and then nothing
        is."""
        new = in_force(file, changes)
        before, after = self.config.engine_settings(), new.engine_settings()
        different = {name: after[name] for name in SETTINGS if before[name] != after[name]}
        if different:
            monitor.configure(by=by, reason=reason, **different)
        names = list(different)
        for name in set(self.config.allow) ^ set(new.allow):
            app, _, partner = name.partition("/")
            monitor.allow(partner, name in new.allow, reason, app, by)
            names.append("allow")
        for name in {n for n in (*self.config.max_action, *new.max_action)
                     if self.config.max_action.get(n) != new.max_action.get(n)}:
            app, _, partner = name.partition("/")
            monitor.cap(partner, int(new.max_action.get(name, Action.BLOCK)), reason, app, by)
            names.append("max_action")
        self.file, self.changes, self.config = file, changes, new
        return names

    def said(self, names: Iterable[str]) -> str:
        """Settings with the values that are in force now."""
        force = self.config.engine_settings()
        return ", ".join(f"{name} is {_value(force[name])}" if name in force else name for name in names)

    def took(self, changes: Changes) -> None:
        """The monitor has them already."""
        self.changes, self.config = changes, in_force(self.file, changes)

    def with_changes(self, new: Mapping[str, Any], by: str, reason: str) -> Changes:
        """The changes with some more. Raises ConfigError where there is no such setting."""
        for name in new:
            if name not in SETTINGS:
                raise ConfigError(f"{name} cannot be changed while running; there are {', '.join(SETTINGS)}")
        now = time.time()
        return self.changes | {name: Changed(value, by, reason, now) for name, value in new.items()}

    def listed(self, kind: str, app: str, partner: str, value: Any, by: str, reason: str) -> Changes:
        """The same for a partner's place on a list, which the partner's own row keeps: only where the file says
        otherwise does it need a change to win over it. kind: allow or max_action."""
        name = f"{app}/{partner}"
        plain = in_force(self.file, {})
        file = name in plain.allow if kind == "allow" else plain.max_action.get(name)
        left = {key: changed for key, changed in self.changes.items() if key != f"{kind}:{name}"}
        same = value == file if kind == "allow" else (value if value != Action.BLOCK else None) == file
        return left if same else left | {f"{kind}:{name}": Changed(value, by, reason, time.time())}

    def shown(self) -> dict[str, Any]:
        """Each setting that can be changed: what is in force, what the file says, and the change, if any."""
        force, file = self.config.engine_settings(), self.file.engine_settings()
        return {name: {"value": force[name], "file": file[name],
                       "changed": msgspec.to_builtins(self.changes[name]) if name in self.changes else None}
                for name in SETTINGS}
