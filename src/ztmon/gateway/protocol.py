"""uvicorn's HTTP protocol, strict about clients that are slow, endless or too many, so that they hold nobody up."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ztmon.gateway.http import Refused
from ztmon.gateway.settings import GatewayConfig

UPGRADE = re.compile(rb"(?i)(?<=\n)upgrade(?=[ \t]*:)")
NO_UPGRADE = b"x-refused-upgrade"
"""httptools stops reading at an Upgrade, body and all. Clients that offer h2c (Java's does at each first request) mean the
request all the same, so the header goes by a name that means nothing to it; upstream.py knows it."""

HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together."""

Short = Callable[[str, bytes, list[tuple[bytes, bytes]], bytes], bytes | None]
"""Answers some posts at once: takes the client's address, the URL, headers and body; returns the answer as it is sent, None for
what the application is to see."""


def strict(settings: GatewayConfig, short: Short | None = None) -> type[asyncio.Protocol]:
    """The protocol with these limits. short: is asked about posts before the application is."""
    return type("Strict", (StrictProtocol,), {"head_seconds": settings.head_seconds, "connections_most": settings.connections,
                                              "short": staticmethod(short) if short else None})


class StrictProtocol(HttpToolsProtocol):
    """The body's time is the application's business; here it is about what comes before, and about requests that are whole
    when they come: those `short` may answer on the spot, without a task, a scope and two messages."""

    head_seconds = 10.0
    connections_most = 4096
    short: Short | None = None
    _held: bytes | None = None      # body so far of a request that the application has not been told of
    _answered = False               # some request of the bytes at hand was, by `short`
    _timer: asyncio.TimerHandle | None = None
    _heading = True
    _head_ended = False             # a request's, within the bytes at hand
    _in_body = False
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.connections_most:
            transport.abort()
            return
        self._timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._heading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._heading, self._head_bytes = False, 0
        self._head_ended = self._in_body = True
        if self.short is not None and self._may_be_short():
            self._held = b""
        else:
            super().on_headers_complete()

    def _may_be_short(self) -> bool:
        """Whether the request at hand could be answered on the spot, as far as its head tells."""
        parser, before = self.parser, self.cycle
        return bool(parser.get_method() == b"POST" and parser.get_http_version() == "1.1" and parser.should_keep_alive()
                    and not self.expect_100_continue and (before is None or before.response_complete))

    def on_body(self, body: bytes) -> None:
        if self._held == b"":
            self._held = body
            return
        self._let_go()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._held is not None and self._answer():
            return
        self._let_go()
        super().on_message_complete()

    def _answer(self) -> bool:
        """The whole request on the spot; False where the application is to do it."""
        answer = None
        if self.short is not None and self._held is not None and not self.flow.write_paused and not self.transport.is_closing():
            answer = self.short(self.client[0] if self.client else "", self.url, self.headers, self._held)
        if answer is None:
            return False
        self._held, self._answered = None, True
        self.transport.write(answer)
        self.server_state.total_requests += 1
        return True

    def _let_go(self) -> None:
        """The application is to see the request that was held, if any."""
        held, self._held = self._held, None
        if held is not None:
            super().on_headers_complete()
            if held:
                super().on_body(held)

    def data_received(self, data: bytes) -> None:
        before, self._head_ended = self._heading, False
        if not self._in_body:
            end = data.find(b"\r\n\r\n")
            end = len(data) if end < 0 else end         # bodies are large, and not looked through
            if data.find(b"pgrade", 0, end) >= 0:
                data = UPGRADE.sub(NO_UPGRADE, data[:end]) + data[end:]
        super().data_received(data)
        if self._held is not None:      # it did not come whole, or something is wrong with it
            if self.transport.is_closing():
                self._held = None
            self._let_go()
        if self._answered:
            self._answered = False
            if self.cycle is None or self.cycle.response_complete:
                self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self._heading:
            if before and not self._head_ended:     # else these bytes are of other requests as well
                self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, f"the request's line and headers have more than {HEAD_BYTES:,} bytes")
            elif self._timer is None:
                self._timer = self.loop.call_later(self.head_seconds, self._too_slow)
        elif self._timer is not None:
            self._forget_timer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._head_bytes:
            self._refuse(408, f"the request's line and headers took longer than {self.head_seconds:g} s")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is not HTTP/1.1")

    def _refuse(self, status: int, detail: str) -> None:
        """A problem from below the application, and the end of the connection."""
        if self.transport.is_closing():
            return
        body = Refused(status, detail).answer().body
        self.transport.write(STATUS_LINE[status] + b"content-type: application/problem+json\r\ncontent-length: "
                             + str(len(body)).encode() + b"\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()
