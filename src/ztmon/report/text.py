"""The facts of a replay as lines for a person: calm, 80 columns, colours only on a terminal."""

import sys
import textwrap
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from ztmon.report.facts import Facts, Read
from ztmon.report.words import count, moment, printable, seconds, span, speed

if TYPE_CHECKING:
    from ztmon.replay.watch import Story

WIDTH = 80
STOPPED_SHOWN = 20
ALERTS_SHOWN = 10
REASONS_SHOWN = 3
BAD_SHOWN = 5

LEVELS = ("monitor", "alert", "throttle", "quarantine", "block")
STYLES = ("green", "yellow", "dark_orange", "red", "bold red")

Line = list[tuple[str, str]]
"""Pieces of (text, style)."""


def lines(facts: Facts) -> Iterator[Line]:
    """The whole report."""
    yield from _summary(facts)
    if facts.events:
        yield from _stopped(facts)
        yield from _alerted(facts)
        yield from _calm(facts)
    yield from _unread(facts)
    yield from _next(facts)


def show(facts: Facts, out: IO[str] | None = None) -> None:
    """Print it: with colours on a terminal, plain elsewhere."""
    out = out or sys.stdout
    if not out.isatty():
        out.write("".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines(facts)))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False, soft_wrap=True)
    for line in lines(facts):
        console.print(Text.assemble(*line))


def _paragraph(text: str, first: str = "  ", indent: str = "  ", style: str = "") -> Iterator[Line]:
    # a share stays on the line of its number
    for line in textwrap.wrap(text.replace(" %", "\u00a0%"), WIDTH, initial_indent=first, subsequent_indent=indent,
                              break_long_words=False):
        yield [(line.replace("\u00a0", " "), style)]


def _heading(text: str) -> Iterator[Line]:
    yield []
    yield [(text, "bold")]


def _summary(facts: Facts) -> Iterator[Line]:
    names = ", ".join(printable(read.name) for read in facts.read[:3])
    more = f" and {len(facts.read) - 3} more" if len(facts.read) > 3 else ""
    yield from _paragraph(f"ztmon replay of {names}{more}", first="", style="bold")
    yield []
    broken = f", {facts.broken:,} of them could not be read" if facts.broken else ""
    early = "; interrupted, the rest was not read" if facts.interrupted else ""
    yield from _entry("Read", f"{count(facts.lines, 'line')} in {seconds(facts.seconds)} "
                              f"({speed(facts.lines, facts.seconds)}){broken}{early}")
    if not facts.events:
        return
    yield from _entry("Time", f"{moment(facts.oldest)} to {moment(facts.newest)} UTC ({span(facts.hours * 3600)})")
    at_least = "at least " if facts.partners_missed else ""
    learning = f", {facts.learning:,} of them still being learned at the end" if facts.learning else ""
    yield from _entry("Partners", f"{at_least}{facts.partners:,}{learning}")


def _entry(name: str, text: str) -> Iterator[Line]:
    for i, line in enumerate(textwrap.wrap(text, WIDTH - 12)):
        yield [(f"  {name:<10}" if i == 0 else " " * 12, "dim"), (line, "")]


def _stopped(facts: Facts) -> Iterator[Line]:
    stopped = facts.stopped
    yield from _heading("Who would have been stopped")
    if not stopped:
        yield []
        yield [("  Nobody.", "green")]
        return
    for story in stopped[:STOPPED_SHOWN]:
        yield []
        yield from _story(story)
    if len(stopped) > STOPPED_SHOWN:
        yield []
        yield from _paragraph(f"... and {count(len(stopped) - STOPPED_SHOWN, 'partner')} more; --json has them all.")


def _story(story: "Story") -> Iterator[Line]:
    level = LEVELS[story.highest]
    name = printable(story.partner if story.app == "default" else f"{story.partner} ({story.app})")
    gap = max(2, WIDTH - 2 - len(name) - len(level))
    yield [("  ", ""), (name, "bold"), (" " * gap, ""), (level, STYLES[story.highest])]
    assert story.stopped is not None
    spells = f" in {story.stops} spells" if story.stops > 1 else ""
    still = ", to the end of the log" if story.level >= 2 else ""
    yield from _paragraph(f"from {moment(story.stopped)} UTC, for {span(story.stopped_for / 1e9)}{spells}{still}",
                          "    ", "    ")
    if story.made:
        yield from _paragraph(_refused(story.refused, story.made), "    ", "    ")
    for reason in story.why[:REASONS_SHOWN]:
        yield from _paragraph(str(reason), "    - ", "      ", "dim")


