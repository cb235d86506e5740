"""Regularity: how a displacement folds, stretches and travels, without an array of Jacobians.

It has compiled loops alone: what lies on another device is copied to the CPU.
"""

from typing import NamedTuple

import numpy as np

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix
from coincide.kernels.backend import forbid_gradients
from coincide.kernels.regularity import loops
from coincide.space.shapes import Field, Volume


class Sums(NamedTuple):
    """What is known of the voxels that count.

    Attributes:
        folded: Voxels with a determinant ≤ 0 by central differences.
        corners: Voxels with one by any combination of forward and backward differences.
        logs: Sum of log det J, det held to [1e-9, 1e9].
        squares: Sum of its squares.
        least: Least determinant.
        greatest: Largest determinant.
        length: Sum of the lengths of the displacement, mm.
        longest: Largest of them, mm.
        voxels: How many voxels count.
    """

    folded: float
    corners: float
    logs: float
    squares: float
    least: float
    greatest: float
    length: float
    longest: float
    voxels: int


def regularity(displacement: Field, affine: np.ndarray, mask: Volume | None = None) -> Sums:
    """Sums over the voxels of one displacement.

    Args:
        displacement: (1, D, *S), mm.
        affine: (D, D) linear part of voxel to world.
        mask: (1, 1, *S); voxels above 0 count; None: all.

    Raises:
        ValueError: if the displacement needs a gradient.
    """
    forbid_gradients("regularity", {"displacement": displacement})
    field = as_3d_field(displacement.cpu())[0]
    matrix = as_3d_matrix(affine, field.dtype)
    if mask is None:
        counted = np.ones(field.shape[1:], np.uint8)
    else:
        counted = as_3d((mask[:1] > 0).cpu()).astype(np.uint8)[0, 0]
    # a row of numbers for each row of voxels, added in order: the sums do not depend on threads
    rows = np.empty((field.shape[1] * field.shape[2], 9))
    loops.regularity(field, matrix, counted, rows)
    folded, corners, logs, squares, length, voxels = rows[:, [0, 1, 2, 3, 6, 8]].sum(0).tolist()
    least, greatest, longest = (
        float(v) for v in (rows[:, 4].min(), rows[:, 5].max(), rows[:, 7].max())
    )
    return Sums(folded, corners, logs, squares, least, greatest, length, longest, int(voxels))
