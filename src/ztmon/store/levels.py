"""Levels across hosts: told when they change here, heard when they change elsewhere, caught up with where that was missed."""

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ztcore.levels import CAUSES
from ztcore.standing import Standings, put_standing, standing_of
from ztmon.errors import StoreError
from ztmon.store.keys import partner_id
from ztmon.store.link import Link
from ztmon.store.standing import Standing, at_version, digits, news, prefers, unpack

if TYPE_CHECKING:
    from ztmon.store.sharing import Sharing

log = logging.getLogger("ztmon")

CATCH_UP = 10
"""Every so many turns the log is looked at; what is on the channel comes at once."""
MOST = 1000
PEOPLE = {number for number, name in CAUSES.items() if name in ("pin", "restore", "reauthenticated", "setting")}
"""Causes of what a person did, here or in another process of this host."""
IDENTITY = 16


class Levels:
    """The standings part of Sharing, whose thread calls turn(); listen() is a thread of its own."""

    def __init__(self, sharing: "Sharing") -> None:
        self.sharing = sharing
        self.monitor = sharing.monitor
        self.keys = sharing.keys
        self.known: dict[int, Standing] = {}    # what the others know
        self.acts: set[int] = set()
        self.adopted: dict[int, int] = {}
        self.heard = 0
        self._gone: set[int] = set()
        self._untold: set[int] = set()
        self._again: dict[str, bytes] = {}      # heard while somebody was at work on the partner
        self._standings = Standings(self.monitor)
        self._last: str | None = None
        self._turns = 0
        self._sharded: bool | None = None

    # -- what changed here -----------------------------------------------------------------------

    def turn(self) -> None:
        """Tell what changed; now and then catch up."""
        if self._turns % CATCH_UP == 0 or self._last is None:
            self.catch_up()
        self._turns += 1
        for key in list(self._gone):
            self._tell_gone(key)
        again, self._again = self._again, {}
        for identity, raw in again.items():
            self.hear(identity, raw)
        self._untold.update(self._standings.changed())
        for key in self._untold | self.acts:
            try:
                record = standing_of(self.monitor, key)
            except BlockingIOError:     # changes just now: next time
                continue
            if record is not None:      # None: it left the table
                mine = self._standing(record)
                told = news(mine, self.known.get(key))
                acted = key in self.acts or (told and int(record["cause"]) in PEOPLE)
                if acted or told:
                    self._tell(mine, acted)
            self._untold.discard(key)
            self.acts.discard(key)

    def _standing(self, record: Any) -> Standing:
        known = self.known.get(int(record["key"]))
        return Standing(record, self.monitor.app_name(int(record["app"])), known.version if known else 0, self.sharing.host)

    def _tell(self, mine: Standing, acted: bool) -> None:
        packed = mine.pack()
        stood, raw = self.sharing.link.run("stand", [self.keys.levels("now"), self.keys.levels("log")], [
            partner_id(mine.key), packed, int(acted), self.keys.levels("news"),
            "SPUBLISH" if self.sharded() else "PUBLISH", digits(mine.key, packed)])
        stands = unpack(mine.key, bytes(raw))
        self.known[mine.key] = stands
        if not stood:
            self._hear(stands, at_version(mine, mine.version))

    def sharded(self) -> bool:
        """Whether the channel is a sharded one."""
        if self._sharded is None:
            self._sharded = self.sharing.link.sharded()
        return self._sharded

    # -- what changed elsewhere ------------------------------------------------------------------

    def hear(self, identity: str, raw: bytes) -> None:
        """Another host said how a partner stands; nothing: it is to be forgotten."""
        key = int(identity, 16)
        self.heard += 1
        if not raw:
            self.monitor.forgotten(key)
            self.known.pop(key, None)
            return
        try:
            theirs = unpack(key, raw)
        except StoreError as error:
            self.sharing.refused += 1
            log.warning("sharing: %s", error)
            return
        if theirs.host == self.sharing.host and self.known.get(key) is not None:
            return
        try:
            found = standing_of(self.monitor, key)
        except BlockingIOError:         # what stands here cannot be told yet
            self._again[identity] = raw
            return
        self._hear(theirs, None if found is None else self._standing(found))

    def _hear(self, theirs: Standing, mine: Standing | None) -> None:
        now = self.sharing.now()
        hold = self.monitor.holds[theirs.level]
        if mine is None:
            take = not theirs.plain and (theirs.level == 0 or theirs.fresh + hold > now)
        else:
            take = prefers(theirs, mine, now, hold)
        if take:
            self.adopted[theirs.key] = theirs.level
            put_standing(self.monitor, theirs.record, theirs.app, now)
        self.known[theirs.key] = theirs

    def catch_up(self) -> None:
        """Everything that changed since the last look; all that stands where the log does not reach back so far."""
        link, log_name, now = self.sharing.link, self.keys.levels("log"), self.keys.levels("now")
        if self._last is not None:
            oldest = link.call("XRANGE", log_name, "-", "+", "COUNT", 1)
            if oldest and _order(oldest[0][0]) > _order(self._last):
                self._last = None
        if self._last is None:
            newest = link.call("XREVRANGE", log_name, "+", "-", "COUNT", 1)
            for identity, raw in _pairs(link.call("HGETALL", now)):
                self.hear(identity.decode(), bytes(raw))
            self._last = newest[0][0].decode() if newest else "0-0"
            return
        found = link.call("XRANGE", log_name, f"({self._last}", "+", "COUNT", MOST)
        if not found:
            return
        changed = list(dict.fromkeys(_field(fields) for _, fields in found))
        stands = link.call("HMGET", now, *changed)
        for who, stood in zip(changed, stands, strict=True):
            self.hear(who, bytes(stood) if stood is not None else b"")
        self._last = found[-1][0].decode()

    def listen(self, stop: threading.Event) -> None:
        """The thread that hears at once. It has a connection of its own."""
        link = Link(self.sharing.link.url)
        channel = self.keys.levels("news")
        while not stop.is_set():
            try:
                self._listen(link, channel, stop)
            except Exception as error:
                log.debug("sharing: the channel: %s", error)
                stop.wait(0.5)
        link.close()

    def _listen(self, link: Link, channel: str, stop: threading.Event) -> None:
        listening = link.subscribe(channel, link.sharded())
        try:
            while not stop.is_set() and listening.subscribed:
                message = listening.get_message(timeout=0.5)
                if message is not None and isinstance(message.get("data"), bytes):
                    data = message["data"]
                    with self.sharing._turn:
                        if self.sharing.ledger is not None and self.sharing.leads():
                            self.hear(data[:IDENTITY].decode(), data[IDENTITY:])
        finally:
            with suppress(Exception):
                listening.close()

    # -- Redis was away, partners are to be forgotten ----------------------------------------------

    def lost(self) -> None:
        """Redis is away: who knows what it will have."""
        self._sharded = None

    def found(self) -> None:
        """It is back, perhaps empty: look at all that stands, and tell all that is known here."""
        self._last = None
        self.known.clear()
        self._standings = Standings(self.monitor)

    def took(self, key: int, level: int) -> bool:
        """Whether a change of level was another host's."""
        if self.adopted.get(key) == level:
            del self.adopted[key]
            return True
        return False

    def forget(self, key: int) -> None:
        """Let all forget a partner."""
        self.known.pop(key, None)
        self._gone.add(key)

    def _tell_gone(self, key: int) -> None:
        identity, link = partner_id(key), self.sharing.link
        link.call("DEL", *(self.keys.partner(identity, what) for what in ("parts", "history", "scores")))
        link.call("HDEL", self.keys.levels("now"), identity)
        link.call("XADD", self.keys.levels("log"), "*", "p", identity)
        link.call("SPUBLISH" if self.sharded() else "PUBLISH", self.keys.levels("news"), identity)
        self._gone.discard(key)


def _order(identity: bytes | str) -> tuple[int, int]:
    """A stream's ID as two numbers."""
    text = identity.decode() if isinstance(identity, bytes) else identity
    ms, _, n = text.partition("-")
    return int(ms), int(n or 0)


def _pairs(found: Any) -> list[tuple[bytes, bytes]]:
    return list(found.items()) if isinstance(found, dict) else list(zip(found[::2], found[1::2], strict=True))


def _field(fields: Any) -> str:
    pairs = dict(_pairs(fields))
    return bytes(pairs[b"p"]).decode()


