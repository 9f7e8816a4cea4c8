"""Writes docs/detection.md: what is found, how fast, and who was wrongly acted on, at the shipped configuration.

    python benchmarks/detection [--plain FIRST:LAST] [--hard FIRST:LAST] [--peers N] [--budgets FIRST:LAST] [--out PAGE]
    python benchmarks/detection --costs FIRST:LAST      what goes into ztmon.budget.MEASURED

The seeds reported are not those that the engine was tuned on (page.TUNED). Real series are looked for under
ZTMON_TEST_DATA, by default shared/data beside the checkout.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from traffic import REAL  # noqa: E402

from detection import budgets, peers, plots, real, verdicts  # noqa: E402
from detection.page import LEVELS, write  # noqa: E402
from ztmon.simulate import KINDS, Simulation, simulate  # noqa: E402
from ztmon.simulate.happenings import BACKEND  # noqa: E402

PARTNERS, HOURS = 40, 144.0
MEDIUM = 0.5
TRAFFIC = REAL / "ms-cloud-monitoring"


@dataclass
class Outcome:
    """What became of one seed."""

    found: list[verdicts.Found]
    throttles: list[verdicts.Wrong]
    alerts: list[verdicts.Wrong]
    aftermath: int
    backend: int
    hours: float
    days: float


def stream(hard: bool, seed: int, shapes: Path | None = None, without: tuple[str, ...] = ()) -> Simulation:
    return simulate(PARTNERS, HOURS, seed, strength=None if hard else MEDIUM, hard=hard, shapes=shapes, without=without)


def one(task: tuple[bool, int, Path | None]) -> Outcome:
    hard, seed, shapes = task
    simulation = stream(hard, seed, shapes)
    levels = verdicts.changes(simulation)
    throttles, aftermath = verdicts.wrong(simulation, levels, verdicts.THROTTLE)
    alerts, _ = verdicts.wrong(simulation, levels, verdicts.ALERT)
    backend = verdicts.because_of_the_backend(throttles, lambda: stream(hard, seed, shapes, tuple(BACKEND)))
    return Outcome(verdicts.found(simulation, levels), throttles, alerts, aftermath, backend,
                   verdicts.wrong_hours(simulation, levels), verdicts.partner_days(simulation))


def peer(task: tuple[str, bool, int]) -> tuple[list[tuple[int, int, float]], int, float]:
    """For each of a range of thresholds (attacks, found, median seconds), false episodes; and the days."""
    name, hard, seed = task
    simulation = stream(hard, seed)
    scores = peers.scored(simulation, peers.PEERS[name])
    return scores, simulation, verdicts.partner_days(simulation)


def best(name: str, hard: bool, seeds: range) -> dict[str, float] | None:
    """The peer at the threshold with the most found less false episodes per 100 partner-days."""
    try:
        runs = [peer((name, hard, seed)) for seed in seeds]
    except ImportError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None
    values = np.concatenate([value for scores, _, _ in runs for _, _, value in scores])
    days = sum(run[2] for run in runs)
    answers = []
    for threshold in np.unique(np.quantile(values, 1 - np.geomspace(1e-6, 0.02, 60))):
        seconds, false = [], 0
        for scores, simulation, _ in runs:
            took, wrong = peers.judged(simulation, scores, threshold)
            seconds += took
            false += wrong
        share = float(np.isfinite(seconds).mean())
        answers.append({"found": share, "median": float(np.median(seconds)), "false": false / days * 100})
    return max(answers, key=lambda answer: answer["found"] * 100 - answer["false"])


def seeds(text: str) -> range:
    first, last = (int(part) for part in text.split(":"))
    return range(first, last)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--plain", type=seeds, default=range(801, 833))
    arguments.add_argument("--hard", type=seeds, default=range(801, 829))
    arguments.add_argument("--peers", type=int, default=1, help="on so many of these seeds")
    arguments.add_argument("--budgets", type=seeds, default=range(865, 873), help="hard seeds for what a budget comes to")
    arguments.add_argument("--costs", type=seeds, help="only say what throttle costs by the score at which it begins")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "detection.md")
    chosen = arguments.parse_args()
    if chosen.costs:
        for a_year, score in budgets.costs(chosen.costs, PARTNERS, HOURS):
            print(f"{a_year:.2f} a year from {score:g}")
        return
    began = time.monotonic()
    sections = {}
    for name, hard, numbers, shapes in (("plain", False, chosen.plain, None), ("hard", True, chosen.hard, None),
                                        ("real shapes", True, chosen.hard[: max(1, len(chosen.hard) // 4)], TRAFFIC)):
        if shapes is not None and not shapes.is_dir():
            print(f"no real series in {shapes}: set ZTMON_TEST_DATA; what they show is left out", file=sys.stderr)
            continue
        with ProcessPoolExecutor(2) as pool:
            outcomes = list(pool.map(one, [(hard, seed, shapes) for seed in numbers]))
        sections[name] = summary(outcomes)
        sections[name]["seeds"] = numbers
        few = numbers[: chosen.peers if shapes is None else 0]
        sections[name]["peers_on"] = len(few)
        sections[name]["peers"] = {peer_: best(peer_, hard, few) for peer_ in peers.PEERS} if few else {}
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    promises = budgets.kept(chosen.budgets, PARTNERS, HOURS)
    series = list(real.judged(TRAFFIC)) if TRAFFIC.is_dir() else []
    plots.draw(sections, promises, chosen.out.parent)
    chosen.out.write_text(write(sections, promises, chosen.budgets, series))
    print(f"wrote {chosen.out} after {time.monotonic() - began:.0f} s", file=sys.stderr)


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    kinds = defaultdict(list)
    for outcome in outcomes:
        for found in outcome.found:
            kinds[found.attack.kind].append(found)
    every = [found for outcome in outcomes for found in outcome.found]
    single = [found for found in every if found.attack.kind != "fleet"]
    return {
        "all": numbers(single),
        "seconds": [found.seconds for found in single],
        "strengths": [found.attack.strength for found in single],
        "kinds": {kind: numbers(kinds[kind]) for kind in KINDS if kinds[kind]},
        "days": sum(outcome.days for outcome in outcomes),
        "throttles": Counter(wrong.cause for outcome in outcomes for wrong in outcome.throttles),
        "alerts": Counter(wrong.cause for outcome in outcomes for wrong in outcome.alerts),
        "backend": sum(outcome.backend for outcome in outcomes),
        "aftermath": sum(outcome.aftermath for outcome in outcomes),
        "hours": sum(outcome.hours for outcome in outcomes),
    }


def numbers(found: list[verdicts.Found]) -> dict[str, float]:
    """Shares found and median delays at each level."""
    answer: dict[str, float] = {"n": len(found)}
    for i, level in enumerate(LEVELS):
        seconds = np.array([one_.seconds[i] for one_ in found])
        answer[f"{level}_share"] = float(np.isfinite(seconds).mean())
        answer[f"{level}_seconds"] = float(np.median(seconds))
        answer[f"{level}_events"] = float(np.median([one_.events[i] for one_ in found]))
    return answer


if __name__ == "__main__":
    main()
