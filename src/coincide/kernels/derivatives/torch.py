"""Slopes of fields with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import tensor
from coincide.space.shapes import Volume

GRADIENTS = {"slopes": ("field",), "squared_slope": ("field",)}


def differences(field: Volume) -> Tensor:
    """Slopes along the voxel axes, (B, C, D, *S): central inside, one-sided at the border."""
    slopes = []
    for axis, n in enumerate(field.shape[2:], start=2):
        if n == 1:
            slopes.append(torch.zeros_like(field))
            continue
        inner = (field.narrow(axis, 2, n - 2) - field.narrow(axis, 0, n - 2)) / 2
        first = field.narrow(axis, 1, 1) - field.narrow(axis, 0, 1)
        last = field.narrow(axis, n - 1, 1) - field.narrow(axis, n - 2, 1)
        slopes.append(torch.cat([first, inner, last], axis))
    return torch.stack(slopes, 2)


def slopes(field: Volume, inverse: np.ndarray) -> Tensor:
    """World slopes, (B, C, D, *S)."""
    return torch.einsum("bce...,ed->bcd...", differences(field), tensor(inverse, field))


def squared_slope(field: Volume, inverse: np.ndarray) -> Volume:
    """Sum over channels of the squared length of the slope, (B, 1, *S)."""
    return slopes(field, inverse).square().sum((1, 2))[:, None]
