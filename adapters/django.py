"""Django says which route a request took. The application is guarded by ztmon.adapters.wsgi or asgi; this, as the last line of
MIDDLEWARE, tells it the templates that URLconfs have:

    MIDDLEWARE = [..., "ztmon.adapters.django.route"]
"""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.contrib.admindocs.utils import (
    remove_non_capturing_groups,
    replace_metacharacters,
    replace_named_groups,
    replace_unnamed_groups,
)
from django.utils.decorators import sync_and_async_middleware

from ztmon.guard.callers import ROUTE, keep

REGULAR = frozenset("^$\\(?")
"""What is in no path() but in most of what re_path() takes."""

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
    """Put it down; nothing where no route matched."""
    found = request.resolver_match
    if found is None or found.route is None:
        return
    prefix = request.path.removesuffix(request.path_info)
    place = request.scope if hasattr(request, "scope") else request.META
    place[ROUTE] = prefix + (_templates.get(found.route) or keep(_templates, found.route, template(found.route)))


def template(pattern: str) -> str:
    """A route of a URLconf as a path with its parameters in angle brackets."""
    if not REGULAR.isdisjoint(pattern):
        plain = replace_unnamed_groups(replace_named_groups(remove_non_capturing_groups(pattern)))
        pattern = replace_metacharacters(plain).replace("\\", "")
    return "/" + pattern.lstrip("/")
