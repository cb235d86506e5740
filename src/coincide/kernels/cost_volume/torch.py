"""Cost volumes with torch operations: one shift after the other."""

from itertools import product

import torch
from torch import Tensor

from coincide.kernels.smooth import gaussian_weights

GRADIENTS = {"cost_volume": ("fixed", "weight", "unknown", "moving", "seen"), "blurred": ()}


def cost_volume(
    fixed: Tensor,
    weight: Tensor,
    unknown: Tensor,
    moving: Tensor,
    seen: Tensor,
    cell: tuple[int, ...],
    scale: float,
) -> Tensor:
    """See `coincide.kernels.cost_volume`."""
    size = fixed.shape[1:]
    shifts = [m - n + 1 for m, n in zip(moving.shape[1:], size, strict=True)]
    nodes = [n // c for n, c in zip(size, cell, strict=True)]
    # each axis becomes two, the cells and the voxels of a cell; the second is summed over
    split = [k for pair in zip(nodes, cell, strict=True) for k in pair]
    within = tuple(range(1, 2 * len(size), 2))
    columns = []
    for shift in product(*(range(s) for s in shifts)):
        box = tuple(slice(s, s + n) for s, n in zip(shift, size, strict=True))
        apart = (fixed - moving[(slice(None), *box)]).square().sum(0)
        cost = weight * torch.lerp(unknown, apart, seen[box])
        columns.append(scale * cost.reshape(split).sum(within))
    # `product` counts its last factor fastest, as does the shape
    return torch.stack(columns, -1).reshape(*nodes, *shifts)


def blurred(volume: Tensor, sigma: float, dim: int) -> Tensor:
    """The volume, smoothed in place over its cells; see `coincide.kernels.cost_volume`."""
    weights = gaussian_weights(sigma)
    reach = len(weights) // 2
    for axis in range(dim):
        n = volume.shape[axis]
        if n > 1:
            place = torch.arange(-reach, n + reach, device=volume.device).clamp(0, n - 1)
            wide = volume.index_select(axis, place)
            parts = [float(w) * wide.narrow(axis, t, n) for t, w in enumerate(weights)]
            volume.copy_(torch.stack(parts).sum(0))
    return volume
