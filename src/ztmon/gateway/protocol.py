"""uvicorn's HTTP protocol, strict about clients that are slow, endless or too many, so that they hold nobody up."""

import asyncio
import re
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


def strict(settings: GatewayConfig) -> type[asyncio.Protocol]:
    """The protocol with these limits."""
    return type("Strict", (StrictProtocol,), {"head_seconds": settings.head_seconds, "connections_most": settings.connections})


class StrictProtocol(HttpToolsProtocol):
    """The body's time is the application's business; here it is about what comes before."""

    head_seconds = 10.0
    connections_most = 4096
    _timer: asyncio.TimerHandle | None = None
    _heading = True
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
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        before = self._heading
        if before and b"pgrade" in data:
            head, end, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(NO_UPGRADE, head) + end + rest
        super().data_received(data)
        if self._heading:
            if before:          # else these bytes are the end of the last request as well
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
