"""What the shell's commands work on: a running state, a Redis, or the last snapshot in a store."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ztcore.snapshot import put_row
from ztmon.config import Config
from ztmon.errors import InputError, StoreError
from ztmon.hooks import Dispatcher
from ztmon.monitor import Monitor

if TYPE_CHECKING:
    from ztmon.store.base import Store

COMMAND_CAPACITY = 1024


def open_store(path: str | None, url: str | None, prefix: str = "ztmon") -> "Store":
    """The store at a path or a URL. Raises InputError where neither is given, or the file is not there."""
    import os
    if path:
        from ztmon.store.sqlite import SQLiteStore
        if not os.path.exists(path):
            raise InputError(f"{path}: there is no such store")
        return SQLiteStore(path)
    if url:
        from ztmon.store.redis import RedisStore
        return RedisStore(url, prefix)
    raise InputError("which store? --store PATH or --redis URL, or ZTMON_STORE or ZTMON_REDIS")


@contextmanager
def reading(config: Config) -> Iterator[Monitor]:
    """A Monitor to look at: the running state, else the store's partners in memory of its own."""
    if config.state:
        monitor = attached(config)
    else:
        monitor = _snapshot(config)
    try:
        yield monitor
    finally:
        monitor.close()


@contextmanager
def acting(config: Config) -> Iterator[Monitor]:
    """A Monitor to act on, with the store's audit log: the running state, else the hosts behind a Redis."""
    if config.state:
        monitor = attached(config)
    elif config.redis:
        monitor = Monitor(replace(config, state=None, store=None, capacity=COMMAND_CAPACITY, host="command"))
        if monitor._sharing is not None and not monitor._sharing.turn():
            monitor.close()
            raise StoreError("redis cannot be reached; the log says more")
    else:
        raise InputError("a snapshot can only be looked at: name the running state with --state, or a Redis with --redis")
    try:
        yield monitor
        if monitor._sharing is not None:
            monitor._sharing.turn()
    finally:
        monitor.close()


def attached(config: Config) -> Monitor:
    """A Monitor on a state that is there, whose settings it leaves as they are and whose journal it does not read."""
    from ztmon import state as statefile
    from ztmon.store.keeper import Keeper

    assert config.state is not None
    capacity = int(statefile.read(config.state)["capacity"])
    config = replace(config, capacity=capacity, redis=None)
    monitor = Monitor.__new__(Monitor, config if config.hash_key is not None else replace(config, store=None))
    monitor.config = config
    monitor._hooks = Dispatcher(list)
    if config.store:
        store = open_store(config.store, None)
        monitor._keepers = (Keeper(monitor, lambda: open_store(config.store, None), config, store=store, snapshots=False),)
    return monitor


def _snapshot(config: Config) -> Monitor:
    store = open_store(config.store, config.redis, config.redis_prefix)
    try:
        found = list(store.partners())
        key = config.hash_key
        if key is None and config.store:
            from ztmon.store.sqlite import key_file
            key = key_file(config.store)
        monitor = Monitor(Config(capacity=max(1, len(found)), hash_key=key, clock="events"))
        for saved in found:
            put_row(monitor, saved.row, saved.app)
        raw = store.get("common")
        if raw is not None:
            from ztmon.store.keeper import put_common
            put_common(monitor, raw)
    finally:
        store.close()
    return monitor


def forget(config: Config, partner: str, app: str, reason: str, by: str) -> bool:
    """Erase a partner from all that is named: state, store, Redis. False where nothing was."""
    from ztmon.audit import Act
    from ztmon.audit import forget as erase

    done = False
    if config.state:
        with acting(config) as monitor:
            done = monitor.forget(partner, app, reason, by)
    elif config.store:
        store = open_store(config.store, None)
        try:
            if not store.lead():
                raise InputError(f"{config.store}: a process keeps its partners there and has this one in memory: call its "
                                 "monitor.forget(), or name its state with --state")
            with reading(replace(config, redis=None)) as monitor:
                key = monitor.partner_key(partner, app)
            done = erase(store, key, Act(time.time(), "forget", by, app, partner, reason))
        finally:
            store.close()
    if config.redis:
        with acting(replace(config, state=None)) as monitor:
            monitor.forget(partner, app, reason, by)
        done = True
    return done
