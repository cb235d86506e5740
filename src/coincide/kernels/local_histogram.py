"""Joint histograms of overlapping windows, smooth in the second image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.native import local_histogram as native
from coincide.kernels.native.jit import lifted
from coincide.kernels.reference import local_histogram as reference
from coincide.space.shapes import Volume

Place = tuple[np.ndarray, np.ndarray, int]


def local_histogram(
    fixed: Volume, warped: Volume, mask: Volume, bins: int, spacing: Sequence[float]
) -> Tensor:
    """Weighted joint histogram in windows on a lattice about the middle of the volume.

    A window weighs voxels by a tent of half width `spacing`; windows overlap by half and add up
    to one everywhere. In each, the estimate is that of `joint_histogram`.

    Args:
        fixed: (B, 1, *S) intensities counted in bins.
        warped: (B, 1, *S) intensities counted in bins.
        mask: (B, 1, *S) weights.
        bins: Number of bins of both.
        spacing: Distance of neighbouring windows along each axis, voxels (> 0).

    Returns:
        (B, windows, bins, bins) float64 sums of weights; differentiable in `warped`.
    """
    places = [_place(n, s) for n, s in zip(fixed.shape[2:], spacing, strict=True)]
    if fixed.device.type != "cpu":
        return reference.local_histogram(fixed, warped, mask, bins, places).double()
    return _LocalHistogram.apply(fixed, warped, mask, bins, places)  # type: ignore[return-value]


def _place(voxels: int, spacing: float) -> Place:
    """Window below each voxel, weight of the one above, and the number of windows."""
    cells = max(1, int(np.ceil((voxels - 1) / spacing)))
    position = (np.arange(voxels) - (voxels - 1) / 2) / spacing + cells / 2
    low = np.clip(np.floor(position), 0, cells - 1).astype(np.int64)
    return low, position - low, cells + 1


class _LocalHistogram(Function):
    @staticmethod
    def forward(
        ctx: Any, fixed: Volume, warped: Volume, mask: Volume, bins: int, places: list[Place]
    ) -> Tensor:
        ctx.save_for_backward(fixed, warped, mask)
        ctx.places = places
        low, high, counts = _lifted(places)
        starts = np.searchsorted(low[0, : lifted(fixed).shape[2]], np.arange(counts[0]))
        table = torch.zeros(len(fixed), *counts, bins, bins, dtype=torch.float64)
        for b, (f, w, m) in enumerate(zip(*map(lifted, (fixed, warped, mask)), strict=True)):
            native.scatter(f[0], w[0], m[0], starts, low, high, table[b].numpy())
        return table.view(len(fixed), -1, bins, bins)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        fixed, warped, mask = ctx.saved_tensors
        low, high, counts = _lifted(ctx.places)
        bins = gradients[0].shape[-1]
        tables = gradients[0].contiguous().view(len(fixed), *counts, bins, bins).numpy()
        out = torch.empty_like(warped, memory_format=torch.contiguous_format)
        volumes = zip(*map(lifted, (fixed, warped, mask, out)), strict=True)
        for table, (f, w, m, o) in zip(tables, volumes, strict=True):
            native.gather(f[0], w[0], m[0], low, high, table, o[0])
        return None, out, None, None, None


def _lifted(places: list[Place]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Rows for three axes; along one that is missing, a voxel lies in the first of two windows."""
    places = [(np.zeros(1, np.int64), np.zeros(1), 2)] * (3 - len(places)) + places
    longest = max(len(low) for low, *_ in places)
    low, high = np.zeros((3, longest), np.int64), np.zeros((3, longest))
    for axis, (below, weight, _) in enumerate(places):
        low[axis, : len(below)], high[axis, : len(below)] = below, weight
    return low, high, [count for *_, count in places]
