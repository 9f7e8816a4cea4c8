"""False throttles in words people use: a number a year, and the thresholds that keep to it."""

from itertools import pairwise
from math import exp, log

MEASURED = (
    (3.9, 36.0), (3.3, 54.0), (3.05, 61.0), (2.2, 72.0), (2.0, 79.0), (1.0, 82.0), (0.95, 86.0), (0.63, 90.0), (0.31, 95.0),
)
"""(wrongful throttles of a good partner a year, score at which throttle begins), on hard simulated streams: the mean of
seeds that the engine's numbers were tuned on and of others (713-724, 833-844: `benchmarks/detection --costs`);
docs/detection.md holds them against a third set."""
LEAST, MOST = MEASURED[-1][0], MEASURED[0][0]
STRONG = (81.0, 96.0)
"""Where quarantine and block begin, unless throttle comes near."""


def throttle_score(a_year: float) -> float:
    """The score at which throttle begins, so that a partner is wrongly throttled so often a year. Between what was
    measured it is interpolated over the logarithm; beyond it, the end."""
    if a_year >= MOST:
        return MEASURED[0][1]
    for (many, low), (few, high) in pairwise(MEASURED):
        if a_year >= few:
            return low + (high - low) * (log(many) - log(a_year)) / (log(many) - log(few))
    return MEASURED[-1][1]


def false_throttles(score: float) -> float:
    """The other way round: wrongful throttles a year where throttle begins at a score."""
    if score <= MEASURED[0][1]:
        return MOST
    for (many, low), (few, high) in pairwise(MEASURED):
        if score <= high:
            return exp(log(many) + (log(few) - log(many)) * (score - low) / (high - low))
    return LEAST


def around(throttle: float) -> tuple[float, float, float, float]:
    """Scores of alert, throttle, quarantine and block where throttle begins at one. Alert stays where it is; quarantine and
    block stay above throttle."""
    room = 100.0 - throttle
    return (min(31.0, throttle - 1.0), throttle, max(STRONG[0], throttle + room / 3.0),
            max(STRONG[1], throttle + room * 2.0 / 3.0))


def thresholds(a_year: float) -> tuple[float, float, float, float]:
    """Scores of alert, throttle, quarantine and block for so many wrongful throttles a year."""
    return around(throttle_score(a_year))
