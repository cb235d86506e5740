"""Joint histograms of overlapping windows, smooth in the second image."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume

Place = tuple[np.ndarray, np.ndarray, int]


def local_histogram(
    fixed: Volume, warped: Volume, mask: Volume, bins: int, spacing: Sequence[float]
) -> Tensor:
    """Weighted joint histogram in windows on a lattice about the middle of the volume.

    A window weighs voxels by a tent of half width `spacing`; windows overlap by half and add up
    to one everywhere. In each, the estimate is that of `joint_histogram`.

    Args:
        fixed: (B, 1, *S) intensities counted in bins.
        warped: (B, 1, *S) intensities counted in bins.
        mask: (B, 1, *S) weights.
        bins: Number of bins of both.
        spacing: Distance of neighbouring windows along each axis, voxels (> 0).

    Returns:
        (B, windows, bins, bins) float64 sums of weights; differentiable in `warped`, and in `mask`
        by torch operations.

    Raises:
        ValueError: if `fixed` needs a gradient; exchange the images to get one.
    """
    places = [place(n, s) for n, s in zip(fixed.shape[2:], spacing, strict=True)]
    tensors = {"warped": warped, "fixed": fixed, "mask": mask}
    run = backend("local_histogram.local_histogram", tensors)
    return run(fixed, warped, mask, bins, places)


def place(voxels: int, spacing: float) -> Place:
    """Window below each voxel, weight of the one above, and the number of windows."""
    cells = max(1, int(np.ceil((voxels - 1) / spacing)))
    # what is left of whole cells is shared by both ends
    position = (np.arange(voxels) - (voxels - 1) / 2) / spacing + cells / 2
    # the last voxel is the far end of the last cell, not the near end of one beyond
    low = np.clip(np.floor(position), 0, cells - 1).astype(np.int64)
    return low, position - low, cells + 1
