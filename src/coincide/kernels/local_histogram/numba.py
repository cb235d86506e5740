"""Joint histograms of overlapping windows on the CPU."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d
from coincide.kernels.local_histogram import Place, loops
from coincide.space.shapes import Volume

GRADIENTS = {"local_histogram": ("warped",)}


def local_histogram(
    fixed: Volume, warped: Volume, mask: Volume, bins: int, places: list[Place]
) -> Tensor:
    """Histograms (B, windows, bins, bins); see `coincide.kernels.local_histogram`."""
    table = _LocalHistogram.apply(fixed, warped, mask, bins, places)
    missing = 3 - len(places)  # each put a second window beside the only one, which stayed empty
    return table.view(len(fixed), *(2,) * missing, -1, bins, bins)[(slice(None), *(0,) * missing)]  # type: ignore[union-attr]


class _LocalHistogram(Function):
    @staticmethod
    def forward(
        ctx: Any, fixed: Volume, warped: Volume, mask: Volume, bins: int, places: list[Place]
    ) -> Tensor:
        ctx.save_for_backward(fixed, warped, mask)
        ctx.places = places
        low, high, counts = _for_3d(places)
        # the window below never falls from plane to plane, so each slab is one run of planes
        starts = np.searchsorted(low[0, : as_3d(fixed).shape[2]], np.arange(counts[0]))
        table = torch.zeros(len(fixed), *counts, bins, bins, dtype=torch.float64)
        for b, (f, w, m) in enumerate(zip(*map(as_3d, (fixed, warped, mask)), strict=True)):
            loops.scatter(f[0], w[0], m[0], starts, low, high, table[b].numpy())
        return table.view(len(fixed), -1, bins, bins)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        fixed, warped, mask = ctx.saved_tensors
        low, high, counts = _for_3d(ctx.places)
        bins = gradients[0].shape[-1]
        tables = gradients[0].contiguous().view(len(fixed), *counts, bins, bins).numpy()
        out = torch.empty_like(warped, memory_format=torch.contiguous_format)
        volumes = zip(*map(as_3d, (fixed, warped, mask, out)), strict=True)
        for table, (f, w, m, o) in zip(tables, volumes, strict=True):
            loops.gather(f[0], w[0], m[0], low, high, table, o[0])
        return None, out, None, None, None


def _for_3d(places: list[Place]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Rows for three axes; along one that is missing, a voxel lies in the first of two windows."""
    places = [(np.zeros(1, np.int64), np.zeros(1), 2)] * (3 - len(places)) + places
    longest = max(len(low) for low, *_ in places)
    low, high = np.zeros((3, longest), np.int64), np.zeros((3, longest))
    for axis, (below, weight, _) in enumerate(places):
        low[axis, : len(below)], high[axis, : len(below)] = below, weight
    return low, high, [count for *_, count in places]
