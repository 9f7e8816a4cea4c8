"""What others make of the same stream, with the threshold that is best in hindsight: a z-score of each minute, River's
HalfSpaceTrees, an isolation forest, each for every partner. Those that are not installed are left out."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ztmon.simulate import Simulation
from ztmon.simulate.rhythm import DAY_NS

from .verdicts import AFTERMATH_NS, windows

MINUTE_NS = 60_000_000_000
COOL_MINUTES = 15       # minutes above the threshold that are not further apart are one episode
FEATURES = ("calls", "auth failures", "client errors", "server errors", "endpoints", "sources", "bytes", "latency")

Floats = NDArray[np.float64]


def minutes(simulation: Simulation) -> Iterator[tuple[int, NDArray[np.int64], Floats]]:
    """For each partner its minutes with calls (end, ns) and their FEATURES, as logarithms."""
    calls = simulation.traffic.calls
    order = np.argsort(calls["partner"], kind="stable")
    edges = np.searchsorted(calls["partner"][order], np.arange(len(simulation.partners) + 1))
    for partner in range(len(simulation.partners)):
        own = calls[order[edges[partner] : edges[partner + 1]]]
        if len(own) == 0:
            continue
        at, inverse = np.unique(own["timestamp"] // MINUTE_NS, return_inverse=True)
        status = own["status"]
        auth = np.isin(status, (401, 403))
        columns = [np.bincount(inverse), np.bincount(inverse, auth),
                   np.bincount(inverse, (status >= 400) & (status < 500) & ~auth), np.bincount(inverse, status >= 500)]
        for name in ("place", "source"):
            pairs = np.unique(np.stack((inverse, own[name])), axis=1)[0]
            columns.append(np.bincount(pairs, minlength=len(at)))
        columns += [np.bincount(inverse, own["response_bytes"]), np.bincount(inverse, own["latency_ms"]) / columns[0]]
        yield partner, (at + 1) * MINUTE_NS, np.log1p(np.stack(columns, 1))


def zscore(rows: Floats) -> Floats:
    """The largest z-score of the features, against mean and variance of all minutes before."""
    n = np.arange(1, len(rows) + 1)[:, None]
    mean = np.cumsum(rows, 0) / n
    var = np.maximum(np.cumsum(rows**2, 0) / n - mean**2, 0.01)
    found = np.zeros(len(rows))
    found[1:] = ((rows[1:] - mean[:-1]) / np.sqrt(var[:-1])).max(1)
    return found


def half_space_trees(rows: Floats) -> Floats:
    """River's HalfSpaceTrees, learning as it goes, over features scaled by their range so far."""
    from river import anomaly, compose, preprocessing

    model = compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=1))
    found = np.zeros(len(rows))
    for i, row in enumerate(rows):
        x = dict(zip(FEATURES, row.tolist(), strict=True))
        found[i] = model.score_one(x)
        model.learn_one(x)
    return found


def isolation_forest(rows: Floats) -> Floats:
    """scikit-learn's IsolationForest, fitted to the first third of the minutes."""
    from sklearn.ensemble import IsolationForest

    first = max(20, len(rows) // 3)
    if len(rows) < 40:
        return np.zeros(len(rows))
    model = IsolationForest(n_estimators=100, random_state=1).fit(rows[:first])
    return -np.asarray(model.score_samples(rows), np.float64)


PEERS: dict[str, Callable[[Floats], Floats]] = {
    "z-score of each minute": zscore,
    "River HalfSpaceTrees": half_space_trees,
    "isolation forest": isolation_forest,
}


def scored(simulation: Simulation, peer: Callable[[Floats], Floats]) -> list[tuple[int, NDArray[np.int64], Floats]]:
    """The peer's score of every minute of every partner."""
    return [(partner, at, peer(rows)) for partner, at, rows in minutes(simulation)]


def judged(simulation: Simulation, scores: list[tuple[int, NDArray[np.int64], Floats]],
           threshold: float) -> tuple[list[float], int]:
    """Seconds to the first minute above the threshold for each attack (inf: none), and false episodes."""
    start = int(simulation.traffic.calls["timestamp"][0])
    by_partner = {partner: at[value >= threshold] for partner, at, value in scores}
    seconds = []
    for attack in simulation.attacks:
        at = by_partner.get(attack.partner, np.zeros(0, np.int64))
        inside = at[(at >= attack.start) & (at < attack.end)]
        seconds.append((int(inside[0]) - attack.start) / 1e9 if len(inside) else np.inf)
    false = 0
    for partner, at in by_partner.items():
        wrong = at[at > start + DAY_NS]
        for begin, end in windows(simulation, partner, AFTERMATH_NS):
            wrong = wrong[(wrong < begin) | (wrong >= end + MINUTE_NS)]
        if len(wrong):
            false += 1 + int((np.diff(wrong) > COOL_MINUTES * MINUTE_NS).sum())
    return seconds, false
