"""JSON lines to events: the wire format, or the fields of another one by --map and --partner.

A log may lack what the wire demands: application, method, status and response time have defaults
here. Under --map or --partner texts that are numbers are taken for numbers, and a time stamp may
also be ISO 8601 or in seconds.
"""

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from ztmon import wire
from ztmon.errors import ConfigError
from ztmon.replay.batch import Times
from ztmon.replay.options import Options
from ztmon.replay.pseudonyms import pseudonym
from ztmon.replay.refused import THROTTLE, Refused
from ztmon.replay.source import CHUNK, Source

LONGEST = 2 * CHUNK
"""Bytes of a line; longer ones are broken."""

SHOWN = 10
"""Broken lines whose number and reason are kept."""

SECONDS_BELOW = 100_000_000_000
"""Under --map: a smaller number is a time in seconds (until the year 5138), a larger one in ms (since 1973)."""


class Line(msgspec.Struct, gc=False, rename=wire.NAMES):
    """An event as a log has it."""

    partner: wire.Text
    timestamp: wire.Time
    endpoint: wire.Text
    app: wire.Text = "default"
    method: wire.Text = "GET"
    status: wire.Status = 200
    latency_ms: wire.Amount = 0.0
    request_bytes: wire.Amount | None = None
    response_bytes: wire.Amount | None = None
    source: str | None = None
    count: wire.Count | None = None


REQUIRED = frozenset({"partnerId", "timestamp", "endpoint"})

_lines = msgspec.json.Decoder(Line)
_object = msgspec.json.Decoder(dict[str, Any])


class BadLine(ValueError):
    """A line cannot be used; the message says why."""


def read_line(line: bytes) -> Line:
    """A line in the wire format. Raises BadLine."""
    try:
        return _lines.decode(line)
    except wire.BROKEN as error:
        raise BadLine(_words(_found(line), str.strip) or wire.plain(error)) from None


def _found(line: bytes) -> dict[str, Any]:
    try:
        return _object.decode(line)
    except msgspec.ValidationError:
        raise BadLine("is JSON but no object") from None
    except wire.BROKEN as error:
        raise BadLine(f"is not JSON: {wire.plain(error)}") from None


def _words(found: dict[str, Any], name: Callable[[str], str]) -> str:
    problems = wire.problems_in(0, found, REQUIRED)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{name(problems[0].field)} {problems[0].detail}{more}" if problems else ""


class Mapped:
    """Lines of another format: which field is what. Raises ConfigError for what is not NAME=FIELD.

    FIELD may be a path into nested objects: user.id. `pseudonym`: makes a name of an address, where
    the partner is the client.
    """

    def __init__(self, options: Options, pseudonym: Callable[[str], str]) -> None:
        self.fields = {name: name for name in wire.NAMES.values()}
        for pair in options.map:
            name, _, found = pair.partition("=")
            if name not in self.fields or not found:
                raise ConfigError(f"--map is {pair}; allowed is NAME=FIELD with NAME one of {', '.join(self.fields)}")
            self.fields[name] = found
        partner = options.partner
        if partner:
            self.fields["partnerId"] = self.fields["clientIp"] if partner == "client" else partner
        self.pseudonym = pseudonym if self.fields["partnerId"] == self.fields["clientIp"] else None

    def read_line(self, line: bytes) -> Line:
        """Raises BadLine."""
        found = _found(line)
        picked = {name: value for name, field in self.fields.items() if (value := _pick(found, field)) is not None}
        if "timestamp" in picked:
            picked["timestamp"] = _milliseconds(picked["timestamp"])
        for name in ("partnerId", "appId"):
            if isinstance(picked.get(name), int):
                picked[name] = str(picked[name])
        if self.pseudonym and picked.get("partnerId"):
            picked["partnerId"] = self.pseudonym(str(picked["partnerId"]))
        try:
            return msgspec.convert(picked, Line, strict=False)
        except wire.BROKEN as error:
            raise BadLine(_words(picked, self.fields.__getitem__) or wire.plain(error)) from None


