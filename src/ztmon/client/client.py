"""The telemetry client: record() puts a tuple into a buffer, a thread sends what is there."""

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import Any, Self

from ztmon.client.transport import Transport, transport

log = logging.getLogger("ztmon.client")

LOG_EVERY = 60.0

_alive: "weakref.WeakSet[TelemetryClient]" = weakref.WeakSet()


class TelemetryClient:
    """Sends what happened to a gateway. Calls never wait and never raise: what cannot be sent is counted.

    url: "udp://127.0.0.1:9001" (fire and forget, the cheapest) or "http://127.0.0.1:9000" (retried, TLS as https://);
    app: the application that partners belong to. token: for HTTP, of `ztmon token add`. key: for UDP, NUMBER:HEXADECIMAL as
    in the gateway's udp_keys; datagrams are signed with it. auto_retry, retry_attempts: whether and how often a request
    that failed for a while is sent again, after pauses that double, each drawn at random up to its length; timeout (s): of
    one attempt. buffer: events kept at most; flush_seconds: the longest that an event waits here. Raises ClientError for a
    URL or key that cannot be used. Usable from any thread, and after fork().
    """

    def __init__(self, url: str = "udp://127.0.0.1:9001", app: str = "default", *, token: str | None = None,
                 key: str | None = None, auto_retry: bool = True, retry_attempts: int = 3, timeout: float = 5.0,
                 buffer: int = 65_536, flush_seconds: float = 0.25) -> None:
        self._make: Any = lambda: transport(url, app, token, key, retry_attempts if auto_retry else 0, timeout)
        self._transport: Transport = self._make()
        self.buffer = buffer
        self.flush_seconds = flush_seconds
        self.sent = 0
        """Events that were sent (UDP), or accepted (HTTP)."""
        self.dropped = 0
        """Events that were not: there was no room, they could not be sent, or were not usable."""
        self._closed = False
        self._logged = 0.0
        self._begin()
        _alive.add(self)
        atexit.register(_close, weakref.ref(self))

    def _begin(self) -> None:
        self._events: deque[tuple[Any, ...]] = deque()
        self._append = self._events.append
        self._wake = threading.Event()
        self._idle = threading.Condition()
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="ztmon-client", daemon=True)
        self._thread.start()

    def record(self, partner: str, endpoint: str, method: str = "GET", status: int = 200, latency_ms: float = 0.0,
               request_bytes: float = 0, response_bytes: float = 0, source: str | None = None, timestamp: float | None = None,
               count: int = 1, _now: Any = time.time) -> None:
        """One call that a partner made, as Monitor.observe() takes it. timestamp: seconds since 1970, None: now."""
        if len(self._events) >= self.buffer or self._closed:
            self.dropped += 1
            return
        self._append((partner, endpoint, method, status, latency_ms, request_bytes, response_bytes, source,
                      _now() if timestamp is None else timestamp, count))

    def flush(self, timeout: float = 5.0) -> bool:
        """Send what is there. False where it was not done within so many seconds."""
        end = time.monotonic() + timeout
        with self._idle:
            while self._events or self._busy:
                self._wake.set()
                left = end - time.monotonic()
                if left <= 0.0 or not self._thread.is_alive():
                    return not self._events and not self._busy
                self._idle.wait(min(left, 0.1))
        return True

    def close(self, timeout: float = 5.0) -> bool:
        """Send what is there, at most so many seconds long, and end. May be called twice; done at exit by itself."""
        if self._closed:
            return True
        done = self.flush(timeout)
        self._closed = True
        self._wake.set()
        self._transport.give_up()
        self._thread.join(1.0)
        self.dropped += len(self._events)
        self._events.clear()
        self._transport.close()
        return done

    def stats(self) -> dict[str, int]:
        """sent, dropped, waiting: events; retries, failures: requests that were sent again, that were given up."""
        return {"sent": self.sent, "dropped": self.dropped, "waiting": len(self._events),
                "retries": self._transport.retries, "failures": self._transport.failures}

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self.flush_seconds)
            self._wake.clear()
            while self._events and not self._closed:
                self._busy = True
                self._send()
            with self._idle:
                self._busy = False
                self._idle.notify_all()

    def _send(self) -> None:
        """One slice of what waits."""
        pop = self._events.popleft
        events = [pop() for _ in range(min(self._transport.most, len(self._events)))]
        try:
            sent = self._transport.send(events)
        except Exception as error:
            sent = 0
            now = time.monotonic()
            if now - self._logged > LOG_EVERY or self._logged == 0.0:
                self._logged = now
                log.warning("telemetry could not be sent: %s (said once a minute)", error)
        self.sent += sent
        self.dropped += len(events) - sent

    def _forked(self) -> None:
        """In a child: what waits is the parent's to send, and so is its socket."""
        self._transport = self._make()
        self.sent = self.dropped = 0
        if not self._closed:
            self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(client: "weakref.ref[TelemetryClient]") -> None:
    found = client()
    if found is not None:
        found.close()


def _forked() -> None:
    for client in list(_alive):
        client._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
