"""GET /decisions: who is to be acted on, for adapters that keep a copy (ztmon.guard.remote)."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ztcore.levels import Action
from ztmon.gateway.http import Answer, Refused, Request, json_answer
from ztmon.gateway.routes import TELEMETRY, Parameter, Route

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway
    from ztmon.monitor import Monitor
    from ztmon.profile import Profile

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
    settings = monitor.settings
    raised = max(wanted.values(), default=0.0)
    if settings["shadow"] or settings["kill_switch"] or not sum(monitor.levels()[Action.ALERT if raised else Action.THROTTLE:]):
        return []
    found, now = [], time.time()
    for profile in monitor.highest(Action.THROTTLE, settings["threshold_throttle"] / raised if raised else None):
        one = shown(monitor, profile, 1.0)
        routes = {name: shown(monitor, profile, value) for name, value in wanted.items()}
        if one["level"] != "monitor" or any(route["level"] != "monitor" for route in routes.values()):
            found.append({"app": profile.app, "partner": profile.partner, **one, "score": round(profile.score, 1),
                          "ends_seconds": None if profile.until is None else max(0.0, profile.until - now),
                          **({"routes": routes} if wanted else {})})
    return found


def shown(monitor: "Monitor", profile: "Profile", sensitivity: float) -> dict[str, Any]:
    """What is done with a partner, "monitor" being nothing, and how often its calls would pass were it throttled."""
    decision = monitor.peek(profile.partner, profile.app, sensitivity=sensitivity)
    if not decision.enforced and decision.interval == 0.0:
        return {"level": "monitor", "interval": 0.0}
    throttled = monitor.peek(profile.partner, profile.app, sensitivity=sensitivity, most=Action.THROTTLE)
    return {"level": decision.action.name.lower(), "interval": throttled.interval}


ONE = "[0-9]{1,2}([.][0-9]{1,17})?"
OF_ROUTES = Parameter("sensitivity", f"what routes multiply scores with: at most {SENSITIVITIES} numbers from 0.1 to 10",
                      {"type": "string", "pattern": f"^{ONE}(,{ONE}){{0,{SENSITIVITIES - 1}}}$"})

ROUTES = (
    Route("GET", "/decisions", TELEMETRY, decisions, "Partners on whom is acted, for adapters that keep a copy.",
          parameters=(OF_ROUTES,), statuses=(400,)),
)  # fmt: skip
