"""Laplacian: weighted second differences of fields."""

import numpy as np

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume


def laplacian(field: Volume, weight: np.ndarray) -> Volume:
    """Weighted sum of the second differences along the voxel axes, (B, C, *S); differentiable.

    The outermost voxels take the difference of their neighbours: a parabola is exact everywhere.

    Args:
        field: (B, C, *S).
        weight: (D,) one factor an axis, 1/mm².
    """
    return backend("laplacian.laplacian", {"field": field})(field, weight)
