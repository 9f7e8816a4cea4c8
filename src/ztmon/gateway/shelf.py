"""The gateway's own hold of the store: tokens, settings changed at run time, history. Read and written in threads, never
by the loop; without a store there is none of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ztmon.config import Config
from ztmon.errors import ConfigError, StoreError
from ztmon.gateway.http import Refused

if TYPE_CHECKING:
    from ztmon.gateway.tokens import Tokens
    from ztmon.store.base import Store

log = logging.getLogger("ztmon.gateway")

T = TypeVar("T")


class Shelf:
    """Raises ConfigError where the store cannot be opened."""

    def __init__(self, config: Config) -> None:
        self.store: Store | None = None
        self.tokens: Tokens | None = None
        try:
            self.store = _open(config)
            if self.store is not None:
                from ztmon.gateway import tokens
                store = self.store
                self.tokens = tokens.Tokens(lambda: tokens.read_tokens(store))
        except StoreError as error:
            self.close()
            raise ConfigError(f"store: {error}") from error

    async def ask(self, what: "Callable[[Store], T]") -> T:
        """Something of the store, in a thread. Raises Refused: 409 where there is none, 503 where it cannot be had."""
        store = self.store
        if store is None:
            raise Refused(409, "nothing is remembered here: start the gateway with --store or --redis")
        try:
            return await asyncio.to_thread(what, store)
        except StoreError as error:
            log.error("the store: %s", error)
            raise Refused(503, "the store cannot be reached; the log says more") from None

    def refresh(self) -> None:
        """Read the tokens again; what cannot be read stays as it was."""
        if self.tokens is None:
            return
        try:
            self.tokens.refresh()
        except StoreError as error:
            self.tokens.failed += 1
            log.error("tokens stay as they were: %s", error)

    def close(self) -> None:
        """May be called twice."""
        if self.store is not None:
            self.store.close()
            self.store = None


def _open(config: Config) -> "Store | None":
    if config.store is not None:
        from ztmon.store.sqlite import SQLiteStore
        return SQLiteStore(config.store)
    if config.redis is not None:
        from ztmon.store.redis import RedisStore
        return RedisStore.of(config)
    return None
