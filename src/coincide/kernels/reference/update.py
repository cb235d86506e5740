"""The steps of the compositional update with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import tensor
from coincide.space.shapes import Field, Volume


def differences(volume: Volume) -> Tensor:
    """Half of next minus previous voxel along each axis, border continued, (B, C, D, *S)."""
    slopes = []
    for axis, n in enumerate(volume.shape[2:], start=2):
        position = torch.arange(n, device=volume.device)
        after = volume.index_select(axis, (position + 1).clamp_max(n - 1))
        before = volume.index_select(axis, (position - 1).clamp_min(0))
        slopes.append((after - before) / 2)
    return torch.stack(slopes, 2)


def inner_differences(volume: Volume) -> Tensor:
    """The same, without slope where the last axis ends."""
    slopes = differences(volume)
    slopes[:, :, -1, ..., 0] = 0
    slopes[:, :, -1, ..., -1] = 0
    return slopes


def pull(slope: Volume, warped: Volume, metric: np.ndarray, *, out: Field) -> Field:
    """Force that lowers the cost; see `coincide.kernels.update`."""
    inner = inner_differences(warped)
    gradient = -(slope[:, :, None] * inner).sum(1)
    return out.copy_(torch.einsum("de,be...->bd...", tensor(metric, warped), gradient))


def largest(field: Field, metric: np.ndarray) -> Tensor:
    """Largest u · metric · u."""
    return torch.einsum("bd...,de,be...->b...", field, tensor(metric, field), field).max()


def compose(field: Field, update: Field, step: float, *, out: Field) -> Field:
    """First-order composition."""
    inner = inner_differences(field)
    return out.copy_(field + step * (update + (inner * update[:, None]).sum(2)))
