"""The same filters with torch operations."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coincide.space.shapes import Volume

GRADIENTS = {"filtered": ("volume",), "filter_into": ()}


def filtered(volume: Volume, weights: Sequence[np.ndarray]) -> Volume:
    """Filter (B, C, *S) along each axis in turn; see `coincide.kernels.smooth`."""
    for axis, kernel in enumerate(weights, start=2):
        n, radius = volume.shape[axis], len(kernel) // 2
        reach = torch.arange(-radius, n + radius, device=volume.device) % (2 * n)
        # mirrored at the faces: the second half of each period of 2n runs backwards
        reach = torch.where(reach >= n, 2 * n - 1 - reach, reach)
        padded = volume.index_select(axis, reach)
        volume = sum(float(w) * padded.narrow(axis, t, n) for t, w in enumerate(kernel))  # type: ignore[assignment]
    return volume


def filter_into(volume: Volume, weights: Sequence[np.ndarray], out: Tensor) -> Volume:
    """The same, written to `out`."""
    return out.copy_(filtered(volume, weights))
