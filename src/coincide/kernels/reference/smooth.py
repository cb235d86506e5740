"""The same filters with torch operations."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coincide.space.shapes import Volume


def filtered(volume: Volume, weights: Sequence[np.ndarray], *, out: Tensor | None = None) -> Volume:
    """Filter (B, C, *S) along each axis in turn; see `coincide.kernels.smooth`."""
    for axis, kernel in enumerate(weights, start=2):
        n, radius = volume.shape[axis], len(kernel) // 2
        reach = torch.arange(-radius, n + radius, device=volume.device) % (2 * n)
        reach = torch.where(reach >= n, 2 * n - 1 - reach, reach)
        padded = volume.index_select(axis, reach)
        volume = sum(float(w) * padded.narrow(axis, t, n) for t, w in enumerate(kernel))  # type: ignore[assignment]
    return volume if out is None else out.copy_(volume)
