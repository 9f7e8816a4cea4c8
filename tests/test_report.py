"""The report: numbers as people write them, 80 columns, colours for terminals only."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.reason import Reason
from ztmon.config import Config
from ztmon.replay.watch import Story
from ztmon.report.data import to_dict
from ztmon.report.facts import Facts, Read
from ztmon.report.text import WIDTH, show
from ztmon.report.words import count, moment, printable, seconds, span, speed

START = 1_767_225_600_000_000_000


@pytest.mark.parametrize(("seconds_", "said"), [
    (0, "0 s"), (119.4, "119 s"), (120, "2 min"), (3599, "1 h"), (3660, "1 h 1 min"), (7199, "2 h"), (7200, "2 hours"),
    (86400 * 2 - 1, "48 hours"), (86400 * 2, "2 days"), (3 * 86400 + 11 * 3600, "3 days 11 h"),
])
def test_spans(seconds_, said):
    """Two units at most, no seconds where there are hours."""
    assert span(seconds_) == said


def test_other_words():
    """Counts, times and speeds, at their edges too."""
    assert [count(n, "line") for n in (0, 1, 12_000)] == ["0 lines", "1 line", "12,000 lines"]
    assert count(2, "entry", "entries") == "2 entries"
    assert moment(START) == "2026-01-01 00:00:00"
    assert moment(1 << 200) == "a time that is no time"
    assert [seconds(s) for s in (0.004, 0.5, 2.04, 61.2)] == ["0.00 s", "0.50 s", "2.0 s", "61 s"]
    assert [speed(n, 1.0) for n in (0, 7, 1234, 2_345_678)] == ["0 lines/s", "7 lines/s", "1,200 lines/s", "2.3 million lines/s"]
    assert speed(5, 0.0).endswith("lines/s")


def story(partner, level, made=10, refused=5):
    found = Story("default", partner)
    found.change(START, level, 70.0, (Reason("auth_failures", 12.0, "3 of the last 4 answers were failures, usually 12 %"),))
    found.end(START + 10**12)
    found.made, found.refused = made, refused
    return found


def facts(stories=(), **changes):
    """Facts of a replay of 1,000 lines over four days."""
    given = {
        "read": [Read("access.log", "access log", 9000, 1000, 998, 2, [(7, "is no line of an access log")], "")],
        "seconds": 0.5, "oldest": START, "newest": START + 4 * 86400 * 10**9, "interrupted": False, "partners": 40,
        "partners_missed": 0, "learning": 3, "late": 0, "changes": len(stories), "changes_lost": 0, "untold": 0,
        "stories": list(stories), "config": Config(),
    }  # fmt: skip
    return Facts(**{**given, **changes})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def text(found, out=None):
    out = out or io.StringIO()
    show(found, out)
    return out.getvalue()


@given(st.lists(st.tuples(st.text(max_size=70), st.integers(1, 4)), max_size=40), st.integers(0, 10**12), st.booleans())
def test_lines_fit_and_nothing_is_lost(stories, n, interrupted):
    """Whatever the names are, lines have 80 columns but for names that have more, and nothing steers a terminal."""
    found = facts([story(name, level) for name, level in stories], partners=n + 40, interrupted=interrupted, late=n)
    said = text(found)
    assert said.replace("\n", "").isprintable()
    for line in said.split("\n"):
        assert len(line) <= WIDTH or any(printable(name) in line for name, _ in stories if len(name) > 20)
    assert len(found.stopped) + len(found.alerted) == len(stories)
    assert to_dict(found)["partners"]["throttle"] == sum(level == 2 for _, level in stories)


def test_who_was_stopped_comes_with_when_and_why():
    """Name, level, from when, how long, calls, reasons; then who was only told of, then the rest."""
    said = text(facts([story("acme", 4), story("beta", 1), story("gamma", 2, 4, 4), story("delta", 2, 1, 0)]))
    order = [said.index(part) for part in (
        "acme", "block", "from 2026-01-01 00:00:00 UTC, for 17 min", "5 of the 10 calls", "3 of the last 4 answers",
        "all 4 calls", "1 call it made then would have passed", "no more (alert)", "beta", "36 partners stayed at monitor",
        "2 of 1,000 lines", "line 7: is no line of an access log", "What to do next",
    )]  # fmt: skip
    assert order == sorted(order)


def test_a_share_stays_on_the_line_of_its_number():
    """No line begins with the % of the one before."""
    for n in range(40, 80):
        reason = Reason("auth_failures", 9.0, "x" * 5 + " " + "y" * n + " usually 42 %")
        one = story("acme", 3)
        one.reasons = {"auth_failures": reason}
        assert not re.search(r"^\s*%", text(facts([one])), re.MULTILINE)


def test_colours_are_for_terminals(monkeypatch):
    """A terminal gets colours; a pipe and NO_COLOR do not."""
    found = facts([story("acme", 4)])
    monkeypatch.setenv("TERM", "xterm-256color")
    assert not re.search(r"\x1b\[[0-9;]*3\d", text(found, Terminal()))     # tests run with NO_COLOR
    monkeypatch.delenv("NO_COLOR")
    assert re.search(r"\x1b\[[0-9;]*3\d", text(found, Terminal()))
    assert "\x1b[" not in text(found)


@pytest.mark.parametrize(("changes", "advice"), [
    ({"newest": START + 3600 * 10**9}, "--learning-hours"),
    ({"learning": 39}, "made too few calls to be learned"),
    ({"partners_missed": 5}, "--capacity"),
    ({"late": 900}, "in the order of time"),
    ({"changes_lost": 1}, "too fast"),
    ({"read": [Read("x", "access log", 9, 4, 0, 4, [], "")]}, "--format"),
    ({"read": [Read("x", "access log", 0, 0, 0, 0, [], "")]}, "right file"),
])
def test_advice_fits_the_trouble(changes, advice):
    """What went wrong is followed by what to do about it."""
    assert advice in text(facts(**changes)).replace("\n    ", " ")
    assert advice not in text(facts()).replace("\n    ", " ")
