"""What a budget of false throttles promises, and what it comes to on seeds that nothing was tuned on."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

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


def one(task: tuple[int, int, float]) -> tuple[float, list[tuple[int, list[float]]]]:
    """Days, and for each of NOMINAL the false throttles and what was found, s."""
    seed, partners, hours = task
    simulation = simulate(partners, hours, seed, strength=None, hard=True)
    answers = []
    for nominal in NOMINAL:
        levels = verdicts.changes(simulation, false_throttles_per_partner_year=nominal)
        wrong, _ = verdicts.wrong(simulation, levels, verdicts.THROTTLE)
        found = [each.seconds[1] for each in verdicts.found(simulation, levels) if each.attack.kind != "fleet"]
        answers.append((len(wrong), found))
    return verdicts.partner_days(simulation), answers


def kept(seeds: range, partners: int, hours: float) -> list[Kept]:
    """Each of NOMINAL on hard streams at these seeds."""
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(one, [(seed, partners, hours) for seed in seeds]))
    days = sum(each for each, _ in runs)
    answer = []
    for i, nominal in enumerate(NOMINAL):
        episodes = sum(answers[i][0] for _, answers in runs)
        seconds = np.array([each for _, answers in runs for each in answers[i][1]])
        answer.append(Kept(nominal, throttle_score(nominal), episodes / days * YEAR_DAYS, episodes, days,
                           float(np.isfinite(seconds).mean()), float(np.median(seconds))))
    return answer


def cost(task: tuple[int, int, float]) -> tuple[float, list[int]]:
    """Days, and the false throttles from each of SCORES on."""
    seed, partners, hours = task
    simulation = simulate(partners, hours, seed, strength=None, hard=True)
    counts = []
    for score in SCORES:
        levels = verdicts.changes(simulation, thresholds=Thresholds(*around(score)))
        counts.append(len(verdicts.wrong(simulation, levels, verdicts.THROTTLE)[0]))
    return verdicts.partner_days(simulation), counts


def costs(seeds: range, partners: int, hours: float) -> list[tuple[float, float]]:
    """(false throttles a partner and year, score at which throttle begins), for MEASURED of ztmon.budget."""
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(cost, [(seed, partners, hours) for seed in seeds]))
    days = sum(each for each, _ in runs)
    return [(sum(counts[i] for _, counts in runs) / days * YEAR_DAYS, score) for i, score in enumerate(SCORES)]
