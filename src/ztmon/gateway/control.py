"""Routes that change something; each change is in the audit log under the token's name, with its reason."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ztcore.levels import Action
from ztmon.errors import ConfigError, StoreError
from ztmon.gateway.http import Answer, Refused, Request, json_answer
from ztmon.gateway.reading import APP, who
from ztmon.gateway.routes import CONTROL, Parameter, Route
from ztmon.gateway.runtime import Changes, write_changes

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

log = logging.getLogger("ztmon.gateway")

Why = Annotated[str, Meta(min_length=1, max_length=500, description="why, for the audit log")]
Level = Literal["monitor", "alert", "throttle", "quarantine", "block"]
Seconds = Annotated[float, Meta(gt=0, le=10 * 366 * 86400)]


class Reason(msgspec.Struct):
    """Why something is done."""

    reason: Why


class Restore(Reason, rename="camel"):
    """falsePositive: the alarm was false; the signals that raised it score nothing for a day."""

    false_positive: bool = False


class Pin(Reason):
    """ttl: seconds, left out: until it is lifted."""

    level: Level
    ttl: Seconds | None = None


class Allow(Reason):
    """Whether the partner is scored but never acted on."""

    allowed: bool


class Cap(Reason):
    """The highest level its score may reach; block: no bound."""

    level: Level


class Expect(Reason):
    """until: s since the epoch; rate: times the usual calls, 1 withdraws it."""

    until: float
    rate: Annotated[float, Meta(ge=1, le=1000)] = 10.0


class Switch(Reason):
    """Whether all enforcement is off."""

    on: bool


class ConfigChanges(Reason):
    """Settings by name, with their new values."""

    changes: Annotated[dict[str, bool | int | float | None], Meta(min_length=1)]


async def restore(gateway: "Gateway", request: Request) -> Answer:
    """End any action and forgive the evidence."""
    body = await request.json(Restore)
    monitor, (partner, app), by = gateway.monitor, who(request), request.principal.name
    return await _act(gateway, request, lambda: monitor.restore(partner, body.reason, app, body.false_positive, by))


async def pin(gateway: "Gateway", request: Request) -> Answer:
    """Hold it at a level."""
    body = await request.json(Pin)
    monitor, (partner, app), by = gateway.monitor, who(request), request.principal.name
    return await _act(gateway, request,
                      lambda: monitor.pin(partner, Action[body.level.upper()], body.ttl, body.reason, app, by))


async def unpin(gateway: "Gateway", request: Request) -> Answer:
    """Lift a pin."""
    monitor, (partner, app), by, why = gateway.monitor, who(request), request.principal.name, reason_of(request)
    return await _act(gateway, request, lambda: monitor.unpin(partner, why, app, by))


async def allow(gateway: "Gateway", request: Request) -> Answer:
    """Put it on the allow list or take it off."""
    body = await request.json(Allow)
    monitor, (partner, app), by = gateway.monitor, who(request), request.principal.name
    async with gateway.changing:
        await keep(gateway, gateway.runtime.listed("allow", app, partner, body.allowed, by, body.reason))
        return await _act(gateway, request, lambda: monitor.allow(partner, body.allowed, body.reason, app, by))


async def cap(gateway: "Gateway", request: Request) -> Answer:
    """Bound the level that its score can reach."""
    body = await request.json(Cap)
    level = Action[body.level.upper()]
    monitor, (partner, app), by = gateway.monitor, who(request), request.principal.name
    async with gateway.changing:
        await keep(gateway, gateway.runtime.listed("max_action", app, partner, int(level), by, body.reason))
        return await _act(gateway, request, lambda: monitor.cap(partner, int(level), body.reason, app, by))


async def expect(gateway: "Gateway", request: Request) -> Answer:
    """Announce that it will call more."""
    body = await request.json(Expect)
    monitor, (partner, app), by = gateway.monitor, who(request), request.principal.name
    return await _act(gateway, request, lambda: monitor.expect(partner, body.until, body.rate, body.reason, app, by))


async def reauthenticated(gateway: "Gateway", request: Request) -> Answer:
    """The application authenticated it anew."""
    monitor, (partner, app), by = gateway.monitor, who(request), request.principal.name
    return await _act(gateway, request, lambda: monitor.reauthenticated(partner, app, by=by))


async def forget(gateway: "Gateway", request: Request) -> Answer:
    """Erase all that is known of it, everywhere."""
    monitor, (partner, app), by, why = gateway.monitor, who(request), request.principal.name, reason_of(request)
    async with gateway.changing:
        left = {name: c for name, c in gateway.runtime.changes.items() if name.partition(":")[2] != f"{app}/{partner}"}
        if left != gateway.runtime.changes:
            await keep(gateway, left)
        done = await _in_thread(lambda: monitor.forget(partner, app, why, by))
    if not done:
        raise _unknown()
    return json_answer({"forgotten": True})


async def _act(gateway: "Gateway", request: Request, what: Callable[[], Any]) -> Answer:
    """Do something to a partner; the answer is how it stands then."""
    if await _in_thread(what) is False:
        raise Refused(409 if gateway.monitor.profile(*who(request)) else 404,
                      "nothing was to be done: no such partner in this app, or it is not in that state")
    profile = gateway.monitor.profile(*who(request))
    if profile is None:
        raise _unknown()
    return json_answer(profile.to_dict())


async def _in_thread(what: Callable[[], Any]) -> Any:
    """An act may wait for who is at work on the partner, or for the store."""
    try:
        return await asyncio.to_thread(what)
    except (TimeoutError, MemoryError, StoreError) as error:
        raise Refused(503, str(error)) from None
    except ValueError as error:
        raise Refused(422, str(error)) from None


def _unknown() -> Refused:
    return Refused(404, "this partner is not known in this app; another app is named by ?app=")


def reason_of(request: Request) -> str:
    """Of a request without a body. Raises Refused (422)."""
    reason = request.parameter("reason")
    if not 0 < len(reason) <= 500:
        raise Refused(422, "the reason is missing or too long: ?reason= with up to 500 characters, for the audit log",
                      field="reason")
    return reason


# -- settings --------------------------------------------------------------------------------------


async def change_config(gateway: "Gateway", request: Request) -> Answer:
    """Change settings; they win over the file until they are cleared."""
    body = await request.json(ConfigChanges)
    return await change(gateway, dict(body.changes), request.principal.name, body.reason)


async def clear_config(gateway: "Gateway", request: Request) -> Answer:
    """Let the file decide about a setting again."""
    name, why = request.named["name"], reason_of(request)
    async with gateway.changing:
        changes = gateway.runtime.changes
        if name not in changes:
            raise Refused(404, "this setting was not changed while running")
        return await _put_in_force(gateway, {n: c for n, c in changes.items() if n != name}, request.principal.name, why)


async def kill_switch(gateway: "Gateway", request: Request) -> Answer:
    """Turn all enforcement off at once, or on again."""
    body = await request.json(Switch)
    return await change(gateway, {"kill_switch": body.on}, request.principal.name, body.reason)


async def change(gateway: "Gateway", new: dict[str, Any], by: str, reason: str) -> Answer:
    """Change settings. Raises Refused (422)."""
    async with gateway.changing:
        try:
            changes = gateway.runtime.with_changes(new, by, reason)
        except ConfigError as error:
            raise Refused(422, str(error)) from None
        return await _put_in_force(gateway, changes, by, reason)


async def _put_in_force(gateway: "Gateway", changes: Changes, by: str, reason: str) -> Answer:
    runtime = gateway.runtime
    try:
        names = runtime.apply(gateway.monitor, runtime.file, changes, by, reason)
    except ConfigError as error:
        raise Refused(422, str(error), field=str(error).split()[0]) from None
    await keep(gateway, changes)
    log.warning("%s by %s (%s)", gateway.runtime.said(names) or "no setting is different", by, reason)
    gateway.hub.tell("settings", {"at": time.time(), "by": by, "reason": reason, "changed": names})
    return json_answer({"stored": gateway.shelf.store is not None, "settings": runtime.shown()})


async def keep(gateway: "Gateway", changes: Changes) -> None:
    """Write the changes down, where there is a store; else they last until the end of the process."""
    gateway.runtime.took(changes)
    if gateway.shelf.store is not None:
        await gateway.shelf.ask(lambda store: write_changes(store, changes))


async def reset_blast(gateway: "Gateway", request: Request) -> Answer:
    """Somebody looked: newcomers are acted on again."""
    gateway.blast.reset(request.principal.name, reason_of(request))
    return json_answer(gateway.blast.shown())


WHY = Parameter("reason", "why, for the audit log", {"type": "string", "minLength": 1, "maxLength": 500}, True)
NAMED = "/partners/{partner}"

ROUTES = (
    Route("POST", f"{NAMED}/restore", CONTROL, restore, "End any action on a partner, and forgive the evidence.", Restore,
          parameters=(APP,), statuses=(404, 409, 422, 503)),
    Route("POST", f"{NAMED}/pin", CONTROL, pin, "Hold a partner at a level, whatever its score.", Pin,
          parameters=(APP,), statuses=(404, 422, 503)),
    Route("DELETE", f"{NAMED}/pin", CONTROL, unpin, "Lift a pin; the score decides again.",
          parameters=(APP, WHY), statuses=(404, 409, 422, 503)),
    Route("PUT", f"{NAMED}/allow", CONTROL, allow, "Put a partner on the allow list or take it off.", Allow,
          parameters=(APP,), statuses=(404, 422, 503)),
    Route("PUT", f"{NAMED}/max-action", CONTROL, cap, "Bound the level a partner's score can reach.", Cap,
          parameters=(APP,), statuses=(404, 422, 503)),
    Route("POST", f"{NAMED}/expect", CONTROL, expect, "Announce that a partner will call more until a time.", Expect,
          parameters=(APP,), statuses=(404, 422, 503)),
    Route("POST", f"{NAMED}/reauthenticated", CONTROL, reauthenticated,
          "The application authenticated the partner anew: ends a quarantine.", parameters=(APP,), statuses=(404, 409, 503)),
    Route("DELETE", NAMED, CONTROL, forget, "Erase all that is known of a partner, everywhere.",
          parameters=(APP, WHY), statuses=(404, 422, 503)),
    Route("PATCH", "/config", CONTROL, change_config, "Change settings while running.", ConfigChanges, statuses=(422, 503)),
    Route("DELETE", "/config/{name}", CONTROL, clear_config, "Let the file decide about a setting again.",
          parameters=(WHY,), statuses=(404, 422, 503)),
    Route("PUT", "/kill-switch", CONTROL, kill_switch, "Turn all enforcement off at once, or on again.", Switch,
          statuses=(422, 503)),
    Route("DELETE", "/blast-radius", CONTROL, reset_blast, "Let newcomers be acted on again.", parameters=(WHY,),
          statuses=(422,)),
)  # fmt: skip
