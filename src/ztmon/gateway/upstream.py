"""A reverse proxy for those who have none: a listener of its own before one application, which every call passes.

    request -> who? -> check() -> the application, streamed both ways -> observe()

The control routes are not here, and nothing of the gateway's own is. What the application could not answer (502, 504) is
nobody's fault and is not observed.
"""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ztmon.gateway.forward import REFUSALS, headers_of, status_of
from ztmon.gateway.http import Headers, Receive, Refused, Scope, Send
from ztmon.gateway.identity import caller
from ztmon.gateway.protocol import NO_UPGRADE
from ztmon.gateway.settings import without_password

if TYPE_CHECKING:
    import aiohttp
    import uvicorn

    from ztmon.gateway.app import Gateway
    from ztmon.gateway.settings import GatewayConfig

log = logging.getLogger("ztmon.gateway")

HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
                        b"trailer", b"trailers", b"transfer-encoding", b"upgrade", b"http2-settings", NO_UPGRADE))
"""Headers of one connection (RFC 9110, 7.6.1), beside those that Connection names."""

OURS = frozenset((b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))
UNTRUSTED = frozenset((b"x-partner-id", b"forwarded"))
"""Headers that only a trusted proxy may send on."""

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""How long a connection to the application is kept unused: less than applications do, which would otherwise close it just
as the next request is sent."""

LEFT = 499
"""The status by which a call is known whose caller left before the answer."""


SAID_SECONDS = 60.0
"""How often the log says that the application fails, however many calls do."""


class Upstream:
    """The listener (beside.py) and its ASGI application."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self.settings = gateway.settings
        assert self.settings.upstream is not None
        self.url = self.settings.upstream.rstrip("/")
        self.requests = self.refused = self.failures = self.open = 0
        self._failed = 0        # calls since it answered
        self._said = -SAID_SECONDS
        self._told = False      # that it fails, and not yet that it answers again
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    # -- its life ----------------------------------------------------------------------------

    def bind(self) -> None:
        """Take the port. Raises ConfigError."""
        from ztmon.serve import listen, make_server
        settings = replace(self.settings, listen=self.settings.upstream_listen, port=self.settings.upstream_port)
        self._socket = listen(settings)
        self._server = make_server(self, settings)

    async def start(self) -> None:
        """Serve in a task."""
        import aiohttp
        assert self._server is not None
        assert self._socket is not None
        await self.use(self.settings)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS), auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"))
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    def says(self) -> str:
        """Where it listens."""
        assert self._socket is not None
        address, port = self._socket.getsockname()[:2]
        return f"Reverse proxy: {address} port {port}, before {self.shown}"

    @property
    def shown(self) -> str:
        """The application's URL without a password."""
        return without_password(self.url)

    def check(self, settings: "GatewayConfig") -> None:
        """It can go on with any."""

    async def use(self, settings: "GatewayConfig") -> None:
        """Requests from now on."""
        from aiohttp import ClientTimeout
        self.settings, seconds = settings, settings.upstream_seconds
        self.timeout = ClientTimeout(total=None, sock_connect=min(CONNECT_SECONDS, seconds), sock_read=seconds)

    def renew(self) -> None:
        """Those of its own server. Raises ConfigError."""
        from ztmon.serve import renew
        if self._server is not None and self._server.config.ssl is not None:
            renew(self._server.config.ssl, self.settings)

    async def stop(self) -> None:
        """End; requests under way have a few seconds."""
        if self._task is not None and self._server is not None:
            self._server.should_exit = True
            await self._task
        if self._session is not None:
            await self._session.close()
        if self._socket is not None:
            self._socket.close()

    def stats(self) -> dict[str, int | float]:
        """upstream_requests; of them upstream_refused (by a level) and upstream_failures (502, 504); upstream_open: now."""
        return {"upstream_requests": self.requests, "upstream_refused": self.refused, "upstream_failures": self.failures,
                "upstream_open": self.open}

    def failing(self, why: str) -> None:
        """A call failed; said at once, and while it goes on once a minute."""
        self._failed += 1
        now = time.monotonic()
        if now - self._said >= SAID_SECONDS:
            self._said, self._told = now, True
            log.error("the application at %s failed: %s (calls since it answered: %d)", self.shown, why, self._failed)

    def answering(self) -> None:
        """A call was answered."""
        if self._failed:
            if self._told:
                log.warning("the application at %s answers again; failed calls: %d", self.shown, self._failed)
            self._failed, self._told = 0, False

    # -- a request ---------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the reverse proxy speaks HTTP, not {scope['type']}")
        self.requests += 1
        self.open += 1
        call = Call(self, scope, receive, send)
        try:
            await call.run()
        except Refused as refused:
            await _problem(send, refused)
        finally:
            self.open -= 1


