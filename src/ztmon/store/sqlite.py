"""The store of one host: an SQLite file, mode 0600, WAL, beside it a lock and, where none was given, the hash key.

    STORE         the file; STORE-wal and STORE-shm are SQLite's
    STORE.lock    held by the process that writes the partners of a table
    STORE.key     16 bytes that key the hashes of names and addresses

Several processes may have it open. What was deleted is overwritten (secure_delete).
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import msgpack

from ztmon.errors import DamagedError, StoreError, VersionError
from ztmon.store.base import Entry, Line, Score, Store
from ztmon.store.chain import START, chained, line_time, new_pseudonym
from ztmon.store.packing import FORMAT, Saved, unpack_row

PATIENCE = 10.0
"""Seconds that another process may take to write."""

SCHEMA = """
create table if not exists meta (name text primary key, value blob not null) without rowid;
create table if not exists partners (key integer primary key, data blob not null);
create table if not exists history (id integer primary key, at real not null, key integer not null, kind text not null,
                                    data blob not null);
create index if not exists history_of on history (key, at);
create index if not exists history_at on history (at);
create table if not exists scores (key integer not null, minute integer not null, score real not null, level integer not null,
                                   primary key (key, minute)) without rowid;
create index if not exists scores_at on scores (minute);
create table if not exists audit (number integer primary key, at real not null, data blob not null, hash text not null);
create table if not exists names (pseudonym text primary key, app text not null, partner text not null,
                                  unique (app, partner)) without rowid;
create trigger if not exists audit_is_kept before update on audit begin select raise(abort, 'the audit log is append-only'); end;
create trigger if not exists audit_goes_in_order before delete on audit
    when old.number > (select cast(value as integer) from meta where name = 'audit_before')
    begin select raise(abort, 'the audit log is append-only'); end;
"""


def signed(key: int) -> int:
    """A key as SQLite's integers hold it."""
    return key - (1 << 64) if key >> 63 else key


