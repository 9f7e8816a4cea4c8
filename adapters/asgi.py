"""ztmon before any ASGI application: Starlette, Litestar, Django, anything.

    app = ZtmonMiddleware(app, monitor)

What happens to a request, and what the settings mean, is in ztmon/guard; this only speaks ASGI. No body is kept, and no task is
made: `send` is counted by an object that returns the server's own awaitable.
"""

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ztcore.decision import Decision
from ztcore.exchange import AsgiExchange
from ztmon.adapters.templates import Templates, inner, is_mount, uncovered, walk
from ztmon.gateway.http import Headers
from ztmon.guard.callers import CLAIMS
from ztmon.guard.guard import LEFT, Guard
from ztmon.guard.refusal import Stopped, left_of
from ztmon.guard.rules import Rule

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

POLICY_VIOLATION = 1008


class ZtmonMiddleware:
    """Checks each request before the application sees it, and observes it afterwards.

    application: what is guarded; all else as for ztmon.guard.Guard. A `partner` that is a function gets the scope; it may be
    async. (Older Starlettes name their application `app`, which then is not the name of ztmon's.)
    """

    def __init__(self, application: Any = None, /, monitor: Any = None, *, app: Any = "default", **settings: Any) -> None:
        if application is None:
            application, app = app, "default"
        self.app = application
        self.guard = Guard(monitor, app=app, **settings)
        templates = Templates()
        self._watch = self.guard.watch(templates.find, self.guard.key_header.encode("latin-1"))
        templates.watch = self._watch
        self._watch.seldom = seldom
        self._exchange = self._watch.asgi
        self._waits = inspect.iscoroutinefunction(self.guard.ask)
        self._said = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: AsgiExchange | None = None
        try:
            exchange = self._exchange(scope, send)
            if not exchange:        # there is more to it
                if exchange.clear:
                    exchange.begin_now()
                else:
                    exchange = await self._begun(exchange)
                if exchange is not None and exchange.announced:
                    receive = counted(exchange, receive)
        except Stopped as stopped:
            self.guard.refused += 1
            await refuse(scope, receive, send, stopped)
            return
        except Exception as error:
            exchange = None
            self.guard.failures.add("the guard", error)
        if exchange is None:
            await self._unwatched(scope, receive, send)
            return
        try:
            await self.app(scope, receive, exchange)
        except BaseException as error:
            exchange.end(LEFT if left(error) else 500)
            raise
        if exchange:                # the application sent no end
            exchange.end(0 if exchange.status else 500)

    # -- before ------------------------------------------------------------------------------

    async def _begun(self, exchange: AsgiExchange) -> AsgiExchange | None:
        """Whatever takes more than a look: settings by route, who calls, a call that may not pass, the first of all calls.
        None: it is left alone. Raises Stopped."""
        scope, guard = exchange.scope, self.guard
        if not self._said:
            self._start(scope.get("root_path") or "")
        if scope["type"] not in ("http", "websocket"):
            return None
        rule = guard.rules.find(scope.get("method", "GET"), scope["path"])
        if rule.exempt:
            return None
        if exchange.partner is None:
            if guard.ask is None or not await self._asked(exchange):
                self._name(exchange)
            if exchange.partner is None:
                guard.unnamed += 1
                return None
        decision = await self._held(exchange, rule, exchange.decision or guard.check(exchange, rule))
        if decision.interval > 0.0:
            exchange.send = saying(exchange.send, left_of(decision))
        exchange.begin_now()
        return exchange

    async def _held(self, exchange: AsgiExchange, rule: Rule, decision: Decision) -> Decision:
        """Let a call pass that may, or may after a short wait; the decision by which it does. Raises Stopped."""
        if decision.enforced and decision.level == 2 and 0.0 < decision.retry_after <= self.guard.delay:
            await asyncio.sleep(decision.retry_after)
            decision = self.guard.check(exchange, rule)
        if decision.enforced:
            raise Stopped(decision)
        return decision

    async def _asked(self, exchange: AsgiExchange) -> bool:
        """Whether the application's callable knew."""
        try:
            found = self._question(exchange.scope)
            return self.guard.named(exchange, await found if self._waits else found)
        except Exception as error:
            self.guard.failures.add("the function that names the partner", error)
            return False

    def _question(self, scope: Scope) -> Any:
        """Ask the application's callable."""
        assert self.guard.ask is not None
        return self.guard.ask(scope)

    def _name(self, exchange: AsgiExchange) -> None:
        """Who calls, where the application does not say."""
        scope, callers = exchange.scope, self.guard.callers
        exchange.app = self.guard.app
        if callers.any_proxies and exchange.source:
            self._behind(exchange, callers)
        extensions = scope.get("extensions")
        if extensions and (tls := extensions.get("tls")) and tls.get("client_cert_name") and not tls.get("client_cert_error"):
            exchange.partner = tls["client_cert_name"]
            return
        if exchange.key:
            exchange.partner = callers.by_key(exchange.key)
            return
        claims = scope.get(CLAIMS)
        if claims and (name := callers.by_claims(claims)):
            exchange.partner = name
            return
        if exchange.partner is None:
            exchange.weak = True
            exchange.partner = callers.by_address(exchange.source or "unknown")

    def _behind(self, exchange: AsgiExchange, callers: Any) -> None:
        """What a trusted proxy says of who called it."""
        scope, peer = exchange.scope, exchange.source
        if not callers.proxies.trusted(peer):
            return
        given = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        exchange.source = callers.proxies.behind(peer, given.decode("latin-1"))
        exchange.partner = callers.proxies.partner(scope) or None

    # -- its life ----------------------------------------------------------------------------

    def _start(self, root: str) -> None:
        self._said, self._watch.ready = True, self.guard.rules.plain
        try:
            routes = walk(inner(self.app), "")
            self.guard.know((f"{path}/{{rest:path}}" if is_mount(route) else path for path, route in routes), root)
            self.guard.say(uncovered(self.app, self.guard.rules))
        except Exception as error:
            self.guard.failures.add("looking at the routes", error)

    async def _unwatched(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is exempt, whom nobody knows, and the application's own life."""
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                self.guard.close()


async def refuse(scope: Scope, receive: Receive, send: Send, stopped: Stopped) -> None:
    """Answer in the application's place."""
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()         # its connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": stopped.status, "headers": list(stopped.headers)})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else stopped.body})


def seldom(exchange: AsgiExchange, kind: str, message: Any) -> None:
    """Count what is no answer's head or body: a WebSocket's handshake, which is over with its answer; files that the server reads
    itself."""
    if kind in ("websocket.accept", "websocket.close"):
        exchange.answered(101 if kind == "websocket.accept" else 403)
        exchange.end(0)
    elif kind == "websocket.http.response.start":
        exchange.answered(message["status"])
    elif kind == "websocket.http.response.body":
        exchange.sent += len(message.get("body", b""))
        if not message.get("more_body"):
            exchange.end(0)
    elif kind == "http.response.pathsend":
        exchange.sent += os.path.getsize(message["path"])
        exchange.end(0)
    elif kind == "http.response.zerocopysend":
        exchange.sent += message.get("count") or 0
        if not message.get("more_body"):
            exchange.end(0)


def saying(send: Send, more: Headers) -> Send:
    """`send` that adds headers to the answer."""

    async def sending(message: Any) -> None:
        if message["type"].endswith(".start"):
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


def counted(exchange: AsgiExchange, receive: Receive) -> Receive:
    """`receive` that counts the body."""

    async def counting() -> Any:
        message = await receive()
        body = message.get("body")
        if body:
            exchange.received += len(body)
        return message

    return counting


def left(error: BaseException) -> bool:
    """Whether it is the caller who left, not the application that failed."""
    return isinstance(error, asyncio.CancelledError | ConnectionError) or type(error).__name__ == "ClientDisconnect"
