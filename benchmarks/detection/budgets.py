"""What a budget of false throttles promises, and what it comes to on seeds that nothing was tuned on."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from ztmon.budget import throttle_score
from ztmon.simulate import simulate

from . import verdicts

NOMINAL = (8.0, 4.0, 2.0, 1.0, 0.5)
"""False throttles a partner and year."""
YEAR_DAYS = 365.25


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


def one(task: tuple[float, int, int, float]) -> tuple[int, float, list[float]]:
    nominal, seed, partners, hours = task
    simulation = simulate(partners, hours, seed, strength=None, hard=True)
    levels = verdicts.changes(simulation, false_throttles_per_partner_year=nominal)
    wrong, _ = verdicts.wrong(simulation, levels, verdicts.THROTTLE)
    found = [each.seconds[1] for each in verdicts.found(simulation, levels) if each.attack.kind != "fleet"]
    return len(wrong), verdicts.partner_days(simulation), found


def kept(seeds: range, partners: int, hours: float) -> list[Kept]:
    """Each of NOMINAL on hard streams at these seeds."""
    answer = []
    with ProcessPoolExecutor(2) as pool:
        for nominal in NOMINAL:
            runs = list(pool.map(one, [(nominal, seed, partners, hours) for seed in seeds]))
            seconds = np.array([each for _, _, found in runs for each in found])
            episodes, days = sum(run[0] for run in runs), sum(run[1] for run in runs)
            answer.append(Kept(nominal, throttle_score(nominal), episodes / days * YEAR_DAYS, episodes, days,
                               float(np.isfinite(seconds).mean()), float(np.median(seconds))))
    return answer
