from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.decision import Decision
from ztcore.memory import Memory

class Core(Memory):
    by_events: bool
    def observe(
        self,
        partner: str,
        endpoint: str,
        method: str = "GET",
        status: int = 200,
        latency_ms: float = 0.0,
        request_bytes: float = 0,
        response_bytes: float = 0,
        source: str | None = None,
        app: str = "default",
        timestamp: float | None = None,
        count: int = 1,
        path: str | None = None,
    ) -> Decision: ...
    def check(self, partner: str, app: str = "default", timestamp: float | None = None) -> Decision: ...
    def check_route(
        self, partner: str, app: str = "default", sensitivity: float = 1.0, most: int = 4, timestamp: float | None = None
    ) -> Decision: ...
    def observe_batch(
        self, events: npt.NDArray[Any], names: bytes = b"", decisions: npt.NDArray[np.uint8] | None = None
    ) -> int: ...
    def partner_key(self, partner: str, app: str = "default") -> int: ...
    def endpoint_key(self, endpoint: str, method: str = "GET") -> int: ...
    def source_key(self, source: str) -> int: ...
