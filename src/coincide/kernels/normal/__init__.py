"""Normal equations: value, gradient and curvature of a squared difference under a linear map."""

from typing import NamedTuple

import numpy as np

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume


class Normal(NamedTuple):
    """A mean squared difference about one linear map.

    Attributes:
        cost: Its value.
        gradient: Its derivative by the entries of the map, (N,), row by row.
        curvature: Its second derivative without that of the image, (N, N).
    """

    cost: float
    gradient: np.ndarray
    curvature: np.ndarray


def normal_equations(fixed: Volume, volume: Volume, index: np.ndarray, mask: Volume) -> Normal:
    r"""Least squares of $r = W - F$ about a linear map, in one pass over the voxels.

    $$
    C = \frac{1}{|\Omega|} \int_\Omega r^2, \qquad
    g = \frac{2}{|\Omega|} \int_\Omega r \nabla r, \qquad
    H = \frac{2}{|\Omega|} \int_\Omega \nabla r\, \nabla r^\top
    $$

    with gradients by the entries of `index`, averaged over channels and pairs.

    Args:
        fixed: (B, C, *S).
        volume: (B, C, *M) what is sampled at index · (voxel, 1).
        index: (D, D+1) from a voxel of `fixed` to a voxel of `volume`.
        mask: (B, 1, *S) weights; what lies outside `volume` never counts.

    Returns:
        Numbers, without gradient.
    """
    run = backend("normal.normal_equations", {"volume": volume, "fixed": fixed, "mask": mask})
    return Normal(*run(fixed, volume, index, mask))
