"""GET /openapi.json: the routes as OpenAPI 3.1, made from their table."""

import re
from typing import TYPE_CHECKING, Any

import msgspec

from ztmon import wire
from ztmon.gateway.http import TITLES, Answer, Request, json_answer
from ztmon.gateway.routes import ANY, ANYBODY, CONTROL, Route

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

PLACE = "#/components/schemas/{name}"
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")

PROBLEM = {
    "type": "object", "required": ["type", "title", "status", "detail"],
    "properties": {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                   "detail": {"type": "string"}, "field": {"type": "string"},
                   "problems": {"type": "array", "items": {"$ref": PLACE.format(name="ProblemAnswer")}}},
}  # fmt: skip


def describe(routes: tuple[Route, ...], version: str) -> dict[str, Any]:
    """The document."""
    kinds = [kind for route in routes for kind in (route.body, route.answer) if isinstance(kind, type)]
    _, components = msgspec.json.schema_components([*kinds, wire.Event], ref_template=PLACE)
    components["Problem"] = PROBLEM
    _limit_texts(components["Event"]["properties"])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in METHODS if route.method == ANY else (route.method.lower(),):
            paths.setdefault(route.path, {})[method] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ztmon", "version": version, "license": {"name": "MIT", "identifier": "MIT"},
                 "description": "Telemetry in, decisions out; partners, their profiles, and what people do about them."},
        "paths": paths,
        "components": {"schemas": components,
                       "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _limit_texts(properties: dict[str, Any]) -> None:
    for name, most in wire.LONGEST.items():
        for schema in (properties[wire.NAMES[name]], *properties[wire.NAMES[name]].get("anyOf", ())):
            if schema.get("type") == "string":
                schema["maxLength"] = most // 4         # so many characters fit, whatever they are


def _operation(route: Route, method: str) -> dict[str, Any]:
    named = re.findall(r"{(\w+)}", route.path)
    statuses = {400, *route.statuses} | ({401, 403} if route.role else set()) | ({415} if route.body else set())
    words = re.sub(r"\W+", "_", route.path).strip("_") or "page"
    found: dict[str, Any] = {
        "operationId": f"{method}_{words}", "summary": route.what,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                       for name in named]
        + [{"name": p.name, "in": "query", "required": p.required, "description": p.what, "schema": p.schema}
           for p in route.parameters],
        "security": [{"token": []}, {}] if route.role else [],
        "responses": {"200": _content(route.kind, _schema(route.answer), "What was asked for.")}
        | {str(status): _content("application/problem+json", {"$ref": PLACE.format(name="Problem")}, TITLES[status])
           for status in sorted(statuses)},
    }  # fmt: skip
    if route.path == "/telemetry":
        event = {"$ref": PLACE.format(name="Event")}
        found["requestBody"] = {"required": True, "content": {
            "application/json": {"schema": {"anyOf": [event, {"type": "array", "items": event}]}}}}
        found["responses"]["202"] = _content(route.kind, _schema(route.answer), "Taken in; nobody waited for decisions.")
    elif route.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(route.body)}}}
    if route.role == CONTROL:
        found["description"] = "In the audit log under the token's name."
    return found


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, dict):
        return kind
    return {"$ref": PLACE.format(name=kind.__name__)} if kind is not None else {}


def _content(kind: str, schema: dict[str, Any], what: str) -> dict[str, Any]:
    return {"description": what, "content": {kind: {"schema": schema}}}


async def openapi(gateway: "Gateway", request: Request) -> Answer:
    """The document."""
    from ztmon import __version__
    return json_answer(describe(gateway.table.routes, __version__))


ROUTES = (Route("GET", "/openapi.json", ANYBODY, openapi, "All routes, as OpenAPI."),)
