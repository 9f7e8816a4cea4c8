"""The drawings of docs/detection.md: SVG by matplotlib, the same for the same figures."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "ztmon", "font.size": 10, "axes.grid": True,
                        "axes.spines.top": False, "axes.spines.right": False, "grid.alpha": 0.3}

from matplotlib import pyplot as plt  # noqa: E402

from .page import LEVELS  # noqa: E402

COLOURS = ("#c9a227", "#d9822b", "#c23030", "#5c2a6b")


def draw(sections: dict[str, dict[str, Any]], budgets: list[Any], folder: Path) -> None:
    delays(sections, folder / "detection-delays.svg")
    strengths(sections["hard"], folder / "detection-strengths.svg")
    if budgets:
        budget(budgets, folder / "detection-budget.svg")


def delays(sections: dict[str, dict[str, Any]], path: Path) -> None:
    """How much has been found after so many seconds, at each level."""
    figure, axes = plt.subplots(1, len(sections), figsize=(9, 3.4), sharey=True, squeeze=False)
    for axis, (name, data) in zip(axes[0], sections.items(), strict=True):
        for level, colour, seconds in zip(LEVELS, COLOURS, np.transpose(data["seconds"]), strict=True):
            reached = np.sort(seconds[np.isfinite(seconds)])
            axis.step(np.maximum(reached, 1.0), np.arange(1, len(reached) + 1) / len(seconds) * 100, where="post",
                      color=colour, label=level)
        axis.set(xscale="log", xlabel="seconds since the attack began", title=name, ylim=(0, 101))
    axes[0][0].set_ylabel("attacks that reached it, %")
    axes[0][0].legend(loc="lower right", frameon=False)
    save(figure, path)


def strengths(data: dict[str, Any], path: Path) -> None:
    """Share at throttle by strength."""
    figure, axis = plt.subplots(figsize=(9, 3.0))
    order = np.argsort(data["strengths"])
    parts = np.array_split(order, 8)
    seconds = np.array(data["seconds"])[:, 1]
    middle = [float(np.median(np.array(data["strengths"])[part])) for part in parts]
    found = [float(np.isfinite(seconds[part]).mean()) * 100 for part in parts]
    axis.plot(middle, found, "o-", color=COLOURS[1])
    axis.set(xlabel="strength of the attack, an eighth of all attacks a point (1 is blatant)", ylabel="at throttle, %",
             ylim=(0, 101), xscale="log")
    save(figure, path)


def budget(budgets: list[Any], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(9, 3.4))
    nominal, measured = [kept.nominal for kept in budgets], [kept.measured for kept in budgets]
    axis.plot(nominal, nominal, "--", color="#999999", label="as promised")
    axis.plot(nominal, measured, "o-", color=COLOURS[1], label="measured")
    axis.set(xlabel="false_throttles_per_partner_year", ylabel="measured, hard streams", xscale="log", yscale="log")
    axis.legend(frameon=False)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
