"""The demons force with torch operations."""

import torch
from torch import Tensor

from coincide.kernels.reference.update import differences
from coincide.space.shapes import Field, Volume


def demons(
    fixed: Volume,
    warped: Volume,
    mask: Volume,
    metric: Tensor,
    noise: float,
    share: float,
    floor: float,
) -> tuple[Tensor, Field]:
    """Mean squared difference (B,) and force; see `coincide.kernels.demons`."""
    gap = fixed - warped
    slope = (1 - share) * differences(fixed) + share * differences(warped)
    raised = torch.einsum("de,bce...->bcd...", metric, slope)
    square = gap.square().sum(1, keepdim=True)
    below = (slope * raised).sum((1, 2))[:, None] + noise * (square + floor)
    force = mask * (gap[:, :, None] * raised).sum(1) / below
    total = (mask * square).flatten(1).sum(1)
    return total / (fixed.shape[1] * mask.flatten(1).sum(1)).clamp_min(1e-12), force
