"""One decision of a gateway's, as it is kept beside an application: until when, and the tokens of a throttle."""

import math
from dataclasses import dataclass
from typing import Any

from ztcore.levels import Action

BURST_SECONDS = 6.0
"""So many seconds' worth of a throttled partner's calls may come at once, as in the engine."""


@dataclass(frozen=True, slots=True)
class RemoteDecision:
    """As ztcore.decision.Decision, without reasons: these are with the gateway."""

    level: int = 0
    score: float = 0.0
    enforced: bool = False
    retry_after: float = 0.0
    interval: float = 0.0
    remaining: int = -1
    reasons: tuple[Any, ...] = ()

    @property
    def action(self) -> Action:
        """The same as the level."""
        return Action(self.level)


CALM = RemoteDecision()


class Held:
    """One decision of the gateway's. ends: by time.monotonic()."""

    __slots__ = ("arrival", "ends", "interval", "level", "routes", "score")

    def __init__(self, told: dict[str, Any], now: float) -> None:
        self.level, self.interval = _level(told)
        self.routes = {float(name): _level(route) for name, route in told.get("routes", {}).items()}
        self.score = float(told["score"])
        self.ends = math.inf if told["ends_seconds"] is None else now + float(told["ends_seconds"])
        self.arrival = 0.0

    def decide(self, most: int, now: float, sensitivity: float = 1.0) -> RemoteDecision:
        """For one call, which takes a token where it is throttled: GCRA, as in the engine."""
        level, interval = self.routes.get(sensitivity, (self.level, self.interval))
        level = min(level, most)
        if level < Action.THROTTLE:
            return RemoteDecision(level, self.score)
        if level > Action.THROTTLE:
            wait = self.ends - now if self.ends < math.inf else 0.0
            return RemoteDecision(level, self.score, True, wait)
        interval = interval or 60.0
        arrival = max(self.arrival, now)
        wait = arrival + interval - now - max(BURST_SECONDS, interval)
        if wait > 0.0:
            return RemoteDecision(level, self.score, True, min(wait, self.ends - now), interval, 0)
        self.arrival = arrival + interval
        return RemoteDecision(level, self.score, False, 0.0, interval, int(-wait / interval))


def _level(told: dict[str, Any]) -> tuple[int, float]:
    return int(Action[told["level"].upper()]), float(told["interval"])
