"""What a replay found, for a person and for a program: the same facts.

The text is made of lines of styled pieces; colours come in where it is shown on a terminal.
"""

import json
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ztmon.config import Config
    from ztmon.replay.watch import Story

WIDTH = 80
STOPPED_SHOWN = 20
ALERTS_SHOWN = 5
REASONS_SHOWN = 3

LEVELS = ("monitor", "alert", "throttle", "quarantine", "block")
STYLES = {"monitor": "green", "alert": "yellow", "throttle": "dark_orange", "quarantine": "red", "block": "bold red"}

Line = list[tuple[str, str]]
"""Pieces of (text, style)."""


@dataclass(slots=True)
class Read:
    """One source. bad: (line number, reason) of the first broken lines; cut: why reading ended early."""

    name: str
    kind: str
    size: int
    lines: int
    events: int
    broken: int
    bad: list[tuple[int, str]]
    cut: str


@dataclass(slots=True)
class Facts:
    """Everything a replay found. Times in ns since the epoch, 0: there was no event."""

    read: list[Read]
    seconds: float
    oldest: int
    newest: int
    interrupted: bool
    partners: int
    partners_missed: int
    learning: int
    late: int
    changes: int
    changes_lost: int
    untold: int
    stories: "list[Story]"
    config: "Config"

    @property
    def lines(self) -> int:
        return sum(read.lines for read in self.read)

    @property
    def events(self) -> int:
        return sum(read.events for read in self.read)

    @property
    def broken(self) -> int:
        return sum(read.broken for read in self.read)

    @property
    def hours(self) -> float:
        """What the log spans."""
        return (self.newest - self.oldest) / 3.6e12

    @property
    def stopped(self) -> "list[Story]":
        """Partners that reached throttle or more, the worst first."""
        return [story for story in self.stories if story.highest >= 2]

    @property
    def alerted(self) -> "list[Story]":
        """Partners that reached alert and no more."""
        return [story for story in self.stories if story.highest == 1]

    @property
    def calm(self) -> int:
        """How many partners stayed at monitor."""
        return max(0, self.partners - len(self.stories) - self.untold)

    @property
    def too_short(self) -> bool:
        """Nobody can have been judged by the score: the log ends within the time of learning."""
        return self.events > 0 and self.hours < self.config.learning_hours
