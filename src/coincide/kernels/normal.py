"""Normal equations: value, slope and curvature of a squared difference under a linear map."""

from typing import NamedTuple

import numpy as np

from coincide.kernels.native import normal as native
from coincide.kernels.native.jit import lifted, lifted_matrix
from coincide.kernels.reference import normal as reference
from coincide.space.shapes import Volume


class Normal(NamedTuple):
    """A mean squared difference about one linear map.

    Attributes:
        cost: Its value.
        slope: Its derivative by the entries of the map, (N,), row by row.
        curvature: Its second derivative without that of the image, (N, N).
    """

    cost: float
    slope: np.ndarray
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
    """
    if fixed.device.type != "cpu":
        return Normal(*reference.normal_equations(fixed, volume, index, mask))
    f, v, m = lifted(fixed.to(volume.dtype)), lifted(volume), lifted(mask.to(volume.dtype))
    matrix, dim = lifted_matrix(index, v.dtype), len(index)
    still = np.broadcast_to(np.zeros(1, v.dtype), (3, *f.shape[2:]))
    _, channels, planes, lines, _ = f.shape
    rows = np.empty((planes * lines, 26))
    cost, slope, curvature = 0.0, np.zeros((3, 4)), np.zeros((3, 4, 3, 4))
    for b in range(len(f)):
        native.row_sums(f[b], v[b], still, matrix, m[b, 0], rows)
        mass = max(float(rows[:, 1].sum()) * channels, 1e-12) * len(f)
        cost += float(rows[:, 0].sum()) / mass
        first, second = _assembled(rows, planes, lines)
        slope += 2 * first / mass
        curvature += 2 * second / mass
    here = slice(3 - dim, None)
    size = dim * (dim + 1)
    return Normal(
        cost, slope[here, here].reshape(-1), curvature[here, here, here, here].reshape(size, size)
    )


def _assembled(rows: np.ndarray, planes: int, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Slope (3, 4) and curvature (3, 4, 3, 4) from the sums over rows."""
    i, j = (n.reshape(-1).astype(float) for n in np.indices((planes, lines)))
    place = np.stack([i, j, np.ones_like(i)])  # of a row; along it, k comes in by its powers
    slope, curvature = np.zeros((3, 4)), np.zeros((3, 4, 3, 4))
    still = [0, 1, 3]
    for n, (a, b) in enumerate(zip(*np.triu_indices(3), strict=True)):
        zeroth, first, second = rows[:, 2 + 3 * n : 5 + 3 * n].T
        block = np.zeros((4, 4))
        block[np.ix_(still, still)] = (place * zeroth) @ place.T
        block[2, still] = block[still, 2] = place @ first
        block[2, 2] = second.sum()
        curvature[a, :, b, :] = curvature[b, :, a, :] = block
    for n in range(3):
        zeroth, first = rows[:, 20 + 2 * n : 22 + 2 * n].T
        slope[n, still] = place @ zeroth
        slope[n, 2] = first.sum()
    return slope, curvature
