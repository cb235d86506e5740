"""Metric: a similarity learned from a few aligned pairs, beside those that need none.

    python benchmarks/metric.py --data FOLDER [--steps 1000] [--seeds 0 1 2]

Slices of many brains with labels of tissue; the second contrast is made from the first by a curve
that rises and falls, uneven illumination, blur and noise. Slices 1 to 22 are trained on, the weight
of the penalty is tuned on pairs of slices 23 to 33, equally for all, and pairs of slices 34 to 45
are scored: Dice of four tissues. This divides the persons. Every similarity drives the same engine,
from no alignment: a velocity every four voxels by Adam on two resolutions.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import coincide as co
from coincide.files.atomic import atomic
from coincide.kernels.smooth import gaussian
from coincide.networks.model_file import model_bytes
from coincide.objective import objective
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.scores.overlap import overlap
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.contrasts import pseudo_t2
from coincide.training.loop import Schedule, train
from coincide.training.metric import MetricRecipe, MetricTask
from coincide.transforms.displacement import Displacement

TRAINED, TUNED = 22, 33  # slices before these are trained on, tuned on
RIVALS = ("mi", "local_mi(radius=20.0)", "ngf", "mind", "learned_metric")
PAIRED = (3, 6, 11)  # aligned pairs that a metric is trained on
LEVELS = (Level(4.0, 40, 0.0), Level(2.0, 40, 0.0))
ENGINE, RULE = "velocity(spacing=4.0)", "adam(rate=0.15)"
FACTORS = (0.015, 0.05, 0.15, 0.5, 1.5)  # of the penalty, beside a similarity of unit gradient


def slices(data: Path) -> tuple[list[Image], list[Image], list[Image]]:
    """First contrast, second contrast and labels of all slices, cropped to the brain."""
    with np.load(data / "brain_2d_tissue" / "slices.npz") as file:
        grey, labels = file["image"].astype(np.float32) / 255, file["label"].astype(np.int64)
    inside = np.argwhere(labels.any(0))
    low, high = inside.min(0) - 4, inside.max(0) + 5
    box = (slice(None), *(slice(max(0, a), b) for a, b in zip(low, high, strict=True)))
    grey, labels = grey[box], labels[box]
    grid = Grid(grey.shape[1:], np.eye(3))
    ones, others, maps = [], [], []
    for number, (image, label) in enumerate(zip(grey, labels, strict=True)):
        brain = torch.from_numpy(image * (label > 0))[None, None]
        ones.append(Image(brain, grid))
        second = pseudo_t2(Image(brain, grid), seed=number, bias=0.4, noise=0.0)
        random = torch.Generator().manual_seed(number)
        noise = 0.04 * torch.randn(brain.shape, generator=random)
        others.append(second.with_data(gaussian(second.data, [0.6, 0.6]) + noise))
        maps.append(Image(torch.from_numpy(label)[None, None], grid))
    return ones, others, maps


def drawn(low: int, high: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of slices of different persons: those scanned twice are neighbours."""
    known = [(a, b) for a in range(low, high) for b in range(low, high) if abs(a - b) > 1]
    order = np.random.default_rng(seed).permutation(len(known))
    return [known[n] for n in order[:count]]


def unit(text: str, fixed: Image, moving: Image) -> float:
    """What makes the gradient of a similarity as long as that of a penalty of weight one."""
    lengths = []
    for term in (objective(text), objective("diffusion")):
        random = torch.Generator().manual_seed(0)
        field = gaussian(10 * torch.randn(1, 2, *fixed.grid.shape, generator=random), [4.0, 4.0])
        bend = Displacement(field=field.requires_grad_() * 1.0, grid=fixed.grid)
        total, _ = term(co.Alignment(fixed, moving, bend))
        (slope,) = torch.autograd.grad(total, field)
        lengths.append(float(slope.norm()))
    return lengths[1] / lengths[0]


