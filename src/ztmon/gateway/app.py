"""The gateway as an ASGI application: a request comes in, the table of routes says whose it is, an answer goes out.

    scope -> access: who is it? -> routes: whose is it, may they? -> handle -> Answer, Stream or problem+json

POST /telemetry takes a shorter way to the same end (telemetry.py), and so does /auth, where proxies ask (forward.py).
"""

import asyncio
import logging
import time
from dataclasses import replace

from ztmon.config import Config
from ztmon.errors import ConfigError, StoreError
from ztmon.gateway.access import Access
from ztmon.gateway.beside import all_beside
from ztmon.gateway.blast import BlastRadius
from ztmon.gateway.figures import Figures
from ztmon.gateway.forward import AUTH, Forward
from ztmon.gateway.http import Headers, Receive, Refused, Request, Scope, Send, Sendable
from ztmon.gateway.intake import Intake
from ztmon.gateway.metrics import make_registry
from ztmon.gateway.page import read_page
from ztmon.gateway.proxies import TrustedProxies
from ztmon.gateway.routes import Table, all_routes
from ztmon.gateway.runtime import SETTINGS, Runtime, different, read_changes
from ztmon.gateway.shelf import Shelf
from ztmon.gateway.stream import Hub
from ztmon.gateway.telemetry import Telemetry
from ztmon.monitor import Monitor

log = logging.getLogger("ztmon.gateway")

TELEMETRY = "/telemetry"

REFRESH_SECONDS = 2.0
"""How old tokens and settings may be."""

FIXED = ("listen", "port", "udp_listen", "udp_port", "upstream", "upstream_listen", "upstream_port", "tls_certificate", "tls_key",
         "tls_clients", "connections", "head_seconds", "body_events", "log", "otlp", "otlp_seconds")
"""Settings of the gateway that are read at the start only."""


CHANGEABLE = {*SETTINGS, "thresholds", "false_throttles_per_partner_year", "allow", "max_action", "gateway"}
"""Settings that are not."""


class Gateway:
    """An ASGI application around a Monitor; run() serves it.

    config: a Config, None: the defaults; monitor: one that is there already, None: one is made, and closed by close().
    Raises ConfigError.
    """

    def __init__(self, config: Config | None = None, monitor: Monitor | None = None, demo: bool = False) -> None:
        file = config if config is not None else monitor.config if monitor is not None else Config()
        self.settings = file.gateway
        self._at_start = file
        self.demo = demo
        self.started = time.time()
        self.ending = False
        self.page = read_page()
        self.shelf = Shelf(file)
        try:
            self.runtime = Runtime(file, self.shelf.store)
        except StoreError as error:
            self.shelf.close()
            raise ConfigError(f"store: {error}") from error
        self._refreshed = time.monotonic()
        self._refreshing: asyncio.Task[None] | None = None
        self.changing = asyncio.Lock()
        """Held by who changes what is in force."""
        self._own = monitor is None
        self.monitor = monitor if monitor is not None else Monitor(self.runtime.config)
        self.figures = Figures()
        self.access = Access(self.settings, self.shelf.tokens)
        self.proxies = TrustedProxies(self.settings.trusted_proxies)
        self.hub = Hub(self.monitor)
        self.blast = BlastRadius(self.monitor, self.settings, self.hub.tell)
        self.intake = Intake(self.monitor, self.settings)
        self.registry = make_registry(self)
        self.table = Table(all_routes())
        self.telemetry = Telemetry(self)
        self.forward = Forward(self)
        self.beside = all_beside(self)

    def run(self) -> int:
        """Serve until Ctrl-C or SIGTERM; the exit code: 0, or 2 where it could not start."""
        from ztmon.serve import serve
        return serve(self)

    def end(self) -> None:
        """Be ready no more, and end event streams; requests are still answered."""
        self.ending = True
        self.hub.close()

    async def reload(self, file: Config) -> tuple[list[str], list[str]]:
        """Put what a file says now in force, but for what was changed while running; the names of what is different, and of
        what has to wait for the next start: addresses, ports, places of files. Raises ConfigError, and then nothing
        changes."""
        settings = replace(file.gateway, **{name: getattr(self.settings, name) for name in FIXED})
        for beside in self.beside:
            beside.check(settings)
        names = self.runtime.apply(self.monitor, file, self.runtime.changes, reason="the file was read again")
        if settings != self.settings:
            names += [f"gateway.{name}" for name in different(settings, self.settings)]
            self.settings = self.blast.settings = settings
            self.access.use(settings)
            self.intake.use(settings)
            self.proxies = TrustedProxies(settings.trusted_proxies)
            self.telemetry.limit = settings.body_bytes
            for beside in self.beside:
                await beside.use(settings)
        later = [name for name in different(file, self._at_start) if name not in CHANGEABLE]
        return names, later + [f"gateway.{name}" for name in different(file.gateway, self._at_start.gateway) if name in FIXED]

    async def refresh(self) -> None:
        """Take over what others changed in the store: tokens and settings."""
        self._refreshed = time.monotonic()
        await asyncio.to_thread(self.shelf.refresh)
        self.access.refreshed()
        if self.shelf.store is None:        # changes last as long as the process
            return
        try:
            async with self.changing:
                changes = await asyncio.to_thread(read_changes, self.shelf.store)
                if changes != self.runtime.changes:
                    self.runtime.apply(self.monitor, self.runtime.file, changes, "another process", "changed in the store")
        except (StoreError, ConfigError) as error:
            log.error("changes of settings in the store: %s", error)

    def close(self) -> None:
        """Let go of what was opened; the monitor too where it was made here."""
        self.end()
        self.shelf.close()
        if self._own:
            self.monitor.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if time.monotonic() - self._refreshed >= REFRESH_SECONDS:
                self._refreshing = asyncio.ensure_future(self.refresh())
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path == TELEMETRY and scope["method"] == "POST":
                await self.telemetry(scope, receive, send)
            elif path == AUTH or path.startswith(AUTH + "/"):
                await self.forward(scope, receive, send)
            else:
                await self._serve(Request(scope, receive, self.settings.body_seconds), send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            raise ValueError(f"the gateway speaks HTTP, not {scope['type']}")

    async def _serve(self, request: Request, send: Send) -> None:
        """Any request but the hot one."""
        route = ""
        more: Headers = ()
        answer: Sendable
        try:
            more = self.access.cors(request.headers)
            if request.method == "OPTIONS" and b"access-control-request-method" in request.headers:
                answer = self.access.preflight()
            elif request.path in self.page and request.method in ("GET", "HEAD"):
                self.access.page(request.scope, request.headers)
                route, answer = "/", self.page[request.path]
            else:
                request.principal = self.access.who(request.scope, request.headers)
                found, request.named = self.table.find(request.method, request.path, request.raw_path)
                route = found.path
                self.access.require(request.principal, found.role)
                answer = await found.handle(self, request)
        except Refused as refused:
            answer = refused.answer()
        except ConnectionError:
            return
        except Exception:
            log.exception("%s %s failed", request.method[:20], route or "of no route")
            answer = Refused(500, "the gateway failed at this; its log says more").answer()
        self.figures.answered(route, answer.status)
        await answer.send(send, request.method == "HEAD", more)


async def _live(receive: Receive, send: Send) -> None:
    """The protocol by which a server says that it starts and ends. Everything is ready once the Gateway is made."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
