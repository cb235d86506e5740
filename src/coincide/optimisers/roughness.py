"""Roughness: whether a displacement bends like one between two people or within one."""

import math

import numpy as np
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.shapes import Field

EVEN, ROUGH = 0.075, 0.11  # measured: one person up to 0.077, two persons from 0.12 on
FEW = 40  # voxels along an axis, on average, below which the level before saw too little
STRIDE = 2  # voxels; what is finer than the level before was not found by it


def roughness(field: Field, grid: Grid) -> float:
    r"""How much the derivative of a displacement changes from voxel to voxel (no unit).

    $$b^2 = \frac{\sum_x |\nabla u|^2\, |h \nabla^2 u|^2}{\sum_x |\nabla u|^2}$$

    with $h$ two of the finest voxels: places count by how much they are strained, so that the
    background, where nothing is, does not. Where nothing moves yet, or there are few voxels,
    nothing is known: inf.

    Args:
        field: (B, D, *S), mm.
        grid: Of the field.
    """
    if grid.voxels < FEW ** sum(n > 1 for n in grid.shape):
        return math.inf
    coarse = field.detach()[(..., *(slice(None, None, STRIDE),) * grid.dim)]
    steps = STRIDE * np.asarray(grid.spacing, dtype=float)
    axes = [axis for axis in range(grid.dim) if coarse.shape[2 + axis] > 2]
    strain = bend = coarse.new_zeros(())
    for axis in axes:
        change = coarse.diff(dim=2 + axis) / float(steps[axis])
        count = change.shape[2 + axis] - 1
        # the mean of two neighbouring differences lies where their own difference lies
        mean = (change.narrow(2 + axis, 0, count) + change.narrow(2 + axis, 1, count)) / 2
        strain = strain + _core(mean, axis, axes).square().sum(1)
        bend = bend + _core(change.diff(dim=2 + axis) / float(steps[axis]), axis, axes)
    total = float(strain.sum())
    if total <= 0:
        return math.inf
    return float((bend.square().sum(1) * strain).sum() / total) ** 0.5 * STRIDE * grid.finest


def widened(adaptive: float, field: Field, grid: Grid) -> tuple[float, str]:
    """How many times as wide to smooth, and words for a person.

    Args:
        adaptive: The largest factor, for a field as even as within one person (`EVEN`). For one
            as rough as between two (`ROUGH`), or of unknown roughness, the factor is 1; between
            them it is in between.
        field: (B, D, *S), mm.
        grid: Of the field.
    """
    # inf, which is not known, ends at a share of 0; and 0 has a logarithm
    rough = max(roughness(field, grid), 1e-9)
    share = float(np.clip((math.log(ROUGH) - math.log(rough)) / math.log(ROUGH / EVEN), 0, 1))
    wider = adaptive**share
    return wider, f"even so far: smoothed {wider:.1f} times as widely" if wider > 1 else ""


def _core(values: Tensor, axis: int, axes: list[int]) -> Tensor:
    """What all derivatives have: without the first and last along the axes not yet shortened."""
    for other in axes:
        if other != axis:
            values = values.narrow(2 + other, 1, values.shape[2 + other] - 2)
    return values
