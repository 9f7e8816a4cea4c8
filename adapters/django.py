"""Django says which route a request took. The application is guarded by ztmon.adapters.wsgi or asgi; this, as the last line of
MIDDLEWARE, tells it the templates that URLconfs have:

    MIDDLEWARE = [..., "ztmon.adapters.django.route"]
"""

import re
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.utils.decorators import sync_and_async_middleware

from ztmon.guard.callers import ROUTE, keep

REGULAR = frozenset("^$\\(?[{*+|")
"""What is in hardly any path() but in most of what re_path() takes."""

NAMED = re.compile(r"\?P<(\w+)>")
WITHIN = re.compile(r"\[\^[^]]*/[^]]*\]")
"""Anything but a slash."""

ANY_LENGTH = re.compile(r"/|[.][*+]|\[\^")
"""In a group otherwise: it may hold slashes."""

FLAGS = re.compile(r"\?[a-zA-Z]+")
LAST_SLASH = ("?", "?$", "?\\Z")

_templates: dict[str, str] = {}


@sync_and_async_middleware  # type: ignore[untyped-decorator]
def route(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A middleware that leaves the route's template where the adapter looks for it."""
    if iscoroutinefunction(get_response):
        async def waiting(request: Any) -> Any:
            response = await get_response(request)
            leave(request)
            return response

        return waiting

    def middleware(request: Any) -> Any:
        response = get_response(request)
        leave(request)
        return response

    return middleware


def leave(request: Any) -> None:
    """Put it down; nothing where no route matched, or what did is no template: an expression need not reach to the path's end."""
    found = request.resolver_match
    if found is None or found.route is None:
        return
    known = _templates.get(found.route)
    if known is None:
        known = keep(_templates, found.route, template(found.route))
    if known and ("<path:" in known or known.rstrip("/").count("/") == request.path_info.rstrip("/").count("/")):
        place = request.scope if hasattr(request, "scope") else request.META
        place[ROUTE] = request.path.removesuffix(request.path_info) + known


def template(pattern: str) -> str:
    """A route of a URLconf as a path with its parameters in angle brackets; "" where it is an expression for any number of
    paths, which are then told apart as they come."""
    if REGULAR.isdisjoint(pattern):
        return "/" + pattern.lstrip("/")
    found, at = "", 0
    while at < len(pattern):
        c, end = pattern[at], at + 1
        if c == "\\":
            end, escaped = at + 2, pattern[at + 1 : at + 2]
            if escaped.isalnum() and escaped not in "AZ":       # \d: any
                return ""
            c = "" if escaped.isalnum() else escaped
        elif c == "(":
            end = closed(pattern, at)
            name = parameter(pattern[at + 1 : end - 1], pattern[end : end + 1] == "?")
            if end == 0 or name is None:
                return ""
            c, end = name, end + (pattern[end : end + 1] == "?")
        elif c == "/" and pattern[end:] in LAST_SLASH:
            end = len(pattern)
        elif c in "^$":
            c = ""
        elif c in ".*+?[]){}|":
            return ""
        found, at = found + c, end
    return "/" + found.lstrip("/")


def parameter(group: str, optional: bool) -> str | None:
    """What stands for what is within parentheses: "" for flags and what need not be there; None where it is no parameter."""
    named = NAMED.match(group)
    if named or not group.startswith("?"):
        kind = "path:" if ANY_LENGTH.search(WITHIN.sub("", group)) else ""
        return f"<{kind}{named[1] if named else 'var'}>"
    return "" if FLAGS.fullmatch(group) or (optional and group.startswith("?:")) else None


def closed(pattern: str, at: int) -> int:
    """Behind the parenthesis that closes the one at `at`; 0: none does."""
    depth, within = 0, -1           # within: where a class of characters began
    while at < len(pattern):
        c = pattern[at]
        if c == "\\":
            at += 1
        elif within >= 0:
            if c == "]" and pattern[within + 1 : at] not in ("", "^"):
                within = -1
        elif c == "[":
            within = at
        elif c in "()":
            depth += 1 if c == "(" else -1
            if depth == 0:
                return at + 1
        at += 1
    return 0
