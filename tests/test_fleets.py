"""Fleets of every size: what befalls the backend is nobody's fault, and an attack is found, alone or among a hundred."""

from dataclasses import replace

import numpy as np
import pytest

from ztmon import Config, Monitor
from ztmon.simulate import Attack, Happening, make_traffic
from ztmon.simulate.happenings import ALL
from ztmon.simulate.rhythm import HOUR_NS
from ztmon.simulate.world import make_partners

THROTTLE = 2
BEGIN = 1_767_225_600_000_000_000   # midnight UTC
HOURS = 54
MINUTE_NS = HOUR_NS // 60
TROUBLE = (
    Happening("slow_backend", ALL, BEGIN + 30 * HOUR_NS, BEGIN + 30 * HOUR_NS + 20 * MINUTE_NS),
    Happening("failing_backend", ALL, BEGIN + 36 * HOUR_NS, BEGIN + 36 * HOUR_NS + 15 * MINUTE_NS),
)


def levels(partners, attacks, seed):
    """The calls, and the level after each."""
    traffic = make_traffic(partners, BEGIN, HOURS, attacks, np.random.default_rng(seed), TROUBLE)
    found = np.zeros(len(traffic), "u1")
    with Monitor(Config(clock="events", hash_key=bytes(16))) as monitor:
        monitor.observe_batch(*traffic.events(monitor), found)
    return traffic.calls, found & 7


def attack(kind, partner):
    return Attack(kind, partner, BEGIN + 48 * HOUR_NS, 1200.0, 1.0)


@pytest.mark.parametrize("kind", ["credential_stuffing", "stolen_key", "exfiltration"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_attacker_rises_and_nobody_else(size, kind):
    """A slow and a failing backend throttle nobody; an attack on the first partner throttles it, and only it."""
    partners = make_partners(size, np.random.default_rng(size))
    partners = tuple(replace(partner, requests_per_hour=min(partner.requests_per_hour, 400.0)) for partner in partners)
    partners = (replace(partners[0], requests_per_hour=120.0), *partners[1:])
    calls, found = levels(partners, [attack(kind, 0)], size)
    during = calls["timestamp"] >= BEGIN + 48 * HOUR_NS
    assert found[during & (calls["partner"] == 0)].max() >= THROTTLE
    assert found[~during].max() < THROTTLE
    assert found[calls["partner"] != 0].max(initial=0) < THROTTLE


@pytest.mark.parametrize("attacked", [0, 3])
def test_one_partner_with_nine_tenths_of_the_traffic(attacked):
    """It neither hides an attack on a small one nor is it excused by itself."""
    partners = make_partners(8, np.random.default_rng(3))
    partners = tuple(replace(partner, requests_per_hour=60.0) for partner in partners)
    partners = (replace(partners[0], requests_per_hour=60.0 * 7 * 9), *partners[1:])
    calls, found = levels(partners, [attack("credential_stuffing", attacked)], 3)
    assert 0.85 < np.mean(calls["partner"][calls["attack"] == 0] == 0) < 0.95
    during = calls["timestamp"] >= BEGIN + 48 * HOUR_NS
    assert found[during & (calls["partner"] == attacked)].max() >= THROTTLE
    assert found[~during].max() < THROTTLE
    assert found[calls["partner"] != attacked].max() < THROTTLE
