"""Changes of level as they happen: a story for each partner concerned, and the file of transitions."""

from dataclasses import dataclass, field
from typing import Any

from ztcore.levels import CAUSES, SIGNALS, Action
from ztcore.reason import Reason
from ztmon.profile import partner_name
from ztmon.replay.refused import THROTTLE, Refused
from ztmon.replay.transitions import TransitionsFile

MOST = 20_000
"""Stories that are kept; further partners are only counted."""

LEVELS = tuple(level.name.lower() for level in Action)


@dataclass(slots=True)
class Story:
    """What happened to a partner that reached alert or more. Times in ns."""

    app: str
    partner: str
    highest: int = 0
    score: float = 0.0
    """The highest score at a change of level."""
    began: int = 0
    """The first time at alert or above."""
    stopped: int | None = None
    """The first time at throttle or above."""
    stopped_for: int = 0
    """How long at throttle or above, altogether."""
    stops: int = 0
    """How often it came there."""
    level: int = 0
    since: int = 0
    reasons: dict[str, Reason] = field(default_factory=dict)
    """The strongest of each signal, of rises to the highest level."""
    refused: int = 0
    made: int = 0
    """Calls at throttle or above, of which `refused` would have been refused."""

    def change(self, time: int, to: int, score: float, reasons: tuple[Reason, ...]) -> None:
        """The level becomes `to`."""
        if self.level >= THROTTLE:
            self.stopped_for += max(0, time - self.since)
        elif to >= THROTTLE:
            self.stops += 1
            if self.stopped is None:
                self.stopped = time
        if not self.began:
            self.began = time
        if to > self.highest:
            self.highest = to
            self.reasons = {}
        if to > self.level:
            self.score = max(self.score, score)
        if to > self.level and to == self.highest:
            for reason in reasons:
                if reason.signal not in self.reasons or reason.evidence > self.reasons[reason.signal].evidence:
                    self.reasons[reason.signal] = reason
        self.level, self.since = to, time

    def end(self, time: int) -> None:
        """The log ends."""
        if self.level >= THROTTLE:
            self.stopped_for += max(0, time - self.since)
        self.since = time

    @property
    def why(self) -> list[Reason]:
        """Strongest first."""
        return sorted(self.reasons.values(), key=lambda reason: -reason.evidence)


class Watch:
    """Reads the engine's journal and lets time pass in it."""

    def __init__(self, engine: Any, refused: Refused, file: TransitionsFile | None) -> None:
        self.engine, self.refused, self.file = engine, refused, file
        self.stories: dict[int, Story] = {}
        self.untold: set[int] = set()
        self.changes = 0

    def settle(self, newest: int) -> None:
        """Events up to `newest`, ns, were fed: what fell due by then happens."""
        self.engine.advance(newest * 1e-9)
        self.collect()
        if self.file:
            self.file.release(newest)

    def collect(self) -> None:
        """Take in what the journal has."""
        found = self.engine.transitions()
        if len(found):
            for entry in found[found["timestamp"].argsort(kind="stable")]:
                if not entry["anomaly"]:
                    self._change(entry)

    def _change(self, entry: Any) -> None:
        key, time, before, to = (int(entry[name]) for name in ("partner", "timestamp", "from_level", "to_level"))
        self.changes += 1
        reasons = self.engine.reasons(entry) if to > before else ()
        story = self.stories.get(key)
        if story is None and len(self.stories) < MOST:
            app = bytes(entry["app"])[: int(entry["app_length"])].decode("utf-8", "replace")
            story = self.stories[key] = Story(app, _name(entry))
        if story is None:
            self.untold.add(key)
        else:
            story.change(time, to, float(entry["score"]), reasons)
        if self.file:
            self.file.add(time, _line(entry, reasons))

    def end(self, newest: int) -> list[Story]:
        """The log ended at `newest`: all stories, the worst first."""
        self.collect()
        for key, story in self.stories.items():
            story.end(newest)
            story.refused = self.refused.refused.get(key, 0)
            story.made = self.refused.made.get(key, 0)
        if self.file:
            self.file.close()
        return sorted(self.stories.values(), key=lambda s: (-s.highest, -s.refused, -s.stopped_for, s.began))


def _name(entry: Any) -> str:
    return partner_name({"name_length": entry["name_length"], "name": entry["name"], "key": entry["partner"]})


def _line(entry: Any, reasons: tuple[Reason, ...]) -> dict[str, Any]:
    """A transition as it is written down; of a change downward, `cause` says whether time or a person did it."""
    cause = int(entry["cause"])
    return {
        "timestamp": int(entry["timestamp"]) // 1_000_000,
        "app": bytes(entry["app"])[: int(entry["app_length"])].decode("utf-8", "replace"),
        "partner": _name(entry),
        "from": LEVELS[int(entry["from_level"])],
        "to": LEVELS[int(entry["to_level"])],
        "score": round(float(entry["score"]), 1),
        "cause": SIGNALS[cause] if cause < len(SIGNALS) else CAUSES[cause],
        "reasons": [reason.to_dict() for reason in reasons],
    }
