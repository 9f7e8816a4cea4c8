"""Reasons in words: what was seen, what is usual, over which time."""

from typing import NamedTuple

from ztcore.levels import SIGNALS


class Reason(NamedTuple):
    """One reason for a score. signal: its name in ztcore.levels.SIGNALS; evidence: nats (how much
    better "something is different" explains the calls than chance does); detail: a sentence."""

    signal: str
    evidence: float
    detail: str

    def __str__(self) -> str:
        return self.detail


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
    "repeats": "calls were the third or later in a row to one endpoint",
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


def size(n: float) -> str:
    """Bytes with a unit."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "bytes" or n >= 10 else f"{n:.1f} {unit}"
        n /= 1000
    raise AssertionError("unreachable")


def span(half_life: float) -> str:
    """The time a half-life looks back over."""
    return {60.0: "the last minutes", 600.0: "the last quarter of an hour"}.get(half_life, "the last hours")


def describe(signal: int, evidence: float, k: float, n: float, p: float, half_life: float) -> Reason:
    """The reason of a signal (index into SIGNALS): k hits among the last n, usual share p; for rates
    k seen where n were expected; half_life in seconds."""
    name = SIGNALS[signal] if 0 <= signal < len(SIGNALS) else "unknown"
    if name in SEEN:
        hits, trials = max(1, round(k)), max(1, round(n))
        if hits >= trials:
            text = f"all of the last {number(trials)} {SEEN[name]}" if trials > 1 else f"1 of 1 {SEEN[name]}"
        else:
            text = f"{number(hits)} of the last {number(trials)} {SEEN[name]}"
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
    return Reason(name, evidence, text)
