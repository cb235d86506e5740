"""Evenness: whether a displacement bends like one between two images of the same person."""

import math

import numpy as np
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.shapes import Field

EVEN, UNEVEN = 0.075, 0.11  # measured: one person up to 0.077, two persons from 0.12 on
FEW = 40  # voxels along an axis, on average, below which the level before saw too little
STRIDE = 2  # voxels; what is finer than the level before was not found by it


def evenness(field: Field, grid: Grid) -> float:
    r"""How even the slope of a displacement is: 1 as within one person, 0 as between two.

    $$
    b^2 = \frac{\sum_x |\nabla u|^2\, |h \nabla^2 u|^2}{\sum_x |\nabla u|^2}, \qquad
    \text{evenness} = \frac{\ln(b_0 / b)}{\ln(b_0 / b_1)} \text{ within } [0, 1]
    $$

    with $b_1$ = `EVEN`, $b_0$ = `UNEVEN` and $h$ two of the finest voxels: $b$ is the change of the
    slope over $h$, and places count by their slope, so that background does not. Where nothing
    moves yet, or there are few voxels, nothing is known: 0.

    Args:
        field: (B, D, *S), millimetres.
        grid: Of the field.
    """
    if grid.voxels < FEW ** sum(n > 1 for n in grid.shape):
        return 0.0
    coarse = field.detach()[(..., *(slice(None, None, STRIDE),) * grid.dim)]
    steps = STRIDE * np.asarray(grid.spacing, dtype=float)
    axes = [axis for axis in range(grid.dim) if coarse.shape[2 + axis] > 2]
    slope = bend = coarse.new_zeros(())
    for axis in axes:
        change = coarse.diff(dim=2 + axis) / float(steps[axis])
        count = change.shape[2 + axis] - 1
        mean = (change.narrow(2 + axis, 0, count) + change.narrow(2 + axis, 1, count)) / 2
        slope = slope + _core(mean, axis, axes).square().sum(1)
        bend = bend + _core(change.diff(dim=2 + axis) / float(steps[axis]), axis, axes)
    total = float(slope.sum())
    if total <= 0:
        return 0.0
    bent = float((bend.square().sum(1) * slope).sum() / total) ** 0.5 * STRIDE * grid.finest
    return float(np.clip(math.log(UNEVEN / max(bent, 1e-9)) / math.log(UNEVEN / EVEN), 0, 1))


def widened(calm: float, field: Field, grid: Grid) -> tuple[float, str]:
    """How many times as wide to smooth, 1 to `calm`, from a field in mm; and words for a person."""
    wider = calm ** evenness(field, grid)
    return wider, f"even so far: smoothed {wider:.1f} times as widely" if wider > 1 else ""


def _core(values: Tensor, axis: int, axes: list[int]) -> Tensor:
    """What all derivatives have: without the first and last along the axes not yet shortened."""
    for other in axes:
        if other != axis:
            values = values.narrow(2 + other, 1, values.shape[2 + other] - 2)
    return values
