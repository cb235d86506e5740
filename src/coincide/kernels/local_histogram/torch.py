"""Joint histograms of overlapping windows with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.histogram.torch import joint_histogram
from coincide.kernels.local_histogram import Place
from coincide.space.shapes import Volume

GRADIENTS = {"local_histogram": ("warped", "mask")}


def local_histogram(
    fixed: Volume,
    warped: Volume,
    mask: Volume,
    bins: int,
    places: list[Place],
) -> Tensor:
    """Histograms (B, windows, bins, bins): that of the whole image under each window's weights.

    Args:
        fixed: (B, 1, *S) intensities counted in bins.
        warped: The same.
        mask: (B, 1, *S) weights.
        bins: Number of bins.
        places: For each axis the window below each voxel, the weight of the one above, and the
            number of windows.
    """
    tents = []
    for low, high, count in places:
        tent = np.zeros((count, len(low)))
        tent[low, np.arange(len(low))] = 1 - high
        tent[low + 1, np.arange(len(low))] += high
        tents.append(torch.as_tensor(tent, dtype=warped.dtype, device=warped.device))
    tables = []
    for window in np.ndindex(*(count for *_, count in places)):
        weight = mask
        for axis, (tent, n) in enumerate(zip(tents, window, strict=True), start=2):
            weight = weight * tent[n].view([-1 if d == axis else 1 for d in range(mask.ndim)])
        tables.append(joint_histogram(fixed, warped, weight, bins))
    return torch.stack(tables, 1)
