"""Everything there is to say about a replay."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ztmon.config import Config
    from ztmon.replay.watch import Story


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
