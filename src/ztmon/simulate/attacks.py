"""What happens when a partner, or whoever holds its key, turns bad."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ztmon.simulate.calm import HAS_ID, calm, measure
from ztmon.simulate.rhythm import HOUR_NS, SECOND_NS
from ztmon.simulate.traffic import CALL
from ztmon.simulate.world import (
    ADMIN,
    API,
    EXPORT,
    FIRST_ADMIN,
    FIRST_INJECTION,
    FIRST_PROBE,
    INJECTIONS,
    LOGIN,
    PROBES,
    Floats,  # fmt: skip
    Ints,
    Partner,
)


@dataclass(frozen=True)
class Attack:
    """One attack: which kind, by which partner (index), when (ns since the epoch) and how long (s).

    strength: relative to the kind at its most blatant, 1; at the kind's `edge` it can just be noticed.
    """

    kind: str
    partner: int
    start: int
    seconds: float
    strength: float = 1.0

    @property
    def end(self) -> int:
        """ns since the epoch."""
        return self.start + int(self.seconds * SECOND_NS)


@dataclass(frozen=True)
class Scene:
    """What a kind of attack has to work with."""

    partner: Partner
    index: int
    times: Ints
    own_source: int
    """Index of the partner's first source."""
    strange_source: int
    """Index of the first of STRANGE sources it never used."""
    strength: float
    rng: np.random.Generator


STRANGE = 8
"""Addresses an attacker has."""

Calls = NDArray[np.void]


def burst(scene: Scene) -> Calls:
    """The usual calls, three to fifty times as many."""
    return calm(scene.index, scene.partner, scene.own_source, scene.times, scene.rng)


def stuffing(scene: Scene) -> Calls:
    """Log-ins with stolen passwords from many addresses; few succeed."""
    calls = _blank(scene)
    calls["source"] = scene.strange_source + scene.rng.integers(0, STRANGE, len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.98, 401, 200)
    return _at(calls, LOGIN, scene)


def enumeration(scene: Scene) -> Calls:
    """One object id after the other."""
    calls = _blank(scene)
    calls["object_id"] = 40_000_000 + np.arange(len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.3, 404, 200)
    return _at(calls, _item(scene), scene)


def random_ids(scene: Scene) -> Calls:
    """Other people's objects, at random (BOLA)."""
    calls = _blank(scene)
    calls["object_id"] = scene.rng.integers(1_000_000, 90_000_000, len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.2, 404, 200)
    return _at(calls, _item(scene), scene)


def scraping(scene: Scene) -> Calls:
    """Very many answers of the usual size from one of its own endpoints."""
    calls = _blank(scene)
    own = scene.partner.endpoints
    lists = own[~HAS_ID[own]]
    calls["status"] = 200
    return _at(calls, int(lists[0] if len(lists) else own[0]), scene)


def exfiltration(scene: Scene) -> Calls:
    """The usual endpoints, with answers five to thirty times as large."""
    calls = burst(scene)
    calls["status"] = 200
    usual = np.maximum(calls["response_bytes"], 1000)
    calls["response_bytes"] = usual * max(5.0, 30.0 * scene.strength) * scene.rng.lognormal(0.0, 0.3, len(calls))
    calls["latency_ms"] *= 2.0
    return calls


def stolen_key(scene: Scene) -> Calls:
    """Somebody else with the partner's key: strange addresses, other endpoints, a look around."""
    calls = _blank(scene)
    n = len(calls)
    calls["source"] = scene.strange_source + scene.rng.integers(0, 2, n)
    others = np.setdiff1d(np.arange(len(API)), scene.partner.endpoints)
    chosen = scene.rng.choice(others, 6)
    place = chosen[scene.rng.integers(0, 6, n)]
    calls["object_id"] = np.where(HAS_ID[place], scene.rng.integers(1_000_000, 9_000_000, n), 0)
    calls["status"] = scene.rng.choice(np.array([200, 403, 404]), size=n, p=(0.7, 0.15, 0.15))
    return _at(calls, place, scene)


