"""Volume: how a displacement changes the volumes and faces of voxels, with gradients."""

import numpy as np

from coincide.kernels.backend import backend
from coincide.space.shapes import Field, Volume


def determinant(displacement: Field, inverse: np.ndarray) -> Volume:
    """Determinant of I + ∇u, (B, 1, *S), differentiable.

    Args:
        displacement: (B, D, *S), mm.
        inverse: (D, D) linear part of world to voxel.
    """
    return backend("volume.determinant", {"displacement": displacement})(displacement, inverse)


def faces(displacement: Field, affine: np.ndarray) -> Volume:
    """Squared ratio of the area of each deformed voxel face to what it was, (B, D, *S).

    In 2-D faces are the edges of a pixel. Face d lies across voxel axis d; differentiable.

    Args:
        displacement: (B, D, *S), mm.
        affine: (D, D) linear part of voxel to world.
    """
    return backend("volume.faces", {"displacement": displacement})(displacement, affine)
