"""Numbers, times and spans of time as people write them."""

import time


def count(n: int, one: str, many: str = "") -> str:
    """ "1 line", "12,000 lines"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def printable(name: str) -> str:
    """A name without what could steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def moment(ns: int) -> str:
    """A time in ns since the epoch, to the second, UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ns // 1_000_000_000))
    except (ValueError, OverflowError, OSError):
        return "a time that is no time"


def seconds(s: float) -> str:
    """How long something took: 0.06 s, 1.2 s, 45 s."""
    return f"{s:.2f} s" if s < 1 else f"{s:.1f} s" if s < 10 else f"{s:.0f} s"


def span(seconds: float) -> str:
    """About how long: 45 s, 12 min, 1 h 15 min, 3 days 11 h."""
    s = round(seconds)
    if s < 120:
        return f"{s} s"
    if s < 3600 * 2:
        hours, minutes = divmod(round(s / 60), 60)
        return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"
    if s < 86400 * 2:
        return f"{round(s / 3600)} hours"
    days, hours = divmod(round(s / 3600), 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def speed(lines: int, seconds: float) -> str:
    """Lines a second, in two significant digits."""
    n = lines / max(seconds, 1e-9)
    if n >= 1e6:
        return f"{n / 1e6:.1f} million lines/s"
    digits = max(0, len(str(int(n))) - 2)
    return f"{round(n / 10**digits) * 10**digits:,} lines/s"