def probing(scene: Scene) -> Calls:
    """Paths that do not exist."""
    calls = _blank(scene)
    calls["status"] = 404
    return _at(calls, FIRST_PROBE + scene.rng.integers(0, len(PROBES), len(calls)), scene)


def privilege(scene: Scene) -> Calls:
    """Functions that are not for partners; they are refused."""
    calls = _blank(scene)
    calls["status"] = 403
    return _at(calls, FIRST_ADMIN + scene.rng.integers(0, len(ADMIN), len(calls)), scene)


def payloads(scene: Scene) -> Calls:
    """Requests far larger than any before."""
    own = scene.partner.endpoints
    written = own[np.array([API[i].request_bytes > 0 for i in own])]
    calls = _blank(scene)
    calls["status"] = scene.rng.choice(np.array([200, 413]), size=len(calls), p=(0.7, 0.3))
    calls = _at(calls, int(written[0]) if len(written) else LOGIN, scene)
    calls["request_bytes"] = (20.0 + 480.0 * scene.strength) * 1000.0 * scene.rng.lognormal(0.0, 0.5, len(calls))
    return calls


def deletes(scene: Scene) -> Calls:
    """Deleting what it has only ever read."""
    calls = _blank(scene)
    calls["object_id"] = scene.rng.choice(scene.partner.objects, len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.2, 403, 204)
    return _at(calls, _item(scene) + 4, scene)


def injection(scene: Scene) -> Calls:
    """Injection and traversal patterns in path and query."""
    calls = _blank(scene)
    calls["status"] = scene.rng.choice(np.array([200, 400, 500]), size=len(calls), p=(0.3, 0.5, 0.2))
    return _at(calls, FIRST_INJECTION + scene.rng.integers(0, len(INJECTIONS), len(calls)), scene)


def flow_abuse(scene: Scene) -> Calls:
    """One step of the business, over and over, at the pace of a machine: reservations, orders, vouchers."""
    calls = _blank(scene)
    own = scene.partner.endpoints
    written = own[np.array([API[i].method == "POST" and i != LOGIN for i in own])]
    span = scene.times[-1] - scene.times[0] if len(scene.times) else 0
    calls["timestamp"] = scene.times[:1] + (np.arange(len(calls)) * (span / max(1, len(calls) - 1))).astype(np.int64)
    calls["status"] = 201
    return _at(calls, int(written[0]) if len(written) else 2, scene)


def several(scene: Scene) -> Calls:
    """From strange addresses: a look around, objects in sequence, large exports."""
    part = scene.rng.integers(0, 3, len(scene.times))
    found = []
    for i, make in enumerate((stolen_key, enumeration, exfiltration)):
        calls = make(replace(scene, times=scene.times[part == i]))
        calls["source"] = scene.strange_source + scene.rng.integers(0, 2, len(calls))
        if make is exfiltration:
            calls["place"], calls["object_id"] = EXPORT, 0
        found.append(calls)
    return np.concatenate(found)


def _item(scene: Scene) -> int:
    """The first endpoint of the partner that reads one object of a resource."""
    own = scene.partner.endpoints
    items = own[(own % 6 == 1) & (own < 48)]
    return int(items[0]) if len(items) else 1


def _blank(scene: Scene) -> Calls:
    calls = np.zeros(len(scene.times), CALL)
    calls["timestamp"] = scene.times
    calls["partner"] = scene.index
    calls["source"] = scene.own_source
    return calls


def _at(calls: Calls, place: int | Ints, scene: Scene) -> Calls:
    """Sent to this place; latencies and sizes as the endpoint has them, or one like it."""
    calls["place"] = place
    calls["place"][calls["place"] >= len(HAS_ID)] = 0
    measure(calls, np.ones(len(calls)), scene.rng)
    calls["place"] = place
    return calls


@dataclass(frozen=True)
class Kind:
    """A kind of attack and how many calls it makes at strength 1."""

    make: Callable[[Scene], Calls]
    per_minute: float
    times_usual: float
    """At least so many times the partner's mean rate."""
    edge: float
    """The strength at which it can just be noticed; 1 is blatant."""
    minutes: float = 15.0
    """How long it usually goes on."""
    rising: bool = False
    """From nothing at its begin to its full rate at its end."""


