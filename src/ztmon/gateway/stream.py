"""Server-sent events: what happens, to whoever listens, as it happens. Nobody who reads slowly holds anything up."""

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ztmon.gateway.http import Answer, Refused, Request, Stream, encode
from ztmon.gateway.routes import READ, Route
from ztmon.hooks import Change

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway
    from ztmon.monitor import Monitor

log = logging.getLogger("ztmon.gateway")

WAITING = 1000
"""Events kept for a listener that does not read; the oldest are dropped, and it is told how many."""

LISTENERS = 64
BEAT_SECONDS = 15.0


class Hub:
    """Hands changes of level and the like to those who listen. Told from any thread."""

    def __init__(self, monitor: "Monitor") -> None:
        self._lock = threading.Lock()
        self.listeners: set[Listener] = set()
        self.closed = False
        self.changes: Counter[str] = Counter()
        """Changes of level so far, by the level they led to."""
        self.anomalies = 0
        monitor.listen(self.changed)

    def changed(self, changes: list[Change]) -> None:
        """From the hooks' thread."""
        for change in changes:
            if change.anomaly:
                self.anomalies += 1
            else:
                self.changes[change.action.name.lower()] += 1
            if self.listeners:
                self.tell("anomaly" if change.anomaly else "level", shown(change))

    def tell(self, kind: str, what: dict[str, Any]) -> None:
        """Something happened."""
        message = b"event: " + kind.encode() + b"\ndata: " + encode(what) + b"\n\n"
        with self._lock:
            for listener in self.listeners:
                listener.put(message)

    def join(self, listener: "Listener") -> None:
        """Raises Refused (503) where there are too many, or this is the end."""
        with self._lock:
            if self.closed or len(self.listeners) >= LISTENERS:
                raise Refused(503, f"{LISTENERS} others listen already" if not self.closed else "the gateway is ending")
            self.listeners.add(listener)

    def leave(self, listener: "Listener") -> None:
        with self._lock:
            self.listeners.discard(listener)

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self.closed = True
            for listener in self.listeners:
                listener.end()


class Listener:
    """Who listens, and what it has yet to be sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._missed = 0
        self.ended = False

    def put(self, message: bytes) -> None:
        """From any thread."""
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(message)
        self._wake()

    def end(self) -> None:
        """From any thread."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._more.set)
        except RuntimeError:        # the loop has ended
            self.ended = True

    async def next(self, seconds: float) -> bytes:
        """What is there; empty after so many seconds without any."""
        if not self._waiting and not self.ended:
            self._more.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._more.wait()
            except TimeoutError:
                return b""
        missed, self._missed = self._missed, 0
        found = b"event: missed\ndata: " + encode({"events": missed}) + b"\n\n" if missed else b""
        while self._waiting:
            found += self._waiting.popleft()
        return found


def shown(change: Change) -> dict[str, Any]:
    """A change as it is sent."""
    return {"at": change.timestamp, "app": change.app, "partner": change.partner, "from": change.previous.name.lower(),
            "to": change.action.name.lower(), "score": round(change.score, 1), "cause": change.cause,
            "enforced": change.enforced, "reasons": [reason.to_dict() for reason in change.reasons]}


async def events(gateway: "Gateway", request: Request) -> Stream | Answer:
    """What happens, as it happens."""
    if request.method == "HEAD":
        return Answer(200, "text/event-stream", b"")
    listener = Listener(asyncio.get_running_loop())
    gateway.hub.join(listener)
    return Stream(200, "text/event-stream", _parts(gateway, request, listener))


async def _parts(gateway: "Gateway", request: Request, listener: Listener) -> AsyncGenerator[bytes, None]:
    gone = asyncio.ensure_future(_gone(request, listener))
    gateway.figures.streams += 1
    try:
        yield b": what happens from now on\nretry: 2000\n\n"
        while not listener.ended:
            found = await listener.next(BEAT_SECONDS)
            if not found and not listener.ended:
                try:        # a token may have been revoked meanwhile
                    gateway.access.require(gateway.access.who(request.scope, request.headers), READ)
                except Refused:
                    return
            yield found or b": still here\n\n"
    finally:
        gateway.figures.streams -= 1
        gateway.hub.leave(listener)
        gone.cancel()


async def _gone(request: Request, listener: Listener) -> None:
    """Ends a stream nobody reads any more."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
    listener.end()


ROUTES = (
    Route("GET", "/events", READ, events, "Server-sent events: level, anomaly, settings, blast-radius; missed says how many "
          "were dropped for a listener that did not read.", kind="text/event-stream", statuses=(503,)),
)  # fmt: skip