def _pick(found: Any, path: str) -> Any:
    """The value of a field, by its name or by a path through nested objects; None: it is not there."""
    value = found.get(path)
    if value is not None or "." not in path:
        return value
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def _milliseconds(value: Any) -> Any:
    """A time stamp in ms; what is no time as it was."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                when = datetime.datetime.fromisoformat(value)
            except ValueError:
                return value
            return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp() * 1000.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * 1000.0 if value < SECONDS_BELOW else value
    return value


class JsonBatch:
    """Events of a chunk of lines."""

    def __init__(self, reader: "JsonReader", events: list[Line]) -> None:
        self.reader, self.events = reader, events

    @property
    def times(self) -> Times:
        return (np.array([e.timestamp for e in self.events]) * 1e6).astype(np.int64)

    def feed(self, start: int, stop: int) -> None:
        engine, refused = self.reader.engine, self.reader.refused
        observe, check = engine.observe, engine.check
        for e in self.events[start:stop] if stop - start < len(self.events) else self.events:
            app, partner, when = e.app, e.partner, e.timestamp * 0.001
            found = check(partner, app, when)
            decision = observe(
                partner, e.endpoint, e.method, e.status, e.latency_ms, e.request_bytes or 0,
                e.response_bytes or 0, e.source, app, when, e.count or 1,
            )
            if found.enforced or decision.level >= THROTTLE:
                refused.call(engine.partner_key(partner, app), found.enforced, e.count or 1)


class JsonReader:
    """One source of JSON lines. Raises ConfigError for options that make no sense."""

    kind = "JSON lines"

    def __init__(self, source: Source, engine: Any, refused: Refused, options: Options) -> None:
        self.source, self.engine, self.refused = source, engine, refused
        self.lines = self.events = self.broken = 0
        self.bad: list[tuple[int, str]] = []
        self.show = options.show_clients
        self.mapped = Mapped(options, self._pseudonym) if options.map or options.partner else None
        self.read_line = self.mapped.read_line if self.mapped else read_line

    def _pseudonym(self, address: str) -> str:
        return address if self.show else pseudonym(address)

    def starts(self, head: bytes) -> int:
        for line in head.split(b"\n"):
            try:
                return int(self.read_line(line).timestamp * 1e6)
            except BadLine:
                continue
        return 0

    def batches(self) -> Iterator[JsonBatch]:
        source, inside = self.source, False
        while True:
            source.fill()
            with source.view() as view:
                chunk = bytes(view)
            end = len(chunk) if source.ended else chunk.rfind(b"\n") + 1
            if inside:
                # the rest of a line that was too long
                start = chunk.find(b"\n") + 1
                inside = start == 0
                source.take(start or len(chunk))
            elif end:
                source.take(end)
                events = self._events(chunk[:end])
                self.events += len(events)
                if events:
                    yield JsonBatch(self, events)
            elif len(chunk) >= LONGEST:
                inside = True
                source.take(len(chunk))
                self.lines += 1
                self._bad(f"is longer than {LONGEST // 1024} KiB")
            if source.ended and source.start == source.stop:
                return

    def _events(self, chunk: bytes) -> list[Line]:
        """The events of whole lines; where one is broken, line by line."""
        if not self.mapped:
            try:
                events = _lines.decode_lines(chunk)
            except wire.BROKEN:
                pass
            else:
                self.lines += chunk.count(b"\n") + (not chunk.endswith(b"\n"))
                return events
        events = []
        for line in chunk.removesuffix(b"\n").split(b"\n"):
            self.lines += 1
            if not line.strip():
                continue
            try:
                events.append(self.read_line(line))
            except BadLine as error:
                self._bad(str(error))
        return events

    def _bad(self, reason: str) -> None:
        self.broken += 1
        if len(self.bad) < SHOWN:
            self.bad.append((self.lines, reason))
