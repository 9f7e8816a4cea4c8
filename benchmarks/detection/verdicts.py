"""What the shipped configuration made of a simulation: who rose when, what was found, what was wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ztmon import Config, Monitor
from ztmon.simulate import Attack, Simulation
from ztmon.simulate.happenings import ALL, BACKEND
from ztmon.simulate.rhythm import DAY_NS, HOUR_NS, SECOND_NS

CHUNK = 100_000
AFTERMATH_NS = 30 * 60 * SECOND_NS      # rises so soon after an attack are counted apart
COMING_DOWN_NS = 75 * 60 * SECOND_NS    # hours under an action so soon after it are not wrong
ALERT, THROTTLE, QUARANTINE, BLOCK = LEVELS = 1, 2, 3, 4


@dataclass(frozen=True)
class Change:
    """A change of one partner's level."""

    time: int
    before: int
    after: int
    signals: tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """What became of one attack: seconds and the partner's events from its begin to each of LEVELS, inf: never in its
    window."""

    attack: Attack
    seconds: tuple[float, ...]
    events: tuple[float, ...]


@dataclass(frozen=True)
class Wrong:
    """A rise that no attack explains. cause: the innocent happening at the time, or "calm"."""

    partner: int
    time: int
    level: int
    cause: str
    signals: tuple[int, ...]


def changes(simulation: Simulation, **settings: object) -> list[list[Change]]:
    """The changes of level of each partner, in order."""
    with Monitor(Config(clock="events", hash_key=bytes(16), **settings)) as monitor:
        events, names = simulation.traffic.events(monitor)
        found = []
        for first in range(0, len(events), CHUNK):
            monitor.observe_batch(events[first : first + CHUNK], names)
            found.append(monitor.transitions())
        monitor.advance(int(events["timestamp"][-1]) * 1e-9 + 2 * 3600)
        found.append(monitor.transitions())
        keys = {monitor.partner_key(partner.name): i for i, partner in enumerate(simulation.partners)}
        assert monitor.stats()["transitions_lost"] == 0
    entries = np.concatenate(found)
    by_partner: list[list[Change]] = [[] for _ in simulation.partners]
    for entry in entries[entries["anomaly"] == 0]:
        signals = tuple(int(why["signal"]) for why in entry["why"][: entry["whys"]])
        by_partner[keys[int(entry["partner"])]].append(
            Change(int(entry["timestamp"]), int(entry["from_level"]), int(entry["to_level"]), signals))
    return by_partner


def found(simulation: Simulation, levels: list[list[Change]]) -> list[Found]:
    """For each attack how soon it led to each level."""
    times = calls_of_each(simulation)
    answers = []
    for attack in simulation.attacks:
        own = times[attack.partner]
        seconds, events = [], []
        for level in LEVELS:
            at = reached(levels[attack.partner], level, attack.start, attack.end)
            seconds.append((at - attack.start) / SECOND_NS if at is not None else np.inf)
            events.append(float(np.searchsorted(own, at, "right") - np.searchsorted(own, attack.start))
                          if at is not None else np.inf)
        answers.append(Found(attack, tuple(seconds), tuple(events)))
    return answers


def calls_of_each(simulation: Simulation) -> list[NDArray[np.int64]]:
    """When each partner called, ns, in order."""
    partners = np.ascontiguousarray(simulation.traffic.calls["partner"])
    order = np.argsort(partners, kind="stable")
    ends = np.cumsum(np.bincount(partners, minlength=len(simulation.partners)))
    return np.split(simulation.traffic.calls["timestamp"][order], ends[:-1])


def reached(levels: list[Change], level: int, start: int, end: int) -> int | None:
    """When the partner was first at that level between start and end."""
    now = 0
    for change in levels:
        if change.time >= end:
            break
        if change.time > start and now >= level:
            return start
        now = change.after
        if change.time >= start and now >= level:
            return change.time
    return start if now >= level else None


def windows(simulation: Simulation, partner: int, after: int) -> list[tuple[int, int]]:
    """The attacks on a partner, each with so many ns after it."""
    return [(a.start, a.end + after) for a in simulation.attacks if a.partner == partner]


def wrong(simulation: Simulation, levels: list[list[Change]], level: int) -> tuple[list[Wrong], int]:
    """Rises to a level outside every attack's window, and how many more came in the aftermath."""
    answers, aftermath = [], 0
    for partner, own in enumerate(levels):
        during = windows(simulation, partner, 0)
        after = windows(simulation, partner, AFTERMATH_NS)
        for change in own:
            if change.before < level <= change.after and not _within(change.time, during):
                if _within(change.time, after):
                    aftermath += 1
                else:
                    answers.append(Wrong(partner, change.time, change.after, cause(simulation, partner, change.time),
                                         change.signals))
    return answers, aftermath


def because_of_the_backend(answers: list[Wrong], simulate_without: Callable[[], Simulation]) -> int:
    """How many of these fell into a backend's trouble, or the hour after, and are not there in the same stream without
    the trouble: no rise of the same partner to throttle within an hour."""
    during = [each for each in answers if each.cause in BACKEND]
    if not during:
        return 0
    without = simulate_without()
    calm, _ = wrong(without, changes(without), THROTTLE)
    return sum(not any(other.partner == each.partner and abs(other.time - each.time) < HOUR_NS for other in calm)
               for each in during)


def cause(simulation: Simulation, partner: int, time: int) -> str:
    """The innocent happening at that time, or in the hour before."""
    for what in simulation.happenings:
        end = what.end + HOUR_NS if what.kind not in ("silence", "newborn") else what.end + DAY_NS
        if what.partner in (partner, ALL) and what.start <= time < end:
            if what.kind in ("silence", "newborn") and time < what.end:
                continue
            if what.kind in ("renamed_routes", "new_endpoint", "new_range", "release") and time > what.start + DAY_NS:
                continue
            return what.kind
    return "calm"


def wrong_hours(simulation: Simulation, levels: list[list[Change]], level: int = THROTTLE) -> float:
    """Hours at the level or above outside every attack's window and the 75 minutes after it."""
    total = 0
    for partner, own in enumerate(levels):
        allowed = windows(simulation, partner, COMING_DOWN_NS)
        since = None
        for change in own:
            if change.before < level <= change.after:
                since = change.time
            elif change.after < level <= change.before and since is not None:
                total += _outside(since, change.time, allowed)
                since = None
    return total / HOUR_NS


def partner_days(simulation: Simulation, learning_hours: float = 24.0) -> float:
    """Days on which partners could rise: after learning, outside attacks."""
    days = 0.0
    calls = simulation.traffic.calls
    end = int(calls["timestamp"][-1])
    order = np.full(len(simulation.partners), end)
    np.minimum.at(order, calls["partner"], calls["timestamp"])
    for partner, first in enumerate(order):
        span = end - int(first) - learning_hours * HOUR_NS
        span -= sum(e - s for s, e in windows(simulation, partner, AFTERMATH_NS))
        days += max(0.0, span / DAY_NS)
    return days


def _within(time: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= time < end for start, end in spans)


def _outside(start: int, end: int, spans: list[tuple[int, int]]) -> int:
    """How much of start..end lies in none of the spans."""
    left = end - start
    at = start
    for first, last in sorted(spans):
        first, last = max(first, at), min(last, end)
        if last > first:
            left -= last - first
            at = last
    return left
