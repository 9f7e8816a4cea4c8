"""Routes that look: partners, counts, health."""

import time
from typing import TYPE_CHECKING, Any

from ztmon.gateway.http import Answer, Refused, Request, json_answer
from ztmon.gateway.routes import ANYBODY, READ, Parameter, Route
from ztmon.profile import Profile

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

LISTED = 1000
"""Partners that /partners lists unless `limit` says otherwise."""


async def health(gateway: "Gateway", request: Request) -> Answer:
    """Is it there?"""
    return json_answer({"status": "ok"})


async def stats(gateway: "Gateway", request: Request) -> Answer:
    """Counts, mode, uptime."""
    settings = gateway.monitor.settings
    beside = {name: value for part in gateway.beside for name, value in part.stats().items()}
    figures = gateway.figures
    return json_answer({
        **gateway.monitor.stats(), **beside, "accepted": figures.accepted, "rejected": figures.rejected,
        "clamped": gateway.intake.clamped, "shadow": settings["shadow"], "kill_switch": settings["kill_switch"],
        "demo": gateway.demo, "uptime_seconds": round(time.time() - gateway.started, 1)})


async def partners(gateway: "Gateway", request: Request) -> Answer:
    """All of them, the highest levels first."""
    limit = request.whole("limit", LISTED, 1, 100_000)
    app = request.parameter("app")
    found = [profile for profile in gateway.monitor.partners() if not app or profile.app == app]
    return json_answer({"total": len(found), "partners": [summary(profile) for profile in found[:limit]]})


async def partner(gateway: "Gateway", request: Request) -> Answer:
    """One of them, whole."""
    name, app = who(request)
    profile = gateway.monitor.profile(name, app)
    if profile is None:
        raise Refused(404, "this partner is not known in this app; another app is named by ?app=")
    return json_answer(profile.to_dict())


def who(request: Request) -> tuple[str, str]:
    """Name and application of a path and a query. Raises Refused (404)."""
    name, app = request.named["partner"], request.parameter("app", "default")
    if not name or not app:
        raise Refused(404, "a partner and its app have names that are not empty")
    return name, app


def summary(profile: Profile) -> dict[str, Any]:
    """One line of the list of partners."""
    first = profile.reasons[0] if profile.reasons else None
    return {
        "app": profile.app,
        "partner": profile.partner,
        "level": profile.level.name.lower(),
        "score": round(profile.score, 1),
        "events": profile.events,
        "requests_per_hour": round(profile.requests_per_hour, 1),
        "reason": None if first is None else {"signal": first.signal, "detail": first.detail},
        "since": profile.since,
        "until": profile.until,
        "last_seen": profile.last_seen,
        "learning": profile.learning,
        "pinned": profile.pinned,
        "allowed": profile.allowed,
    }


APP = Parameter("app", "the application the partner belongs to; default unless given", {"type": "string"})
LIMIT = Parameter("limit", f"so many at most; {LISTED:,} unless given", {"type": "integer", "minimum": 1, "maximum": 100_000})

ROUTES = (
    Route("GET", "/healthz", ANYBODY, health, "Is it there?"),
    Route("GET", "/stats", READ, stats, "Counts, mode, uptime."),
    Route("GET", "/partners", READ, partners, "All partners, the highest levels first.",
          parameters=(LIMIT, Parameter("app", "only those of this application", {"type": "string"})), statuses=(400,)),
    Route("GET", "/partners/{partner}", READ, partner, "One partner, whole.", parameters=(APP,), statuses=(404,)),
)  # fmt: skip
