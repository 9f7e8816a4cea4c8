"""What the gateway counts of itself: plain numbers, so that counting costs a request nothing. Read by /metrics and /stats."""

from collections import Counter


class Figures:
    """answers: how many, by route (a path of the table, "" for none) and status; all else by name."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.posts = 0
        """Posts of a single calm event, which are in no other count."""
        self.unwaited = 0
        """The same with wait=0."""
        self.batched = 0
        """Events accepted by all other posts."""
        self.rejected = 0
        self.streams = 0
        """Open event streams."""

    @property
    def accepted(self) -> int:
        """Events accepted from posts."""
        return self.posts + self.unwaited + self.batched

    def answered(self, route: str, status: int) -> None:
        """Count an answer. Labels are bounded: routes are those of the table."""
        self.answers[route, status] += 1
