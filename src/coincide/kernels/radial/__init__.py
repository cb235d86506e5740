r"""Radial: sums of kernels that stand at scattered points, as thin-plate splines are made of.

The kernel is $r^2 \log r$ in 2-D and $-r$ in 3-D: that of thin plates, whose bending is a point
force.
"""

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Points, Volume


def radial_sum(
    affine: np.ndarray, shape: tuple[int, ...], centres: Tensor, weights: Tensor
) -> Volume:
    """Sum over centres of weight · kernel(distance) at the voxels of a grid.

    Args:
        affine: (D, D+1) from a voxel to the space of the centres.
        shape: *S of the grid.
        centres: (N, D).
        weights: (B, C, N) float64.

    Returns:
        (B, C, *S) with the dtype of the weights, differentiable in them, and in the centres by
        torch operations.
    """
    run = backend("radial.radial_sum", {"weights": weights, "centres": centres})
    return run(affine, shape, centres, weights)


def radial_sum_at(points: Points, centres: Tensor, weights: Tensor) -> Points:
    """Sum over centres of weight · kernel(distance) at scattered points, by torch operations.

    Args:
        points: (B or 1, P, D) places.
        centres: (N, D) where the kernels stand.
        weights: (B or 1, C, N).

    Returns:
        (B, P, C), differentiable in all three.
    """
    tensors = {"weights": weights, "centres": centres, "points": points}
    return backend("radial.radial_sum_at", tensors)(points, centres, weights)
