"""Route templates of ASGI frameworks, from what they leave in the scope: Starlette, FastAPI and Litestar say which route it was;
others leave at least the parameters of the path."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ztcore.exchange import Watch
from ztmon.guard.callers import ROUTE
from ztmon.guard.rules import Rules

TOLD = {"ztmon.adapters.django"}
"""Modules that, where they are in use, tell of routes nevertheless."""

UNKNOWN = ("no routes could be read: paths are told apart as they come, unless the application leaves the route's template as "
           f"{ROUTE}, as ztmon.adapters.django.route in Django's MIDDLEWARE does")

KEPT = 4096
"""Templates remembered at once; more start anew."""


class Templates:
    """Finds the template of a call that was routed. watch: is told of routes, and looks at what it was told first; a route whose
    path has as many slashes as the call's is under no prefix."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.whole: dict[int, tuple[Any, int, str]] = {}
        self._under: dict[tuple[int, str], str] = {}
        self._named: dict[str, str] = {}

    def find(self, scope: Any) -> str | None:
        """None where no route matched, or what did is no route but an application of its own."""
        route = scope.get("route")
        if route is not None:
            known = self.whole.get(id(route))
            if known is None or known[0] is not route:
                known = self._know(route)
            if known[1] != scope["path"].count("/"):
                return self._joined(scope, route, known)
            if self.watch is not None:
                self.watch.know(*known)
            return known[2]
        named = scope.get("path_template")
        if named:
            return self._same(named)
        return self._put_back(scope) if scope.get("path_params") else None

    def _know(self, route: Any) -> tuple[Any, int, str]:
        """A route with its own slashes and template; -1: it may have any number."""
        template = str(getattr(route, "path", "") or "")
        slashes = -1 if ":path}" in template or is_mount(route) else template.count("/")
        if len(self.whole) >= KEPT:
            self.whole.clear()
        found = self.whole[id(route)] = route, slashes, self._same(template)
        return found

    def _same(self, template: str) -> str:
        """The same object for the same template: the engine knows it by its address."""
        if len(self._named) >= KEPT:
            self._named.clear()
        return self._named.setdefault(template, template)

    def _joined(self, scope: Any, route: Any, known: tuple[Any, int, str]) -> str | None:
        """The route is in a router or an application under a prefix, which may have parameters of its own."""
        path, parameters = scope["path"], scope.get("path_params") or {}
        if is_mount(route):
            return self._put_back(scope) if parameters else None
        prefix = before(path, known[1]) if known[1] >= 0 else before_match(path, route)
        if prefix is None:
            return self._put_back(scope)
        found = self._under.get((id(route), prefix))
        if found is None:
            if len(self._under) >= KEPT:
                self._under.clear()
            own = known[2]
            others = [item for item in parameters.items() if f"{{{item[0]}}}" not in own and f"{{{item[0]}:" not in own]
            found = self._under[id(route), prefix] = self._same(put_back(prefix, others) + own)
        return found

    def _put_back(self, scope: Any) -> str:
        return self._same(put_back(scope["path"], scope["path_params"].items()))


def is_mount(route: Any) -> bool:
    """Whether it is a place for another application, not a route."""
    return hasattr(route, "routes")


def before(path: str, slashes: int) -> str:
    """The path without its last parts."""
    parts = path.split("/")
    return "/".join(parts[: max(1, len(parts) - slashes)])


def before_match(path: str, route: Any) -> str | None:
    """The shortest beginning of the path after which the route matches the rest."""
    regular = getattr(route, "path_regex", None)
    parts = path.split("/")
    for at in range(1, len(parts)):
        if regular is not None and regular.match("/" + "/".join(parts[at:])):
            return "/".join(parts[:at])
    return None


def put_back(path: str, parameters: Iterable[tuple[str, Any]]) -> str:
    """The path with names where the values of parameters stand."""
    parts = path.split("/")
    for name, value in parameters:
        given = str(value).strip("/").split("/")
        size = len(given)
        for at in range(len(parts) - size, -1, -1):
            if parts[at : at + size] == given:
                parts[at : at + size] = [f"{{{name}}}"]
                break
    return "/".join(parts)


# -- at the start --------------------------------------------------------------------------------


def uncovered(app: Any, rules: Rules) -> Iterator[tuple[str, str]]:
    """Routes that are not watched, or not wholly, and why."""
    seen = False
    for path, route in walk(inner(app), ""):
        seen = True
        methods = sorted(getattr(route, "methods", None) or ("GET",))
        if all(rules.find(method, path).exempt for method in methods):
            yield path, "it is exempt"
        elif "WebSocket" in type(route).__name__:
            yield path, "of a WebSocket only the handshake is seen, no message"
        elif is_mount(route):
            yield f"{path}/..", "an application without routes that could be read; its paths are told apart as they come"
    if not seen and not TOLD.intersection(sys.modules):
        yield "/..", UNKNOWN


def inner(app: Any) -> Any:
    """The innermost application that has routes."""
    for _ in range(100):
        if getattr(app, "routes", None) is not None or getattr(app, "app", None) is None:
            break
        app = app.app
    return app


def walk(app: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(template, route) of all routes; of a place for an application without routes, the place."""
    for route in getattr(app, "routes", None) or ():
        if hasattr(route, "effective_route_contexts"):      # a router that FastAPI, from 0.137 on, keeps as it is
            for one in route.effective_route_contexts():
                original = getattr(one, "starlette_route", None) or one.original_route
                if is_mount(original):
                    yield from walk_mount(original, prefix)
                else:
                    yield prefix + (getattr(one, "path", "") or original.path), original
        elif is_mount(route):
            yield from walk_mount(route, prefix)
        else:
            yield prefix + str(getattr(route, "path", "")), route


def walk_mount(route: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The routes under a mount."""
    under = prefix + str(getattr(route, "path", ""))
    found = inner(getattr(route, "app", None))
    if getattr(found, "routes", None):
        yield from walk(found, under)
    else:
        yield under, route
