"""What the sweep of smoothness has found, as a table and as a figure."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

WEIGHTS = tuple(round(0.1 * n, 1) for n in range(11))
Curves = dict[str, dict[str, np.ndarray]]  # of a name: Dice, energy, folding (seeds, weights)


def at_energy(row: Mapping[str, np.ndarray], energy: float) -> np.ndarray:
    """Dice of each seed where the curve has an energy, (seeds,); none beyond its ends."""
    found = []
    for dice, spent in zip(row["dice"], row["energy"], strict=True):
        order = np.argsort(spent)
        logs = np.log(np.maximum(spent[order], 1e-6))
        found.append(np.interp(np.log(energy), logs, dice[order], np.nan, np.nan))
    return np.array(found)


def table(found: Curves) -> str:
    """Markdown."""
    heads = ["λ=.1", ".3", ".5", ".7", ".9", "best Dice (λ)", "at energy .1", "folded %", "CPU s"]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name, row in found.items():
        dice, best = row["dice"], row["dice"].max(1)
        cells = [f"{dice[:, round(10 * w)].mean():.4f}" for w in (0.1, 0.3, 0.5, 0.7, 0.9)]
        at = WEIGHTS[int(dice.mean(0).argmax())]
        same = at_energy(row, 0.1)
        cells += [f"{best.mean():.4f} ± {best.std():.4f} ({at})"]
        # a curve may end before it
        cells += ["–" if np.isnan(same).any() else f"{same.mean():.4f} ± {same.std():.4f}"]
        cells += [f"{row['folding'].max():.3f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['cpu_s'].mean():.0f} |")
    return "\n".join(lines)


def figure(found: Curves, still: float, straight: float, path: Path) -> None:
    """Dice against the weight and against the energy, bars of one standard deviation of seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn_figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.6), sharey=True, layout="constrained"
    )
    for name, row in found.items():
        dice, energy = row["dice"], row["energy"].mean(0)
        style = {"color": "0.5", "linestyle": "--"} if name == "start" else {}
        label = "common start, told the truth" if name == "start" else name
        bars = {"yerr": dice.std(0), "capsize": 2, "linewidth": 1.2, "label": label, **style}
        left.errorbar(WEIGHTS, dice.mean(0), **bars)
        some = energy > 1e-4
        bars["yerr"] = bars["yerr"][some]
        right.errorbar(energy[some], dice.mean(0)[some], **bars)
    for axis in (left, right):
        axis.axhline(still, color="0.8", zorder=0)
        axis.axhline(straight, color="0.8", linestyle=":", zorder=0)
        axis.grid(alpha=0.3)
    left.text(1.0, straight, "MI, optimised directly", ha="right", va="bottom", fontsize=7)
    left.text(1.0, still, "not aligned", ha="right", va="bottom", fontsize=7)
    left.set(xlabel="λ, weight of smoothness", ylabel="Dice of four tissues")
    right.set(xlabel="energy of the velocity", xscale="log")
    right.legend(fontsize=7)
    drawn_figure.savefig(path, dpi=90)
    plt.close(drawn_figure)
