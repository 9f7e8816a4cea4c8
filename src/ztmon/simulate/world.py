"""Who calls what: the API, and partners of different size, rhythm and habits."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ztmon.simulate.traffic import Place

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `{id}` in the path stands for an object's number."""

    method: str
    path: str
    share: float
    """Of the calls of a partner that uses every endpoint."""
    latency_ms: float
    request_bytes: float
    response_bytes: float

    @property
    def has_id(self) -> bool:
        return "{id}" in self.path


RESOURCES = {
    "orders": 1.0, "customers": 0.8, "products": 0.7, "payments": 0.6, "invoices": 0.4, "shipments": 0.4,
    "accounts": 0.3, "documents": 0.2,
}  # fmt: skip
"""What the API is about, and how much each is asked for."""


def _resource(name: str, weight: float) -> tuple[Endpoint, ...]:
    size = 1.0 + len(name) % 4
    return (
        Endpoint("GET", f"/api/{name}", 0.30 * weight, 30.0 + 5.0 * size, 0.0, 2600.0 * size),
        Endpoint("GET", f"/api/{name}/{{id}}", 0.40 * weight, 12.0 + 4.0 * size, 0.0, 500.0 * size),
        Endpoint("POST", f"/api/{name}", 0.15 * weight, 60.0 + 20.0 * size, 400.0 * size, 300.0),
        Endpoint("PUT", f"/api/{name}/{{id}}", 0.08 * weight, 50.0 + 10.0 * size, 420.0 * size, 310.0),
        Endpoint("GET", f"/api/{name}/{{id}}/history", 0.06 * weight, 45.0, 0.0, 1500.0 * size),
        Endpoint("DELETE", f"/api/{name}/{{id}}", 0.01 * weight, 35.0, 0.0, 0.0),
    )


API = (
    *(endpoint for name, weight in RESOURCES.items() for endpoint in _resource(name, weight)),
    Endpoint("GET", "/api/products/{id}/stock", 0.12, 9.0, 0.0, 220.0),
    Endpoint("GET", "/api/search", 0.10, 80.0, 0.0, 9000.0),
    Endpoint("GET", "/api/reports/export", 0.004, 900.0, 0.0, 60_000.0),
    Endpoint("POST", "/api/login", 0.03, 60.0, 180.0, 420.0),
    Endpoint("POST", "/api/token", 0.02, 40.0, 220.0, 900.0),
    Endpoint("GET", "/health", 0.02, 2.0, 0.0, 15.0),
)
"""What every partner may call."""

SECOND_API = tuple(
    Endpoint(e.method, e.path.replace("/api/", "/v2/"), e.share, e.latency_ms, e.request_bytes, e.response_bytes)
    for e in API
)
"""The same after a deployment that renamed all routes."""

ADMIN = tuple(
    Endpoint(method, f"/api/admin/{name}", 0.0, 15.0, 0.0, 200.0)
    for method, name in (("GET", "users"), ("GET", "roles"), ("POST", "roles"), ("GET", "audit"), ("PUT", "settings"),
                         ("GET", "billing"), ("POST", "impersonate"), ("GET", "secrets"))
)  # fmt: skip
"""What no partner may call."""

PROBES = ("/.env", "/wp-admin/setup", "/debug/vars", "/.git/config", "/api/internal/config", "/api/keys",
          "/actuator/heapdump", "/phpmyadmin", "/api/backup", "/server-status", "/api/v0/users", "/console")  # fmt: skip
INJECTIONS = (
    "/api/products?q=%27%20OR%201%3D1--",
    "/api/orders?sort=id%20UNION%20SELECT%20password%20FROM%20users",
    "/api/files/../../../../etc/passwd",
    "/api/products?q=%3Cscript%3Ealert(1)%3C/script%3E",
)

EVERY = (*API, *SECOND_API, *ADMIN)
PLACES = (
    *(Place(endpoint.method, endpoint.path) for endpoint in EVERY),
    *(Place("GET", path) for path in PROBES),
    *(Place("GET", path, suspicious=True) for path in INJECTIONS),
)
"""All places of a Traffic; an index into API is one into these."""

FIRST_SECOND = len(API)
FIRST_ADMIN = 2 * len(API)
FIRST_PROBE = len(EVERY)
FIRST_INJECTION = FIRST_PROBE + len(PROBES)


def place(method: str, path: str) -> int:
    """The index of a place."""
    return next(i for i, at in enumerate(PLACES) if (at.method, at.path) == (method, path))


LOGIN = place("POST", "/api/login")
TOKEN = place("POST", "/api/token")
EXPORT = place("GET", "/api/reports/export")
HEALTH = place("GET", "/health")

NAMES = (
    "acme-logistics", "blue-harbour-bank", "cedar-retail", "delta-insurance", "elm-street-pharmacy", "fjord-travel",
    "granite-telecom", "hazel-foods", "iris-mobility", "juniper-energy", "kestrel-payments", "lumen-media",
)  # fmt: skip


@dataclass(frozen=True)
class Habits:
    """What makes a partner's stream hard to judge; of a plain one nothing does."""

    session_calls: float = 1.0
    """Mean number of calls that follow each other within seconds and share their marks; 1: none do."""
    restless: float = 0.0
    """Standard deviation of the logarithm of the rate's slow ups and downs."""
    cron_minutes: int = 0
    """A job every so many minutes, 0: none."""
    cron_calls: int = 0
    batch: float = 0.0
    """A nightly job makes as many calls as come in so many hours, 0: there is none."""
    batch_hour: float = 0.0
    token_hours: float = 0.0
    """Tokens expire so often, 0: never; the next few calls are refused."""
    bouts: float = 0.0
    """Of client errors, a day."""
    exports: float = 0.0
    """Of far larger answers than usual, a day."""
    sequences: float = 0.0
    """Reads of one object after the other, a day."""
    backfills: float = 0.0
    """Hours of work made up for within minutes, a day."""
    rotating: int = 0
    """Addresses it comes from in turn, 0: only from its own few."""


