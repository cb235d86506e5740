"""Normal equations of a linear map on the CPU, in one pass over the voxels."""

import numpy as np

from coincide.kernels.as_3d import as_3d, as_3d_matrix
from coincide.kernels.normal import loops
from coincide.space.shapes import Volume

GRADIENTS = {"normal_equations": ()}


def normal_equations(
    fixed: Volume, volume: Volume, index: np.ndarray, mask: Volume
) -> tuple[float, np.ndarray, np.ndarray]:
    """Cost, gradient (N,) and curvature (N, N); see `coincide.kernels.normal`."""
    f, v, m = as_3d(fixed.to(volume.dtype)), as_3d(volume), as_3d(mask.to(volume.dtype))
    matrix, dim = as_3d_matrix(index, v.dtype), len(index)
    # one number seen everywhere: a displacement of zero takes no memory
    still = np.broadcast_to(np.zeros(1, v.dtype), (3, *f.shape[2:]))
    _, channels, planes, lines, _ = f.shape
    rows = np.empty((planes * lines, 26))
    cost, gradient, curvature = 0.0, np.zeros((3, 4)), np.zeros((3, 4, 3, 4))
    for b in range(len(f)):
        loops.row_sums(f[b], v[b], still, matrix, m[b, 0], rows)
        # mean over the weights and channels of a pair, then over pairs
        mass = max(float(rows[:, 1].sum()) * channels, 1e-12) * len(f)
        cost += float(rows[:, 0].sum()) / mass
        first, second = _assembled(rows, planes, lines)
        gradient += 2 * first / mass
        curvature += 2 * second / mass
    # missing axes come first, among the rows of the map as among its columns
    here = slice(3 - dim, None)
    size = dim * (dim + 1)
    square = curvature[here, here, here, here].reshape(size, size)
    return cost, gradient[here, here].reshape(-1), square


def _assembled(rows: np.ndarray, planes: int, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (3, 4) and curvature (3, 4, 3, 4) from the sums over rows."""
    i, j = (n.reshape(-1).astype(float) for n in np.indices((planes, lines)))
    place = np.stack([i, j, np.ones_like(i)])  # of a row; along it, k comes in by its powers
    gradient, curvature = np.zeros((3, 4)), np.zeros((3, 4, 3, 4))
    # the columns of i, j and 1, which are the same along a row
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
        gradient[n, still] = place @ zeroth
        gradient[n, 2] = first.sum()
    return gradient, curvature
