"""The thread that writes what is to be remembered, so that nobody else waits for a disk or a network.

What happened comes in through a queue of fixed length; rows are copied out of the table a few at a time. What a
store cannot take stays in the queue and is tried again; beyond its length the oldest is dropped and counted.
"""

import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ztcore import snapshot
from ztmon import audit
from ztmon.errors import StoreError
from ztmon.store.base import Entry, Score, Store
from ztmon.store.packing import pack_row, seal, unseal

if TYPE_CHECKING:
    from ztmon.config import Config
    from ztmon.monitor import Monitor

log = logging.getLogger("ztmon")

PERIOD = 0.25
SLICE = 32
"""Rows packed before the thread lets go of the interpreter."""
BREATH = 0.001
QUEUE = 20_000
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Gone:
    """A partner to be erased."""

    key: int
    app: str
    partner: str
    why: str
    who: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings as they are now, by name."""

    values: dict[str, Any]
    who: str
    why: str
    at: float
    name: str


What = Entry | audit.Act | Gone | Settings


class Keeper:
    """Writes into a Store what a Monitor's partners are and do. opener: opens the store, also anew in a forked child;
    snapshots: the store keeps this table's rows."""

    def __init__(self, monitor: "Monitor", opener: Callable[[], Store], config: "Config", *, store: Store | None = None,
                 snapshots: bool = True) -> None:
        self.monitor = monitor
        self.opener = opener
        self.store = store if store is not None else opener()
        self.config = config
        self.snapshots = snapshot.Snapshots(monitor) if snapshots else None
        self.failed = self.dropped = self.saved = 0
        self._queue: deque[What] = deque()
        self._abandoned: list[Store] = []
        self._minute = 0
        self._scored: dict[int, tuple[float, int]] = {}
        self._saved_at = self._expired_at = time.monotonic()
        self._logged = 0.0
        self._begin()

    def _begin(self) -> None:
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ztmon-keeper", daemon=True)
        self._thread.start()

    # -- what comes in ---------------------------------------------------------------------------

    def entry(self, entry: Entry) -> None:
        """Put something into the history, soon."""
        self._put(entry)

    def act(self, act: audit.Act) -> None:
        """Put a line into the audit log, soon."""
        self._put(act)

    def forget(self, key: int, app: str, partner: str, why: str, who: str) -> bool:
        """Erase a partner from the store, and write down that somebody was forgotten. Where the store cannot be reached
        that is done as soon as it can."""
        gone = Gone(key, app, partner, why, who)
        with self._turn:
            try:
                self._write_queue()
                return self._forget(gone)
            except StoreError as error:
                log.error("the store: %s; a partner is erased from it as soon as it can be", error)
                self._put(gone)
                return True

    def erase(self, key: int, app: str, partner: str) -> None:
        """The same because another host was told to, which wrote it down."""
        with self._turn:
            self._unqueue(key)
            if not partner:
                saved = self.store.partner(key)
                app, partner = (saved.app, saved.name) if saved is not None else (app, partner)
            self.store.forget(key, app, partner)

    def _forget(self, gone: "Gone") -> bool:
        self._unqueue(gone.key)
        return audit.forget(self.store, gone.key, audit.Act(time.time(), "forget", gone.who, gone.app, gone.partner, gone.why))

    def _unqueue(self, key: int) -> None:
        """What is still to be written of a partner is not."""
        left = [what for what in self._queue if not (isinstance(what, Entry) and what.key == key)]
        self._queue.clear()
        self._queue.extend(left)
        self._scored.pop(key, None)

    def _put(self, what: "What") -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(what)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            self.turn()

    def turn(self, all_rows: bool = False) -> None:
        """Write what is due. all_rows: the rows that changed too, due or not."""
        with self._turn:
            self._try(self._write_queue)
            now = time.monotonic()
            if now - self._expired_at >= 3600.0:
                self._expired_at = now
                self._try(self.expire)
            minute = int(time.time() // 60)
            if minute != self._minute and (self.snapshots is None or self.leads()):
                self._try(lambda: self._score(minute))
            if (all_rows or now - self._saved_at >= self.config.snapshot_seconds) and self.leads():
                self._saved_at = now
                self._try(self._save)

    def leads(self) -> bool:
        """Whether this process writes the rows: of several on one table only one does."""
        return self.snapshots is not None and self.store.lead()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:      # a step fails alone and is tried again
            self.failed += 1
            now = time.monotonic()
            if now - self._logged >= 60.0 or self._logged == 0.0:
                self._logged = now
                log.error("the store: %s (%d failures so far; said once a minute)", error, self.failed)

    def _write_queue(self) -> None:
        while self._queue:
            first = self._queue[0]
            if not isinstance(first, Entry):
                if isinstance(first, Gone):
                    self._forget(first)
                elif isinstance(first, Settings):
                    self._settings(first)
                else:
                    audit.write(self.store, first)
                self._queue.popleft()
                continue
            entries: list[Entry] = []
            for what in self._queue.copy():
                if not isinstance(what, Entry) or len(entries) == 500:
                    break
                entries.append(what)
            self.store.write(entries)
            for _ in entries:
                self._queue.popleft()

    def _save(self) -> None:
        """Write the rows that changed, a slice at a time."""
        assert self.snapshots is not None
        end = False
        while not end:
            rows, end = self.snapshots.changed(SLICE)
            if len(rows):
                at = time.time()
                packed = [(int(row["key"]), pack_row(row, self.monitor.app_name(int(row["app"])), at)) for row in rows]
                try:
                    self.store.save(packed)
                except StoreError:
                    self.snapshots = snapshot.Snapshots(self.monitor)       # all of them are due again
                    raise
                self.saved += len(rows)
            if not self._stop.is_set():
                time.sleep(BREATH)
        fleet, names = snapshot.common(self.monitor)
        self.store.put("common", seal("common", {
            "layout": snapshot.LAYOUT, "fleet": fleet, "names": None if names is None else zlib.compress(names, 1)}))

    def _score(self, minute: int) -> None:
        """One score a minute of everybody whose score is not 0, or has just become 0."""
        found = {int(row["key"]): (round(float(row["score"]), 1), int(row["level"])) for row in snapshot.scores(self.monitor)}
        gone = {key: (0.0, 0) for key in self._scored if key not in found}
        self.store.write_scores([Score(minute, key, *value) for key, value in (found | gone).items()])
        self._scored = found
        self._minute = minute

    def expire(self) -> None:
        """Erase what is past its time."""
        if not self.store.may_expire():
            return
        now = time.time()
        self.store.expire(now - self.config.history_days * DAY, now - self.config.audit_days * DAY)

    # -- the other way ---------------------------------------------------------------------------

    def load(self) -> int:
        """Put the partners that the store has into the table, which nobody has used yet; how many."""
        raw = self.store.get("common")
        if raw is not None:
            try:
                put_common(self.monitor, raw)
            except StoreError as error:
                log.warning("the store: %s; it is learned anew", error)
        n = older = 0
        for saved in self.store.partners():
            n += snapshot.put_row(self.monitor, saved.row, saved.app)
            older += not saved.learned
        if self.store.unreadable:
            log.warning("the store: %d partners could not be read and are learned anew", self.store.unreadable)
        if older:
            log.warning("the store: %d partners were written by another version; their levels, pins and lists were taken "
                        "over, what is usual for them is learned anew", older)
        return n

    def forked(self) -> None:
        """In a child: what was in the queue is the parent's to write; a connection does not outlive a fork, and is not
        closed either, for that would be seen by the parent."""
        self._queue.clear()
        self._abandoned.append(self.store)
        self.store.abandon()
        self.store = self.opener()
        if self.snapshots is not None:
            self.snapshots = snapshot.Snapshots(self.monitor)
        self._begin()

    def settings(self, now: dict[str, Any], who: str = "", why: str = "", name: str = "settings") -> None:
        """Write down a change of the settings since they were last seen in this store under that name, soon."""
        self._put(Settings(now, who, why, time.time(), name))

    def _settings(self, new: "Settings") -> None:
        raw = self.store.get(new.name)
        try:
            before = unseal("settings", raw) if raw is not None else {}
        except StoreError:
            before = {}
        changed = sorted(name for name in new.values if name not in before or before[name] != new.values[name])
        if not changed:
            return
        audit.write(self.store, audit.Act(new.at, "settings", new.who, why=new.why,
                                          before={name: before[name] for name in changed if name in before},
                                          after={name: new.values[name] for name in changed}))
        self.store.put(new.name, seal("settings", before | new.values))

    def close(self) -> None:
        """Write all that is left, rows too."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=30.0)
        self.turn(all_rows=True)
        self.store.close()


def put_common(monitor: "Monitor", raw: bytes) -> None:
    """What belongs to no partner, into a table that nobody has used yet. Raises StoreError."""
    found = unseal("common", raw)
    if found["layout"] == snapshot.LAYOUT:
        names = found["names"]
        snapshot.put_common(monitor, found["fleet"], None if names is None else zlib.decompress(names))


def entries_of(changes: Iterable[Any]) -> list[Entry]:
    """History entries of a Monitor's changes."""
    found = []
    for c in changes:
        if not c.key:
            continue
        reasons = [reason.to_dict() for reason in c.reasons]
        found.append(Entry(c.timestamp, c.key, "anomaly" if c.anomaly else "level", {
            "from": c.previous.name.lower(), "to": c.action.name.lower(), "score": round(c.score, 1), "cause": c.cause,
            "enforced": c.enforced, "reasons": reasons}))
        if c.severity is not None:
            found.append(Entry(c.timestamp, c.key, "alert", {
                "severity": c.severity, "action": c.action.name.lower(), "score": round(c.score, 1), "reasons": reasons}))
    return found
