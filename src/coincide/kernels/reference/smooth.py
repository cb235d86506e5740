"""The same filters with torch operations."""

import torch
from torch import Tensor

from coincide.space.shapes import Volume


def separable(volume: Volume, weights: list[Tensor]) -> Volume:
    """Filter (B, C, *S) along each axis in turn; see `coincide.kernels.smooth`."""
    for axis, kernel in enumerate(weights, start=2):
        n, radius = volume.shape[axis], len(kernel) // 2
        reach = torch.arange(-radius, n + radius, device=volume.device) % (2 * n)
        reach = torch.where(reach >= n, 2 * n - 1 - reach, reach)
        padded = volume.index_select(axis, reach)
        volume = sum(w * padded.narrow(axis, t, n) for t, w in enumerate(kernel))  # type: ignore[assignment]
    return volume