def _refused(refused: int, made: int) -> str:
    if refused == 0:
        return f"{count(made, 'call')} it made then would have passed: within its usual rate"
    if refused == made:
        return f"all {made:,} calls it made then would have been refused"
    return f"{refused:,} of the {count(made, 'call')} it made then would have been refused"


def _alerted(facts: Facts) -> Iterator[Line]:
    alerted = facts.alerted
    if not alerted:
        return
    yield from _heading("Whom people would have been told of, no more (alert)")
    yield []
    for story in alerted[:ALERTS_SHOWN]:
        yield [("  ", ""), (printable(story.partner), "bold"), (f"  {moment(story.began)} UTC", "")]
        for reason in story.why[:1]:
            yield from _paragraph(reason.detail, "    - ", "      ", "dim")
    if len(alerted) > ALERTS_SHOWN:
        yield from _paragraph(f"... and {count(len(alerted) - ALERTS_SHOWN, 'partner')} more.")


def _calm(facts: Facts) -> Iterator[Line]:
    yield from _heading("Everybody else")
    yield []
    if facts.untold:
        yield from _paragraph(f"{count(facts.untold, 'further partner')} reached alert or more; too many to tell of each.")
    stayed = "stayed" if facts.stories or facts.partners != 1 else "the only one, stayed"
    yield from _paragraph(f"{count(facts.calm, 'partner')} {stayed} at monitor, from the first line to the last.")


def _unread(facts: Facts) -> Iterator[Line]:
    troubled = [read for read in facts.read if read.broken or read.cut]
    if not troubled:
        return
    yield from _heading("What could not be read")
    yield []
    for read in troubled:
        yield from _source(read)


def _source(read: Read) -> Iterator[Line]:
    if read.broken:
        yield from _paragraph(f"{read.name}: {read.broken:,} of {count(read.lines, 'line')}")
        for number, reason in read.bad[:BAD_SHOWN]:
            yield from _paragraph(f"line {number:,}: {reason}", "    - ", "      ", "dim")
    if read.cut:
        yield from _paragraph(f"{read.name}: {read.cut}; what came before it is in this report.")


def _next(facts: Facts) -> Iterator[Line]:
    advice = list(_advice(facts))
    if advice:
        yield from _heading("What to do next")
        yield []
    for text in advice:
        yield from _paragraph(text, "  - ", "    ")


def _advice(facts: Facts) -> Iterator[str]:
    config = facts.config
    if not facts.lines:
        yield "There was not one line. Is it the right file?"
    elif not facts.events:
        yield ("Not one line could be read. Name the format: --format combined, common or jsonl; "
               "--map NAME=FIELD says which fields of JSON lines are which.")
    if not facts.events:
        return
    if facts.too_short:
        yield (f"This log covers {span(facts.hours * 3600)}, and a partner is learned for "
               f"{config.learning_hours:g} hours and {config.learning_events:,} calls before its score can move it: "
               "here only suspicious patterns could. Replay several days together, or lower it for a first "
               f"look: --learning-hours {_shorter(facts.hours)}")
    elif facts.learning * 2 > facts.partners:
        yield (f"{facts.learning:,} of {count(facts.partners, 'partner')} made too few calls to be learned "
               f"({config.learning_hours:g} hours and {config.learning_events:,} calls). Is this who your partners are? "
               "--partner user takes the log's user, --map partnerId=FIELD a field of JSON lines.")
    if facts.stopped:
        yield ("Is one of those a good partner? Then raise the level it begins at (--threshold-throttle) and replay "
               "again, or keep it from harm: `allow` and `max_action` in the configuration.")
    if not facts.too_short and facts.learning * 2 <= facts.partners:
        yield "When this list is right, switch enforcement on: SHADOW_MODE=false. Until then nobody is ever refused."
    if facts.partners_missed:
        yield (f"{count(facts.partners_missed, 'call')} came from partners for which there was no room: "
               f"--capacity is {config.capacity:,}.")
    if facts.late * 50 > facts.events:
        yield (f"{count(facts.late, 'call')} came more than {config.lateness_seconds:g} s after later ones of the same "
               "partner and could only be counted. Is the log in the order of time?")
    if facts.changes_lost:
        yield f"{count(facts.changes_lost, 'change')} of level came too fast to be told; the counts here are too low."


def _shorter(hours: float) -> str:
    """A quarter of what the log spans, as people would say it."""
    quarter = hours / 4
    return f"{int(quarter)}" if quarter >= 1 else f"{max(quarter, 0.01):.1g}"
