"""Derivatives: slopes of fields in the world, per mm.

Slopes are central differences inside and one-sided at the border; zero along an axis of one voxel.
"""

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume


def slopes(field: Volume, inverse: np.ndarray) -> Tensor:
    """World slope of every channel, (B, C, D, *S), per mm; differentiable.

    Args:
        field: (B, C, *S).
        inverse: (D, D) linear part of world to voxel.
    """
    return backend("derivatives.slopes", {"field": field})(field, inverse)


def squared_slope(field: Volume, inverse: np.ndarray) -> Volume:
    """Sum over channels of the squared length of the world slope, (B, 1, *S), per mm².

    Differentiable; the slopes themselves are never stored.

    Args:
        field: (B, C, *S).
        inverse: (D, D) linear part of world to voxel.
    """
    return backend("derivatives.squared_slope", {"field": field})(field, inverse)