class Call:
    """One request on its way."""

    def __init__(self, upstream: Upstream, scope: Scope, receive: Receive, send: Send) -> None:
        self.upstream, self.scope, self.receive, self.send = upstream, scope, receive, send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.partner, self.source = caller(upstream.gateway, scope, self.headers)
        self.path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        self.target = f"{self.path}?{query}" if query else self.path
        self.taken = self.sent = 0
        self.status = LEFT
        self.began = time.perf_counter()
        self.answered = 0.0
        self.started = False
        self.body_read = asyncio.Event()

    async def run(self) -> None:
        """Refuse it, or let it through. Raises Refused."""
        upgrade = self.headers.get(NO_UPGRADE, self.headers.get(b"upgrade", b"")).lower()
        if upgrade == b"websocket":
            raise Refused(501, "this reverse proxy does not pass on WebSocket; connect to the application "
                               "itself, or put nginx in front")
        app = self.upstream.settings.upstream_app
        decision = self.upstream.gateway.monitor.check(self.partner, app)
        status = status_of(decision)
        if status != 200:
            self.upstream.refused += 1
            headers = tuple(h for h in headers_of(decision) if not h[0].startswith(b"x-ztmon-"))
            raise Refused(status, REFUSALS[status], headers)
        passing = asyncio.ensure_future(self._pass())
        leaving = asyncio.ensure_future(self._leaves())
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                passing.cancel()
                with suppress(asyncio.CancelledError, Refused):
                    await passing
                self._observe(app)
                return
            failed = passing.exception()
            if failed is None:
                self._observe(app)
            elif isinstance(failed, Refused):
                self.upstream.failures += 1
                if not self.started:        # else the connection is cut, for what was sent is not all
                    raise failed
            else:
                raise failed
        finally:
            leaving.cancel()
            passing.cancel()

    def _observe(self, app: str) -> None:
        answered = self.answered or time.perf_counter()
        self.upstream.gateway.monitor.observe(
            self.partner, self.target, self.scope["method"], self.status, (answered - self.began) * 1000.0, self.taken,
            self.sent, self.source or None, app)

    async def _leaves(self) -> None:
        """Returns when the caller is gone."""
        await self.body_read.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the caller left")
            part: bytes = message.get("body", b"")
            self.taken += len(part)
            if part:
                yield part
            if not message.get("more_body", False):
                self.body_read.set()
                return

    async def _pass(self) -> None:
        """There and back. Raises Refused (502, 504)."""
        import aiohttp
        from yarl import URL
        session = self.upstream._session
        assert session is not None
        has_body = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if not has_body:
            self.body_read.set()
        try:
            async with session.request(
                    self.scope["method"], URL(self.upstream.url + self.target, encoded=True), headers=self._headers(),
                    data=self._body() if has_body else None, allow_redirects=False, timeout=self.upstream.timeout) as answer:
                self.answered = time.perf_counter()
                self.upstream.answering()
                self.status = answer.status
                self.started = True
                await self.send({"type": "http.response.start", "status": answer.status,
                                 "headers": kept(answer.raw_headers)})
                async for part in answer.content.iter_any():
                    self.sent += len(part)
                    await self.send({"type": "http.response.body", "body": part, "more_body": True})
                await self.send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            self.upstream.failing("no answer in time")
            raise Refused(504, f"the application did not answer within {self.upstream.settings.upstream_seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            if self._left(error):
                return
            self.upstream.failing(type(error).__name__)
            raise Refused(502, "the application cannot be reached") from None

    def _left(self, error: BaseException | None) -> bool:
        """Whether it is the caller's end that failed."""
        while error is not None:
            if isinstance(error, ConnectionError) and str(error) == "the caller left":
                return True
            error = error.__cause__ or error.__context__
        return False

    def _headers(self) -> list[tuple[str, str]]:
        scope, upstream = self.scope, self.upstream
        peer = scope["client"][0] if scope.get("client") else ""
        trusted = upstream.gateway.proxies.trusted(peer)
        drop = OURS if trusted else OURS | UNTRUSTED
        given = [(name, value) for name, value in kept(scope["headers"]) if name not in drop]
        hops = [value for name, value in scope["headers"] if name == b"x-forwarded-for"] if trusted else []
        host = self.headers.get(b"host", b"")
        proto = self.headers.get(b"x-forwarded-proto", b"") if trusted else b""
        given += [(b"x-forwarded-for", b", ".join((*hops, peer.encode()))),
                  (b"x-forwarded-host", (self.headers.get(b"x-forwarded-host", host) if trusted else host)),
                  (b"x-forwarded-proto", proto or scope.get("scheme", "http").encode())]  # fmt: skip
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in given]


def kept(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that are for the other end, in lower case."""
    lower = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in lower if name == b"connection" for token in value.split(b",")}
    return [(name, value) for name, value in lower if name not in HOP_BY_HOP and name not in named]


async def _problem(send: Send, refused: Refused) -> None:
    """problem+json without the gateway's own headers: a page of the application's may read it as it would the answer."""
    body = refused.answer().body
    headers: Headers = ((b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body)),
                        (b"cache-control", b"no-store"), *refused.headers)
    await send({"type": "http.response.start", "status": refused.status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})

