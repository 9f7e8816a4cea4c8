"""Telemetry as JSON: one object, an array of them, or one a line.

An event, optional fields marked ?, unknown ones ignored:

    appId  partnerId  timestamp (ms)  endpoint (raw path or template)  method  statusCode
    responseTime (ms)  requestSize?  responseSize?  clientIp?  userAgent?  count?

What is wrong with an event is told by field, and the good events around it are kept.
"""

from collections.abc import Iterable, Iterator, Set
from typing import Annotated, Any

import msgspec
from msgspec import Meta

FIRST_MS, LAST_MS = 0, 253_402_300_800_000
"""Time stamps lie between these: 1970 and the end of the year 9999."""

NAME_BYTES, TEXT_BYTES = 255, 8192
"""Bytes of a text at most: of names, methods and addresses; of paths and user agents. ztcore/fields.pxd says the same."""

Text = Annotated[str, Meta(min_length=1)]
Amount = Annotated[float, Meta(ge=0)]
Time = Annotated[float, Meta(ge=FIRST_MS, lt=LAST_MS)]
Status = Annotated[int, Meta(ge=100, le=599)]
Count = Annotated[int, Meta(ge=1, lt=1 << 32)]

NAMES = {
    "app": "appId",
    "partner": "partnerId",
    "timestamp": "timestamp",
    "endpoint": "endpoint",
    "method": "method",
    "status": "statusCode",
    "latency_ms": "responseTime",
    "request_bytes": "requestSize",
    "response_bytes": "responseSize",
    "source": "clientIp",
    "user_agent": "userAgent",
    "count": "count",
}
"""The name on the wire by the name in Python."""

ALLOWED = {
    "appId": f"a text of 1 to {NAME_BYTES} bytes",
    "partnerId": f"a text of 1 to {NAME_BYTES} bytes",
    "timestamp": "a number: milliseconds since 1970, before the year 10000",
    "endpoint": f"a text of 1 to {TEXT_BYTES:,} bytes: a path or a route template",
    "method": f'a text of 1 to {NAME_BYTES} bytes, such as "GET"',
    "statusCode": "a whole number from 100 to 599",
    "responseTime": "a number that is not negative: milliseconds",
    "requestSize": "a number that is not negative: bytes",
    "responseSize": "a number that is not negative: bytes",
    "clientIp": f"a text of at most {NAME_BYTES} bytes",
    "userAgent": f"a text of at most {TEXT_BYTES:,} bytes",
    "count": "a whole number from 1 to 4294967295",
}
"""What each field may hold, in words."""

LONGEST = {"app": NAME_BYTES, "partner": NAME_BYTES, "endpoint": TEXT_BYTES, "method": NAME_BYTES, "source": NAME_BYTES,
           "user_agent": TEXT_BYTES}
"""Bytes of a field's text at most, by its name in Python."""


