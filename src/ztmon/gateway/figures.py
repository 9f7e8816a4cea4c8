"""What the gateway counts of itself: plain numbers, so that counting costs a request nothing. Read by /metrics and /stats."""

from collections import Counter


class Figures:
    """answers: how many, by route (a path of the table, "" for none) and status; all else by name."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.posts = 0
        """Answers of POST /telemetry with 200 or 202, which are in no other count."""
        self.accepted = 0
        self.rejected = 0
        self.streams = 0
        """Open event streams."""

    def answered(self, route: str, status: int) -> None:
        """Count an answer. Labels are bounded: routes are those of the table."""
        self.answers[route, status] += 1
