"""What looks like an attack and is none: it must not be punished."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ztmon.simulate.calm import Calls
from ztmon.simulate.rhythm import HOUR_NS, SECOND_NS, Factor
from ztmon.simulate.world import API, FIRST_SECOND, Floats, Ints, Partner

ALL = -1
"""Instead of a partner: everybody."""
NEW_SOURCES = 12
"""Addresses of a new range."""


@dataclass(frozen=True)
class Happening:
    """Something innocent: which kind, to whom (index of the partner, or ALL), from when to when (ns since the epoch)."""

    kind: str
    partner: int
    start: int
    end: int


LASTS_MINUTES = {"failing_backend": 15.0, "slow_backend": 20.0, "clock_jump": 60.0}
"""How long; of the other kinds: to the end."""
KINDS = {
    "failing_backend": "the backend fails for everybody, and clients try again",
    "slow_backend": "the backend is slow for everybody",
    "growth": "three times the calls within hours, to stay",
    "new_endpoint": "a partner adopts an endpoint",
    "new_range": "a partner moves to other addresses",
    "release": "a partner's new release sends three times the payload",
    "silence": "a partner says nothing for a week, or half of the time, and comes back",
    "newborn": "a partner's first call",
    "clock_jump": "a partner's clock is a minute and a half ahead for an hour",
    "renamed_routes": "a deployment renames all routes",
}
BACKEND = {kind: KINDS[kind] for kind in ("failing_backend", "slow_backend")}
"""They befall calls as they are, so they come after the other kinds."""
EVERYBODY = (*BACKEND, "renamed_routes")
GROWTH_HOURS = 8.0


def spread_happenings(kinds: Sequence[str], partners: int, start: int, hours: float,
                      rng: np.random.Generator) -> tuple[Happening, ...]:
    """One of each kind, after a day or a third of the time, to different partners while there are enough of them."""
    who = rng.permutation(partners)
    whole = int(hours * HOUR_NS)
    first = min(25 * HOUR_NS, whole // 3)
    found = []
    for i, kind in enumerate(kinds):
        begin = start + first + int(rng.random() * (whole - first) * 0.9)
        if kind == "silence":
            begin = start + first + int(rng.random() * whole * 0.1)
        lasts = LASTS_MINUTES.get(kind)
        end = start + whole if lasts is None else begin + int(lasts * 60 * SECOND_NS)
        if kind == "silence":
            end = begin + min(7 * 24 * HOUR_NS, whole // 2)
        if kind == "newborn":
            begin, end = start, begin
        found.append(Happening(kind, ALL if kind in EVERYBODY else int(who[i % partners]), begin, end))
    return tuple(found)


def known(happenings: Sequence[Happening], partners: int) -> Ints:
    """From when on each partner has been there for a day (ns since the epoch; 0: from the beginning). What somebody does
    who is met for the first time is no change of his ways."""
    found = np.zeros(partners, np.int64)
    for what in happenings:
        if what.kind == "newborn":
            found[what.partner] = what.end + 25 * HOUR_NS
    return found


def growth(happenings: Sequence[Happening], partner: int) -> Factor | None:
    """How they move a partner's rate, None: not."""
    begins = [h.start for h in happenings if h.kind == "growth" and h.partner == partner]
    if not begins:
        return None

    def factor(at: Ints) -> Floats:
        since = np.clip((at - begins[0]) / (GROWTH_HOURS * HOUR_NS), 0.0, 1.0)
        return np.asarray(3.0**since)

    return factor


def apply(happening: Happening, calls: Calls, partner: Partner, new_source: int, rng: np.random.Generator) -> Calls:
    """A partner's calls, in order of time, with what happened to them. new_source: index of the first of
    NEW_SOURCES addresses it never used."""
    first, last = np.searchsorted(calls["timestamp"], (happening.start, happening.end))
    inside = calls[first:last]
    n = len(inside)
    if happening.kind in ("silence", "newborn"):
        return np.concatenate((calls[:first], calls[last:]))
    if happening.kind == "failing_backend":
        failed = rng.random(n) < 0.6
        asked = inside[failed]
        inside["status"][failed] = rng.choice((500, 502, 503), failed.sum())
        inside["response_bytes"][failed] = 90
        inside["latency_ms"][failed] *= rng.uniform(1.0, 20.0, failed.sum())
        return _sorted(np.concatenate((calls, *_retries(inside[failed], asked, rng))))
    if happening.kind == "slow_backend":
        inside["latency_ms"] *= rng.lognormal(np.log(8.0), 0.5, n)
    elif happening.kind == "new_endpoint":
        others = np.setdiff1d(np.arange(len(API)), partner.endpoints)
        chosen = rng.random(n) < 0.15
        at = int(rng.choice(others))
        inside["place"][chosen] = at
        inside["object_id"][chosen] = int(partner.objects[0]) if API[at].has_id else 0
    elif happening.kind == "new_range":
        inside["source"] = new_source + rng.integers(0, NEW_SOURCES, n)
    elif happening.kind == "release":
        inside["request_bytes"] = inside["request_bytes"] * 3 + 40
        inside["response_bytes"] = (inside["response_bytes"] * 1.5).astype(np.int64)
    elif happening.kind == "renamed_routes":
        known = inside["place"] < len(API)
        inside["place"][known] += FIRST_SECOND
    elif happening.kind == "clock_jump":
        inside["timestamp"] += 90 * SECOND_NS
        return _sorted(calls)
    return calls


def _retries(failed: Calls, asked: Calls, rng: np.random.Generator) -> list[Calls]:
    """A failed call comes again after a second, and one that fails then too after four more, mostly; half of them are
    answered as `asked`."""
    found = []
    for seconds, share in ((1.0, 0.8), (4.0, 0.6)):
        chosen = rng.random(len(failed)) < share
        again, asked = failed[chosen], asked[chosen]
        later = again["timestamp"] + (rng.uniform(0.8, 1.2, len(again)) * seconds * SECOND_NS).astype(np.int64)
        answered = rng.random(len(again)) < 0.5
        again[answered] = asked[answered]
        again["timestamp"] = later
        found.append(again)
        failed, asked = again[~answered], asked[~answered]
    return found


def _sorted(calls: Calls) -> Calls:
    return calls[np.argsort(calls["timestamp"], kind="stable")]
