"""The demons force with torch operations."""

import numpy as np
import torch

from coincide.kernels.update.torch import differences
from coincide.space.grid import tensor
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"demons": ()}


def demons(
    fixed: Volume,
    warped: Volume,
    mask: Volume,
    metric: np.ndarray,
    longest: float,
    share: float,
    floor: float,
    out: Field,
) -> PerPair:
    """Mean squared difference (B,) and the force, in `out`; see `coincide.kernels.demons`."""
    gap = fixed - warped
    slope = (1 - share) * differences(fixed) + share * differences(warped)
    raised = torch.einsum("de,bce...->bcd...", tensor(metric, warped), slope)
    square = gap.square().sum(1, keepdim=True)
    # |g|² in the world plus what bounds the force; see the loops
    below = (slope * raised).sum((1, 2))[:, None] + 0.25 / longest**2 * (square + floor)
    out.copy_(mask * (gap[:, :, None] * raised).sum(1) / below)
    total = (mask * square).flatten(1).sum(1)
    return total / (fixed.shape[1] * mask.flatten(1).sum(1)).clamp_min(1e-12)
