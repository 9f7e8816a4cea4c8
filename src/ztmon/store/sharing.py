"""The threads through which hosts share what they see: contributions a few times a second, levels at once.

    tick     own contributions that changed go to Redis, the others' sums come back (contribute.lua), into the rows
    levels   how partners stand: what changed here is told (stand.lua), what changed elsewhere is heard or caught up with
    news     listens to the channel

Whatever fails is tried again with the next tick: contributions are absolute, standings are in a log. While nothing is
heard of the others, they are taken to go on as usual.
"""

import fcntl
import hashlib
import heapq
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from ztcore import snapshot
from ztcore.ledger import OTHERS, Ledger
from ztmon.errors import StoreError
from ztmon.store.keys import PARTS_SECONDS, Keys, partner_id
from ztmon.store.levels import Levels
from ztmon.store.link import Link
from ztmon.store.packing import pack_row, unpack_row

if TYPE_CHECKING:
    from ztmon.config import Config
    from ztmon.monitor import Monitor

log = logging.getLogger("ztmon")

FORMAT = 1
SLICE = 32
"""Partners exchanged before the thread lets go of the interpreter."""
BREATH = 0.0005
LEVELS_PERIOD = 0.1
LOOK_AGAIN = 2.0, 32.0
"""Seconds after its last call here at which a partner is looked at again for the first and for the last time, each time
four times as late."""
LEARNED_SECONDS = 600
"""How old the fleet's knowledge of a partner may be before a host that sees it writes it anew."""
LEARNED_EVENTS = 30
YOUNG = 300
"""Calls of a partner up to which a host takes the fleet's knowledge over."""
SUPPOSE_SECONDS = 1.0


