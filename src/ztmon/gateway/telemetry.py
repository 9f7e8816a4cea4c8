"""From a body of telemetry to the decisions about it."""

from typing import Any

import msgspec

from ztcore.decision import Decision
from ztmon import wire
from ztmon.gateway.http import Refused
from ztmon.monitor import Monitor

SHOWN = 100
"""Problems that an answer lists; all are counted."""


def take_in(monitor: Monitor, body: bytes) -> dict[str, Any]:
    """Observe the events of a body; what there is to answer.

    accepted, rejected: how many events; decisions: one for each event in their order, null for one that
    could not be used; problems: which event (from 0) and field, and what is wrong with it.
    Raises Refused: 400 where the body is not telemetry, 422 where no event of it could be used.
    """
    try:
        events, problems = wire.read(body)
    except wire.NotTelemetry as error:
        raise Refused(400, str(error)) from None
    bad = len({problem.event for problem in problems})
    listed = msgspec.to_builtins(problems[:SHOWN])
    if not events and bad:
        raise Refused(422, f"none of {bad:,} events could be used; the first: {_where(problems[0])}", problems=listed)
    decisions: list[dict[str, Any] | None] = [None] * (len(events) + bad)
    for place, event in events:
        decisions[place] = as_json(observe(monitor, event))
    return {"accepted": len(events), "rejected": bad, "decisions": decisions, "problems": listed}


def observe(monitor: Monitor, event: wire.Event) -> Decision:
    """One event of the wire into the monitor."""
    return monitor.observe(
        event.partner, event.endpoint, method=event.method, status=event.status, latency_ms=event.latency_ms,
        request_bytes=event.request_bytes or 0, response_bytes=event.response_bytes or 0,
        source=event.source or None, app=event.app, timestamp=event.timestamp / 1000, count=event.count or 1,
    )  # fmt: skip


def as_json(decision: Decision) -> dict[str, Any]:
    """A decision on the wire; retryAfter in seconds, 0 where there is nothing to wait for."""
    return {
        "action": decision.action.name.lower(),
        "score": round(decision.score, 1),
        "enforced": bool(decision.enforced),
        "retryAfter": round(decision.retry_after, 3),
        "reasons": [reason.to_dict() for reason in decision.reasons],
    }


def _where(problem: wire.Problem) -> str:
    return f"event {problem.event}: {problem}"
