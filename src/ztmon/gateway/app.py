"""The gateway as an ASGI application: which path does what.

    POST /telemetry             events in, decisions out
    GET  /partners              all partners, the highest levels first
    GET  /partners/{id}?app=    one of them, whole
    GET  /stats                 counts, mode, uptime
    GET  /healthz               is it there?
    GET  /                      the page
"""

import asyncio
import logging
import time
from typing import Any
from urllib.parse import urlsplit

from ztmon.gateway.http import Answer, Receive, Refused, Request, Scope, Send, json_answer, send_answer
from ztmon.gateway.page import read_page
from ztmon.gateway.telemetry import take_in
from ztmon.monitor import Monitor
from ztmon.profile import Profile

log = logging.getLogger("ztmon.gateway")

LISTED = 1000
"""Partners that /partners lists unless `limit` says otherwise."""

SMALL = 32 * 1024
"""Bytes of telemetry taken in between two requests; more goes to a thread, so that others are served."""

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Gateway:
    """An ASGI application around a Monitor."""

    def __init__(self, monitor: Monitor, demo: bool = False) -> None:
        self.monitor = monitor
        self.demo = demo
        self.started = time.time()
        self.page = read_page()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the gateway speaks HTTP, not {scope['type']}")
        request = Request(scope, receive)
        try:
            answer = await self.answer(request)
        except Refused as refused:
            answer = refused.answer()
        except ConnectionError:
            return
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            answer = Refused(500, "the gateway failed at this; its log says more").answer()
        await send_answer(send, answer, request.method == "HEAD")

    async def answer(self, request: Request) -> Answer:
        """What a request is answered with. Raises Refused."""
        check_sender(request)
        path = request.path
        if path == "/telemetry":
            allow(request, "POST")
            return await self.telemetry(request)
        if path in self.page or path.startswith(READ):
            allow(request, "GET", "HEAD")
        if path in self.page:
            return self.page[path]
        if path == "/healthz":
            return json_answer({"status": "ok"})
        if path == "/stats":
            return json_answer(self.stats())
        if path == "/partners":
            return json_answer(self.partners(request))
        if path.startswith("/partners/"):
            return json_answer(self.partner(path.removeprefix("/partners/"), request.parameter("app", "default")))
        raise Refused(404, f"there is no {path[:200]}; there are /telemetry, /partners, /stats, /healthz and /")

    async def telemetry(self, request: Request) -> Answer:
        """POST /telemetry."""
        kind = request.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind not in JSON:
            raise Refused(415, "telemetry is JSON: send the header content-type: application/json (curl --json does) or "
                               "application/x-ndjson")
        body = await request.body()
        if len(body) <= SMALL:
            return json_answer(take_in(self.monitor, body))
        return await asyncio.to_thread(lambda: json_answer(take_in(self.monitor, body)))

    def partners(self, request: Request) -> dict[str, Any]:
        """GET /partners."""
        text = request.parameter("limit", str(LISTED))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 100_000):
            raise Refused(400, f"limit is {text[:40]!r}; allowed is a whole number from 1 to 100,000")
        found = self.monitor.partners()
        return {"total": len(found), "partners": [summary(profile) for profile in found[: int(text[:9])]]}

    def partner(self, name: str, app: str) -> dict[str, Any]:
        """GET /partners/{id}."""
        profile = self.monitor.profile(name, app) if name and app else None
        if profile is None:
            raise Refused(404, "this partner is not known in this app; another app is named by ?app=")
        return profile.to_dict()

    def stats(self) -> dict[str, Any]:
        """GET /stats."""
        settings = self.monitor.settings
        return {**self.monitor.stats(), "shadow": settings["shadow"], "kill_switch": settings["kill_switch"],
                "demo": self.demo, "uptime_seconds": round(time.time() - self.started, 1)}  # fmt: skip


READ = ("/healthz", "/stats", "/partners")
JSON = (b"", b"application/json", b"application/x-ndjson", b"application/jsonl", b"application/ndjson")


def allow(request: Request, *methods: str) -> None:
    """Raises Refused for another method."""
    if request.method not in methods:
        raise Refused(405, f"{request.method[:20]} is not possible here; allowed is {methods[0]}",
                      ((b"allow", ", ".join(methods).encode()),))  # fmt: skip


def check_sender(request: Request) -> None:
    """Only who means this machine by name is served, and no page of another site: a browser would lend
    it the way to a loopback address (DNS rebinding, cross-site requests). Raises Refused."""
    host = request.headers.get(b"host", b"localhost").decode("latin-1")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name not in LOOPBACK:
        raise Refused(421, "the Host header names another machine; use 127.0.0.1 or localhost")
    origin = request.headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") != f"http://{host}":
        raise Refused(403, "pages of other sites may not use the gateway")


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
