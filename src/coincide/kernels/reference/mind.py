"""Self-similarity context with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.shapes import Volume


def shifted(volume: Volume, offset: np.ndarray) -> Volume:
    """I(x + offset), border continued."""
    for axis, step in enumerate(offset, start=2):
        n = volume.shape[axis]
        position = torch.arange(n, device=volume.device) + int(step)
        volume = volume.index_select(axis, position.clamp(0, n - 1))
    return volume


def distances(volume: Volume, first: np.ndarray, second: np.ndarray, radius: int) -> Tensor:
    """Patch distances, (B, C, *S); see `coincide.kernels.mind`."""
    channels = []
    for a, b in zip(first, second, strict=True):
        patch = (shifted(volume, a) - shifted(volume, b)) ** 2
        for axis in range(2, volume.ndim):
            reach = range(-radius, radius + 1) if volume.shape[axis] > 1 else range(1)
            step = np.eye(volume.ndim - 2, dtype=int)[axis - 2]
            patch = sum(shifted(patch, q * step) for q in reach) / len(reach)  # type: ignore[assignment]
        channels.append(patch)
    return torch.cat(channels, 1)


def descriptors(
    volume: Volume, first: np.ndarray, second: np.ndarray, radius: int, floor: float
) -> Volume:
    """Descriptors (B, C, *S); see `coincide.kernels.mind`."""
    distance = distances(volume, first, second, radius)
    distance = distance - distance.amin(1, keepdim=True)
    spread = distance.mean(1, keepdim=True)
    mean = spread.mean(tuple(range(1, spread.ndim)), keepdim=True).clamp_min(1e-12)
    spread = torch.minimum(torch.maximum(spread, floor * mean), mean / floor)
    return (-distance / spread).exp()