class Sharing:
    """Shares a Monitor's partners with other hosts. claim: says to Redis with which hash key, and raises StoreError where
    the others have another; shared_before: the rows at the start have the others' part in them; threads: False leaves it
    to the caller to call turn()."""

    def __init__(self, monitor: "Monitor", config: "Config", host: str, claim: Callable[[], None],
                 shared_before: bool = False, threads: bool = True) -> None:
        assert config.redis is not None
        self.monitor = monitor
        self.config = config
        self.host = host
        self.claim = claim
        self.keys = Keys(config.redis_prefix)
        self.failed = self.refused = self.exchanged = 0
        self.shared_before = shared_before
        self.inherited = False          # the rows come from the process this one was forked from
        self.threads = threads
        self.clock = time.monotonic
        self._logged = 0.0
        self._lock: int | None = None
        self._begin()

    def _begin(self) -> None:
        config = self.config
        self.link = Link(config.redis or "")
        self.boot = secrets.randbits(31)
        self.away = False
        self.ready = False
        self.levels = Levels(self)
        self._seq = 0
        self._known: set[int] = set()           # partners exchanged before
        self._again: set[int] = set()           # whose exchange failed
        self._wanted: set[int] = set()          # somebody looks at
        self._due: list[tuple[float, int, float]] = []
        self._due_at: dict[int, float] = {}
        self._supposed = 0.0
        self.ledger = Ledger(self.monitor, inherited=True) if self.inherited else None
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="ztmon-sharing", daemon=True),
                         threading.Thread(target=self.levels.listen, args=(self._stop,), name="ztmon-news", daemon=True)]
        for thread in self._threads if self.threads else ():
            thread.start()

    # -- who shares ------------------------------------------------------------------------------

    def leads(self) -> bool:
        """Whether it is this process that shares: of several with one state only one does."""
        if self.config.state is None or self._lock is not None:
            return True
        fd = os.open(self.config.state + ".share", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._lock = fd
        self.shared_before = self.shared_before or os.pread(fd, 1, 0) == b"1"
        return True

    def now(self) -> int:
        """This host's time, ns."""
        return int(self.monitor.clock * 1e9) if self.monitor.by_events else time.time_ns()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        next_tick = next_levels = 0.0
        while not self._stop.wait(max(0.0, min(next_tick, next_levels) - time.monotonic())):
            if not self.leads():
                next_tick = next_levels = time.monotonic() + 1.0
                continue
            now = time.monotonic()
            if now >= next_levels:
                next_levels = now + LEVELS_PERIOD
                self.step(self.levels.turn)
            if now >= next_tick:
                next_tick = now + 1.0 / self.config.shares_per_second
                self.step(self.exchange)

    def step(self, what: Callable[[], None]) -> bool:
        """One step, which fails alone; False where it did."""
        with self._turn:
            try:
                if not self.ready:
                    self._start()
                what()
            except Exception as error:
                self._failed(error)
                return False
        return True

    def _failed(self, error: Exception) -> None:
        self.failed += 1
        if isinstance(error, StoreError) and not self.away:
            self.away = True
            self.levels.lost()
        now = time.monotonic()
        if now - self._logged >= 60.0 or self._logged == 0.0:
            self._logged = now
            log.error("sharing: %s (%d failures so far; said once a minute)", error, self.failed)
        if self.away and self.ledger is not None and now - self._supposed >= SUPPOSE_SECONDS:
            self._supposed = now
            self.ledger.suppose(self.now())

    def _start(self) -> None:
        """The first words with Redis, or the first after it was away."""
        if self.ledger is None:
            self.ledger = Ledger(self.monitor, self.shared_before)
        self.claim()
        self.ready = True
        if self._lock is not None:
            os.pwrite(self._lock, b"1", 0)

    # -- contributions ---------------------------------------------------------------------------

    def exchange(self) -> None:
        """Everything that changed, and what is due to be looked at again, up to `share_most` partners."""
        assert self.ledger is not None
        left, end = self.config.share_most, False
        again, self._again = self._again, set()
        wanted, self._wanted = self._wanted, set()
        try:
            for keys in _slices([*again, *wanted, *self._take_due()]):
                self._slice(self.ledger.current(np.array(keys, np.uint64)), quiet=True)
            while not end and left > 0:
                found, end = self.ledger.collect(min(SLICE, left))
                if len(found):
                    self._slice(found)
                    left -= len(found)
                    time.sleep(BREATH)
        except BaseException:
            self._again |= again
            raise
        if self.away:
            self.away = False
            self.levels.found()

    def _slice(self, found: Any, quiet: bool = False) -> None:
        """Exchange some contributions, an array of CONTRIBUTION. quiet: nothing came, the others are what matters."""
        assert self.ledger is not None
        keys = [int(key) for key in found["key"]]
        try:
            answers = self.link.run_many("contribute", [self._call(one) for one in found])
            new = [i for i, key in enumerate(keys) if key not in self._known]
            if new:                 # after the row's own calls were told as those of a new row
                self._meet([found[i] for i in new])
        except StoreError:
            self._again.update(keys)
            raise
        others: list[tuple[int, list[Any]]] = []
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, Exception):
                self._again.add(key)
                self._refused(answer)
                continue
            if _digits(answer[8:]) != answer[:8]:
                self._again.add(key)
                self.refused += 1
                continue
            others.append((key, msgpack.unpackb(answer[8:])))
            self._plan(key, quiet)
        self.exchanged += len(others)
        self._take_in(others)
        written = {key: answer[3] for key, answer in others}
        self._write_learned([(key, one) for key, one in zip(keys, found, strict=True) if key in written], written)

    def _refused(self, error: Exception) -> None:
        self.refused += 1
        if str(error).startswith("ZTFORMAT"):
            raise StoreError(f"redis: another version of ztmon wrote there what this one does not read: {error}")

    def _call(self, one: Any) -> tuple[list[str], list[Any]]:
        """Keys and arguments of contribute.lua."""
        name = self.keys.partner(partner_id(int(one["key"])), "parts")
        packed = self._pack(one)
        return [name], [self.host, packed, PARTS_SECONDS, _digits(name.encode() + self.host.encode() + packed)]

    def _pack(self, one: Any) -> bytes:
        self._seq += 1
        flat: list[Any] = []
        for i, lanes in enumerate([*one["sums"]["whole"].tolist(), *one["sums"]["hits"].tolist()]):
            if lanes[2] > 1e-3:
                flat += [i, *lanes]
        return bytes(msgpack.packb([FORMAT, self.boot, self._seq, int(one["born"]) // 1000, int(one["events"]),
                                    int(one["at"]) // 1000, flat], use_single_float=True))

    def _take_in(self, others: list[tuple[int, list[Any]]]) -> None:
        assert self.ledger is not None
        sums = np.zeros(len(others), OTHERS)
        for i, (key, (at, elsewhere, _, _, flat)) in enumerate(others):
            sums["key"][i], sums["events"][i], sums["at"][i] = key, elsewhere, int(at) * 1000
            _spread(flat, sums["sums"][i])
        fresh = []
        for i, (key, _) in enumerate(others):
            if key not in self._known:
                self._known.add(key)
                if self.ledger.met(key) and key not in self._taken_over:
                    self.ledger.resume(key, sums[i])        # the row came with the others' part in it
                    continue
            fresh.append(i)
        if fresh:
            self._again.update(int(key) for key in self.ledger.take_in(sums[fresh], self.now()))

    # -- what the fleet knows --------------------------------------------------------------------

    _taken_over: set[int] = set()  # noqa: RUF012  replaced at each meeting

    def _meet(self, found: list[Any]) -> None:
        """Partners seen here for the first time: what the fleet knows of them is taken over."""
        assert self.ledger is not None
        self._taken_over = set()
        young = [int(one["key"]) for one in found if not self.ledger.met(int(one["key"])) and int(one["events"]) <= YOUNG]
        rows = self.link.many([("HGET", self.keys.partner(partner_id(key), "parts"), "row") for key in young]) if young else []
        for key, raw in zip(young, rows, strict=True):
            if raw is None or isinstance(raw, Exception):
                continue
            try:
                saved = unpack_row(raw)
            except StoreError:
                continue            # of another version: it is learned here
            if saved.learned and saved.key == key and snapshot.put_row(self.monitor, saved.row, saved.app, learned=True):
                self.ledger.meet(key)
                self._taken_over.add(key)

    def _write_learned(self, found: list[tuple[int, Any]], written: dict[int, float]) -> None:
        """What is known here of partners of whom the fleet's knowledge is old."""
        now = int(time.time())
        words: list[tuple[Any, ...]] = []
        for key, one in found:
            if int(one["events"]) < LEARNED_EVENTS or now - written[key] < LEARNED_SECONDS:
                continue
            row = snapshot.row_of(self.monitor, key)
            if row is not None and not int(row["level"]):
                raw = pack_row(row, self.monitor.app_name(int(row["app"])), float(now))
                words.append(("HSET", self.keys.partner(partner_id(key), "parts"), "row", raw, "row_at", now))
        if words:
            self.link.many(words)

    # -- partners that went quiet here -----------------------------------------------------------

    def _plan(self, key: int, quiet: bool) -> None:
        """Look at what the others have of a partner again: soon, then ever later, then no more."""
        first, last = LOOK_AGAIN
        wait = 4.0 * self._due_at.get(key, last) if quiet else first
        if wait > last:
            self._due_at.pop(key, None)
        elif quiet or self._due_at.get(key) != wait:        # else it is planned already
            self._due_at[key] = wait
            heapq.heappush(self._due, (self.clock() + wait, key, wait))

    def _take_due(self) -> list[int]:
        now = self.clock()
        found: list[int] = []
        while self._due and self._due[0][0] <= now and len(found) < self.config.share_most // 4 + 1:
            _, key, wait = heapq.heappop(self._due)
            if self._due_at.get(key) == wait:
                found.append(key)
        return found

    # -- what a monitor asks ---------------------------------------------------------------------

    def elsewhere(self, key: int) -> int:
        """How many calls of a partner the other hosts counted; asks for it to be looked at again."""
        if self.ledger is None:
            return 0
        self._wanted.add(key)
        return self.ledger.elsewhere(key)

    def acted(self, key: int) -> None:
        """A person did something to a partner: tell the others."""
        self.levels.acts.add(key)

    def forget(self, key: int) -> bool:
        """Let the others forget a partner too."""
        if self.ledger is not None:
            self.ledger.forget(key)
        self._known.discard(key)
        self.levels.forget(key)
        return False

    def turn(self) -> bool:
        """Exchange everything now; False where something failed."""
        return self.step(self.levels.turn) and self.step(self.exchange)

    def stats(self) -> dict[str, int]:
        """Counts since the start."""
        return {"shared": self.exchanged, "share_failures": self.failed, "share_refused": self.refused,
                "share_away": int(self.away)}

    def forked(self) -> None:
        """In a child: connections and threads are the parent's."""
        self.link.abandon()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self.config.state is None:
            self.inherited = True
            self.host = f"{self.host.partition('~')[0]}~{secrets.token_hex(4)}"
        self._begin()

    def close(self) -> None:
        """Tell the others what is left. May be called twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=30.0)
        if self.ready and not self.away and self.leads():
            self.turn()
        self.link.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _digits(data: bytes) -> bytes:
    return hashlib.sha1(data).hexdigest()[:8].encode()


def _spread(flat: list[Any], sums: Any) -> None:
    """(number, a lane each half-life) of each sum into a record of SUMS. What a newer version counts beside it is left out."""
    whole, hits = sums["whole"], sums["hits"]
    at = 0
    while at < len(flat):
        number = int(flat[at])
        counted, number = (whole, number) if number < len(whole) else (hits, number - len(whole))
        end = at + 1 + counted.shape[1]
        if number < len(counted):
            counted[number] = flat[at + 1 : end]
        at = end


def _slices(keys: Iterable[int]) -> list[list[int]]:
    """Without doubles, SLICE at a time."""
    found = list(dict.fromkeys(keys))
    return [found[i : i + SLICE] for i in range(0, len(found), SLICE)]