def dice(wanted: str, data: Sequence[Sequence[Image]], pair: tuple[int, int]) -> float:
    """Mean Dice of the tissues after a registration."""
    (ones, others, maps), (one, other) = data, pair
    found = optimise(
        ones[one], others[other], ENGINE, objective=wanted, optimiser=RULE, levels=LEVELS
    )
    with torch.no_grad():
        moved = co.Alignment(ones[one], maps[other], found.transform).pull(
            maps[other], interpolation="label"
        )
    score = overlap(maps[one].numpy(), moved.numpy()).mean_dice
    assert score is not None
    return score


def weighted(
    text: str, factor: float, data: Sequence[Sequence[Image]], pairs: list[tuple[int, int]]
) -> str:
    """An objective whose penalty weighs that much beside a similarity of unit gradient."""
    scale = np.mean([unit(text, data[0][a], data[1][b]) for a, b in pairs])
    return f"{scale:.6g}*{text} + {factor}*diffusion"


def tuned(text: str, data: Sequence[Sequence[Image]], pairs: list[tuple[int, int]]) -> float:
    """The weight of the penalty that is best on slices of neither training nor test."""
    tried = {}
    for factor in FACTORS:
        wanted = weighted(text, factor, data, pairs)
        tried[factor] = float(np.mean([dice(wanted, data, pair) for pair in pairs]))
    print("   tuned", {k: round(v, 4) for k, v in tried.items()}, flush=True)
    return max(tried, key=lambda factor: tried[factor])


def trained(
    data: Sequence[Sequence[Image]], count: int, seed: int, steps: int, folder: Path
) -> str:
    """A metric from aligned pairs of training slices, as text."""
    chosen = np.random.default_rng(seed).permutation(TRAINED)
    both = [torch.stack([data[0][n].data[0, 0], data[1][n].data[0, 0]])[..., None] for n in chosen]
    task = MetricTask(MetricRecipe(seed=seed), both[:count], both[-5:])
    work = folder / f"k{count}-{seed}"
    begin = time.process_time()
    schedule = Schedule(steps=steps, rate=3e-3, average=0.99, validated=steps, warm=30)
    said = []
    network = train(task, schedule, work, watch=said.append)
    path = work / "metric.safetensors"
    with atomic(path) as temporary:
        temporary.write_bytes(model_bytes(network, task.card({"steps": steps})))
    seconds = time.process_time() - begin
    print(f"k={count} seed {seed}", said[-1].numbers, f"{seconds:.0f} CPU s", flush=True)
    return f"learned_metric(weights='{path}')"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("COINCIDE_DATA"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--tuning", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=None, help="rows: a similarity, or k=3")
    given = parser.parse_args()
    data = slices(Path(given.data))
    tuning = drawn(TRAINED, TUNED, given.tuning, 0)
    test = drawn(TUNED, len(data[0]), given.pairs, 1)
    still = [overlap(data[2][a].numpy(), data[2][b].numpy()).mean_dice for a, b in test]
    rows = [f"| not aligned | {np.mean([s for s in still if s is not None]):.4f} | | |"]
    with tempfile.TemporaryDirectory() as folder:
        for name in [*RIVALS, *(f"k={k}" for k in PAIRED)]:
            if given.only is not None and name not in given.only:
                continue
            learned = name.startswith("k=")
            means, seconds = [], 0.0
            for seed in given.seeds if learned else (0,):
                text = (
                    trained(data, int(name[2:]), seed, given.steps, Path(folder))
                    if learned
                    else name
                )
                wanted = weighted(text, tuned(text, data, tuning), data, tuning)
                begin = time.process_time()
                means.append(float(np.mean([dice(wanted, data, pair) for pair in test])))
                seconds = (time.process_time() - begin) / len(test)
                print(name, wanted[:40], round(means[-1], 4), f"{seconds:.2f} s", flush=True)
            spread = f"{np.std(means):.4f}" if len(means) > 1 else ""
            rows.append(f"| {name} | {np.mean(means):.4f} | {spread} | {seconds:.2f} |")
    print("\n".join(["| | Dice | spread of seeds | CPU s a pair |", "|---|---|---|---|", *rows]))


if __name__ == "__main__":
    main()
