"""The table of routes: which path with which method is whose, and who may use it.

A route is found by exact path first, then segment by segment; a segment in braces takes any text, as it was before
percent-encoding. To add routes, write a module with a tuple ROUTES and name it in all_routes().
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ztmon.gateway.http import Refused, Request, Sendable

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

ANY = "*"
"""As a method: all of them."""

READ, CONTROL, TELEMETRY, ANYBODY = "read", "control", "telemetry", ""
"""Roles that a route asks for. Control may read as well; ANYBODY needs no token."""

Handler = Callable[["Gateway", Request], Awaitable[Sendable]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of a query. schema: its JSON Schema."""

    name: str
    what: str
    schema: dict[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """handle: takes the Gateway and the Request, returns what is sent, raises Refused. body: the msgspec type of a JSON
    body; answer: that of the answer, or its JSON Schema; statuses: of problems it may answer with."""

    method: str
    path: str
    role: str
    handle: Handler
    what: str
    body: Any = None
    answer: Any = None
    parameters: tuple[Parameter, ...] = ()
    statuses: tuple[int, ...] = ()
    kind: str = "application/json"


class Table:
    """Routes by path. Raises ValueError where two are the same."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[tuple[str, ...], dict[str, Route]] = {}
        for route in routes:
            place = self._exact.setdefault(route.path, {}) if "{" not in route.path else \
                self._patterns.setdefault(tuple(route.path.split("/")[1:]), {})
            if route.method in place:
                raise ValueError(f"{route.method} {route.path} stands in the table twice")
            place[route.method] = route

    def find(self, method: str, path: str, raw: str) -> tuple[Route, dict[str, str]]:
        """The route and what stands for its names in braces. path: decoded; raw: as it was sent. Raises Refused (404, 405)."""
        found = self._exact.get(path)
        named: dict[str, str] = {}
        if found is None:
            segments = raw.split("/")[1:]
            for pattern, routes in self._patterns.items():
                if len(pattern) == len(segments) and all(p == s or p[0] == "{" for p, s in zip(pattern, segments, strict=True)):
                    found = routes
                    named = {p[1:-1]: unquote(s) for p, s in zip(pattern, segments, strict=True) if p[0] == "{"}
                    break
        if found is None:
            raise Refused(404, "there is no such path; /openapi.json lists all there are")
        route = found.get(method) or found.get(ANY) or (found.get("GET") if method == "HEAD" else None)
        if route is None:
            raise Refused(405, f"{method[:20]} is not possible here; allowed is {', '.join(found)}",
                          ((b"allow", ", ".join(found).encode()),))  # fmt: skip
        return route, named


def all_routes() -> tuple[Route, ...]:
    """Every route of the gateway."""
    from ztmon.gateway import control, decisions, history, metrics, openapi, reading, stream, telemetry
    return (*telemetry.ROUTES, *decisions.ROUTES, *reading.ROUTES, *history.ROUTES, *control.ROUTES, *stream.ROUTES,
            *metrics.ROUTES, *openapi.ROUTES)
