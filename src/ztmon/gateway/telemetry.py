"""POST /telemetry: the one route that is called all the time, so it takes the shortest way.

    headers -> who is it? -> body -> intake -> an answer that is mostly ready made
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import msgspec

from ztcore.decision import Decision
from ztmon.gateway.http import Answer, Headers, Receive, Refused, Request, Scope, Send, as_sent, encode
from ztmon.gateway.intake import SHOWN, Taken, Unusable
from ztmon.gateway.routes import TELEMETRY, Parameter, Route

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

log = logging.getLogger("ztmon.gateway")

Take = Callable[[bytes, Collection[str] | None], Taken | int]

INLINE = 512 * 1024
"""Bytes of telemetry taken in between two requests (a millisecond); more goes to a thread, so that others are served."""

READ_JSON = (b"", b"application/json", b"application/x-ndjson", b"application/jsonl", b"application/ndjson")
READ_MSGPACK = (b"application/msgpack", b"application/x-msgpack", b"application/vnd.msgpack")

WITH, WITHOUT = b"/telemetry", b"/telemetry?wait=0"
"""The URLs that the short way knows: with decisions in the answer and without."""

CALM = b'{"action":"monitor","score":0.0,"enforced":false,"retryAfter":0.0,"reasons":[]}'
ONE_CALM = b'{"accepted":1,"rejected":0,"decisions":[' + CALM + b'],"problems":[]}'
ONE_TAKEN = b'{"accepted":1,"rejected":0,"problems":[]}'
ANSWERED, TAKEN = Answer(200, "application/json", ONE_CALM), Answer(202, "application/json", ONE_TAKEN)
"""What a single calm event is answered with."""


class ShortWay:
    """What comes most is answered by the server's protocol itself (protocol.py): a post of JSON by somebody who was let in
    before, whole in one piece. All else goes the usual way. Of one event loop."""

    def __init__(self, gateway: "Gateway") -> None:
        self._known, self._figures, self._telemetry = gateway.access.known, gateway.figures, gateway.telemetry
        self._reader = gateway.intake.reader()        # of this thread, which is the loop's
        self._calm, self._taken = as_sent(ANSWERED), as_sent(TAKEN)

    def __call__(self, client: str, url: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes | None:
        """The answer as it is sent. None: nothing was observed."""
        if url != WITH and url != WITHOUT:
            return None
        given = dict(headers)
        get = given.get
        who = self._known.get((client, get(b"host"), get(b"authorization")))
        if who is None or "telemetry" not in who.roles or get(b"content-type") != b"application/json" or b"origin" in given \
                or b"content-encoding" in given or len(body) > min(INLINE, self._telemetry.limit):
            return None
        reader = self._reader
        n = reader.take_now(body, who.apps)
        if n < 0:
            return None
        wait = url == WITH
        if n == 1 and not reader.noted:
            if wait:
                self._figures.posts += 1
                return self._calm
            self._figures.unwaited += 1
            return self._taken
        answer = self._telemetry.answer(Taken(n, reader.noted) if reader.noted else n, wait)
        self._figures.answered("/telemetry", answer.status)
        return as_sent(answer)


class Telemetry:
    """The route as a small ASGI application of its own."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self.figures = gateway.figures
        self.limit = gateway.settings.body_bytes
        self._take = gateway.intake.take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        more: Headers = ()
        gateway = self.gateway
        try:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            if b"origin" in headers:
                more = gateway.access.cors(headers)
            who = gateway.access.who(scope, headers)
            if "telemetry" not in who.roles:
                gateway.access.require(who, TELEMETRY)
            take: Take = self._take
            if headers.get(b"content-type") != b"application/json":
                take = self._kind(headers)
            message = await receive()
            body = message.get("body", b"")
            if message.get("more_body", False) or b"content-encoding" in headers or len(body) > self.limit \
                    or message["type"] != "http.request":
                body = await Request(scope, again(message, receive), gateway.settings.body_seconds).body(self.limit)
            found = take(body, who.apps) if len(body) <= INLINE else await asyncio.to_thread(take, body, who.apps)
            wait = not scope["query_string"] or Request(scope, receive).parameter("wait", "1") != "0"
            answer = self.answer(found, wait)
        except Refused as refused:
            if isinstance(refused, Unusable):
                self.figures.rejected += refused.events
            answer = refused.answer()
        except ConnectionError:
            return
        except Exception:
            log.exception("POST /telemetry failed")
            answer = Refused(500, "the gateway failed at this; its log says more").answer()
        self.figures.answered("/telemetry", answer.status)
        await answer.send(send, False, more)

    def _kind(self, headers: dict[bytes, bytes]) -> Take:
        """What reads a body of that content type. Raises Refused (415)."""
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind in READ_JSON:
            return self._take
        if kind in READ_MSGPACK:
            return self.gateway.intake.take_msgpack
        raise Refused(415, "telemetry is JSON or msgpack: send the header content-type: application/json (curl --json does), "
                           "application/x-ndjson or application/msgpack")

    def answer(self, found: Taken | int, wait: bool) -> Answer:
        """What a body is answered with. wait: with decisions."""
        if found == 1:
            self.figures.batched += 1
            return ANSWERED if wait else TAKEN
        taken = Taken(found, {}) if isinstance(found, int) else found
        accepted, rejected = taken.places - len(taken.bad), len(taken.bad)
        self.figures.batched += accepted
        self.figures.rejected += rejected
        listed = encode(taken.problems[:SHOWN]) if taken.problems else b"[]"
        head = b'{"accepted":%d,"rejected":%d,' % (accepted, rejected)
        tail = b'"problems":' + listed + b"}"
        if not wait:
            return Answer(202, "application/json", head + tail)
        return Answer(200, "application/json", head + b'"decisions":[' + decisions(taken) + b"]," + tail)


