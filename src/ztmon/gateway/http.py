"""What the gateway needs of HTTP: a request with its body, and answers."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qs, quote

import msgspec

if TYPE_CHECKING:
    from ztmon.gateway.access import Principal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

T = TypeVar("T")

DRAINED = 4
"""Times the limit: so much of a body that is too large is read and dropped, for a sender that is cut off in the middle
would see a broken connection and no reason."""

SMALL_BODY = 256 * 1024
"""Bytes of a body that is no telemetry."""

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")  # fmt: skip
"""Nothing but the page's own files, and no inline script or style."""

SAFE: Headers = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

TITLES = {
    400: "Bad request", 401: "Who is asking?", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    408: "Too slow", 409: "Conflict", 413: "Body too large", 415: "Unsupported media type", 421: "Misdirected request",
    422: "Not usable", 429: "Too many requests", 431: "Headers too large", 500: "Internal error", 501: "Not passed on",
    502: "Bad gateway", 503: "Not ready", 504: "Gateway timeout",
}  # fmt: skip

encode = msgspec.json.Encoder().encode


class Sendable(Protocol):
    """What a route returns."""

    @property
    def status(self) -> int:
        """The status code."""

    async def send(self, send: Send, head: bool, more: Headers) -> None:
        """Send it; head: without its body; more: further headers."""


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    kind: str
    body: bytes
    headers: Headers = ()

    def all_headers(self, more: Headers = ()) -> list[tuple[bytes, bytes]]:
        """Those it is sent with; more: further ones."""
        return [(b"content-type", self.kind.encode()), (b"content-length", str(len(self.body)).encode()),
                *SAFE, *self.headers, *more]  # fmt: skip

    async def send(self, send: Send, head: bool = False, more: Headers = ()) -> None:
        """Send it; head: without its body; more: further headers."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.all_headers(more)})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def as_sent(answer: Answer) -> bytes:
    """An answer as HTTP/1.1 writes it, for a connection that stays open."""
    lines = [b"HTTP/1.1 %d %s" % (answer.status, HTTPStatus(answer.status).phrase.encode())]
    lines += [name + b": " + value for name, value in answer.all_headers()]
    return b"\r\n".join(lines) + b"\r\n\r\n" + answer.body


class Stream(msgspec.Struct, frozen=True):
    """An answer that goes on: its parts are sent as they come."""

    status: int
    kind: str
    parts: AsyncGenerator[bytes, None]
    headers: Headers = ()

    async def send(self, send: Send, head: bool = False, more: Headers = ()) -> None:
        """Send it; head: without its body; more: further headers."""
        headers = [(b"content-type", self.kind.encode()), *SAFE, *self.headers, *more]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        async with aclosing(self.parts) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Refused(Exception):
    """A request that cannot be served; becomes problem+json (RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: Headers = (), **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more

    def answer(self) -> Answer:
        """The problem as an answer."""
        problem = {"type": "about:blank", "title": TITLES[self.status], "status": self.status,
                   "detail": self.detail, **self.more}  # fmt: skip
        return Answer(self.status, "application/problem+json", encode(problem), self.headers)


class Request:
    """One request. named: what stands for the names in braces of its route; principal: who asks."""

    named: dict[str, str]
    principal: "Principal"

    def __init__(self, scope: Scope, receive: Receive, body_seconds: float = 30.0) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        root = scope.get("root_path", "")
        self.path: str = scope["path"].removeprefix(root)
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        self.raw_path: str = raw.decode("latin-1").partition("?")[0].removeprefix(root)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.body_seconds = body_seconds
        self._query: dict[str, list[str]] | None = None

    def parameter(self, name: str, default: str = "") -> str:
        """A parameter of the query, the last one where there are several. Raises Refused (400)."""
        if self._query is None:
            try:
                self._query = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True,
                                       max_num_fields=100)  # fmt: skip
            except ValueError:
                raise Refused(400, "the query has too many parameters; allowed are 100") from None
        return self._query.get(name, [default])[-1]

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A parameter that is a number. Raises Refused (400)."""
        text = self.parameter(name, repr(default))
        try:
            value = float(text[:40])
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise Refused(400, f"{name} is {text[:40]!r}; allowed is a number from {least:,.15g} to {most:,.15g}")
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A parameter that is a whole number. Raises Refused (400)."""
        text = self.parameter(name, str(default))
        if not (text.isascii() and text.isdigit() and least <= int(text[:18]) <= most):
            raise Refused(400, f"{name} is {text[:40]!r}; allowed is a whole number from {least:,} to {most:,}")
        return int(text)

    async def body(self, limit: int = SMALL_BODY) -> bytes:
        """The body as it was meant: unpacked where it came gzipped. Raises Refused (413, 415, 400, 408), ConnectionError
        where the sender leaves before its end."""
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            whole: bytes = message.get("body", b"")
            if len(whole) > limit:
                raise _too_large(limit)
        else:
            try:
                async with asyncio.timeout(self.body_seconds):
                    whole = await self._rest(message, limit)
            except TimeoutError:
                raise Refused(408, f"the body took longer than {self.body_seconds:g} s",
                              ((b"connection", b"close"),)) from None  # fmt: skip
        coding = self.headers.get(b"content-encoding", b"").strip().lower()
        if coding in (b"", b"identity"):
            return whole
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise Refused(415, "the content-encoding is not known; allowed are gzip and deflate",
                          ((b"accept-encoding", b"gzip, deflate"),))  # fmt: skip
        return unpack(whole, limit)

    async def _rest(self, message: MutableMapping[str, Any], limit: int) -> bytes:
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > DRAINED * limit):
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ConnectionError("the sender left")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                parts.clear()
            else:
                parts.append(part)
            if size > DRAINED * limit or not message.get("more_body", False):
                break
            message = await self.receive()
        if size > limit:
            raise _too_large(limit)
        return b"".join(parts)

    async def json(self, kind: type[T]) -> T:
        """The body as JSON of that msgspec type; an empty one is {}. Raises Refused (400, 415, 422)."""
        if self.headers.get(b"content-type", b"").split(b";")[0].strip().lower() not in (b"", b"application/json"):
            raise Refused(415, "the body is JSON: send the header content-type: application/json (curl --json does)")
        body = await self.body()
        try:
            return msgspec.json.decode(body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            said, _, where = str(error).partition(" - at `$")
            raise Refused(422, said, field=where.strip("`.")) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Refused(400, "the body is no JSON") from None


def _too_large(limit: int) -> Refused:
    return Refused(413, f"a body may have {limit:,} bytes; send it in several requests", ((b"connection", b"close"),))


def unpack(body: bytes, limit: int) -> bytes:
    """What was packed by gzip or zlib, never more than the limit. Raises Refused (400, 413)."""
    unpacker = zlib.decompressobj(wbits=47)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            part = unpacker.decompress(body, limit + 1 - size)
            size += len(part)
            parts.append(part)
            if size > limit:
                raise _too_large(limit)
            if not unpacker.eof:
                raise Refused(400, "the packed body ends too early")
            body = unpacker.unused_data
            if not body:
                return b"".join(parts)
            unpacker = zlib.decompressobj(wbits=47)     # gzip files may follow each other
    except zlib.error:
        raise Refused(400, "the body is not packed as its content-encoding says") from None


def json_answer(found: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, "application/json", encode(found))
