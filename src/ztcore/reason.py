"""Reasons in words: what was seen, what is usual, over which time."""

import math
import time
from typing import NamedTuple

from ztcore.levels import CUSTOM, SIGNALS


class Reason(NamedTuple):
    """One reason for a score. signal: its name in ztcore.levels.SIGNALS, or of your own signal; evidence: nats (how
    much better "something is different" explains the calls than chance does; one in e to their power by chance);
    detail: what was seen and what is usual; since: when the evidence began, seconds since the epoch, None where
    that is not known."""

    signal: str
    evidence: float
    detail: str
    since: float | None = None

    def to_dict(self) -> dict[str, object]:
        """The same on the wire: nats to two digits, since in ms."""
        found: dict[str, object] = {"signal": self.signal, "evidence": round(self.evidence, 2), "detail": self.detail}
        return found | ({"since": round(self.since * 1000)} if self.since else {})

    def __str__(self) -> str:
        """With how unlikely it is, and since when."""
        more = []
        if self.evidence < CERTAIN:
            more.append(f"by chance {odds(self.evidence)}")
        if self.since:
            more.append(time.strftime("since %H:%M:%S UTC", time.gmtime(self.since)))
        return f"{self.detail} ({', '.join(more)})" if more else self.detail


CERTAIN = 500.0
"""Nats from which on it is no estimate: a ceiling was passed."""

SEEN = {
    "auth_failures": "answers were authentication failures",
    "client_errors": "answers were client errors",
    "server_errors": "answers were server errors",
    "new_endpoints": "calls went to endpoints it hardly ever uses",
    "large_requests": "requests were larger than it usually sends",
    "large_responses": "responses were larger than usual for their endpoint",
    "slow_responses": "responses were slower than usual for their endpoint",
    "new_sources": "calls came from addresses it never used",
    "sequential_ids": "calls went through object ids one after the other",
    "suspicious_patterns": "calls carried an injection or traversal pattern",
    "new_source_and_endpoint": "calls to unfamiliar endpoints came from an unfamiliar address",
    "destructive_method": "calls used a changing method it never used before",
    "errors_on_new_endpoints": "calls to unfamiliar endpoints failed",
    "new_ids": "calls asked for object ids it had not asked for before",
    "unusual_hour": "calls came at an hour at which it never calls",
    "endpoint_focus": "calls went to one and the same endpoint",
}


def number(x: float) -> str:
    """A count as people write it: 3, 12, 1,250, 3.4 million."""
    if x >= 1e6:
        return f"{x / 1e6:,.1f} million"
    if x >= 10 or abs(x - round(x)) < 0.05:
        return f"{round(x):,}"
    return f"{x:.1f}"


def share(p: float) -> str:
    """A share as people say it: 1 in 200, 12 %, next to none."""
    if p <= 0.00011:
        return "next to none"
    if p < 0.09:
        return f"1 in {number(round(1 / p))}"
    return f"{p * 100:.0f} %"


def odds(nats: float) -> str:
    """How likely evidence is by chance."""
    return f"1 in {number(float(f'{math.exp(nats):.2g}'))}" if nats < 20.0 else "less than 1 in 100 million"


def size(n: float) -> str:
    """Bytes with a unit."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "bytes" or n >= 10 else f"{n:.1f} {unit}"
        n /= 1000
    raise AssertionError("unreachable")


def span(half_life: float) -> str:
    """The time a half-life looks back over."""
    known = {60.0: "the last minutes", 600.0: "the last quarter of an hour", 1800.0: "the last hour"}
    return known.get(half_life, "the last hours")


def describe(signal: int, evidence: float, k: float, n: float, p: float, half_life: float,
             since: float = 0.0, own: tuple[str, ...] = ()) -> Reason:
    """The reason of a signal (index into SIGNALS): k hits among the last n, usual share p; for rates
    k seen where n were expected; half_life in seconds; since: when the evidence began; own: the names of
    the user's signals."""
    name = SIGNALS[signal] if 0 <= signal < len(SIGNALS) else "unknown"
    seen = SEEN.get(name, "")
    if name in CUSTOM:
        which = CUSTOM.index(name)
        name = own[which] if which < len(own) else name
        seen = f"calls were what {name} looks for"
    if seen:
        hits, trials = max(1, round(k)), max(1, round(n))
        if hits >= trials:
            text = f"all of the last {number(trials)} {seen}" if trials > 1 else f"1 of 1 {seen}"
        else:
            text = f"{number(hits)} of the last {number(trials)} {seen}"
        text = f"{text}, usually {share(p)}"
    elif name == "request_rate":
        text = f"{number(k)} requests in {span(half_life)}, usually about {number(n)} in that time"
    elif name == "rate_ramp":
        text = f"requests have grown to {number(k / max(n, 0.5))} times the usual over {span(half_life)}"
    elif name == "bytes_out":
        text = f"{size(k)} sent to it in {span(half_life)}, usually about {size(n)}"
    elif name == "ceiling_request_rate":
        text = f"{number(k)} requests within a minute, the ceiling is {number(n)}"
    elif name == "ceiling_error_rate":
        text = f"{number(k)} of {number(n)} answers within a minute were server errors, the ceiling is {share(p)}"
    elif name == "ceiling_response_time":
        text = f"answers took {number(k)} ms on average within a minute, the ceiling is {number(p)} ms"
    else:
        text = "no reason is known"
    return Reason(name, evidence, text, since or None)
