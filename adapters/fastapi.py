"""ztmon for FastAPI and Starlette: the ASGI middleware, with a request for the application's own function.

    app.add_middleware(ZtmonMiddleware, monitor=monitor, partner=lambda request: request.headers.get("x-client"))
"""

from typing import Any

from starlette.requests import HTTPConnection

from ztmon.adapters import asgi


class ZtmonMiddleware(asgi.ZtmonMiddleware):
    """As the generic one; a `partner` that is a function gets a starlette.requests.HTTPConnection, of a request or a WebSocket,
    without its body."""

    def _question(self, scope: asgi.Scope) -> Any:
        assert self.guard.ask is not None
        return self.guard.ask(HTTPConnection(scope))
