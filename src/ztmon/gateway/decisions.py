"""GET /decisions: who is to be acted on, for adapters that keep a copy (ztmon.guard.remote)."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ztcore.levels import Action
from ztmon.gateway.http import Answer, Request, json_answer
from ztmon.gateway.routes import TELEMETRY, Route

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway
    from ztmon.monitor import Monitor


async def decisions(gateway: "Gateway", request: Request) -> Answer:
    """All that are enforced, of the applications that who asks may speak for."""
    found = await asyncio.to_thread(enforced, gateway.monitor)
    apps = request.principal.apps
    return json_answer({"decisions": found if apps is None else [one for one in found if one["app"] in apps]})


def enforced(monitor: "Monitor") -> list[dict[str, Any]]:
    """Partners at throttle or above on whom is acted. ends_seconds: when it ends at the latest, null: it has no end; interval:
    seconds between the calls that a throttle lets through."""
    if not sum(monitor.levels()[Action.THROTTLE:]):
        return []
    found, now = [], time.time()
    for profile in monitor.highest(Action.THROTTLE):
        decision = monitor.peek(profile.partner, profile.app)
        if decision.enforced or decision.interval > 0.0:
            found.append({"app": profile.app, "partner": profile.partner, "level": decision.action.name.lower(),
                          "score": round(decision.score, 1), "interval": decision.interval,
                          "ends_seconds": None if profile.until is None else max(0.0, profile.until - now)})
    return found


ROUTES = (
    Route("GET", "/decisions", TELEMETRY, decisions, "Partners on whom is acted, for adapters that keep a copy."),
)  # fmt: skip
