"""What happens when a partner, or whoever holds its key, turns bad."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ztmon.simulate.calm import HOUR_NS, calm, measure
from ztmon.simulate.traffic import CALL, Place
from ztmon.simulate.world import API, Floats, Ints, Partner

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Attack:
    """One attack: which kind, by which partner (index), when (ns since the epoch) and how long (s).

    strength: calls relative to the kind's usual number; 1 is blatant, 0.05 hides well.
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

PROBES = ("/.env", "/wp-admin/setup", "/api/admin/users", "/api/internal/config", "/debug/vars", "/.git/config",
          "/api/keys", "/actuator/heapdump", "/phpmyadmin", "/api/backup", "/server-status", "/api/tokens")  # fmt: skip
INJECTIONS = (
    "/api/products?q=%27%20OR%201%3D1--",
    "/api/orders?sort=id%20UNION%20SELECT%20password%20FROM%20users",
    "/api/files/../../../../etc/passwd",
    "/api/products?q=%3Cscript%3Ealert(1)%3C/script%3E",
)
DELETES = ("/api/orders/{id}", "/api/customers/{id}")

PLACES = (
    *(Place(endpoint.method, endpoint.path) for endpoint in API),
    *(Place("GET", path) for path in PROBES),
    *(Place("GET", path, suspicious=True) for path in INJECTIONS),
    *(Place("DELETE", path) for path in DELETES),
)
"""All places of a Traffic: the API first, so that an index into API is one into these."""


def _place(method: str, path: str) -> int:
    return next(i for i, place in enumerate(PLACES) if (place.method, place.path) == (method, path))


LOGIN = _place("POST", "/api/login")
ORDER = _place("GET", "/api/orders/{id}")
CUSTOMER = _place("GET", "/api/customers/{id}")
FIRST_PROBE = _place("GET", PROBES[0])
FIRST_INJECTION = _place("GET", INJECTIONS[0])
FIRST_DELETE = _place("DELETE", DELETES[0])


def burst(scene: Scene) -> NDArray[np.void]:
    """The usual calls, many times as many."""
    return calm(scene.index, scene.partner, scene.own_source, scene.times, scene.rng)


def credential_stuffing(scene: Scene) -> NDArray[np.void]:
    """Log-ins with stolen passwords from many addresses; few succeed."""
    calls = _blank(scene)
    calls["source"] = scene.strange_source + scene.rng.integers(0, STRANGE, len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.98, 401, 200)
    return _at(calls, LOGIN, scene)


def enumeration(scene: Scene) -> NDArray[np.void]:
    """One object id after the other."""
    calls = _blank(scene)
    calls["object_id"] = 40_000_000 + np.arange(len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.3, 404, 200)
    return _at(calls, CUSTOMER, scene)


def exfiltration(scene: Scene) -> NDArray[np.void]:
    """The usual endpoints, with far larger answers."""
    calls = burst(scene)
    calls["response_bytes"] = 400_000 * scene.rng.lognormal(0.0, 0.3, len(calls)) * (1.0 + scene.strength)
    calls["latency_ms"] *= 2.0
    calls["status"] = 200
    return calls


def stolen_key(scene: Scene) -> NDArray[np.void]:
    """Somebody else with the partner's key: strange addresses, other endpoints, a look around."""
    calls = _blank(scene)
    n = len(calls)
    calls["source"] = scene.strange_source + scene.rng.integers(0, 3, n)
    look = scene.rng.random(n)
    place = np.where(look < 0.4, CUSTOMER, FIRST_PROBE + scene.rng.integers(0, len(PROBES), n))
    place = np.where(look > 0.8, ORDER, place)
    calls["object_id"] = scene.rng.integers(1_000_000, 9_000_000, n)
    calls["status"] = scene.rng.choice(np.array([200, 403, 404]), size=n, p=(0.5, 0.3, 0.2))
    return _at(calls, place, scene)


