"""Routes that look back: history, scores, alerts, the audit log. They need a store."""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ztmon import audit
from ztmon.gateway.http import Answer, Request, json_answer
from ztmon.gateway.reading import APP, who
from ztmon.gateway.routes import READ, Parameter, Route
from ztmon.store.base import Entry, Store

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

LEVELS = ("monitor", "alert", "throttle", "quarantine", "block")
MOST = 10_000
"""Entries of an answer at most; the newest are kept."""


async def history(gateway: "Gateway", request: Request) -> Answer:
    """What happened to a partner."""
    name, app = who(request)
    since, until = span(request)
    key = gateway.monitor.partner_key(name, app)
    found = await gateway.shelf.ask(lambda store: store.history(key, since, until))
    return json_answer({"entries": [shown(entry) for entry in found[-MOST:]]})


async def scores(gateway: "Gateway", request: Request) -> Answer:
    """A partner's score, minute by minute; a minute that is left out had 0."""
    name, app = who(request)
    since, until = span(request)
    key = gateway.monitor.partner_key(name, app)
    found = await gateway.shelf.ask(lambda store: store.scores(key, since, until))
    return json_answer({"scores": [{"at": s.minute * 60, "score": s.score, "level": LEVELS[s.level]} for s in found[-MOST:]]})


async def alerts(gateway: "Gateway", request: Request) -> Answer:
    """Rises of anybody to alert or above, the newest first."""
    since, until = span(request)
    limit = request.whole("limit", 100, 1, MOST)
    raised = await gateway.shelf.ask(lambda store: rises(store, since, until))
    found = []
    for entry in raised[: -limit - 1 : -1]:
        row = gateway.monitor.by_key(entry.key)
        found.append({**shown(entry), "app": row[0], "partner": row[1]})
    return json_answer({"total": len(raised), "alerts": found})


async def audit_log(gateway: "Gateway", request: Request) -> Answer:
    """The newest lines of the audit log."""
    limit = request.whole("limit", 100, 1, MOST)
    found = await gateway.shelf.ask(lambda store: list(deque(audit.export(store), maxlen=limit)))
    return json_answer({"lines": found})


def rises(store: Store, since: float, until: float) -> list[Entry]:
    """Changes of level upward, to alert or above."""
    return [entry for entry in store.history(None, since, until)
            if entry.kind == "level" and LEVELS.index(entry.data["to"]) > max(0, LEVELS.index(entry.data["from"]))]


def span(request: Request) -> tuple[float, float]:
    """From when to when, s. Raises Refused (400)."""
    return (request.number("since", time.time() - 86400.0, 0.0, 1e12), request.number("until", 1e12, 0.0, 1e12))


def shown(entry: Entry) -> dict[str, Any]:
    """An entry of the history, ready for JSON."""
    return {"at": entry.at, "kind": entry.kind, **entry.data}


SECONDS = {"type": "number", "minimum": 0, "maximum": 1e12}
SPAN = (Parameter("since", "from when on, s since the epoch; a day ago unless given", SECONDS),
        Parameter("until", "up to when, s since the epoch", SECONDS))
LIMIT = Parameter("limit", "so many at most, the newest", {"type": "integer", "minimum": 1, "maximum": MOST})

ROUTES = (
    Route("GET", "/partners/{partner}/history", READ, history, "What happened to a partner: levels, anomalies, decisions of "
          "people.", parameters=(APP, *SPAN), statuses=(404, 409, 503)),
    Route("GET", "/partners/{partner}/scores", READ, scores, "A partner's score, minute by minute.",
          parameters=(APP, *SPAN), statuses=(404, 409, 503)),
    Route("GET", "/alerts", READ, alerts, "Who rose to alert or above, the newest first.", parameters=(*SPAN, LIMIT),
          statuses=(409, 503)),
    Route("GET", "/audit", READ, audit_log, "Who changed what, when and why.", parameters=(LIMIT,), statuses=(409, 503)),
)  # fmt: skip
