"""A bar for who waits at a terminal."""

import sys
import time
from typing import Any

PATIENCE = 0.5
"""Seconds before the bar appears: who reads a short log never loads it."""

PAUSE = 0.1
"""Seconds between two looks."""


class Progress:
    """Shows how far a replay is, on standard error, if that is a terminal. `total`: bytes, 0: unknown."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.next = time.monotonic() + PATIENCE if sys.stderr.isatty() else float("inf")
        self.bar: Any = None

    def show(self, done: int, lines: int) -> None:
        """`done` bytes and `lines` lines are behind us."""
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + PAUSE
        if self.bar is None:
            self.bar = self._start()
        self.bar.update(self.task, completed=done, lines=lines)

    def _start(self) -> Any:
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.SpinnerColumn(),
            progress.BarColumn(bar_width=None),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[lines]:,} lines"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = bar.add_task("", total=self.total or None, lines=0)
        bar.start()
        return bar

    def stop(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
