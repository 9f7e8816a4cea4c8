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
from typing import Any, TextIO

import numpy as np

from ztmon.errors import ConfigError, InputError
from ztmon.simulate.attacks import KINDS, STRANGE, Attack, attack_calls, spread_attacks
from ztmon.simulate.calm import Calls, life
from ztmon.simulate.happenings import ALL, BACKEND, NEW_SOURCES, Happening, apply, growth, known, spread_happenings
from ztmon.simulate.happenings import KINDS as HAPPENINGS
from ztmon.simulate.rhythm import real_shapes
from ztmon.simulate.traffic import Traffic, join
from ztmon.simulate.world import PLACES, Floats, Partner, make_partners

__all__ = ["HAPPENINGS", "KINDS", "START", "Attack", "Happening", "Simulation", "Traffic", "main", "make_traffic", "simulate"]

START = 1_767_225_600
"""Seconds: where simulated time begins, 2026-01-01 00:00 UTC."""


@dataclass(frozen=True)
class Simulation:
    """The traffic, and the truth about it."""

    traffic: Traffic
    partners: tuple[Partner, ...]
    attacks: tuple[Attack, ...]
    happenings: tuple[Happening, ...] = ()

    def truth(self) -> list[dict[str, object]]:
        """The attacks and what was innocent as a truth file holds them; times in ms, `to` exclusive."""
        counts = np.bincount(self.traffic.calls["attack"], minlength=len(self.attacks) + 1)
        attacks: list[dict[str, object]] = [
            {"partner": self.partners[attack.partner].name, "app": "default", "kind": attack.kind,
             "strength": attack.strength, "from": attack.start // 1_000_000, "to": attack.end // 1_000_000,
             "calls": int(counts[i + 1])}
            for i, attack in enumerate(self.attacks)
        ]  # fmt: skip
        innocent: list[dict[str, object]] = [
            {"partner": None if what.partner == ALL else self.partners[what.partner].name, "app": "default",
             "kind": what.kind, "innocent": True, "from": what.start // 1_000_000, "to": what.end // 1_000_000}
            for what in self.happenings
        ]  # fmt: skip
        return attacks + innocent


def simulate(partners: int = 12, hours: float = 72.0, seed: int = 1, kinds: Sequence[str] = tuple(KINDS),
             strength: float | None = 1.0, attack_seconds: float | None = None, start: float = START, hard: bool = False,
             happenings: Sequence[str] | None = None, shapes: Path | None = None, without: Sequence[str] = ()) -> Simulation:
    """Partners over so many hours with one attack of each kind. start: seconds since the epoch.

    strength: of all attacks, None: drawn for each, from blatant to the edge of the noticeable. attack_seconds: None: as
    usual for the kind. hard: partners have sessions, jobs, bouts of errors and the like, and innocent things happen
    (`happenings`, None: one of each kind). shapes: a folder of series that the partners' rates follow. without: of
    "failing_backend" and "slow_backend" those that are planned and do not take place; all else is the same, call by call, so
    that what they cause shows.
    Raises ConfigError for numbers out of range and unknown kinds, InputError for a folder without series.
    """
    _check("partners", partners, 1, 100_000)
    _check("hours", hours, 0.01, 24 * 366)
    if strength is not None:
        _check("strength", strength, 0.001, 1000.0)
    if attack_seconds is not None:
        _check("attack_seconds", attack_seconds, 1.0, hours * 3600.0)
    _check("seed", seed, 0, (1 << 63) - 1)
    _known("attacks", kinds, KINDS)
    _known("happenings", happenings or (), HAPPENINGS)
    _known("without", without, BACKEND)
    if happenings is None:
        happenings = tuple(HAPPENINGS) if hard else ()
    rng = np.random.default_rng(seed)
    world = make_partners(partners, rng, hard)
    begin = int(start * 1e9)
    innocent = spread_happenings(happenings, partners, begin, hours, rng)
    attacks = spread_attacks(list(kinds), partners, begin, hours, attack_seconds, strength, rng, known(innocent, partners))
    series = real_shapes(shapes) if shapes is not None else None
    return Simulation(make_traffic(world, begin, hours, attacks, rng, innocent, series, without), world, attacks, innocent)


def make_traffic(partners: tuple[Partner, ...], start: int, hours: float, attacks: Sequence[Attack],
                 rng: np.random.Generator, happenings: Sequence[Happening] = (),
                 shapes: Sequence[Floats] | None = None, without: Sequence[str] = ()) -> Traffic:
    """What these partners send from `start` (ns since the epoch) on, the attacks' calls among it. Each happening draws
    from numbers of its own, so that those of `without` are missed by nothing else."""
    sources: list[str] = []
    first: list[int] = []
    for partner in partners:
        first.append(len(sources))
        sources += partner.sources
    parts: list[Calls] = []
    for i, partner in enumerate(partners):
        shape = shapes[i % len(shapes)] if shapes else None
        calls = join(life(i, partner, first[i], start, hours, rng, growth(happenings, i), shape))
        own_numbers = zip(happenings, rng.spawn(len(happenings)), strict=True)
        for happening, own in sorted(own_numbers, key=lambda pair: pair[0].kind in BACKEND):
            if happening.partner in (i, ALL) and happening.kind not in without:
                calls = apply(happening, calls, partner, len(sources), own)
                if happening.kind == "new_range":
                    sources += [f"192.0.2.{j}" for j in range(NEW_SOURCES)]
        parts.append(calls)
    for number, attack in enumerate(attacks):
        strange = len(sources)
        sources += [f"203.0.{113 + number // 32}.{number % 32 * STRANGE + j}" for j in range(STRANGE)]
        calls = attack_calls(attack, partners[attack.partner], first[attack.partner], strange, rng)
        calls["attack"] = number + 1
        parts.append(calls)
    return Traffic(join(parts), tuple(partner.name for partner in partners), PLACES, tuple(sources))


def main(partners: int = 12, hours: float = 72.0, seed: int = 1, attacks: str = "all",
         out: Path | None = None, truth: Path | None = None, hard: bool = False, shapes: Path | None = None) -> int:
    """The command `ztmon simulate`: JSON lines to `out` (None: standard output), the truth to `truth`.

    attacks: "all", "none" or kinds with commas between; "@0.2" at the end: a fifth of the strength, "@drawn": each
    its own.
    Returns the exit code; raises ConfigError for what is not allowed, InputError where a file cannot be written.
    """
    began = time.monotonic()
    kinds, strength = _kinds(attacks)
    found = simulate(partners, hours, seed, kinds, strength, hard=hard, shapes=shapes)
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


def _kinds(text: str) -> tuple[tuple[str, ...], float | None]:
    """Kinds and their one strength of "all", "none", "burst,deletes" or "all@0.2"."""
    names, found, strength = text.partition("@")
    try:
        value = None if strength == "drawn" else float(strength) if found else 1.0
    except ValueError:
        raise ConfigError(f"attacks has the strength {strength!r}; allowed is a number, 1 is blatant, or drawn") from None
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


def _known(name: str, kinds: Sequence[str], known: dict[str, Any]) -> None:
    for kind in kinds:
        if kind not in known:
            raise ConfigError(f"{name} has {kind!r}; allowed are all, none, or some of {', '.join(known)}")


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value}; allowed is a number from {least:,g} to {most:,g}")
