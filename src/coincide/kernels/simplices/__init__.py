"""Simplices: the volume that a displacement turns inside out between its voxels.

It has compiled loops alone: what lies on another device is copied to the CPU.
"""

import numpy as np

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix
from coincide.kernels.backend import forbid_gradients
from coincide.kernels.simplices import loops
from coincide.space.shapes import Field, Volume


def folded(
    displacement: Field, affine: np.ndarray, mask: Volume | None = None
) -> tuple[float, float]:
    """Folded and whole volume of the simplices between the voxels, in undeformed voxels.

    Args:
        displacement: (1, D, *S), mm.
        affine: (D, D) linear part of voxel to world.
        mask: (1, 1, *S); simplices count where one of their voxels is above 0, those at a corner
            at that voxel; None: all.

    Raises:
        ValueError: if the displacement needs a gradient.
    """
    forbid_gradients("simplices", {"displacement": displacement})
    field = as_3d_field(displacement.cpu())[0]
    matrix = as_3d_matrix(affine, field.dtype)
    shape = field.shape[1:]
    if mask is None:
        counted = np.ones(shape, np.uint8)
    else:
        counted = as_3d((mask[:1] > 0).cpu()).astype(np.uint8)[0, 0]
    # two ways, six volumes a determinant; in a plane or on a line the eight corners alone fill it
    weights = np.array([1 / 12, 1 / 12] if min(shape) > 1 else [1 / 8, 0.0])
    cells = np.maximum(np.array(shape) - 1, 1)
    rows = np.empty((cells[0] * cells[1], 2))
    loops.folded(field, matrix, counted, weights, rows)
    turned, whole = rows.sum(0).tolist()
    return turned, whole