def probing(scene: Scene) -> NDArray[np.void]:
    """Paths that do not exist."""
    calls = _blank(scene)
    calls["status"] = 404
    return _at(calls, FIRST_PROBE + scene.rng.integers(0, len(PROBES), len(calls)), scene)


def injection(scene: Scene) -> NDArray[np.void]:
    """Injection and traversal patterns in path and query."""
    calls = _blank(scene)
    calls["status"] = scene.rng.choice(np.array([200, 400, 500]), size=len(calls), p=(0.3, 0.5, 0.2))
    return _at(calls, FIRST_INJECTION + scene.rng.integers(0, len(INJECTIONS), len(calls)), scene)


def deletes(scene: Scene) -> NDArray[np.void]:
    """Deleting what it has only ever read."""
    calls = _blank(scene)
    calls["object_id"] = scene.rng.choice(scene.partner.objects, len(calls))
    calls["status"] = np.where(scene.rng.random(len(calls)) < 0.2, 403, 204)
    return _at(calls, FIRST_DELETE + scene.rng.integers(0, len(DELETES), len(calls)), scene)


def _blank(scene: Scene) -> NDArray[np.void]:
    calls = np.zeros(len(scene.times), CALL)
    calls["timestamp"] = scene.times
    calls["partner"] = scene.index
    calls["source"] = scene.own_source
    return calls


def _at(calls: NDArray[np.void], place: int | Ints, scene: Scene) -> NDArray[np.void]:
    """Sent to this place; latencies and sizes as some endpoint of the API has them."""
    calls["place"] = ORDER
    measure(calls, np.ones(len(calls)), scene.rng)
    calls["place"] = place
    return calls


@dataclass(frozen=True)
class Kind:
    """A kind of attack and how many calls it makes at strength 1."""

    make: Callable[[Scene], NDArray[np.void]]
    per_minute: float
    times_usual: float
    """At least so many times the partner's mean rate."""


KINDS = {
    "burst": Kind(burst, 120.0, 15.0),
    "credential_stuffing": Kind(credential_stuffing, 60.0, 0.5),
    "enumeration": Kind(enumeration, 120.0, 1.0),
    "exfiltration": Kind(exfiltration, 40.0, 1.0),
    "stolen_key": Kind(stolen_key, 30.0, 0.3),
    "probing": Kind(probing, 40.0, 0.3),
    "injection": Kind(injection, 20.0, 0.2),
    "deletes": Kind(deletes, 30.0, 0.3),
}


def attack_calls(attack: Attack, partner: Partner, own_source: int, strange_source: int,
                 rng: np.random.Generator) -> NDArray[np.void]:
    """The calls of an attack, in order of time; at least one."""
    kind = KINDS[attack.kind]
    usual = partner.requests_per_hour / 60.0
    rate = attack.strength * max(kind.per_minute, kind.times_usual * usual)
    count = max(1, int(rng.poisson(rate * attack.seconds / 60.0)))
    spread: Floats = rng.random(count) * attack.seconds
    times = np.sort(attack.start + (spread * SECOND_NS).astype(np.int64))
    return kind.make(Scene(partner, attack.partner, times, own_source, strange_source, attack.strength, rng))


def spread_attacks(kinds: list[str], partners: int, start: int, hours: float, seconds: float, strength: float,
                   rng: np.random.Generator) -> tuple[Attack, ...]:
    """One attack of each kind in turn, each by another partner while there are enough of them, after 25 hours
    or a third of the time, whichever is later (of a time of 36 hours or less: in its second half)."""
    if not kinds:
        return ()
    whole = int(hours * HOUR_NS)
    first = start + (whole // 2 if hours <= 36 else max(25 * HOUR_NS, whole // 3))
    room = (start + whole - first) // len(kinds)
    slack = max(1, room - int(seconds * SECOND_NS))
    who = rng.permutation(partners)
    return tuple(
        Attack(kind, int(who[i % partners]), first + i * room + int(rng.random() * slack), seconds, strength)
        for i, kind in enumerate(kinds)
    )
