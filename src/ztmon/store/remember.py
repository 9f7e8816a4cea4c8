"""What a Monitor sets up where `store` or `redis` is configured, and what it ends."""

import secrets
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ztmon.audit import ENGINE, Act
from ztmon.errors import ConfigError, StoreError
from ztmon.store.keeper import Keeper, entries_of

if TYPE_CHECKING:
    from ztmon.config import Config
    from ztmon.hooks import Change
    from ztmon.monitor import Monitor
    from ztmon.store.sharing import Sharing

PEOPLE = {"pin", "restore", "reauthenticated", "setting"}
"""Causes of a change of level that have a line of their own in the audit log."""


def hash_key(config: "Config") -> bytes | None:
    """The key of the table's hashes: as configured, else the store's own. Raises ConfigError."""
    if config.hash_key is not None or config.store is None:
        if config.redis is not None and config.hash_key is None:
            raise ConfigError("hash_key is unset; with redis every host needs the same one: draw 16 bytes once "
                              "(openssl rand -hex 16) and give them to all, for example as ZTMON_HASH_KEY")
        return config.hash_key
    from ztmon.store.sqlite import key_file
    try:
        return key_file(config.store)
    except StoreError as error:
        raise ConfigError(f"store: {error}") from error


def shown(config: "Config") -> dict[str, Any]:
    """The settings that say what is done, for the audit log; secrets and places are left out."""
    left_out = {"hash_key", "state", "store", "redis", "redis_prefix", "host", "signals", "known_segments", "huge_pages",
                "gateway"}
    found: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name == "thresholds":
            found |= {f"threshold_{t.name}": getattr(value, t.name) for t in fields(value)}
        elif f.name == "allow":
            found["allow"] = len(value)         # names of partners have no place here: each has an act of its own
        elif f.name == "max_action":
            found["max_action"] = len(value)
        elif f.name not in left_out:
            found[f.name] = value
    return found


def remember(monitor: "Monitor", config: "Config") -> "tuple[tuple[Keeper, ...], Sharing | None]":
    """What writes, into the file and into Redis, and what shares. Partners are put back from the file where the table is
    new. Raises ConfigError."""
    found: list[Keeper] = []
    sharing = None
    try:
        if config.store is not None:
            found.append(_file(monitor, config))
        if config.redis is not None:
            from ztmon.store.redis import RedisStore
            found.append(Keeper(monitor, lambda: RedisStore.of(config), config, snapshots=False))
            sharing = _sharing(monitor, config, found[0] if config.store is not None else None)
    except StoreError as error:
        for keeper in found:
            keeper.close()
        raise ConfigError(f"store: {error}") from error
    except ConfigError:
        for keeper in found:
            keeper.close()
        raise
    found[0].settings(shown(config), name="settings" if config.store is not None else f"settings:{config.host or ''}")
    return tuple(found), sharing


def _sharing(monitor: "Monitor", config: "Config", file: Keeper | None) -> "Sharing":
    """Whoever has the table for itself alone adds to its name what tells it from other processes of that name."""
    from ztmon.store.redis import RedisStore
    from ztmon.store.sharing import Sharing

    host = config.host or ""
    mine = file is not None and file.leads()
    if not host and mine and file is not None:
        kept = file.store.get("host")
        host = kept.decode() if kept is not None else secrets.token_hex(4)
        file.store.put("host", host.encode())
    host = host or secrets.token_hex(4)
    if config.state is None and not mine:
        host += f"~{secrets.token_hex(4)}"
    before = file.store.get("shared") if file is not None else None
    prefix = config.redis_prefix.encode()

    def claim() -> None:
        store = RedisStore.of(config)
        try:
            store.claim(monitor.hash_key)
        finally:
            store.close()
        if mine and file is not None and before != prefix:
            file.store.put("shared", prefix)

    return Sharing(monitor, config, host, claim, before == prefix)


def listen(keepers: "tuple[Keeper, ...]", sharing: "Sharing | None", changes: "list[Change]") -> None:
    """Changes of level into the history of every store, and into the audit log of the first. What another host decided
    it has written to Redis itself."""
    heard = {id(c) for c in changes if sharing is not None and not c.anomaly and sharing.levels.took(c.key, int(c.action))}
    for keeper in keepers:
        for entry in entries_of(c for c in changes if keeper.snapshots is not None or id(c) not in heard):
            keeper.entry(entry)
    for change in changes:
        if keepers[0].snapshots is None and id(change) in heard:
            continue
        if not change.anomaly and change.cause not in PEOPLE:
            keepers[0].act(Act(change.timestamp, "level", ENGINE, change.app, change.partner, _why(change),
                               change.previous.name.lower(), change.action.name.lower()))


def _why(change: "Change") -> str:
    """The cause, and the strongest reason in words."""
    return f"{change.cause}: {change.reasons[0].detail}" if change.reasons else change.cause


def _file(monitor: "Monitor", config: "Config") -> Keeper:
    from ztmon.store.sqlite import SQLiteStore

    path = config.store
    assert path is not None
    store = SQLiteStore(path)
    try:
        store.claim(monitor.hash_key)
        if not store.lead() and config.state is None:
            raise StoreError(f"{path}: another process keeps its partners there; give all workers of a host one state=, "
                             "so that they have the same partners, or each a store of its own")
    except StoreError:
        store.close()
        raise
    keeper = Keeper(monitor, lambda: SQLiteStore(path), config, store=store)
    if keeper.leads() and monitor.stats()["partners"] == 0:
        keeper.load()
    return keeper