@dataclass(frozen=True)
class Partner:
    """How one partner behaves when nothing is wrong."""

    name: str
    requests_per_hour: float
    """Mean over a day."""
    swing: float
    """How much of the rate the time of day moves, 0..1."""
    peak_hour: float
    """UTC."""
    endpoints: Ints
    """Indices into API."""
    shares: Floats
    """Of its endpoints, sum 1."""
    pace: Floats
    """Latency and size relative to the endpoint's usual, by endpoint."""
    sources: tuple[str, ...]
    source_shares: Floats
    objects: Ints
    """Numbers of the objects that are its own."""
    errors: float
    """Share of its calls that fail in one way or another."""
    weekend: float = 1.0
    """Its rate on Saturdays and Sundays, relative to other days."""
    habits: Habits = field(default_factory=Habits)


def partner_name(i: int) -> str:
    """A name for the i-th partner, i from 0."""
    return NAMES[i] if i < len(NAMES) else f"partner-{i + 1:04d}"


def make_partners(n: int, rng: np.random.Generator, hard: bool = False) -> tuple[Partner, ...]:
    """n partners, from a few dozen to some thousand requests an hour. hard: from two an hour to ten a second,
    with habits."""
    return tuple(_partner(i, n, rng, hard) for i in range(n))


def _partner(i: int, n: int, rng: np.random.Generator, hard: bool) -> Partner:
    endpoints = _endpoints(rng)
    count = len(endpoints)
    shares = np.array([API[j].share for j in endpoints]) * rng.lognormal(0.0, 0.4, count)
    habits = _habits(rng) if hard else Habits()
    sources = tuple(f"198.51.{i % 250}.{10 + j}" for j in range(habits.rotating or int(rng.integers(1, 6))))
    source_shares = rng.dirichlet(np.full(len(sources), 3.0))
    low = 100_000 + i * 50_000
    return Partner(
        name=partner_name(i),
        requests_per_hour=_size(i, n, rng) if hard else float(np.clip(rng.lognormal(5.6, 0.9), 60.0, 4000.0)),
        swing=float(rng.uniform(0.3, 0.85)),
        peak_hour=float(rng.uniform(8.0, 16.0)),
        endpoints=endpoints,
        shares=shares / shares.sum(),
        pace=rng.lognormal(0.0, 0.2, count),
        sources=sources,
        source_shares=source_shares,
        objects=rng.choice(np.arange(low, low + 50_000), int(rng.integers(20, 2000)), replace=False).astype(np.int64),
        errors=float(rng.uniform(0.002, 0.02)),
        weekend=float(rng.uniform(0.2, 1.0)) if hard else 1.0,
        habits=habits,
    )


def _endpoints(rng: np.random.Generator) -> Ints:
    """A few resources, read or also written; a log-in; perhaps health checks and search."""
    names = rng.choice(len(RESOURCES), int(rng.integers(1, 5)), replace=False, p=_resource_shares())
    kinds = (0, 1) if rng.random() < 0.4 else (0, 1, 2, 3) if rng.random() < 0.8 else (0, 1, 2, 3, 4, 5)
    found = [6 * int(name) + kind for name in names for kind in kinds]
    others = [j for j in (LOGIN, HEALTH, place("GET", "/api/search"), place("GET", "/api/products/{id}/stock"))
              if rng.random() < 0.5]
    return np.array(sorted(found + others), np.int64)


def _resource_shares() -> Floats:
    weights = np.array(list(RESOURCES.values()))
    shares: Floats = weights / weights.sum()
    return shares


def _size(i: int, n: int, rng: np.random.Generator) -> float:
    """Requests an hour: from two to three thousand alike in logarithm; of twenty partners one has up to ten a second."""
    if i % 20 == 19:
        return float(rng.uniform(8_000.0, 36_000.0))
    return float(np.exp(rng.uniform(np.log(2.0), np.log(3000.0))))


def _habits(rng: np.random.Generator) -> Habits:
    def perhaps(share: float) -> bool:
        return bool(rng.random() < share)

    cron = perhaps(0.4)
    return Habits(
        session_calls=float(rng.uniform(3.0, 15.0)) if perhaps(0.6) else 1.0,
        restless=float(rng.uniform(0.1, 0.5)),
        cron_minutes=int(rng.choice((5, 15, 60))) if cron else 0,
        cron_calls=int(rng.integers(2, 30)) if cron else 0,
        batch=float(rng.uniform(0.3, 2.0)) if perhaps(0.25) else 0.0,
        batch_hour=float(rng.uniform(0.0, 6.0)),
        token_hours=float(rng.choice((1.0, 4.0, 12.0))) if perhaps(0.5) else 0.0,
        bouts=float(rng.uniform(0.5, 2.0)) if perhaps(0.3) else 0.0,
        exports=float(rng.uniform(1.0, 4.0)) if perhaps(0.25) else 0.0,
        sequences=float(rng.uniform(2.0, 8.0)) if perhaps(0.25) else 0.0,
        backfills=float(rng.uniform(1.0, 3.0)) if perhaps(0.15) else 0.0,
        rotating=int(rng.integers(40, 200)) if perhaps(0.15) else 0,
    )
