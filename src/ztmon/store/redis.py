"""The store in Redis: the same as in a file, for hosts that share. What the keys are called is in keys.py."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgpack

from ztmon.errors import DamagedError, StoreError, VersionError
from ztmon.store.base import Entry, Line, Score, Store
from ztmon.store.chain import START, chained, line_time, new_pseudonym
from ztmon.store.keys import PARTS_SECONDS, Keys, partner_id
from ztmon.store.link import Link
from ztmon.store.packing import FORMAT, Saved, unpack_row

if TYPE_CHECKING:
    from ztmon.config import Config

DAY = 86400


class RedisStore(Store):
    """A Store in Redis. Usable from any thread, one call at a time. Raises StoreError."""

    def __init__(self, url: str, prefix: str = "ztmon", history_days: float = 7.0) -> None:
        self.link = Link(url)
        self.keys = Keys(prefix)
        self.history_seconds = int(history_days * DAY)
        self._turn = threading.RLock()
        self._n = 0

    @classmethod
    def of(cls, config: "Config") -> "RedisStore":
        """The store that the settings name."""
        assert config.redis is not None
        return cls(config.redis, config.redis_prefix, config.history_days)

    def _call(self, *words: Any) -> Any:
        with self._turn:
            return self.link.call(*words)

    def _many(self, words: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Raises StoreError where one of them fails."""
        with self._turn:
            found = self.link.many(words) if words else []
        for one in found:
            if isinstance(one, Exception):
                raise StoreError(f"redis: {type(one).__name__}: {str(one)[:200]}") from one
        return found

    def claim(self, hash_key: bytes) -> None:
        """Say with which hash key the partners' keys are made. Raises StoreError where they were made with another."""
        mark = blake2b(hash_key, digest_size=16, person=b"ztmon store").digest()
        self._call("HSETNX", self.keys.values, "hash_key", mark)
        if self._call("HGET", self.keys.values, "hash_key") != mark:
            raise StoreError("redis: other hosts share here with another hash_key; no partner would be known to both: give "
                             "all of them the same one, or another redis_prefix")

    # -- partners ------------------------------------------------------------------------------

    def save(self, partners: Sequence[tuple[int, bytes]]) -> None:
        words: list[tuple[Any, ...]] = []
        for key, data in partners:
            name = self.keys.partner(partner_id(key), "parts")
            words += [("HSET", name, "row", data), ("EXPIRE", name, PARTS_SECONDS)]
        self._many(words)

    def partners(self) -> Iterator[Saved]:
        self.unreadable = 0
        for key in list(self.link.scan(self.keys.partner("*", "parts"))):
            data = self._call("HGET", key, "row")
            if data is not None:
                try:
                    yield unpack_row(data)
                except (DamagedError, VersionError):
                    self.unreadable += 1

    def partner(self, key: int) -> Saved | None:
        data = self._call("HGET", self.keys.partner(partner_id(key), "parts"), "row")
        return unpack_row(data) if data is not None else None

    def put(self, name: str, value: bytes) -> None:
        self._call("HSET", self.keys.values, name, value)

    def get(self, name: str) -> bytes | None:
        found = self._call("HGET", self.keys.values, name)
        return bytes(found) if found is not None else None

    # -- history -------------------------------------------------------------------------------

    def write(self, entries: Sequence[Entry]) -> None:
        words: list[tuple[Any, ...]] = []
        for e in entries:
            name = self.keys.partner(partner_id(e.key), "history")
            # the same thing written twice, after an answer that was lost, is one member
            member = msgpack.packb([FORMAT, e.at, e.kind, e.data])
            words += [("ZADD", name, e.at, member), ("EXPIRE", name, self.history_seconds),
                      ("ZREMRANGEBYSCORE", name, "-inf", f"({e.at - self.history_seconds}")]
        self._many(words)

    def history(self, key: int | None = None, since: float = 0.0, until: float = 1e12) -> list[Entry]:
        names = [self.keys.partner(partner_id(key), "history")] if key is not None else \
            list(self.link.scan(self.keys.partner("*", "history")))
        found = []
        for name in names:
            for member in self._call("ZRANGEBYSCORE", name, since, f"({until}"):
                version, at, kind, data = msgpack.unpackb(member)
                if version == FORMAT:
                    found.append(Entry(at, int(self.keys.identity(name), 16), kind, data))
        return sorted(found, key=lambda entry: entry.at)

    def write_scores(self, scores: Sequence[Score]) -> None:
        words: list[tuple[Any, ...]] = []
        for s in scores:
            name = self.keys.partner(partner_id(s.key), "scores")
            words += [("ZREMRANGEBYSCORE", name, s.minute, s.minute),
                      ("ZADD", name, s.minute, f"{s.minute}:{s.score:g}:{s.level}"), ("EXPIRE", name, self.history_seconds)]
        self._many(words)

    def scores(self, key: int, since: float = 0.0, until: float = 1e12) -> list[Score]:
        found = []
        name = self.keys.partner(partner_id(key), "scores")
        for member in self._call("ZRANGEBYSCORE", name, since / 60.0, f"({until / 60.0}"):
            minute, score, level = bytes(member).decode().split(":")
            found.append(Score(int(minute), key, float(score), int(level)))
        return found

    # -- audit ---------------------------------------------------------------------------------

    def audit_add(self, data: bytes) -> Line:
        _, (number, before) = self.audit_ends()
        while True:
            line = chained(number, before, data)
            found = self._append(line, before)
            if found[0] == 1:
                return line
            number, before = int(found[1]), bytes(found[2]).decode()

    def _append(self, line: Line, before: str) -> Any:
        kept = msgpack.packb([line.number, line.data, line.hash])
        with self._turn:
            return self.link.run("append", [self.keys.audit("log"), self.keys.audit("ends")],
                                 [line.number - 1, before, kept, line.number, line.hash])

    def audit(self) -> Iterator[Line]:
        at = 0
        while found := self._call("LRANGE", self.keys.audit("log"), at, at + 999):
            for kept in found:
                yield Line(*msgpack.unpackb(kept))
            at += len(found)

    def audit_ends(self) -> tuple[tuple[int, str], tuple[int, str]]:
        found = self._call("HMGET", self.keys.audit("ends"), "before", "before_hash", "last", "last_hash")
        before, before_hash, last, last_hash = (None if one is None else bytes(one).decode() for one in found)
        return (int(before or 0), before_hash or START), (int(last or 0), last_hash or START)

    def audit_restore(self, before: tuple[int, str], lines: Iterable[Line], names: dict[str, tuple[str, str]]) -> int:
        number, hashed = before
        self._call("HSET", self.keys.audit("ends"), "before", number, "before_hash", hashed, "last", number, "last_hash", hashed)
        n = 0
        for line in lines:
            if self._append(line, hashed)[0] != 1:
                raise StoreError("redis: somebody else writes to the audit log that is being restored")
            hashed = line.hash
            n += 1
        for pseudonym, (app, partner) in names.items():
            self._name(pseudonym, app, partner)
        return n

    def pseudonym(self, app: str, partner: str) -> str:
        of = msgpack.packb([app, partner])
        self._call("HSETNX", self.keys.audit("of"), of, new_pseudonym())
        pseudonym = bytes(self._call("HGET", self.keys.audit("of"), of)).decode()
        self._call("HSET", self.keys.audit("names"), pseudonym, of)
        return pseudonym

    def _name(self, pseudonym: str, app: str, partner: str) -> None:
        of = msgpack.packb([app, partner])
        self._call("HSET", self.keys.audit("of"), of, pseudonym)
        self._call("HSET", self.keys.audit("names"), pseudonym, of)

    def names(self) -> dict[str, tuple[str, str]]:
        found = self._call("HGETALL", self.keys.audit("names"))
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return {bytes(p).decode(): tuple(msgpack.unpackb(of)) for p, of in pairs}

    # -- end of life ---------------------------------------------------------------------------

    def forget(self, key: int, app: str, partner: str) -> bool:
        identity, of = partner_id(key), msgpack.packb([app, partner])
        gone = self._call("DEL", *(self.keys.partner(identity, what) for what in ("parts", "history", "scores")))
        pseudonym = self._call("HGET", self.keys.audit("of"), of)
        if pseudonym is not None:
            gone += self._call("HDEL", self.keys.audit("of"), of) + self._call("HDEL", self.keys.audit("names"), pseudonym)
        gone += self._call("HDEL", self.keys.levels("now"), identity)
        return bool(gone)

    def may_expire(self) -> bool:
        """One of all hosts an hour."""
        return bool(self._call("SET", f"{self.keys.values}:expired", 1, "NX", "EX", 3300))

    def expire(self, history_before: float, audit_before: float) -> None:
        for what, before in (("history", history_before), ("scores", history_before / 60.0)):
            for name in list(self.link.scan(self.keys.partner("*", what))):
                self._call("ZREMRANGEBYSCORE", name, "-inf", f"({before}")
        while found := self._call("LRANGE", self.keys.audit("log"), 0, 0):
            number, data, hashed = msgpack.unpackb(found[0])
            if line_time(data) >= audit_before:
                break
            # the end moves first: a line that is still there although it is past its time breaks nothing
            self._call("HSET", self.keys.audit("ends"), "before", number, "before_hash", hashed)
            self._call("LREM", self.keys.audit("log"), 1, found[0])

    def info(self) -> dict[str, Any]:
        counts = dict.fromkeys(("partners", "history", "scores"), 0)
        sample: list[str] = []
        for key in self.link.scan(self.keys.partner("*", "parts")):
            counts["partners"] += 1
            if len(sample) < 1000:
                sample.append(key)
        counts["history"] = sum(self._call("ZCARD", key) for key in self.link.scan(self.keys.partner("*", "history")))
        counts["scores"] = sum(self._call("ZCARD", key) for key in self.link.scan(self.keys.partner("*", "scores")))
        sizes = [self._call("MEMORY USAGE", key) or 0 for key in sample]
        return {"store": "redis", "prefix": self.keys.prefix, "format": FORMAT, **counts,
                "audit": self._call("LLEN", self.keys.audit("log")), "names": self._call("HLEN", self.keys.audit("names")),
                "levels": self._call("HLEN", self.keys.levels("now")),
                "bytes_a_partner": round(sum(sizes) / len(sizes)) if sizes else 0}

    def close(self) -> None:
        self.link.close()

    def abandon(self) -> None:
        self._turn = threading.RLock()
        self.link.abandon()
