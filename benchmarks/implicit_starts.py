"""Starts: one network and two from a start that is far off, many seeds; does one fail more often?

A fit has failed where the mean of the ten landmarks is above 3 mm. All have one level of 250 steps,
2000 points and voxels as they are.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from implicit_chest import Chest, chest
from implicit_rows import Folders, Row, Spent, rounded

import coincide as co
from coincide.optimisers.cycle_sampled import CycleSampled
from coincide.optimisers.idir import IDIR
from coincide.optimisers.level import Level
from coincide.optimisers.optimiser import Optimiser
from coincide.optimisers.sampled import Sampled
from coincide.transforms.transform import Transform

SEEDS, STEPS, POINTS = 12, 250, 2000
FAILED = 3.0  # mm, mean of ten landmarks
NETWORK = "width=96, omega=20.0"
WANTED = "ncc + 0.05*symmetric_jacobian"
Maker = Callable[[int], tuple[Transform, Optimiser, str]]


def single(seed: int, *, points: int = POINTS) -> tuple[Transform, Optimiser, str]:
    """One network, points spread evenly."""
    return _siren(NETWORK, seed), Sampled(points=points, seed=seed), WANTED


def cycle(
    seed: int, *, beta: float = 0.001, points: int = POINTS
) -> tuple[Transform, Optimiser, str]:
    """Two networks that must agree; with `beta` 0 they need not."""
    transform = co.build(f"cycle({NETWORK}, seed={2 * seed})")
    return transform, CycleSampled(points=points, beta=beta, seed=seed), WANTED


def plain(seed: int) -> tuple[Transform, Optimiser, str]:
    """One network as published but small: unit cube, random voxels, a constant rate."""
    transform = _siren(f"{NETWORK}, unit_cube=True", seed)
    return transform, IDIR(points=POINTS, rate=0.001, seed=seed), "ncc"


def _siren(text: str, seed: int) -> Transform:
    return co.build(f"siren({text}, seed={seed})")


def fits(
    pair: Chest, maker: Maker, seeds: Iterable[int], *, steps: int = STEPS, spacing: float = 0.0
) -> list[Transform]:
    """One fit a seed, on one level."""
    found = []
    for seed in seeds:
        transform, rule, wanted = maker(seed)
        level = Level(spacing, steps, 0, objective=wanted, optimiser=rule)
        found.append(pair.fitted(transform, (level,)))
    return found


def _row(
    folders: Folders,
    *,
    maker: Maker,
    start: str = "translation",
    masked: bool = True,
    seeds: int = SEEDS,
) -> dict[str, Any]:
    pair = chest(folders, start, masked=masked)
    pair.images  # noqa: B018  interpolated once, before the clock starts
    with Spent() as spent:
        found = fits(pair, maker, range(seeds))
    assert pair.pair.outer is not None
    before = {"start, mm": round(float(pair.errors(pair.pair.outer).mean()), 2)}
    told = before | summary([float(pair.errors(one).mean()) for one in found])
    doubts = [pair.doubt(one) for one in found]
    told["uncertainty, mm"] = rounded(doubt for doubt in doubts if doubt is not None)
    each = {"seconds a fit": round(spent.seconds / seeds, 1), "gb": round(spent.peak, 2)}
    return told | each


def summary(errors: list[float]) -> dict[str, Any]:
    """How many have failed, and all."""
    failed = sum(error > FAILED for error in errors)
    return {
        "failed": f"{failed} of {len(errors)}",
        "median": round(float(np.median(errors)), 2),
        "worst": round(max(errors), 2),
        "each seed, mm": rounded(errors),
    }


FAR = "translation of all"

ROWS: dict[str, Row] = {
    "one network": partial(_row, maker=single),
    "two networks that must agree": partial(_row, maker=cycle),
    "two that need not": partial(_row, maker=partial(cycle, beta=0.0), seeds=8),
    "one network, no mask": partial(_row, maker=single, masked=False),
    "one, as published but small": partial(_row, maker=plain),
    "one network, from farther off": partial(_row, maker=single, start=FAR),
    "two networks that must agree, from farther off": partial(_row, maker=cycle, start=FAR),
    "one, as published but small, from farther off, no mask": partial(
        _row, maker=plain, start=FAR, masked=False
    ),
}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows
