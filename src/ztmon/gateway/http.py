"""What the gateway needs of HTTP: a request with its body, and answers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a body at most."""

DRAINED = 4 * BODY_LIMIT
"""Bytes that are read of one that is too large."""

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")  # fmt: skip
"""Nothing but the page's own files, and no inline script or style."""

SAFE = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

TITLES = {
    400: "Bad request", 403: "Forbidden", 404: "Not found", 405: "Method not allowed", 411: "Length required",
    413: "Body too large", 415: "Unsupported media type", 421: "Misdirected request",
    422: "No event could be used", 500: "Internal error",
}  # fmt: skip

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    kind: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Refused(Exception):
    """A request that cannot be served; becomes problem+json (RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = (), **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more

    def answer(self) -> Answer:
        """The problem as an answer."""
        problem = {"type": "about:blank", "title": TITLES[self.status], "status": self.status,
                   "detail": self.detail, **self.more}  # fmt: skip
        return Answer(self.status, "application/problem+json", _encode(problem), self.headers)


class Request:
    """One request. The body is read when it is asked for, up to BODY_LIMIT."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._query: bytes = scope["query_string"]
        self._receive = receive

    def parameter(self, name: str, default: str) -> str:
        """A parameter of the query, the last one where there are several."""
        found = parse_qs(self._query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
        return found.get(name, [default])[-1]

    async def body(self) -> bytes:
        """The body. Raises Refused (413) where it is too large, ConnectionError where the sender leaves before
        its end. Of what is too large up to DRAINED is read first and dropped: a sender that is cut off in the
        middle would see a broken connection and no reason."""
        too_large = Refused(413, f"a body may have {BODY_LIMIT:,} bytes; send the events in several requests",
                            ((b"connection", b"close"),))  # fmt: skip
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > DRAINED):
            raise too_large
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the sender left")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > BODY_LIMIT:
                parts.clear()
            else:
                parts.append(part)
            if size > DRAINED or not message.get("more_body", False):
                break
        if size > BODY_LIMIT:
            raise too_large
        return b"".join(parts)


def json_answer(found: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, "application/json", _encode(found))


async def send_answer(send: Send, answer: Answer, head: bool = False) -> None:
    """Send it; head: without its body."""
    headers = [(b"content-type", answer.kind.encode()), (b"content-length", str(len(answer.body)).encode()),
               *SAFE, *answer.headers]  # fmt: skip
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
