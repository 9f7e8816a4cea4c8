"""GET /decisions: who is to be acted on, for adapters that keep a copy (ztmon.guard.remote)."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ztcore.decision import Decision
from ztcore.levels import Action
from ztmon.gateway.http import Answer, Refused, Request, json_answer
from ztmon.gateway.routes import TELEMETRY, Parameter, Route

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway
    from ztmon.monitor import Monitor

SENSITIVITIES = 16
"""Of routes, in one question."""


async def decisions(gateway: "Gateway", request: Request) -> Answer:
    """All that are enforced, of the applications that who asks may speak for. Raises Refused (400)."""
    found = await asyncio.to_thread(enforced, gateway.monitor, sensitivities(request.parameter("sensitivity")))
    apps = request.principal.apps
    return json_answer({"decisions": found if apps is None else [one for one in found if one["app"] in apps]})


def sensitivities(text: str) -> dict[str, float]:
    """Numbers with commas between, by how they are written. Raises Refused (400)."""
    parts = [part for part in text.split(",") if part]
    try:
        found = {part: float(part) for part in parts}
    except ValueError:
        found = {"": 0.0}
    if len(found) > SENSITIVITIES or not all(0.1 <= value <= 10.0 for value in found.values()):
        raise Refused(400, f"sensitivity is {text[:80]!r}; allowed are at most {SENSITIVITIES} numbers from 0.1 to 10, with "
                           "commas between")
    return found


def enforced(monitor: "Monitor", wanted: dict[str, float]) -> list[dict[str, Any]]:
    """Partners on whom is acted, or would be on routes with those sensitivities. ends_seconds: when it ends at the latest, null:
    it has no end; interval: seconds between the calls that a throttle lets through; routes: the same by sensitivity."""
    least = Action.ALERT if wanted else Action.THROTTLE
    if not sum(monitor.levels()[least:]):
        return []
    found, now = [], time.time()
    for profile in monitor.highest(least):
        decision = monitor.peek(profile.partner, profile.app)
        routes = {name: acted(monitor.peek(profile.partner, profile.app, sensitivity=value)) for name, value in wanted.items()}
        one = acted(decision)
        if one["level"] != "monitor" or any(route["level"] != "monitor" for route in routes.values()):
            found.append({"app": profile.app, "partner": profile.partner, **one, "score": round(decision.score, 1),
                          "ends_seconds": None if profile.until is None else max(0.0, profile.until - now),
                          **({"routes": routes} if wanted else {})})
    return found


def acted(decision: Decision) -> dict[str, Any]:
    """What is done by it: "monitor" is nothing."""
    if decision.enforced or decision.interval > 0.0:
        return {"level": decision.action.name.lower(), "interval": decision.interval}
    return {"level": "monitor", "interval": 0.0}


ONE = "(0[.][1-9]|[1-9]([.][0-9])?|10)"
OF_ROUTES = Parameter("sensitivity", f"what routes multiply scores with: at most {SENSITIVITIES} numbers from 0.1 to 10",
                      {"type": "string", "pattern": f"^{ONE}(,{ONE}){{0,{SENSITIVITIES - 1}}}$"})

ROUTES = (
    Route("GET", "/decisions", TELEMETRY, decisions, "Partners on whom is acted, for adapters that keep a copy.",
          parameters=(OF_ROUTES,), statuses=(400,)),
)  # fmt: skip
