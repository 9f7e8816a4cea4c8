"""Who calls what: partners of different size, and the API they call."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


API = (
    Endpoint("GET", "/api/orders", 0.16, 38.0, 0.0, 5200.0),
    Endpoint("GET", "/api/orders/{id}", 0.24, 22.0, 0.0, 1400.0),
    Endpoint("POST", "/api/orders", 0.08, 85.0, 900.0, 350.0),
    Endpoint("GET", "/api/customers/{id}", 0.14, 18.0, 0.0, 900.0),
    Endpoint("GET", "/api/products", 0.10, 30.0, 0.0, 8800.0),
    Endpoint("GET", "/api/products/{id}/stock", 0.09, 9.0, 0.0, 220.0),
    Endpoint("POST", "/api/payments", 0.06, 140.0, 700.0, 280.0),
    Endpoint("GET", "/api/invoices/{id}/lines", 0.05, 45.0, 0.0, 3600.0),
    Endpoint("PUT", "/api/orders/{id}", 0.03, 70.0, 850.0, 320.0),
    Endpoint("POST", "/api/login", 0.03, 60.0, 180.0, 420.0),
    Endpoint("GET", "/health", 0.02, 2.0, 0.0, 15.0),
)
"""What every partner may call."""

NAMES = (
    "acme-logistics", "blue-harbour-bank", "cedar-retail", "delta-insurance", "elm-street-pharmacy", "fjord-travel",
    "granite-telecom", "hazel-foods", "iris-mobility", "juniper-energy", "kestrel-payments", "lumen-media",
)  # fmt: skip


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


def partner_name(i: int) -> str:
    """A name for the i-th partner, i from 0."""
    return NAMES[i] if i < len(NAMES) else f"partner-{i + 1:04d}"


def make_partners(n: int, rng: np.random.Generator) -> tuple[Partner, ...]:
    """n partners, from a few dozen to some thousand requests an hour."""
    return tuple(_partner(i, rng) for i in range(n))


def _partner(i: int, rng: np.random.Generator) -> Partner:
    count = int(rng.integers(4, len(API) + 1))
    endpoints = np.sort(rng.choice(len(API), count, replace=False)).astype(np.int64)
    shares = np.array([API[j].share for j in endpoints]) * rng.lognormal(0.0, 0.3, count)
    sources = tuple(f"198.51.{i % 250}.{10 + j}" for j in range(int(rng.integers(1, 6))))
    source_shares = rng.dirichlet(np.full(len(sources), 3.0))
    low = 100_000 + i * 50_000
    return Partner(
        name=partner_name(i),
        requests_per_hour=float(np.clip(rng.lognormal(5.6, 0.9), 60.0, 4000.0)),
        swing=float(rng.uniform(0.3, 0.85)),
        peak_hour=float(rng.uniform(8.0, 16.0)),
        endpoints=endpoints,
        shares=shares / shares.sum(),
        pace=rng.lognormal(0.0, 0.2, count),
        sources=sources,
        source_shares=source_shares,
        objects=rng.choice(np.arange(low, low + 50_000), 400, replace=False).astype(np.int64),
        errors=float(rng.uniform(0.002, 0.02)),
    )