class SQLiteStore(Store):
    """A Store in a file. Usable from any thread; one statement at a time. Raises StoreError."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._turn = threading.RLock()
        self._lock: int | None = None
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(self.path, PATIENCE, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened: {str(error).lower()}") from error
        self._closed = False
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise StoreError(f"{path}: is no store of ztmon's, or is damaged: {str(error).lower()}") from error
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        for pragma in ("journal_mode=wal", "synchronous=normal", "secure_delete=on", "foreign_keys=on"):
            self._db.execute(f"pragma {pragma}").fetchall()
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version > FORMAT:
            raise VersionError(f"{self.path}: was written by a newer version (format {version}; this one reads {FORMAT})")
        with self._all_or_nothing() as db:
            for statement in sqlite_statements(SCHEMA):
                db.execute(statement)
            db.execute("insert or ignore into meta values ('audit_before', ?), ('audit_before_hash', ?), "
                       "('audit_last', ?), ('audit_last_hash', ?)", (b"0", START.encode(), b"0", START.encode()))
            db.execute(f"pragma user_version={FORMAT}")

    @contextmanager
    def _all_or_nothing(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            if self._closed:
                raise StoreError(f"{self.path}: was closed")
            try:
                self._db.execute("begin immediate")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("rollback")
                    raise
                self._db.execute("commit")
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {str(error).lower()}") from error

    def _all(self, statement: str, *values: Any) -> list[Any]:
        with self._turn:
            if self._closed:
                raise StoreError(f"{self.path}: was closed")
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {str(error).lower()}") from error

    # -- one writer of partners ------------------------------------------------------------------

    def lead(self) -> bool:
        """Become the process that writes the partners; False where another is."""
        if self._lock is None:
            fd = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                return False
            self._lock = fd
        return True

    def abandon(self) -> None:
        if self._lock is not None:
            os.close(self._lock)        # the parent's descriptor of it still holds it
            self._lock = None

    def claim(self, hash_key: bytes) -> None:
        """Say with which hash key the partners' keys are made. Raises StoreError where they were made with another."""
        mark = blake2b(hash_key, digest_size=16, person=b"ztmon store").digest()
        with self._all_or_nothing() as db:
            db.execute("insert or ignore into meta values ('hash_key', ?)", (mark,))
            (found,) = db.execute("select value from meta where name = 'hash_key'").fetchone()
        if bytes(found) != mark:
            raise StoreError(f"{self.path}: was made with another hash_key; with this one no partner in it would be known")

    # -- partners --------------------------------------------------------------------------------

    def save(self, partners: Sequence[tuple[int, bytes]]) -> None:
        with self._all_or_nothing() as db:
            db.executemany("insert or replace into partners values (?, ?)", [(signed(key), data) for key, data in partners])

    def partners(self) -> Iterator[Saved]:
        self.unreadable = 0
        for (key,) in self._all("select key from partners order by key"):
            for (data,) in self._all("select data from partners where key = ?", key):
                try:
                    yield unpack_row(data)
                except (DamagedError, VersionError):
                    self.unreadable += 1

    def partner(self, key: int) -> Saved | None:
        found = self._all("select data from partners where key = ?", signed(key))
        return unpack_row(found[0][0]) if found else None

    def put(self, name: str, value: bytes) -> None:
        with self._all_or_nothing() as db:
            db.execute("insert or replace into meta values (?, ?)", (name, value))

    def get(self, name: str) -> bytes | None:
        found = self._all("select value from meta where name = ?", name)
        return bytes(found[0][0]) if found else None

    # -- history ---------------------------------------------------------------------------------

    def write(self, entries: Sequence[Entry]) -> None:
        with self._all_or_nothing() as db:
            db.executemany("insert into history (at, key, kind, data) values (?, ?, ?, ?)",
                           [(e.at, signed(e.key), e.kind, msgpack.packb(e.data)) for e in entries])

    def history(self, key: int | None = None, since: float = 0.0, until: float = 1e12) -> list[Entry]:
        of = "" if key is None else "key = ? and "
        values = (since, until) if key is None else (signed(key), since, until)
        found = self._all(f"select at, key, kind, data from history where {of}at >= ? and at < ? order by at, id", *values)
        return [Entry(at, key % (1 << 64), kind, msgpack.unpackb(data)) for at, key, kind, data in found]

    def write_scores(self, scores: Sequence[Score]) -> None:
        with self._all_or_nothing() as db:
            db.executemany("insert or replace into scores values (?, ?, ?, ?)",
                           [(signed(s.key), s.minute, s.score, s.level) for s in scores])

    def scores(self, key: int, since: float = 0.0, until: float = 1e12) -> list[Score]:
        found = self._all("select minute, score, level from scores where key = ? and minute >= ? and minute < ? order by minute",
                          signed(key), since / 60.0, until / 60.0)
        return [Score(minute, key, score, level) for minute, score, level in found]

    # -- audit -----------------------------------------------------------------------------------

    def audit_add(self, data: bytes) -> Line:
        with self._all_or_nothing() as db:
            ends = dict(db.execute("select name, value from meta where name like 'audit_last%'").fetchall())
            line = chained(int(ends["audit_last"]), bytes(ends["audit_last_hash"]).decode(), data)
            self._append(db, line)
        return line

    def _append(self, db: sqlite3.Connection, line: Line) -> None:
        at = line_time(line.data)
        db.execute("insert into audit values (?, ?, ?, ?)", (line.number, at, line.data, line.hash))
        db.execute("update meta set value = ? where name = 'audit_last'", (str(line.number).encode(),))
        db.execute("update meta set value = ? where name = 'audit_last_hash'", (line.hash.encode(),))

    def audit(self) -> Iterator[Line]:
        after = -1
        while found := self._all("select number, data, hash from audit where number > ? order by number limit 1000", after):
            for number, data, hashed in found:
                yield Line(number, data.encode() if isinstance(data, str) else data, str(hashed))
            after = found[-1][0]

    def audit_ends(self) -> tuple[tuple[int, str], tuple[int, str]]:
        found = self._all("select name, value from meta where name like 'audit_%'")
        ends = {name: bytes(value).decode() for name, value in found}
        return ((int(ends["audit_before"]), ends["audit_before_hash"]), (int(ends["audit_last"]), ends["audit_last_hash"]))

    def audit_restore(self, before: tuple[int, str], lines: Iterable[Line], names: dict[str, tuple[str, str]]) -> int:
        """Take over another store's log as it is."""
        n = 0
        with self._all_or_nothing() as db:
            for name, value in (("audit_before", str(before[0])), ("audit_before_hash", before[1])):
                db.execute("update meta set value = ? where name = ?", (value.encode(), name))
            for line in lines:
                self._append(db, line)
                n += 1
            db.executemany("insert or ignore into names values (?, ?, ?)", [(p, *who) for p, who in names.items()])
        return n

    def pseudonym(self, app: str, partner: str) -> str:
        with self._all_or_nothing() as db:
            db.execute("insert or ignore into names values (?, ?, ?)", (new_pseudonym(), app, partner))
            found = db.execute("select pseudonym from names where app = ? and partner = ?", (app, partner)).fetchone()
        return str(found[0])

    def names(self) -> dict[str, tuple[str, str]]:
        return {p: (app, partner) for p, app, partner in self._all("select pseudonym, app, partner from names")}

    # -- end of life -----------------------------------------------------------------------------

    def forget(self, key: int, app: str, partner: str) -> bool:
        gone = 0
        with self._all_or_nothing() as db:
            for table in ("partners", "history", "scores"):
                gone += db.execute(f"delete from {table} where key = ?", (signed(key),)).rowcount
            gone += db.execute("delete from names where app = ? and partner = ?", (app, partner)).rowcount
        if gone:
            with self._turn:        # the log that was written ahead still has it
                self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
        return gone > 0

    def expire(self, history_before: float, audit_before: float) -> None:
        with self._all_or_nothing() as db:
            db.execute("delete from history where at < ?", (history_before,))
            db.execute("delete from scores where minute < ?", (history_before / 60.0,))
            # the log is a chain: what goes is its beginning, never a line in the middle
            found = db.execute("select number, hash from audit where number < (select coalesce(min(number), 1 << 62) from audit "
                               "where at >= ?) order by number desc limit 1", (audit_before,)).fetchone()
            if found:
                db.execute("update meta set value = ? where name = 'audit_before'", (str(found[0]).encode(),))
                db.execute("update meta set value = ? where name = 'audit_before_hash'", (found[1].encode(),))
                db.execute("delete from audit where number <= ?", (found[0],))

    def info(self) -> dict[str, Any]:
        counts = {table: self._all(f"select count(*) from {table}")[0][0]
                  for table in ("partners", "history", "scores", "audit", "names")}
        size = sum(os.path.getsize(self.path + end) for end in ("", "-wal") if os.path.exists(self.path + end))
        return {"store": "sqlite", "path": self.path, "format": FORMAT, "bytes": size, **counts}

    def close(self) -> None:
        with self._turn:
            if not self._closed:
                self._closed = True
                self._db.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


def sqlite_statements(script: str) -> list[str]:
    """The statements of a script, one by one: executescript() would end a transaction."""
    found, text = [], ""
    for part in script.split(";"):
        text += part + ";"
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found


def key_file(path: str) -> bytes:
    """The 16 bytes in PATH.key; drawn and written, mode 0600, by whoever comes first. Raises StoreError."""
    path = os.path.abspath(path) + ".key"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        whole = f"{path}.{os.getpid()}"
        with open(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(os.urandom(16))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(whole, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(whole)
        with open(path, "rb") as file:
            key = file.read()
    except OSError as error:
        raise StoreError(f"{path}: cannot be written or read: {(error.strerror or str(error)).lower()}") from error
    if len(key) != 16:
        raise StoreError(f"{path}: has {len(key)} bytes; a hash key has 16: take it from a copy, or remove the store too")
    return key
