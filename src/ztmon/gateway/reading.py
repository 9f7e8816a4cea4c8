"""Routes that look: partners, counts, health."""

import asyncio
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec

from ztmon.gateway.http import Answer, Refused, Request, json_answer
from ztmon.gateway.routes import ANYBODY, READ, Parameter, Route
from ztmon.gateway.runtime import SETTINGS
from ztmon.profile import Profile

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

LISTED = 1000
"""Partners that /partners lists unless `limit` says otherwise."""


async def health(gateway: "Gateway", request: Request) -> Answer:
    """Is it there?"""
    return json_answer({"status": "ok"})


async def ready(gateway: "Gateway", request: Request) -> Answer:
    """Can it do its work? 503 where the store cannot be read."""
    if gateway.ending:
        raise Refused(503, "the gateway is ending")
    if gateway.shelf.store is not None:
        await gateway.shelf.ask(lambda store: store.get("ready"))
    return json_answer({"status": "ready"})


async def explain(gateway: "Gateway", request: Request) -> Answer:
    """One partner in words."""
    name, app = who(request)
    if gateway.monitor.profile(name, app) is None:
        raise Refused(404, "this partner is not known in this app; another app is named by ?app=")
    return Answer(200, "text/plain; charset=utf-8", gateway.monitor.explain(name, app).encode())


async def config(gateway: "Gateway", request: Request) -> Answer:
    """What is in force; secrets are masked."""
    return json_answer(show_config(gateway))


async def stats(gateway: "Gateway", request: Request) -> Answer:
    """Counts, mode, uptime."""
    settings = gateway.monitor.settings
    beside = {name: value for part in gateway.beside for name, value in part.stats().items()}
    figures = gateway.figures
    counts = await asyncio.to_thread(gateway.monitor.stats)
    return json_answer({
        **counts, **beside, "accepted": figures.accepted, "rejected": figures.rejected,
        "clamped": gateway.intake.clamped, "newcomers_held": gateway.blast.tripped,
        "shadow": settings["shadow"], "kill_switch": settings["kill_switch"],
        "demo": gateway.demo, "uptime_seconds": round(time.time() - gateway.started, 1)})


async def partners(gateway: "Gateway", request: Request) -> Answer:
    """All of them, the highest levels first."""
    limit = request.whole("limit", LISTED, 1, 100_000)
    app = request.parameter("app")
    if app:
        found = [profile for profile in await asyncio.to_thread(gateway.monitor.partners) if profile.app == app]
        total = len(found)
    else:
        found = await asyncio.to_thread(gateway.monitor.partners, limit)
        total = sum(gateway.monitor.levels())
    return json_answer({"total": total, "partners": [summary(profile) for profile in found[:limit]]})


async def partner(gateway: "Gateway", request: Request) -> Answer:
    """One of them, whole."""
    name, app = who(request)
    profile = gateway.monitor.profile(name, app)
    if profile is None:
        raise Refused(404, "this partner is not known in this app; another app is named by ?app=")
    return json_answer(profile.to_dict())


HIDDEN = "(hidden)"


def show_config(gateway: "Gateway") -> dict[str, Any]:
    """Settings that can be changed with their file's value beside them, and the others as they are."""
    runtime = gateway.runtime
    kept = runtime.config
    fixed = {f.name: getattr(kept, f.name) for f in fields(kept)
             if f.name not in (*SETTINGS, "thresholds", "allow", "max_action", "gateway", "signals")}
    fixed["hash_key"] = HIDDEN
    fixed["redis"] = masked(kept.redis)
    fixed["signals"] = [str(getattr(signal, "name", signal)) for signal in kept.signals]
    return {
        "settings": runtime.shown(),
        "allow": sorted(kept.allow),
        "max_action": {name: level.name.lower() for name, level in kept.max_action.items()},
        "changed_lists": {name: msgspec.to_builtins(c) for name, c in runtime.changes.items() if ":" in name},
        "gateway": {f.name: getattr(gateway.settings, f.name) for f in fields(gateway.settings)}
        | {"otlp": masked(gateway.settings.otlp), "upstream": masked(gateway.settings.upstream),
           "udp_keys": [HIDDEN] * len(gateway.settings.udp_keys)},
        "fixed": fixed,
        "blast_radius": gateway.blast.shown(),
    }


def masked(url: str | None) -> str | None:
    """A URL without the password in it."""
    if url is None or "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{HIDDEN}@{rest.rpartition('@')[2]}"


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
    Route("GET", "/readyz", ANYBODY, ready, "Can it do its work?", statuses=(503,)),
    Route("GET", "/config", READ, config, "Settings in force, what the file says, and who changed them; secrets are masked."),
    Route("GET", "/stats", READ, stats, "Counts, mode, uptime."),
    Route("GET", "/partners", READ, partners, "All partners, the highest levels first.",
          parameters=(LIMIT, Parameter("app", "only those of this application", {"type": "string"})), statuses=(400,)),
    Route("GET", "/partners/{partner}", READ, partner, "One partner, whole.", parameters=(APP,), statuses=(404,)),
    Route("GET", "/partners/{partner}/explain", READ, explain, "How a partner stands, in words.", parameters=(APP,),
          statuses=(404,), kind="text/plain"),
)  # fmt: skip
