"""Joint histogram with torch operations."""

import torch
from torch import Tensor

from coincide.space.shapes import Volume

GRADIENTS = {"joint_histogram": ("warped", "mask")}


def joint_histogram(fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
    """Histogram (B, bins, bins) float64; see `coincide.kernels.histogram`."""
    row = fixed.flatten(1).long().clamp(0, bins - 3)
    x = warped.flatten(1).clamp(1, bins - 2)
    first = x.detach().long().clamp_max(bins - 3)
    t = x - first
    s = 1 - t
    weights = (
        s**3 / 6,
        2 / 3 - t * t * (2 - t) / 2,
        2 / 3 - s * s * (2 - s) / 2,
        t**3 / 6,
    )
    # in double precision: a bin of the background takes in millions of voxels, one by one
    table = torch.zeros(len(fixed), bins * bins, dtype=torch.float64, device=warped.device)
    for n, weight in enumerate(weights):
        shares = (weight * mask.flatten(1)).double()
        table = table.scatter_add(1, row * bins + first + n - 1, shares)
    return table.view(-1, bins, bins)
