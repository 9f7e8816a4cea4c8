"""Calls as columns, and what they become: EVENT arrays for the core, JSON lines for the wire."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ztcore.engine import Engine
from ztcore.layout import EVENT

APP = "default"
SUSPICIOUS = 1
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
LINES = 50_000

CALL = np.dtype([
    ("timestamp", "i8"), ("partner", "i4"), ("place", "i4"), ("source", "i4"), ("object_id", "i8"),
    ("latency_ms", "f8"), ("request_bytes", "i8"), ("response_bytes", "i8"), ("status", "u2"), ("attack", "i2"),
])  # fmt: skip
"""One call. timestamp: ns; partner, place, source: indices into the Traffic's tables; object_id: 0
where the path has none; attack: 1 + index into the attacks, 0 for calm traffic."""


@dataclass(frozen=True)
class Place:
    """A method and a path; `{id}` in it is filled with the call's object_id."""

    method: str
    path: str
    suspicious: bool = False


@dataclass(frozen=True)
class Traffic:
    """Calls in time order, and the tables they refer to."""

    calls: NDArray[np.void]
    partners: tuple[str, ...]
    places: tuple[Place, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.calls)

    def events(self, engine: Engine) -> tuple[NDArray[np.void], bytes]:
        """The calls as an array of ztcore.layout.EVENT and the names in it, for engine.observe_batch()."""
        calls = self.calls
        found = np.zeros(len(calls), EVENT)
        names, offsets = bytearray(), []
        for partner in self.partners:
            offsets.append(len(names) + 1)
            for text in (APP.encode(), partner.encode()):
                names += bytes([len(text)]) + text
        for name in ("timestamp", "object_id", "latency_ms", "request_bytes", "response_bytes", "status"):
            found[name] = calls[name]
        found["partner"] = _keys(engine.partner_key(name) for name in self.partners)[calls["partner"]]
        found["name"] = np.array(offsets, "u4")[calls["partner"]]
        found["source"] = _keys(engine.source_key(source) for source in self.sources)[calls["source"]]
        found["endpoint"] = _keys(
            engine.endpoint_key(place.path.replace("{id}", "1"), place.method) for place in self.places
        )[calls["place"]]
        found["method"] = np.array([METHODS.index(place.method) for place in self.places], "u1")[calls["place"]]
        found["flags"] = np.array([place.suspicious for place in self.places], "u1")[calls["place"]] * SUSPICIOUS
        found["count"] = 1
        return found, bytes(names)

    def observe(self, engine: Engine, first: int, last: int) -> None:
        """Feed the calls first..last (exclusive) one by one, as an application would."""
        places = self.places
        for call in self.calls[first:last].tolist():
            time, partner, at, source, object_id, latency, request, response, status, _ = call
            engine.observe(
                self.partners[partner], places[at].path.replace("{id}", str(object_id)), method=places[at].method,
                status=status, latency_ms=latency, request_bytes=request, response_bytes=response,
                source=self.sources[source], app=APP, timestamp=time * 1e-9,
            )  # fmt: skip

    def lines(self) -> Iterator[str]:
        """The calls as telemetry, JSON lines in the wire format; many lines, with their ends, at a time."""
        before = [f'"endpoint":{json.dumps(place.path)}'.split("{id}") for place in self.places]
        heads = [part[0] for part in before]
        tails = [(part[1] if len(part) > 1 else "") + f',"method":"{place.method}"'
                 for part, place in zip(before, self.places, strict=True)]
        ids = np.array(["{id}" in place.path for place in self.places])
        who = [f'{{"appId":"{APP}","partnerId":{json.dumps(name)},"timestamp":' for name in self.partners]
        sources = [f'"clientIp":"{source}"}}\n' for source in self.sources]
        for first in range(0, len(self.calls), LINES):
            calls = self.calls[first : first + LINES]
            numbers = ((calls["timestamp"] // 1_000_000).tolist(), calls["partner"].tolist(), calls["place"].tolist(),
                       calls["source"].tolist(), np.where(ids[calls["place"]], calls["object_id"], -1).tolist(),
                       np.round(calls["latency_ms"], 2).tolist(), calls["request_bytes"].tolist(),
                       calls["response_bytes"].tolist(), calls["status"].tolist())
            yield "".join([
                f'{who[p]}{t},{heads[e]}{o if o >= 0 else ""}{tails[e]},"statusCode":{s},"responseTime":{ms},'
                f'"requestSize":{up},"responseSize":{down},{sources[a]}'
                for t, p, e, a, o, ms, up, down, s in zip(*numbers, strict=True)
            ])  # fmt: skip


def join(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Calls of several origins in one order of time."""
    calls = np.concatenate(parts) if parts else np.zeros(0, CALL)
    return calls[np.argsort(calls["timestamp"], kind="stable")]


def _keys(numbers: Iterator[int]) -> NDArray[np.uint64]:
    return np.fromiter(numbers, "u8")