KINDS = {
    "burst": Kind(burst, 120.0, 49.0, 0.1),
    "ramp": Kind(burst, 60.0, 20.0, 0.4, 180.0, rising=True),
    "credential_stuffing": Kind(stuffing, 60.0, 0.5, 0.15),
    "slow_stuffing": Kind(stuffing, 2.0, 0.0, 0.6, 150.0),
    "enumeration": Kind(enumeration, 120.0, 1.0, 0.2),
    "random_ids": Kind(random_ids, 120.0, 1.0, 0.25),
    "scraping": Kind(scraping, 60.0, 20.0, 0.25),
    "exfiltration": Kind(exfiltration, 20.0, 1.0, 0.2),
    "stolen_key": Kind(stolen_key, 4.0, 0.5, 0.6),
    "probing": Kind(probing, 40.0, 0.3, 0.15),
    "privilege": Kind(privilege, 20.0, 0.1, 0.15),
    "payloads": Kind(payloads, 15.0, 0.1, 0.2),
    "deletes": Kind(deletes, 30.0, 0.3, 0.15),
    "injection": Kind(injection, 20.0, 0.2, 0.1),
    "flow_abuse": Kind(flow_abuse, 60.0, 3.0, 0.3),
    "several": Kind(several, 60.0, 1.0, 0.25),
    "fleet": Kind(stuffing, 10.0, 0.1, 0.4),
}
"""By name. `fleet` is credential stuffing over all partners at once."""


def attack_calls(attack: Attack, partner: Partner, own_source: int, strange_source: int,
                 rng: np.random.Generator) -> Calls:
    """The calls of an attack; at least one."""
    kind = KINDS[attack.kind]
    usual = partner.requests_per_hour / 60.0
    rate = attack.strength * max(kind.per_minute, kind.times_usual * usual)
    count = max(1, int(rng.poisson(rate * attack.seconds / 60.0 / (2.0 if kind.rising else 1.0))))
    spread: Floats = rng.random(count)
    if kind.rising:
        spread = np.sqrt(spread)
    times = np.sort(attack.start + (spread * attack.seconds * SECOND_NS).astype(np.int64))
    return kind.make(Scene(partner, attack.partner, times, own_source, strange_source, attack.strength, rng))


def drawn_strength(kind: str, rng: np.random.Generator) -> float:
    """From the edge of the noticeable to blatant, alike in logarithm."""
    return float(KINDS[kind].edge ** rng.random())


def spread_attacks(kinds: list[str], partners: int, start: int, hours: float, seconds: float | None, strength: float | None,
                   rng: np.random.Generator, known: Ints | None = None) -> tuple[Attack, ...]:
    """One attack of each kind in turn, each by another partner while there are enough of them, after 25 hours
    or a third of the time, whichever is later (of a time of 36 hours or less: in its second half).

    seconds: how long each lasts, None: as usual for its kind. strength: None: drawn. known: from when on each partner has
    been there for a day (ns since the epoch); who has not been is passed over.
    """
    if not kinds:
        return ()
    whole = int(hours * HOUR_NS)
    first = start + (whole // 2 if hours <= 36 else max(25 * HOUR_NS, whole // 3))
    room = (start + whole - first) // len(kinds)
    who = rng.permutation(partners)
    found = []
    for i, kind in enumerate(kinds):
        lasts = KINDS[kind].minutes * 60.0 if seconds is None else seconds
        lasts = min(lasts, (start + whole - first) / SECOND_NS * 0.9)
        begin = first + i * room + int(rng.random() * max(1, room - int(lasts * SECOND_NS)))
        begin = min(begin, start + whole - int(lasts * SECOND_NS))
        size = drawn_strength(kind, rng) if strength is None else strength
        turn = next((k for k in range(i, i + partners) if known is None or known[who[k % partners]] <= begin), i)
        targets = range(partners) if kind == "fleet" else (int(who[turn % partners]),)
        found += [Attack(kind, target, begin, lasts, size) for target in targets if known is None or known[target] <= begin]
    return tuple(found)
