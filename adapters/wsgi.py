"""ztmon before any WSGI application: Flask, Django, anything.

    app = ZtmonMiddleware(app, monitor)

What happens to a request, and what the settings mean, is in ztmon/guard; this only speaks WSGI (PEP 3333). Bodies pass as they
come: a list that the application returns is returned as it is, anything else is counted while the server reads it.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from http.client import responses
from typing import Any

from ztcore.exchange import WsgiExchange
from ztmon.adapters.templates import TOLD, UNKNOWN
from ztmon.errors import ConfigError
from ztmon.gateway.http import Headers
from ztmon.guard.callers import CLAIMS
from ztmon.guard.guard import Guard
from ztmon.guard.refusal import Stopped, left_of

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class ZtmonMiddleware:
    """Checks each request before the application sees it, and observes it afterwards.

    application: what is guarded; all else as for ztmon.guard.Guard. A `partner` that is a function gets the environment.
    """

    def __init__(self, application: Any, /, monitor: Any = None, **settings: Any) -> None:
        self.app = application
        self.guard = Guard(monitor, **settings)
        if self.guard.delay:
            raise ConfigError("delay_ms is set; only ASGI can let a call wait: leave it out")
        self._watch = self.guard.watch(self._find(), "HTTP_" + self.guard.key_header.upper().replace("-", "_"))
        self._said = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        exchange: WsgiExchange | None = None
        try:
            exchange = self._watch.wsgi(environ, start_response)
            if not exchange:        # it is not clear that it may pass
                exchange = self._begun(exchange)
        except Stopped as stopped:
            self.guard.refused += 1
            start_response(f"{stopped.status} {responses[stopped.status]}",
                           [(name.decode(), value.decode()) for name, value in stopped.headers])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [stopped.body]
        except Exception as error:
            exchange = None
            self.guard.failures.add("the guard", error)
        if exchange is None:
            return self.app(environ, start_response)
        if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = Input(exchange, environ["wsgi.input"])
        try:
            return exchange.body(self.app(environ, exchange))
        except BaseException:
            exchange.end(500)
            raise

    # -- before ------------------------------------------------------------------------------

    def _begun(self, exchange: WsgiExchange) -> WsgiExchange | None:
        """Whatever takes more than a look: settings by route, who calls, a call that may not pass, the first of all calls.
        None: it is left alone. Raises Stopped."""
        environ, guard = exchange.scope, self.guard
        if not self._said:
            self._start(environ.get("SCRIPT_NAME") or "")
        rule = guard.rules.find(environ["REQUEST_METHOD"], path_of(environ))
        if rule.exempt:
            return None
        if exchange.partner is None:
            if guard.ask is None or not self._asked(exchange):
                self._name(exchange)
            if exchange.partner is None:
                guard.unnamed += 1
                return None
        decision = exchange.decision or guard.check(exchange, rule)
        if decision.enforced:
            raise Stopped(decision)
        if decision.interval > 0.0:
            exchange.start = saying(exchange.start, left_of(decision))
        exchange.begin_now()
        return exchange

    def _asked(self, exchange: WsgiExchange) -> bool:
        """Whether the application's callable knew."""
        try:
            return self.guard.named(exchange, self._question(exchange.scope))
        except Exception as error:
            self.guard.failures.add("the function that names the partner", error)
            return False

    def _question(self, environ: Environ) -> Any:
        """Ask the application's callable."""
        assert self.guard.ask is not None
        return self.guard.ask(environ)

    def _name(self, exchange: WsgiExchange) -> None:
        """Who calls, where the application does not say."""
        environ, callers = exchange.scope, self.guard.callers
        exchange.app = self.guard.app
        if callers.any_proxies and exchange.source:
            self._behind(exchange, callers)
        if environ.get("SSL_CLIENT_VERIFY") == "SUCCESS" and environ.get("SSL_CLIENT_S_DN"):
            exchange.partner = environ["SSL_CLIENT_S_DN"]
            return
        if exchange.key:
            exchange.partner = callers.by_key(exchange.key)
            return
        claims = environ.get(CLAIMS)
        if claims and (name := callers.by_claims(claims)):
            exchange.partner = name
            return
        if exchange.partner is None:
            exchange.weak = True
            exchange.partner = callers.by_address(exchange.source or "unknown")

    def _behind(self, exchange: WsgiExchange, callers: Any) -> None:
        """What a trusted proxy says of who called it."""
        environ, peer = exchange.scope, exchange.source
        if not callers.proxies.trusted(peer):
            return
        exchange.source = callers.proxies.behind(peer, environ.get("HTTP_X_FORWARDED_FOR", ""))
        exchange.partner = environ.get("HTTP_X_PARTNER_ID") or None

    # -- its routes --------------------------------------------------------------------------

    def _find(self) -> Callable[[Any], str | None] | None:
        """What finds a route's template after a call, where a framework says which it was."""
        return None

    def _uncovered(self) -> Iterator[tuple[str, str]]:
        """Routes that are not watched, and why."""
        if not TOLD.intersection(sys.modules):
            yield "/..", UNKNOWN

    def _routes(self) -> Iterator[str]:
        """Templates of the application's routes, where they are known."""
        yield from ()

    def _start(self, root: str) -> None:
        self._said, self._watch.ready = True, self.guard.rules.plain
        try:
            self.guard.know(self._routes(), root)
            self.guard.say(self._uncovered())
        except Exception as error:
            self.guard.failures.add("looking at the routes", error)


def saying(start_response: StartResponse, more: Headers) -> StartResponse:
    """`start_response` that adds headers to the answer."""
    said = [(name.decode(), value.decode()) for name, value in more]

    def starting(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        return start_response(status, [*headers, *said], *error)

    return starting


def path_of(environ: Environ) -> str:
    """The path as the caller wrote it, unescaped."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


class Input:
    """A request's body: counts what the application reads."""

    def __init__(self, exchange: WsgiExchange, given: Any) -> None:
        self._exchange, self._given = exchange, given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)

    def read(self, *size: int) -> bytes:
        return self._had(self._given.read(*size))

    def readinto(self, buffer: Any) -> int:
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def readline(self, *size: int) -> bytes:
        return self._had(self._given.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._had(line) for line in self._given.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        for line in self._given:
            yield self._had(line)

    def _had(self, part: bytes) -> bytes:
        self._exchange.received += len(part)
        return part
