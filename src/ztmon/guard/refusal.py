"""A Decision as an answer: status, Retry-After, the RateLimit fields of draft-ietf-httpapi-ratelimit-headers-11, and
problem+json (RFC 9457)."""

import math
from typing import Any

from ztcore.decision import Decision
from ztmon.gateway.forward import REFUSALS, headers_of, status_of
from ztmon.gateway.http import Headers, Refused

WINDOW = 6.0
"""Seconds of the window that RateLimit-Policy names for a throttle, whose bucket holds so many seconds' worth of calls; a
slower one's holds one call."""

PROBLEMS = {429: "https://iana.org/assignments/http-problem-types#quota-exceeded",
            403: "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"}
"""Problem types of the same draft."""

POLICIES = {429: "throttle", 401: "quarantine", 403: "block"}


class Stopped(Exception):
    """A call that may not pass, and what it is answered: status, headers, body."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.status = status_of(decision)
        policy = POLICIES[self.status]
        more: dict[str, Any] = {"type": PROBLEMS[self.status], "violated-policies": [policy]} if self.status in PROBLEMS else {}
        self.body = Refused(self.status, REFUSALS[self.status], **more).answer().body
        said = tuple(header for header in headers_of(decision) if not header[0].startswith(b"x-ztmon-"))
        self.headers: Headers = (
            (b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"), *said, *limits(decision, policy))


def left_of(decision: Decision) -> Headers:
    """The same of a throttled call that passes: how many more may follow at once; where none, by when the next surely may."""
    return limits(decision, POLICIES[429], decision.remaining, 0.0 if decision.remaining else decision.interval)


def limits(decision: Decision, policy: str, remaining: int = 0, wait: float | None = None) -> Headers:
    """RateLimit-Policy and RateLimit. Of a call that is refused: nothing is left until Retry-After."""
    wait = decision.retry_after if wait is None else wait
    seconds = max(1, math.ceil(round(wait, 3))) if wait > 0.0 else 0
    left = f'"{policy}";r={remaining}' + (f";t={seconds}" if seconds > 0 else "")
    if decision.interval > 0.0:
        window = max(WINDOW, decision.interval)
        quota = f'"{policy}";q={int(window / decision.interval + 1e-6)};w={math.ceil(round(window, 3))}'
    else:
        quota = f'"{policy}";q=0' + (f";w={seconds}" if seconds > 0 else "")
    return (b"ratelimit-policy", quota.encode()), (b"ratelimit", left.encode())
