"""Settings from the environment, read by pydantic-settings. Imported by Config.from_env() only."""

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Annotated, Any, get_type_hints
from urllib.parse import quote

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, create_model
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ztmon.errors import ConfigError
from ztmon.gateway.settings import GatewayConfig

log = logging.getLogger("ztmon")

NAMES = {"shadow": "SHADOW_MODE", "auto_throttle": "ENABLE_AUTO_THROTTLE"}
"""Settings whose documented variable is not ZTMON_ and their name."""

REDIS = ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD")
"""Where a Redis is, unless `redis` says so as a URL."""

LEVELS = ("alert", "throttle", "quarantine", "block")

GATEWAY_NAMES = {"upstream": "BACKEND_API_URL"}
"""Likewise of the gateway's settings."""

LISTS = {"allow", "known_segments", "signals", "gateway_hosts", "gateway_origins", "gateway_trusted_proxies", "gateway_udp_keys"}
"""Settings that are lists of texts."""

SECRETS = {"REDIS_PASSWORD", "ZTMON_REDIS", "ZTMON_HASH_KEY", "ZTMON_GATEWAY_UDP_KEYS"}


def _listed(value: Any) -> Any:
    """A list as it may be written: with commas between, or as JSON."""
    if not isinstance(value, str):
        return value
    if value.strip() == "null":
        return None
    if not value.lstrip().startswith(("[", "{", '"', "'")):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        found = json.loads(value)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it begins as JSON and is none: {error}") from None
    if not isinstance(found, list):
        raise ValueError("allowed is a list: names with commas between, or one in JSON")
    return found


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return NAMES.get(name, f"ZTMON_{name.upper()}")


def gateway_variable(name: str) -> str:
    """That of a setting of the gateway."""
    return GATEWAY_NAMES.get(name, f"ZTMON_GATEWAY_{name.upper()}")


def read(config: type) -> dict[str, Any]:
    """The settings that the environment has, as Config takes them. Raises ConfigError."""
    hints, gateway_hints = get_type_hints(config), get_type_hints(GatewayConfig)
    listed: Any = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_listed)]
    of = {"hash_key": str | None, "max_action": dict[str, str]}
    shown: dict[str, Any] = {}
    for f in fields(config):
        if f.name in ("thresholds", "gateway"):
            continue
        kind = listed if f.name in LISTS else of.get(f.name, hints[f.name]) | None
        default = f.default if f.default is not MISSING else None
        shown[f.name] = (kind, Field(default=default, validation_alias=AliasChoices(variable(f.name))))
    for f in fields(GatewayConfig):
        kind = listed if f"gateway_{f.name}" in LISTS else gateway_hints[f.name] | None
        shown[f"gateway_{f.name}"] = (kind, Field(default=None, validation_alias=AliasChoices(gateway_variable(f.name))))
    for level in LEVELS:
        name = f"ANOMALY_THRESHOLD_{level.upper()}"
        shown[f"threshold_{level}"] = (float | None, Field(default=None, validation_alias=AliasChoices(name)))
    for name in REDIS:
        shown[name.lower()] = (int | None if name == "REDIS_PORT" else str | None,
                               Field(default=None, validation_alias=AliasChoices(name)))
    model = create_model("Environment", __base__=BaseSettings, **shown)
    model.model_config = SettingsConfigDict(extra="ignore", case_sensitive=True)
    try:
        found = model().model_dump(exclude_unset=True)
    except (ValidationError, ValueError) as error:
        raise ConfigError(f"environment: {_plain(error)}") from None       # which would show secrets
    found = {name: value for name, value in found.items() if name not in LISTS or value is not None}
    _tell_unknown(alias for field in shown.values() for alias in field[1].validation_alias.choices)
    where = {name: found.pop(name.lower()) for name in REDIS if name.lower() in found}
    if "REDIS_HOST" in where and "redis" not in found:
        found["redis"] = _redis_url(where["REDIS_HOST"], where.get("REDIS_PORT") or 6379, where.get("REDIS_PASSWORD"))
    thresholds = {level: found.pop(f"threshold_{level}") for level in LEVELS if f"threshold_{level}" in found}
    if thresholds:
        found["thresholds"] = thresholds
    gateway = {name.removeprefix("gateway_"): found.pop(name) for name in list(found) if name.startswith("gateway_")}
    if gateway:
        found["gateway"] = gateway
    try:
        config(**found)
    except ConfigError as error:
        raise ConfigError(f"environment: {error}") from error
    return found


def _tell_unknown(known: Iterable[str]) -> None:
    """Warn of variables that are nearly the name of a setting."""
    names = set(known)
    meant = {name: name for name in names if name.startswith("ZTMON_")}
    meant |= {f"ZTMON_{of.upper()}": name for of, name in NAMES.items()}
    meant |= {f"ZTMON_GATEWAY_{of.upper()}": name for of, name in GATEWAY_NAMES.items()}
    for name in sorted(os.environ):
        if not name.startswith("ZTMON_") or name in names:
            continue
        group = "ZTMON_GATEWAY_" if name.startswith("ZTMON_GATEWAY_") else "ZTMON_"
        behind = {other.removeprefix(group): real for other, real in meant.items() if other.startswith(group)}
        if near := get_close_matches(name.removeprefix(group), behind, 1, 0.8):
            log.warning("environment: there is no setting %s; did you mean %s?", name, behind[near[0]])


def _redis_url(host: str, port: int, password: str | None) -> str:
    """REDIS_HOST, REDIS_PORT and REDIS_PASSWORD as one URL."""
    login = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{login}[{host}]:{port}/0" if ":" in host else f"redis://{login}{host}:{port}/0"


def _plain(error: Exception) -> str:
    """One line of what pydantic says, without its links."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        shown = "(hidden)" if first["loc"][0] in SECRETS else repr(first["input"])
        said = first["msg"].removeprefix("Value error, ")
        said = said.replace("Input should be a valid dictionary", "allowed is a map in JSON")
        return f"{name} is {shown}; {said}"
    return str(error).split("\n")[0]