def decisions(taken: Taken) -> bytes:
    """A decision for each event in their order, null for one that could not be used."""
    if not taken.noted and not taken.bad:
        return b",".join([CALM] * taken.places)
    parts = [CALM] * taken.places
    for place in taken.bad:
        parts[place] = b"null"
    for place, decision in taken.noted.items():
        parts[place] = encode(as_json(decision))
    return b",".join(parts)


def as_json(decision: Decision) -> dict[str, Any]:
    """A decision on the wire; retryAfter in seconds, 0 where there is nothing to wait for."""
    return {
        "action": decision.action.name.lower(),
        "score": round(decision.score, 1),
        "enforced": bool(decision.enforced),
        "retryAfter": round(decision.retry_after, 3),
        "reasons": [reason.to_dict() for reason in decision.reasons],
    }


def again(first: Any, receive: Receive) -> Receive:
    """A receive() that begins with a message that was taken already."""
    waiting = [first]

    async def next_one() -> Any:
        return waiting.pop() if waiting else await receive()

    return next_one


async def _handle(gateway: "Gateway", request: Request) -> Any:
    raise AssertionError("the application takes this route's requests itself")


class DecisionAnswer(msgspec.Struct, rename="camel"):
    """One event's."""

    action: str
    score: float
    enforced: bool
    retry_after: float
    reasons: list[dict[str, Any]]


class ProblemAnswer(msgspec.Struct):
    """event: its place in the body, from 0; field: empty where it is about all of the event."""

    event: int
    field: str
    detail: str


class TelemetryAnswer(msgspec.Struct):
    """decisions: one for each event in their order, null for one that could not be used; left out with wait=0."""

    accepted: int
    rejected: int
    problems: list[ProblemAnswer]
    decisions: list[DecisionAnswer | None] | msgspec.UnsetType = msgspec.UNSET


ROUTES = (
    Route("POST", "/telemetry", TELEMETRY, _handle, "Events in, decisions out.", answer=TelemetryAnswer,
          parameters=(Parameter("wait", "0: answer 202 and leave the decisions out", {"type": "string", "enum": ["0", "1"]}),),
          statuses=(400, 408, 413, 415, 422)),
)  # fmt: skip
