"""What a budget of false throttles promises, and what it comes to on seeds that nothing was tuned on."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ztmon.budget import around, throttle_score
from ztmon.config import Thresholds
from ztmon.simulate import simulate

from . import verdicts

NOMINAL = (3.5, 2.0, 1.0, 0.5)
"""False throttles a partner and year."""
YEAR_DAYS = 365.25
SCORES = (36.0, 54.0, 61.0, 72.0, 79.0, 82.0, 86.0, 90.0, 95.0)
"""Where throttle may begin."""


@dataclass(frozen=True)
class Kept:
    """One budget: score at which throttle begins, what came of it a partner and year, how many episodes that were, and
    what was found."""

    nominal: float
    score: float
    measured: float
    episodes: int
    days: float
    share: float
    seconds: float


def one(task: tuple[int, int, float, list[dict[str, Any]]]) -> tuple[float, list[tuple[int, list[float]]]]:
    """Days of one hard stream, and with each of the settings its false throttles and what was found, s."""
    seed, partners, hours, settings = task
    simulation = simulate(partners, hours, seed, strength=None, hard=True)
    answers = []
    for each in settings:
        levels = verdicts.changes(simulation, **each)
        wrong, _ = verdicts.wrong(simulation, levels, verdicts.THROTTLE)
        found = [attack.seconds[1] for attack in verdicts.found(simulation, levels) if attack.attack.kind != "fleet"]
        answers.append((len(wrong), found))
    return verdicts.partner_days(simulation), answers


def run(seeds: range, partners: int, hours: float, settings: list[dict[str, Any]]) -> tuple[float, list[tuple[int, list[float]]]]:
    """The same of all seeds together."""
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(one, [(seed, partners, hours, settings) for seed in seeds]))
    answers = [(sum(wrong for wrong, _ in answer), [seconds for _, found in answer for seconds in found])
               for answer in zip(*(answers for _, answers in runs), strict=True)]
    return sum(days for days, _ in runs), answers


def kept(seeds: range, partners: int, hours: float) -> list[Kept]:
    """Each of NOMINAL on hard streams at these seeds."""
    days, answers = run(seeds, partners, hours, [{"false_throttles_per_partner_year": nominal} for nominal in NOMINAL])
    return [Kept(nominal, throttle_score(nominal), wrong / days * YEAR_DAYS, wrong, days,
                 float(np.isfinite(found).mean()), float(np.median(found)))
            for nominal, (wrong, found) in zip(NOMINAL, answers, strict=True)]


def costs(seeds: range, partners: int, hours: float) -> list[tuple[float, float]]:
    """(false throttles a partner and year, score at which throttle begins), for MEASURED of ztmon.budget."""
    days, answers = run(seeds, partners, hours, [{"thresholds": Thresholds(*around(score))} for score in SCORES])
    return [(wrong / days * YEAR_DAYS, score) for score, (wrong, _) in zip(SCORES, answers, strict=True)]
