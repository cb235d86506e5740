"""Reliability: is a predictor wrong where it says that it is unsure?

    python benchmarks/reliability.py FOLDER --ensemble a.safetensors b.safetensors
        --probabilistic p.safetensors [--out reliability.png]

Images held out are bent by known smooth deformations of several strengths, with noise added, and
registered to themselves, so that the error of every voxel is known. Voxels are sorted by the spread
that was predicted, in mm, and in each of ten heaps of as many voxels its root mean square is
compared with that of the error. A spread that can be believed lies on the diagonal.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from coincide.predictors.ensemble import ensemble
from coincide.predictors.model import load_model
from coincide.predictors.probabilistic import Probabilistic
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.synthetic.deformations import smooth_displacement
from coincide.training.cases import find_cases
from coincide.training.subjects import read_subjects
from coincide.transforms.transform import Transform

HELD, IMAGES, NOISE, HEAPS = 40, 20, 0.02, 10
BENT = ((1.5, 6.0), (3.0, 8.0), (6.0, 12.0))  # peak and correlation length, mm
Answer = tuple[Transform, Image]  # and how far from it, mm


@dataclass
class Heap:
    """Error and predicted spread of voxels, mm, one array for each image."""

    error: list[np.ndarray] = field(default_factory=list)
    spread: list[np.ndarray] = field(default_factory=list)

    def ratio(self) -> float:
        """Root mean square error beside root mean square spread."""
        return rms(np.concatenate(self.error)) / rms(np.concatenate(self.spread))

    def ranks(self) -> tuple[float, float]:
        """Rank correlation of error and spread: over voxels of an image, mean; over images."""
        inside = [spearmanr(e, s).statistic for e, s in zip(self.error, self.spread, strict=True)]
        error, spread = ([rms(one) for one in many] for many in (self.error, self.spread))
        return float(np.mean(inside)), float(spearmanr(error, spread).statistic)

    def curve(self) -> np.ndarray:
        """Spread and error of each heap, (2, H)."""
        error, spread = np.concatenate(self.error), np.concatenate(self.spread)
        parts = np.array_split(np.argsort(spread), HEAPS)
        return np.array([[rms(values[part]) for part in parts] for values in (spread, error)])


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def bent(moving: Image, peak: float, sigma: float, seed: int) -> tuple[Image, torch.Tensor]:
    """The image under a known deformation, with noise, and the displacement."""
    truth = smooth_displacement(moving.grid, peak=peak, sigma=sigma, seed=seed)
    shift = truth.displacement(moving.grid).detach()
    fixed = resample(moving, moving.grid, shift)
    random = torch.Generator().manual_seed(seed)
    return fixed.with_data(
        fixed.data + NOISE * torch.randn(fixed.data.shape, generator=random)
    ), shift


def asked(given: argparse.Namespace) -> dict[str, Callable[[Image, Image], Answer]]:
    """What is asked, by name."""
    several = [load_model(path).predictor for path in given.ensemble]
    found: dict[str, Callable[[Image, Image], Answer]] = {}
    if several:
        found[f"ensemble of {len(several)}"] = lambda f, m: ensemble(several, f, m)
    if given.probabilistic:
        one = load_model(given.probabilistic).predictor
        assert isinstance(one, Probabilistic)
        found["probabilistic"] = lambda f, m: (
            one(f, m),
            one.uncertainty(f, m, count=given.samples),
        )
    return found


@torch.no_grad()
def main() -> None:
    """Print the table, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ensemble", nargs="*", default=[])
    parser.add_argument("--probabilistic")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("reliability.png"))
    given = parser.parse_args()
    cases = find_cases(given.folder, "_T1=_label", validation=HELD, shown=10_000)
    subjects = read_subjects(cases.cases, spacing=1.0, alignment="centre")
    held = sorted({i for pair in cases.validation for i in pair})[:IMAGES]
    heaps: dict[str, dict[float, Heap]] = {}
    answers = asked(given)
    for number in held:
        moving = subjects.images([number])
        for peak, sigma in BENT:
            fixed, truth = bent(moving, peak, sigma, number)
            counts = fixed.weight() > 0.5
            for name, answer in answers.items():
                found, spread = answer(fixed, moving)
                error = (found.displacement(fixed.grid) - truth).norm(dim=1, keepdim=True)
                heap = heaps.setdefault(name, {}).setdefault(peak, Heap())
                heap.error.append(error[counts].numpy())
                heap.spread.append(spread.data[counts].numpy())
            still = heaps.setdefault("not aligned", {}).setdefault(peak, Heap())
            still.error.append(truth.norm(dim=1, keepdim=True)[counts].numpy())
    print("| | peak, mm | error, mm | spread, mm | error / spread | rank, voxels | rank, images |")
    print("|---|---|---|---|---|---|---|")
    for name, row in heaps.items():
        for peak, heap in row.items():
            error = f"| {name} | {peak} | {rms(np.concatenate(heap.error)):.2f} |"
            if not heap.spread:
                print(f"{error} | | | |")
                continue
            inside, over = heap.ranks()
            spread = rms(np.concatenate(heap.spread))
            print(f"{error} {spread:.2f} | {heap.ratio():.2f} | {inside:.2f} | {over:.2f} |")
    figure({n: row for n, row in heaps.items() if n != "not aligned"}, given.out)


def figure(heaps: dict[str, dict[float, Heap]], path: Path) -> None:
    """Error against spread, one panel for each that was asked."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn, axes = plt.subplots(
        1, len(heaps), figsize=(4.2 * len(heaps), 3.6), squeeze=False, layout="constrained"
    )
    for axis, (name, row) in zip(axes[0], heaps.items(), strict=True):
        most = 0.0
        for peak, heap in row.items():
            spread, error = heap.curve()
            axis.plot(spread, error, "o-", markersize=3, label=f"bent by up to {peak:g} mm")
            most = max(most, spread.max(), error.max())
        axis.plot([0, most], [0, most], color="0.7", zorder=0)
        axis.set(xlabel="predicted spread, mm", ylabel="error, mm", title=name)
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    drawn.savefig(path, dpi=90)
    plt.close(drawn)


if __name__ == "__main__":
    main()
