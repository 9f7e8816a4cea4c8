"""Async callbacks: an event loop on a thread of its own, with a bound on how many are under way."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

MOST = 1000
"""Callbacks under way at once; what comes beyond is dropped and counted."""

SECONDS = 5.0
"""How long the end of those under way is waited for."""


class Tasks:
    """Runs coroutines. failed(what): called from within `except` for one that fails."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self.dropped = 0
        self._begin()

    def _begin(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._fewer = threading.Condition()

    forked = _begin
    """In a child: neither the loop nor its thread is there."""

    def run(self, what: str, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run it; returns at once."""
        with self._fewer:
            if self._pending >= MOST:
                self.dropped += 1
                coroutine.close()
                return
            self._pending += 1
            loop = self._loop or self._start()
        loop.call_soon_threadsafe(self._take, what, coroutine)

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="ztmon-tasks", daemon=True)
        self._thread.start()
        return loop

    def _take(self, what: str, coroutine: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(self._one(what, coroutine))
        self._under_way.add(task)
        task.add_done_callback(self._done)

    async def _one(self, what: str, coroutine: Coroutine[Any, Any, object]) -> None:
        try:
            await coroutine
        except Exception:
            self._failed(what)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        with self._fewer:
            self._pending -= 1
            self._fewer.notify_all()

    def flush(self, seconds: float = SECONDS) -> bool:
        """Wait for those under way. False where they did not end within so many seconds."""
        end = time.monotonic() + seconds
        with self._fewer:
            while self._pending and threading.current_thread() is not self._thread:
                left = end - time.monotonic()
                if left <= 0.0:
                    return False
                self._fewer.wait(left)
        return True

    def close(self) -> None:
        """Wait for those under way, cancel what does not end, and end."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self.flush()

        def stop() -> None:
            for task in self._under_way:
                task.cancel()
            loop.call_soon(loop.stop)

        loop.call_soon_threadsafe(stop)
        if thread is not threading.current_thread():
            thread.join(SECONDS)
            if not thread.is_alive():
                loop.close()
        self._begin()
