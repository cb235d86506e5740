"""Dice against minutes of training, drawn from what `coincide train` has written beside models.

    python benchmarks/ladder.py voxelmorph-training:19.0 lapirn-training:11.4 --out ladder.png
    python benchmarks/ladder.py … --level "affine >> displacement, no network:0.781"

Each training is a folder with `curves.csv` and how many minutes all of its steps took; its Dice is
that of the pairs that were held out, of the averaged weights at each validation.
"""

import argparse
from pathlib import Path

from coincide.training.loop import CURVES, read_curves


def main() -> None:
    """Draw one figure."""
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    read.add_argument("trainings", nargs="+", help="FOLDER:MINUTES")
    read.add_argument("--level", nargs="*", default=[], help="NAME:DICE, a line across")
    read.add_argument("--out", type=Path, default=Path("ladder.png"))
    given = read.parse_args()
    lines = {}
    for text in given.trainings:
        folder, _, minutes = text.rpartition(":")
        lines[Path(folder).name.removesuffix("-training")] = rungs(Path(folder), float(minutes))
    levels = {name: float(dice) for name, _, dice in (t.rpartition(":") for t in given.level)}
    drawn(lines, levels, given.out)


def rungs(folder: Path, minutes: float) -> list[tuple[float, float]]:
    """Minutes and Dice of each validation of one training.

    Raises:
        ValueError: if nothing was outlined, so that there is no Dice.
    """
    rows = read_curves(folder / CURVES)
    looked = [row for row in rows if "dice" in row]
    if not looked:
        raise ValueError(f"{folder} holds no Dice; train with --labels")
    steps = rows[-1]["step"]
    before = (0.0, looked[0]["dice before"])
    return [before, *((minutes * row["step"] / steps, row["dice"]) for row in looked)]


def drawn(
    lines: dict[str, list[tuple[float, float]]], levels: dict[str, float], path: Path
) -> None:
    """Write the figure as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for name, points in lines.items():
        axis.plot(*zip(*points, strict=True), "o-", markersize=3, linewidth=1.2, label=name)
    for name, dice in levels.items():
        axis.axhline(dice, color="0.6", linestyle=":", zorder=0)
        axis.text(axis.get_xlim()[1], dice, name, ha="right", va="bottom", fontsize=7)
    axis.set(xlabel="minutes of one core", ylabel="Dice of pairs held out")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    main()