class Event(msgspec.Struct, gc=False, kw_only=True, rename=NAMES):
    """One event as it comes over the wire; `count` stands for so many like it."""

    app: Text
    partner: Text
    timestamp: Time
    endpoint: Text
    method: Text
    status: Status
    latency_ms: Amount
    request_bytes: Amount | None = None
    response_bytes: Amount | None = None
    source: str | None = None
    user_agent: str | None = None
    count: Count | None = None


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one field of one event. event: its place in the batch, from 0; field: its
    name on the wire, empty where the event as a whole cannot be used."""

    event: int
    field: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field} {self.detail}" if self.field else self.detail


class NotTelemetry(ValueError):
    """The input as a whole is not what this module reads; the message says why."""


_KINDS = {field.encode_name: field.type for field in msgspec.structs.fields(Event)}
_REQUIRED = {field.encode_name for field in msgspec.structs.fields(Event) if field.required}


class _Format:
    """JSON or msgpack: how one event, the parts of an array and anything at all are decoded."""

    def __init__(self, name: str, decoder: Any) -> None:
        self.name = name
        self.one = decoder(Event).decode
        self.parts = decoder(list[msgspec.Raw]).decode
        self.any = decoder().decode


_JSON = _Format("JSON", msgspec.json.Decoder)
_MSGPACK = _Format("msgpack", msgspec.msgpack.Decoder)

# What decoding raises for bytes from outside: msgspec's errors, text that is not UTF-8, nesting.
BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

Read = tuple[list[tuple[int, Event]], list[Problem]]


def read(body: bytes) -> Read:
    """Events of JSON with their places in the batch, and the problems of the others.

    Raises NotTelemetry where the body is neither an object, an array nor lines of objects.
    """
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise NotTelemetry("the body is empty; send an object, an array of objects, or one object a line")
    if start[:1] == b"[":
        try:
            return _sort_out(_JSON.parts(start))
        except BROKEN as error:
            raise NotTelemetry(f"the array is not JSON: {plain(error)}") from None
    if start[:1] != b"{":
        raise NotTelemetry("the body begins with neither { nor [; send JSON objects")
    return _sort_out([start] if _is_json(start) else _lines(start))


def read_msgpack(body: bytes) -> Read:
    """The same of msgpack: one map, or an array of maps. Raises NotTelemetry."""
    if not body:
        raise NotTelemetry("the body is empty; send a map or an array of maps")
    if body[0] & 0xF0 != 0x90 and body[0] not in (0xDC, 0xDD):
        return _sort_out([body], _MSGPACK)
    try:
        return _sort_out(_MSGPACK.parts(body), _MSGPACK)
    except BROKEN as error:
        raise NotTelemetry(f"the array is not msgpack: {plain(error)}") from None


def _lines(text: bytes) -> Iterator[bytes]:
    return (line for line in text.split(b"\n") if line.strip())


def _is_json(text: bytes | msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except BROKEN:
        return False
    return True


def _sort_out(parts: Iterable[bytes | msgspec.Raw], form: _Format = _JSON) -> Read:
    """Each part by itself: the events, and what is wrong with the rest."""
    events: list[tuple[int, Event]] = []
    problems: list[Problem] = []
    for place, part in enumerate(parts):
        event, wrong = read_event(place, part, form)
        if event is not None:
            events.append((place, event))
        problems += wrong
    return events, problems


def read_event(place: int, part: bytes | msgspec.Raw, form: _Format = _JSON) -> tuple[Event | None, list[Problem]]:
    """One event, or everything that is wrong with it. place: in the batch."""
    try:
        event = form.one(part)
    except BROKEN as error:
        return None, problems_of(place, part, error, form)
    long = [Problem(place, NAMES[name], f"is a text; allowed is {ALLOWED[NAMES[name]]}") for name, most in LONGEST.items()
            if len(text := getattr(event, name) or "") * 4 > most and len(text.encode()) > most]
    return (None, long) if long else (event, [])


def problems_of(index: int, part: bytes | msgspec.Raw, error: Exception, form: _Format = _JSON) -> list[Problem]:
    """Everything that is wrong with an event that could not be decoded. `error`: what decoding said."""
    try:
        found = form.any(part)
    except (*BROKEN, ValueError, TypeError) as broken:
        return [Problem(index, "", f"is not {form.name}: {plain(broken)}")]
    return problems_in(index, found) or [Problem(index, "", plain(error))]


def problems_in(index: int, found: object, required: Set[str] = _REQUIRED) -> list[Problem]:
    """Everything that is wrong with an event as decoded from JSON."""
    if not isinstance(found, dict):
        return [Problem(index, "", f"is {_shown(found)}; allowed is an object")]
    return [
        Problem(index, name, "is missing" if name not in found else f"is {_shown(found[name])}; allowed is {allowed}")
        for name, allowed in ALLOWED.items()
        if (name in required if name not in found else not _fits(found[name], _KINDS[name]))
    ]


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _shown(value: object) -> str:
    """A value in a message: numbers as they are, of all else only the kind, for it may be private."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.12g}" if isinstance(value, float) or abs(value) < 10**15 else "a huge number"
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    return "an array" if isinstance(value, list) else "an object"


def plain(error: Exception) -> str:
    """What a decoder says, in a sentence without its own vocabulary."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    said = str(error).partition(" - at `")[0].removeprefix("JSON is malformed: ").removeprefix("MessagePack data is malformed: ")
    return "it ends too early" if said == "Input data was truncated" else said[:1].lower() + said[1:]
