"""Made-up traffic with made-up attacks in it, the same for the same seed.

    from ztmon.simulate import simulate
    found = simulate(partners=12, hours=72, seed=1)
    events, names = found.traffic.events(monitor)
    monitor.observe_batch(events, names)
    found.attacks        # who turned bad, how and when: the truth to hold verdicts against
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ztmon.errors import ConfigError, InputError
from ztmon.simulate.attacks import KINDS, PLACES, STRANGE, Attack, attack_calls, spread_attacks
from ztmon.simulate.calm import calm, moments
from ztmon.simulate.traffic import Traffic, join
from ztmon.simulate.world import Partner, make_partners

__all__ = ["KINDS", "START", "Attack", "Simulation", "Traffic", "main", "make_traffic", "simulate"]

START = 1_767_225_600
"""Seconds: where simulated time begins, 2026-01-01 00:00 UTC."""

ATTACK_SECONDS = 900.0


@dataclass(frozen=True)
class Simulation:
    """The traffic, and the truth about it."""

    traffic: Traffic
    partners: tuple[Partner, ...]
    attacks: tuple[Attack, ...]

    def truth(self) -> list[dict[str, object]]:
        """The attacks as a truth file holds them; times in ms, `to` exclusive."""
        counts = np.bincount(self.traffic.calls["attack"], minlength=len(self.attacks) + 1)
        return [
            {"partner": self.partners[attack.partner].name, "app": "default", "kind": attack.kind,
             "strength": attack.strength, "from": attack.start // 1_000_000, "to": attack.end // 1_000_000,
             "calls": int(counts[i + 1])}
            for i, attack in enumerate(self.attacks)
        ]  # fmt: skip


def simulate(partners: int = 12, hours: float = 72.0, seed: int = 1, kinds: Sequence[str] = tuple(KINDS),
             strength: float = 1.0, attack_seconds: float = ATTACK_SECONDS, start: float = START) -> Simulation:
    """Partners over so many hours with one attack of each kind. start: seconds since the epoch.

    Raises ConfigError for numbers out of range and for unknown kinds of attack.
    """
    _check("partners", partners, 1, 100_000)
    _check("hours", hours, 0.01, 24 * 366)
    _check("strength", strength, 0.001, 1000.0)
    _check("attack_seconds", attack_seconds, 1.0, hours * 3600.0)
    _check("seed", seed, 0, (1 << 63) - 1)
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"attacks has {kind!r}; allowed are all, none, or some of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    world = make_partners(partners, rng)
    begin = int(start * 1e9)
    attacks = spread_attacks(list(kinds), partners, begin, hours, attack_seconds, strength, rng)
    return Simulation(make_traffic(world, begin, hours, attacks, rng), world, attacks)


def make_traffic(partners: tuple[Partner, ...], start: int, hours: float, attacks: Sequence[Attack],
                 rng: np.random.Generator) -> Traffic:
    """What these partners send from `start` (ns since the epoch) on, the attacks' calls among it."""
    sources: list[str] = []
    first: list[int] = []
    for partner in partners:
        first.append(len(sources))
        sources += partner.sources
    parts = [calm(i, partner, first[i], moments(partner, start, hours, rng), rng) for i, partner in enumerate(partners)]
    for number, attack in enumerate(attacks):
        strange = len(sources)
        sources += [f"203.0.113.{(number * STRANGE + j) % 256}" for j in range(STRANGE)]
        calls = attack_calls(attack, partners[attack.partner], first[attack.partner], strange, rng)
        calls["attack"] = number + 1
        parts.append(calls)
    return Traffic(join(parts), tuple(partner.name for partner in partners), PLACES, tuple(sources))


def main(partners: int = 12, hours: float = 72.0, seed: int = 1, attacks: str = "all",
         out: Path | None = None, truth: Path | None = None) -> int:
    """The command `ztmon simulate`: JSON lines to `out` (None: standard output), the truth to `truth`.

    attacks: "all", "none" or kinds with commas between; "@0.2" at the end: a fifth of the strength.
    Returns the exit code; raises ConfigError for what is not allowed, InputError where a file cannot be written.
    """
    began = time.monotonic()
    found = simulate(partners, hours, seed, *_kinds(attacks))
    try:
        with _opened(out) as stream:
            for lines in found.traffic.lines():
                stream.write(lines)
        if truth is not None:
            truth.write_text("".join(json.dumps(entry) + "\n" for entry in found.truth()), "utf-8")
    except BrokenPipeError:
        sys.stdout = None
        return 0
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be written: {error.strerror}") from error
    took = time.monotonic() - began
    print(f"{len(found.traffic):,} events of {partners} partners over {hours:g} hours, "
          f"{len(found.attacks)} attacks, in {took:.1f} s", file=sys.stderr)
    return 0


def _kinds(text: str) -> tuple[tuple[str, ...], float]:
    """Kinds and their one strength of "all", "none", "burst,deletes" or "all@0.2"."""
    names, found, strength = text.partition("@")
    try:
        value = float(strength) if found else 1.0
    except ValueError:
        raise ConfigError(f"attacks has the strength {strength!r}; allowed is a number, 1 is blatant") from None
    if names in ("all", "none"):
        return (tuple(KINDS) if names == "all" else ()), value
    return tuple(name.strip() for name in names.split(",") if name.strip()), value


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with out.open("w", encoding="utf-8") as stream:
            yield stream


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value}; allowed is a number from {least:,g} to {most:,g}")
