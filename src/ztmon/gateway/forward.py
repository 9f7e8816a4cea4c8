"""Decisions for proxies: any method on /auth is answered with what to do about who calls.

    /auth?app=APP&throttle=STATUS   nginx auth_request, Traefik forwardAuth, Caddy forward_auth
    /auth/APP/any/path              the same where a proxy appends the caller's own path, whose query then means nothing

200: let it pass. 403 or, where `throttle` says so and always in the second form, 429: too much for now. 401: it must
authenticate anew. 403: blocked. What is wrong with the question itself is 503, which a proxy can be told to let pass: it
says nothing about who calls. A page's Origin and the Host are the caller's, so they are not looked at here.
"""

import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from ztcore.decision import Decision
from ztmon.gateway.http import Answer, Headers, Receive, Refused, Request, Scope, Send
from ztmon.gateway.identity import caller
from ztmon.gateway.routes import TELEMETRY

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

log = logging.getLogger("ztmon.gateway")

AUTH = "/auth"
TOKEN = b"x-ztmon-token"
"""Where a proxy puts its own token, if Authorization is the caller's."""

LEVELS = (b"monitor", b"alert", b"throttle", b"quarantine", b"block")
STATUSES = (200, 200, 429, 401, 403)
REFUSALS = {429: "too many requests for now; try again later", 401: "authenticate anew", 403: "this caller is blocked"}
"""What a refused caller reads, by status."""
ANEW: Headers = ((b"www-authenticate", b'Bearer realm="api", error="invalid_token", error_description="authenticate anew"'),)


def status_of(decision: Decision, throttled: int = 429) -> int:
    """What a call is answered with: 200 where it may pass."""
    if not decision.enforced:
        return 200
    return throttled if decision.level == 2 else STATUSES[decision.level]


def headers_of(decision: Decision) -> Headers:
    """What is said beside it. Seconds in Retry-After are rounded up."""
    found: Headers = ((b"x-ztmon-level", LEVELS[decision.level]), (b"x-ztmon-score", b"%d" % round(decision.score)))
    if not decision.enforced:
        return found
    found = (*found, (b"x-ztmon-refused", b"1"))
    if decision.retry_after > 0.0:
        found = (*found, (b"retry-after", b"%d" % max(1, math.ceil(decision.retry_after))))
    return (*found, *ANEW) if decision.level == 3 else found


class Forward:
    """The route as a small ASGI application of its own."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self.gateway
        try:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            app, throttled = self._asked(Request(scope, receive))
            self._check_proxy(scope, headers, app)
            partner, _ = caller(gateway, scope, headers)
            decision = gateway.monitor.check(partner, app)
            answer = Answer(status_of(decision, throttled), "text/plain", b"",
                            (*headers_of(decision), (b"x-ztmon-partner", shown(partner))))
        except Refused as refused:
            answer = Refused(503, refused.detail).answer()
        except Exception:
            log.exception("/auth failed")
            answer = Refused(503, "the gateway failed at this; its log says more").answer()
        gateway.figures.answered(AUTH, answer.status)
        await answer.send(send, scope["method"] == "HEAD")

    def _asked(self, request: Request) -> tuple[str, int]:
        """Application, and the status for a throttled call. Raises Refused."""
        if request.path != AUTH:
            app = unquote(request.raw_path.removeprefix(AUTH + "/").partition("/")[0])
            return app or "default", 429
        throttled = request.parameter("throttle", "403")
        if throttled not in ("403", "429"):
            raise Refused(400, f"throttle is {throttled[:40]!r}; allowed are 403 and 429")
        return request.parameter("app", "default") or "default", int(throttled)

    def _check_proxy(self, scope: Scope, headers: dict[bytes, bytes], app: str) -> None:
        """May who asks ask about this application? Raises Refused."""
        given = headers.get(TOKEN, headers.get(b"authorization"))
        principal = self.gateway.access.who(scope, {} if given is None else {b"authorization": given})
        self.gateway.access.require(principal, TELEMETRY)
        if principal.apps is not None and app not in principal.apps:
            raise Refused(403, "the proxy's token may not ask about this application")


def shown(name: str) -> bytes:
    """A name in a header: what is no plain ASCII is percent-encoded."""
    return quote(name, safe=" !#$&'()*+,/:;=?@[]~^`{|}").encode()
