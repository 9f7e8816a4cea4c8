"""The way to Redis: one server, a Sentinel's master, or a Cluster; scripts by the batch, grouped by who has the keys.

    redis://[user:password@]host:port/db        rediss:// with TLS, unix:///path for a socket
    redis+sentinel://host:port,host:port/master/db
    redis+cluster://host:port,host:port

Options of redis-py follow a question mark, such as ?ssl_ca_certs=ca.pem&username=ztmon. Nothing is connected before
it is used, and no wait is longer than WAIT seconds.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

from ztmon.errors import ConfigError, StoreError

log = logging.getLogger("ztmon")

WAIT = 2.0
"""Seconds for an answer, and for a connection."""

@cache
def script(name: str) -> tuple[str, str]:
    """A script's text and its digest."""
    text = (files("ztmon.store") / f"{name}.lua").read_text("utf-8")
    return text, hashlib.sha1(text.encode()).hexdigest()


def module() -> Any:
    """redis-py. Raises ConfigError where it is not installed."""
    try:
        import redis
        import redis.backoff
        import redis.cluster
        import redis.retry
        import redis.sentinel
    except ImportError:
        raise ConfigError('redis is not installed: pip install "ztmon[redis]"') from None
    return redis


class Link:
    """A connection to Redis as the URL says. Raises StoreError for what Redis cannot do now; the next call tries
    again. One thread at a time."""

    def __init__(self, url: str) -> None:
        self.redis = module()
        self.url = url
        self.scheme, _, rest = url.partition("://")
        self.clustered = self.scheme.endswith("+cluster")
        self._client: Any = None
        self._stale = False
        try:
            self._make = self._plan(rest)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"redis is (hidden); {error}") from error

    # -- where it is -----------------------------------------------------------------------------

    def _plan(self, rest: str) -> Any:
        """What makes the client, from the URL's part after the scheme."""
        redis = self.redis
        wait = {"socket_timeout": WAIT, "socket_connect_timeout": WAIT,
                "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0)}
        if "+" not in self.scheme:
            redis.connection.parse_url(self.url)        # says now what is wrong with it
            return lambda: redis.Redis.from_url(self.url, **wait)
        plain = self.scheme.partition("+")[0]
        where, _, tail = rest.partition("/")
        login, _, hosts = where.rpartition("@")
        places = [_place(host, 26379 if self.scheme.endswith("sentinel") else 6379) for host in hosts.split(",")]
        path, _, query = tail.partition("?")
        first = f"{plain}://{login + '@' if login else ''}{places[0][0]}:{places[0][1]}/?{query}"
        settings = {k: v for k, v in redis.connection.parse_url(first).items() if k not in ("host", "port", "connection_class")}
        if plain == "rediss":
            settings["ssl"] = True
        settings |= wait
        if self.clustered:
            nodes = [redis.cluster.ClusterNode(host, port) for host, port in places]
            return lambda: redis.cluster.RedisCluster(startup_nodes=nodes, **settings)
        name, _, db = path.partition("/")
        if not name:
            raise ValueError("a sentinel's URL names the master: redis+sentinel://host:26379/mymaster")
        own = {k: v for k, v in settings.items() if k not in ("username", "password", "db")}
        sentinel = redis.sentinel.Sentinel(places, sentinel_kwargs=own, **settings)
        return lambda: sentinel.master_for(unquote(name), db=int(db or 0))

    def client(self) -> Any:
        """The client of redis-py, connected as needed. Raises StoreError."""
        try:
            if self._client is None:
                self._client = self._make()
            elif self._stale and self.clustered:
                self._client.nodes_manager.initialize()
            self._stale = False
        except (self.redis.RedisError, OSError) as error:
            raise StoreError(f"redis: {_plain(error)}") from error
        return self._client

    # -- what is asked of it ----------------------------------------------------------------------

    def call(self, *words: Any) -> Any:
        """One command. Raises StoreError."""
        try:
            return self.client().execute_command(*words)
        except (self.redis.RedisError, OSError) as error:
            self._stale = True
            raise StoreError(f"redis: {_plain(error)}") from error

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """A script on keys of one slot. Raises StoreError."""
        (found,) = self.run_many(name, [(keys, arguments)])
        if isinstance(found, Exception):
            raise StoreError(f"redis: {_plain(found)}") from found
        return found

    def run_many(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The same script many times; what it returned or the exception, for each. Raises StoreError where nobody
        answers at all."""
        text, digest = script(name)
        words = [("EVALSHA", digest, len(keys), *keys, *arguments) for keys, arguments in calls]
        found = self._pipe(words, [keys[0] for keys, _ in calls])
        again = [i for i, one in enumerate(found) if isinstance(one, self.redis.exceptions.NoScriptError)]
        if again:                   # a server that was restarted, or is new
            words = [("EVAL", text, *words[i][2:]) for i in again]
            for i, one in zip(again, self._pipe(words, [calls[i][0][0] for i in again]), strict=True):
                found[i] = one
        return found

    def many(self, words: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Commands whose second word is their key; what came back or the exception, for each. Raises StoreError where
        nobody answers at all."""
        return self._pipe(words, [str(word[1]) for word in words])

    def _pipe(self, words: Sequence[tuple[Any, ...]], keys: Sequence[str]) -> list[Any]:
        client = self.client()
        found: list[Any] = [None] * len(words)
        groups: dict[Any, list[int]] = {}
        for i, key in enumerate(keys):
            groups.setdefault(self._node(client, key), []).append(i)
        failed: Exception | None = None
        for node, places in groups.items():
            try:
                pipe = (self._connection(client, node) if self.clustered else client).pipeline(transaction=False)
                for i in places:
                    pipe.execute_command(*words[i])
                answers = pipe.execute(raise_on_error=False)
            except (self.redis.RedisError, OSError) as error:
                self._stale = True
                failed = error
                answers = [error] * len(places)
            for i, answer in zip(places, answers, strict=True):
                found[i] = answer
        if failed is not None and len(groups) == 1:
            raise StoreError(f"redis: {_plain(failed)}") from failed
        return self._moved(client, words, found) if self.clustered else found

    def _node(self, client: Any, key: str) -> Any:
        if not self.clustered:
            return None
        try:
            return client.get_node_from_key(key).name
        except (self.redis.RedisError, AttributeError) as error:
            self._stale = True
            raise StoreError(f"redis: no node has the slot of {key}") from error

    def _connection(self, client: Any, name: str) -> Any:
        node = client.get_node(node_name=name)
        return client.get_redis_connection(node)

    def _moved(self, client: Any, words: Sequence[tuple[Any, ...]], found: list[Any]) -> list[Any]:
        """What another node has by now: asked there, one by one, as the cluster's client knows how to."""
        errors = (self.redis.exceptions.MovedError, self.redis.exceptions.AskError, self.redis.exceptions.TryAgainError)
        for i, one in enumerate(found):
            if isinstance(one, errors):
                self._stale = True
                try:
                    found[i] = client.execute_command(*words[i])
                except (self.redis.RedisError, OSError) as error:
                    found[i] = error
        return found

    def scan(self, pattern: str) -> Iterator[str]:
        """All keys that match, of all masters. Raises StoreError."""
        options = {"target_nodes": self.redis.cluster.RedisCluster.PRIMARIES} if self.clustered else {}
        try:
            for key in self.client().scan_iter(match=pattern, count=1000, **options):
                yield key.decode()
        except (self.redis.RedisError, OSError) as error:
            self._stale = True
            raise StoreError(f"redis: {_plain(error)}") from error

    # -- news --------------------------------------------------------------------------------------

    def sharded(self) -> bool:
        """Whether news go through sharded pub/sub: a Cluster of Redis 7 and later."""
        if not self.clustered:
            return False
        try:
            info = self.client().info("server", target_nodes=self.redis.cluster.RedisCluster.RANDOM)
        except (self.redis.RedisError, OSError) as error:
            self._stale = True
            raise StoreError(f"redis: {_plain(error)}") from error
        info = next(iter(info.values())) if "redis_version" not in info else info
        return int(str(info["redis_version"]).split(".")[0]) >= 7

    def subscribe(self, channel: str, sharded: bool) -> Any:
        """A redis-py PubSub that listens to a channel, at the node that has its slot. Raises StoreError."""
        try:
            client = self.client()
            if self.clustered:
                client = self._connection(client, self._node(client, channel))
            listening = client.pubsub(ignore_subscribe_messages=True)
            if sharded:
                listening.ssubscribe(channel)
            else:
                listening.subscribe(channel)
        except (self.redis.RedisError, OSError) as error:
            self._stale = True
            raise StoreError(f"redis: {_plain(error)}") from error
        return listening

    def close(self) -> None:
        """Close the connections. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def abandon(self) -> None:
        """In a forked child: forget connections that are the parent's."""
        self._client = None


def _place(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is empty")
    return parts.hostname, parts.port or port


def _plain(error: Exception) -> str:
    """One line of what went wrong, without what was sent."""
    said = str(error).split("\n")[0]
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
