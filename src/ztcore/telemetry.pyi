from collections.abc import Collection
from typing import Self

from ztcore.core import Core
from ztcore.decision import Decision

ODD: int
BROKEN: int
MANY: int

class TelemetryReader:
    back: int
    ahead: int
    noted: dict[int, Decision]
    odd: list[tuple[int, int, int]]
    def __new__(cls, engine: Core, most: int = 100_000) -> Self: ...
    @property
    def clamped(self) -> int: ...
    def begin(self, size: int, events: int, earliest: int, latest: int, apps: Collection[str] | None = None) -> None: ...
    def take(self, body: bytes, earliest: int, latest: int, apps: Collection[str] | None = None) -> int: ...
    def take_now(self, body: bytes, apps: Collection[str] | None = None) -> int: ...
    def put(
        self, place: int, app: bytes, partner: bytes, timestamp_ms: float, endpoint: bytes, method: bytes, status: int,
        latency_ms: float, request_bytes: float = 0.0, response_bytes: float = 0.0, source: bytes = b"", count: int = 1,
    ) -> bool: ...
    def observe(self) -> int: ...
