"""The steps of the compositional update with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import tensor
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"force": (), "lengths": ("field",), "compose": ()}


def differences(volume: Volume) -> Tensor:
    """Half of next minus previous voxel along each axis, border continued, (B, C, D, *S)."""
    slopes = []
    for axis, n in enumerate(volume.shape[2:], start=2):
        position = torch.arange(n, device=volume.device)
        after = volume.index_select(axis, (position + 1).clamp_max(n - 1))
        before = volume.index_select(axis, (position - 1).clamp_min(0))
        slopes.append((after - before) / 2)
    return torch.stack(slopes, 2)


def force(gradient: Volume, warped: Volume, metric: np.ndarray, out: Field) -> Field:
    """Force that lowers the cost; see `coincide.kernels.update`."""
    along = -(gradient[:, :, None] * differences(warped)).sum(1)
    return out.copy_(torch.einsum("de,be...->bd...", tensor(metric, warped), along))


def lengths(field: Field, metric: np.ndarray) -> PerPair:
    """Largest length of a vector in the field of each pair, (B,)."""
    squares = torch.einsum("bd...,de,be...->b...", field, tensor(metric, field), field)
    return squares.flatten(1).amax(1).clamp_min(0).sqrt()


def compose(field: Field, update: Field, step: float | Tensor, out: Field) -> Field:
    """First-order composition."""
    s = step.view(-1, *(1,) * (field.ndim - 1)) if isinstance(step, Tensor) else step
    return out.copy_(field + s * (update + (differences(field) * update[:, None]).sum(2)))
