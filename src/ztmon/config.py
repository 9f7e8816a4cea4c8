"""Settings: what people decide. Checked once, when they are made."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from ztcore.levels import Action
from ztmon.budget import LEAST, MOST, thresholds
from ztmon.errors import ConfigError, InputError, nearest
from ztmon.gateway.settings import GatewayConfig, gateway_config

C = TypeVar("C", bound="Config")

LEVELS = tuple(level.name.lower() for level in Action)


def _whole(least: int, most: int) -> tuple[Callable[[Any], bool], str]:
    return (lambda x: isinstance(x, int) and not isinstance(x, bool) and least <= x <= most,
            f"a whole number from {least:,} to {most:,}")


def _number(least: float, most: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda x: isinstance(x, int | float) and not isinstance(x, bool) and least <= x <= most,
            f"a number from {least:g} to {most:g}")


def _or_none(rule: tuple[Callable[[Any], bool], str]) -> tuple[Callable[[Any], bool], str]:
    return lambda x: x is None or rule[0](x), f"{rule[1]}, or nothing"


_SWITCH = (lambda x: isinstance(x, bool), "true or false")
_NAMES = (lambda x: isinstance(x, tuple) and all(isinstance(name, str) and name for name in x),
          "a list of names")

def _redis(x: Any) -> bool:
    return x is None or (isinstance(x, str) and x.partition("://")[0] in _SCHEMES and "\0" not in x)


_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "capacity": _whole(1, 1 << 24),
    "hash_key": (lambda x: x is None or (isinstance(x, bytes) and len(x) == 16), "16 bytes, or 32 hexadecimal digits"),
    "state": (lambda x: x is None or (isinstance(x, str) and x != "" and "\0" not in x), "the path of a file"),
    "store": (lambda x: x is None or (isinstance(x, str) and x != "" and "\0" not in x), "the path of a file"),
    "redis": (_redis, "a URL: redis://, rediss://, unix://, redis+cluster://, rediss+cluster://, redis+sentinel:// or "
                      "rediss+sentinel://"),
    "redis_prefix": (lambda x: isinstance(x, str) and x.isascii() and x != "" and not set("{}*?[] \0") & set(x),
                     "a word without braces, blanks and wildcards"),
    "host": (lambda x: x is None or (isinstance(x, str) and x.isascii() and 0 < len(x) <= 64), "up to 64 ASCII characters"),
    "shares_per_second": _number(0.1, 20.0),
    "share_most": _whole(1, 100_000),
    "snapshot_seconds": _number(1.0, 86_400.0),
    "history_days": _number(0.01, 3660.0),
    "audit_days": _number(1.0, 36_600.0),
    "huge_pages": _SWITCH,
    "shadow": _SWITCH,
    "auto_throttle": _SWITCH,
    "kill_switch": _SWITCH,
    "learning_hours": _number(0.0, 24 * 366.0),
    "learning_events": _whole(0, 1_000_000_000),
    "false_throttles_per_partner_year": _or_none(_number(LEAST, MOST)),
    "max_requests_per_minute": _or_none(_number(1.0, 1e9)),
    "max_error_rate": _or_none(_number(1e-6, 1.0)),
    "max_response_time_ms": _or_none(_number(0.001, 1e9)),
    "suspicious_patterns": _SWITCH,
    "hold_minutes": _number(0.1, 100_000.0),
    "hold_strong_minutes": _number(0.1, 100_000.0),
    "fall_minutes": _number(0.1, 100_000.0),
    "lateness_seconds": _number(0.0, 86_400.0),
    "allow": _NAMES,
    "known_segments": _NAMES,
    "signals": (lambda x: isinstance(x, tuple), "a list of functions, or of \"package.module:name\""),
    "clock": (lambda x: x in ("wall", "events"), "wall or events"),
}


@dataclass(frozen=True)
class Thresholds:
    """Scores (0..100) at which the levels begin; rising."""

    alert: float = 31.0
    throttle: float = 61.0
    quarantine: float = 81.0
    block: float = 96.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a Monitor. Raises ConfigError for a value that is not allowed."""

    capacity: int = 65536
    """Partners remembered at once; memory for all of them is reserved at the start, 2 KiB each."""

    state: str | None = None
    """A file that other processes of this host attach to as well, so that all see one state; None: memory of
    this process alone. Best on a tmpfs such as /dev/shm; on a disk it outlives a restart."""

    store: str | None = None
    """An SQLite file for what is to outlive the memory: partners, history, audit log; None: nothing is written."""

    redis: str | None = field(default=None, repr=False)
    """URL of a Redis through which hosts share what they see; None: this host is alone."""

    redis_prefix: str = "ztmon"
    """What all keys in Redis begin with; hosts that share have the same."""

    host: str | None = None
    """Name of this host among those that share; None: one is drawn and kept in the store."""

    shares_per_second: float = 4.0
    """How often contributions are written to Redis and the others' are taken in."""

    share_most: int = 1000
    """Partners exchanged at a time; the rest waits for the next."""

    snapshot_seconds: float = 60.0
    """How often the partners that changed are written to the store."""

    history_days: float = 7.0
    """How long changes of level, decisions and scores are kept."""

    audit_days: float = 366.0
    """How long lines of the audit log are kept."""

    huge_pages: bool = False
    """Take all memory at the start, on huge pages: faster with a thousand partners and more."""

    hash_key: bytes | None = field(default=None, repr=False)
    """16 bytes (or 32 hexadecimal digits) that key the hashes of names and addresses; None: drawn anew."""

    shadow: bool = True
    """Compute and report everything, enforce nothing."""

    auto_throttle: bool = True
    """With shadow off: enforce what the score asks for. False: pins and ceilings only."""

    kill_switch: bool = False
    """Enforce nothing at all, whatever else is set."""

    learning_hours: float = 24.0
    """Hours of a partner's own time before its score can raise its level."""

    learning_events: int = 300
    """Events of a partner before its score can raise its level."""

    thresholds: Thresholds = Thresholds()
    """Scores at which alert, throttle, quarantine and block begin."""

    false_throttles_per_partner_year: float | None = None
    """How often a year a good partner may be wrongly throttled, or worse: sets the thresholds. None: as in `thresholds`,
    which is about 3 on hard streams."""

    max_requests_per_minute: float | None = None
    """Absolute ceiling, per partner; above it: throttle."""

    max_error_rate: float | None = None
    """Absolute ceiling of the share of server errors within a minute, 0..1; above it: alert."""

    max_response_time_ms: float | None = None
    """Absolute ceiling of the mean response time within a minute, ms; above it: alert."""

    suspicious_patterns: bool = True
    """Injection and traversal patterns act from the first event, learning or not."""

    hold_minutes: float = 15.0
    """How long alert and throttle last without fresh evidence."""

    hold_strong_minutes: float = 60.0
    """How long quarantine and block last without fresh evidence."""

    fall_minutes: float = 5.0
    """How long the score must stay 5 points below a threshold before the level falls by one."""

    lateness_seconds: float = 120.0
    """How late an event may be to be taken in fully."""

    allow: tuple[str, ...] = ()
    """Partners that are scored but never acted on; "app/partner" for another app than "default"."""

    max_action: Mapping[str, Action] = field(default_factory=dict)
    """The highest level a partner's score may reach, by partner (or "app/partner")."""

    known_segments: tuple[str, ...] = ()
    """Path segments that may be shown as text from their first use."""

    signals: tuple[Any, ...] = ()
    """At most two signals of your own: functions, ztmon.signal(function, ...), or "package.module:name"."""

    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    """Settings of `ztmon serve`: where it listens, who may ask, its limits."""

    clock: str = "wall"
    """"wall": levels fall by the clock on the wall; "events": only as events' time stamps go on."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("state", "store"):
            if isinstance(getattr(self, name), os.PathLike):
                put(self, name, os.fspath(getattr(self, name)))
        if isinstance(self.hash_key, str):
            put(self, "hash_key", _hex(self.hash_key))
        for name in ("allow", "known_segments", "signals"):
            value = getattr(self, name)
            put(self, name, (value,) if isinstance(value, str) or callable(value) else tuple(value))
        put(self, "thresholds", _thresholds(self.thresholds))
        put(self, "gateway", gateway_config(self.gateway))
        put(self, "max_action", {str(k): _level(k, v) for k, v in dict(self.max_action).items()})
        for name, (good, allowed) in _RULES.items():
            value = getattr(self, name)
            if not good(value):
                shown = "(hidden)" if name in ("hash_key", "redis") else repr(value)
                raise ConfigError(f"{name} is {shown}; allowed is {allowed}")
        if self.false_throttles_per_partner_year is not None and self.thresholds != Thresholds():
            raise ConfigError("false_throttles_per_partner_year and thresholds are both set; the first sets the second, "
                              "leave one of them out")
        if self.signals:
            put(self, "signals", _signals(self.signals))

    @property
    def thresholds_in_force(self) -> Thresholds:
        """`thresholds`, or those that keep to false_throttles_per_partner_year where that is set."""
        a_year = self.false_throttles_per_partner_year
        return self.thresholds if a_year is None else Thresholds(*thresholds(a_year))

    def engine_settings(self) -> dict[str, Any]:
        """The settings that the engine takes, by its names."""
        own = {"capacity", "hash_key", "huge_pages", "state", "thresholds", "allow", "max_action", "known_segments", "signals",
               "clock", "false_throttles_per_partner_year", "store", "redis", "redis_prefix", "host", "shares_per_second",
               "share_most", "snapshot_seconds", "history_days", "audit_days", "gateway"}
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        return settings | {f"threshold_{f.name}": getattr(self.thresholds_in_force, f.name) for f in fields(Thresholds)}

    @classmethod
    def from_env(cls) -> Self:
        """Settings from the environment: SHADOW_MODE, ENABLE_AUTO_THROTTLE, ANOMALY_THRESHOLD_ALERT,
        _THROTTLE, _QUARANTINE, _BLOCK; all others as ZTMON_ and the setting's name in capitals, lists with
        commas between or as JSON, maps as JSON. Raises ConfigError."""
        from ztmon.environment import read
        return cls(**read(cls))

    @classmethod
    def from_file(cls, path: str | Path, environment: bool = False) -> Self:
        """Settings from a TOML file; keys are the names here. environment: it beats the file. Raises InputError where the
        file cannot be read, ConfigError for what is in it."""
        import tomllib
        try:
            found = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is not TOML: {error}") from error
        known = [f.name for f in fields(cls)]
        for name in found:
            if name not in known:
                raise ConfigError(f"{path}: there is no setting {name}; {nearest(name, known)}")
        try:
            config = cls(**found)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        if not environment:
            return config
        from ztmon.environment import read
        return over(config, read(cls))


def over(config: C, found: dict[str, Any]) -> C:
    """The settings with others over them; of thresholds and the gateway's only those that are named."""
    for name in ("thresholds", "gateway"):
        if name in found:
            found = {**found, name: replace(getattr(config, name), **found[name])}
    return replace(config, **found)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError("hash_key is (hidden); allowed is 16 bytes, or 32 hexadecimal digits") from None


