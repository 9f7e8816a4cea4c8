"""The facts of a replay as JSON. Times in ms since the epoch, null where there is none."""

import json
from typing import TYPE_CHECKING, Any

from ztmon.report.facts import Facts

if TYPE_CHECKING:
    from ztmon.replay.watch import Story

LEVELS = ("monitor", "alert", "throttle", "quarantine", "block")


def to_json(facts: Facts) -> str:
    """All of it in one object."""
    return json.dumps(to_dict(facts), ensure_ascii=False, indent=2)


def to_dict(facts: Facts) -> dict[str, Any]:
    """The same as maps and lists."""
    return {
        "sources": [
            {
                "name": read.name, "format": read.kind, "bytes": read.size, "lines": read.lines,
                "events": read.events, "broken": read.broken, "cut": read.cut or None,
                "broken_examples": [{"line": line, "reason": reason} for line, reason in read.bad],
            }
            for read in facts.read
        ],
        "lines": facts.lines,
        "events": facts.events,
        "broken": facts.broken,
        "late": facts.late,
        "interrupted": facts.interrupted,
        "seconds": round(facts.seconds, 3),
        "lines_per_second": round(facts.lines / max(facts.seconds, 1e-9)),
        "from": _ms(facts.oldest),
        "to": _ms(facts.newest),
        "learning_hours": facts.config.learning_hours,
        "learning_events": facts.config.learning_events,
        "shorter_than_learning": facts.too_short,
        "partners": {
            "seen": facts.partners,
            "still_learning": facts.learning,
            "without_room": facts.partners_missed,
            "monitor": facts.calm,
            "not_listed": facts.untold,
            **{level: sum(s.highest == i for s in facts.stories) for i, level in enumerate(LEVELS) if i},
        },
        "changes": facts.changes,
        "changes_lost": facts.changes_lost,
        "stopped": [_story(story) for story in facts.stopped],
        "alerted": [_story(story) for story in facts.alerted],
    }


def _story(story: "Story") -> dict[str, Any]:
    return {
        "app": story.app,
        "partner": story.partner,
        "highest": LEVELS[story.highest],
        "at_the_end": LEVELS[story.level],
        "score": round(story.score, 1),
        "began": _ms(story.began),
        "stopped": _ms(story.stopped or 0),
        "stopped_seconds": round(story.stopped_for / 1e9, 1),
        "stops": story.stops,
        "requests_while_stopped": story.made,
        "requests_refused": story.refused,
        "reasons": [reason.to_dict() for reason in story.why],
    }


def _ms(ns: int) -> int | None:
    return ns // 1_000_000 if ns else None
