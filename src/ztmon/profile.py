"""What is known of one partner, as people read it."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ztcore.layout import histogram_quantile
from ztcore.levels import Action
from ztcore.reason import Reason

if TYPE_CHECKING:
    from ztcore.engine import Engine

NO_PIN = 255
ALLOWED, GROWN = 1, 16
NS = 1e-9


@dataclass(frozen=True, slots=True)
class Profile:
    """A partner at one moment. Times are seconds since the epoch, sizes bytes, latencies ms."""

    app: str
    partner: str
    """As given, or a pseudonym where the name was over 64 bytes."""
    level: Action
    """What counts: a pin, else what the score reached, bounded by max_action."""
    score: float
    """0..100, of the last event."""
    reasons: tuple[Reason, ...]
    """Why the level was reached; empty at monitor."""
    since: float | None
    """When the level was reached; None at monitor."""
    until: float | None
    """When it ends at the latest; None at monitor and for what has no end."""
    events: int
    """How many were seen."""
    requests_per_hour: float
    """The rate expected at this hour of the day."""
    average_request_bytes: float
    average_response_bytes: float
    latency_ms: dict[str, float]
    """p50, p90 and p99, within 10 %; empty before the first event."""
    endpoints: tuple[tuple[str, int], ...]
    """Method and template with the calls counted, most called first."""
    other_calls: int
    """Calls of endpoints that are no longer among them."""
    familiar_sources: int
    """Addresses seen in at least three clock hours."""
    active_hours: tuple[int, ...]
    """Hours of the day (UTC) at which it has called."""
    first_seen: float | None
    last_seen: float | None
    learning: bool
    """True while the score alone raises no level."""
    pinned: bool
    allowed: bool
    max_action: Action

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON: levels by name, reasons as maps."""
        found = asdict(self)
        found["level"] = self.level.name.lower()
        found["max_action"] = self.max_action.name.lower()
        found["reasons"] = [reason.to_dict() for reason in self.reasons]
        found["endpoints"] = [{"endpoint": name, "calls": calls} for name, calls in self.endpoints]
        found["active_hours"] = list(self.active_hours)
        return found


def partner_name(row: Any) -> str:
    """The partner's name in a row, or a pseudonym where it has none."""
    length = int(row["name_length"])
    if length == 0:
        return f"partner-{int(row['key']) >> 32:08x}"
    return bytes(row["name"]).ljust(64, b"\0")[:length].decode("utf-8", "replace")


def read_profile(engine: "Engine", row: Any, elsewhere: int = 0) -> Profile:
    """A Profile from a copy of a partner's row (a record of ztcore.layout.ROW). elsewhere: calls other hosts counted."""
    pinned = int(row["pin_level"]) != NO_PIN
    level = int(row["pin_level"]) if pinned else min(int(row["level"]), int(row["max_action"]))
    end = int(row["pin_until"]) if pinned else int(row["fresh_at"]) + engine.holds[int(row["level"])]
    seen = int(row["events"]) > 0
    calls = [(engine.endpoint_name((int(slot["mark"]) & 0xFFFFFF) << 40), int(slot["count"]) & 0xFFFFFF)
             for slot in row["endpoints"] if slot["mark"]]
    return Profile(
        app=engine.app_name(int(row["app"])),
        partner=partner_name(row),
        level=Action(level),
        score=float(row["score"]),
        reasons=engine.reasons(row) if level and not pinned else (),
        since=int(row["since"]) * NS if level and not pinned else None,
        until=end * NS if level and end < 1 << 62 else None,
        events=int(row["events"]) + elsewhere,
        requests_per_hour=float(row["rate"]) * 3600.0,
        average_request_bytes=float(row["request_mean"]),
        average_response_bytes=float(row["response"]["mean"]),
        latency_ms={f"p{q}": histogram_quantile(row["latency"], q / 100) for q in (50, 90, 99)}
        if row["latency"].any() else {},
        endpoints=tuple(sorted(calls, key=lambda call: -call[1])),
        other_calls=int(row["rest"]),
        familiar_sources=int((row["sources"]["familiar"]["hours"] >= 3).sum()),
        active_hours=tuple(hour for hour in range(24) if int(row["hours"]["called"]) >> hour & 1),
        first_seen=int(row["first_seen"]) * NS if seen else None,
        last_seen=int(row["last_seen"]) * NS if seen else None,
        learning=not int(row["flags"]) & GROWN,
        pinned=pinned,
        allowed=bool(int(row["flags"]) & ALLOWED),
        max_action=Action(int(row["max_action"])),
    )
