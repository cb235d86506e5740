"""Mean squared difference with torch operations."""

import numpy as np
import torch

from coincide.kernels.update.torch import force
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"mean_square": ("fixed", "warped", "mask"), "mean_square_force": ()}


def mean_square(fixed: Volume, warped: Volume, mask: Volume) -> PerPair:
    """Mean over channels and mask of (W - F)², (B,); see `coincide.kernels.difference`."""
    voxels = tuple(range(1, fixed.ndim))
    total = (mask * (warped - fixed) ** 2).sum(voxels)
    weight = fixed.shape[1] * mask.sum(voxels)
    nothing = fixed.square().mean(voxels)
    return torch.where(weight > 0, total / weight.clamp_min(1e-12), nothing).to(warped.dtype)


def mean_square_force(
    fixed: Volume, warped: Volume, mask: Volume, metric: np.ndarray, out: Field
) -> PerPair:
    """The same and its force; see `coincide.kernels.difference`."""
    weight = (fixed.shape[1] * mask.flatten(1).sum(1)).clamp_min(1e-12)
    gradient = 2 * mask * (warped - fixed) / weight.view(-1, *(1,) * (fixed.ndim - 1))
    force(gradient, warped, metric, out)
    return mean_square(fixed, warped, mask)