def _signals(found: tuple[Any, ...]) -> tuple[Any, ...]:
    from ztcore.custom import SignalError, signals
    try:
        return signals(found)
    except SignalError as error:
        raise ConfigError(f"signals: {error}") from error


def _level(partner: object, value: object) -> Action:
    if isinstance(value, str) and value.lower() in LEVELS:
        return Action[value.upper()]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 4:
        return Action(value)
    raise ConfigError(f"max_action of {partner!r} is {value!r}; allowed is one of {', '.join(LEVELS)}")


def _thresholds(value: object) -> Thresholds:
    """Thresholds from themselves or from a map; rising, within 0..100."""
    if isinstance(value, Mapping):
        unknown = set(value) - {f.name for f in fields(Thresholds)}
        if unknown:
            raise ConfigError(f"thresholds has {sorted(unknown)}; allowed are alert, throttle, quarantine, block")
        value = Thresholds(**value)
    if not isinstance(value, Thresholds):
        raise ConfigError(f"thresholds is {value!r}; allowed is ztmon.Thresholds or a map of its names")
    before = 0.0
    for f in fields(Thresholds):
        score = getattr(value, f.name)
        if not _number(0.0, 100.0)[0](score) or score <= before:
            raise ConfigError(f"thresholds.{f.name} is {score!r}; allowed is a score above {before:g} and at most 100")
        before = score
    return value
