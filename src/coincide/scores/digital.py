"""Digital: the volume that a transform folds between the voxels, which central differences miss."""

import numpy as np

from coincide.kernels.simplices import folded
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Volume


def non_diffeomorphic_volume(
    displacement: Field, grid: Grid, mask: Volume | None = None
) -> tuple[float, float]:
    r"""How much of the deformed volume lies in tetrahedra that are turned inside out.

    A transform that is known at voxels is linear in tetrahedra between them, and folds where one
    of these has a volume below zero. A cell between eight voxels is filled by five tetrahedra in
    two ways. Their ten signed volumes are one sixth of ten determinants: $J_{\pm\pm\pm}$ by all
    combinations of forward and backward differences, and $J^*_1$, $J^*_2$ of the tetrahedron in
    the middle of each way. Averaged over the two ways,

    $$\mathrm{NDV} = \frac{|\det A|}{2} \sum_{x} \frac{1}{6} \Big( \sum_{\pm\pm\pm}
    \max(-\det J_{\pm\pm\pm}, 0) + \max(-\det J^*_1, 0) + \max(-\det J^*_2, 0) \Big)$$

    with A the voxel axes. In 2-D a cell is cut along either diagonal into two triangles, whose
    areas are half of the four one-sided determinants.

    Args:
        displacement: (1, D, *S), mm.
        grid: Where it lies; may be oblique or sheared.
        mask: (1, 1, *S); one-sided determinants count at voxels above 0, those in the middle where
            one of their voxels is above 0; None: all.

    Returns:
        The folded volume in mm³ (mm² in 2-D), and in % of the undeformed volume of what counts.

    Example:
        >>> import numpy as np, torch
        >>> field = torch.zeros(1, 3, 8, 8, 8)
        >>> field[0, 0, 4, 4, 4] = 2.0  # one voxel past the next
        >>> non_diffeomorphic_volume(field, Grid((8, 8, 8), np.eye(4)))[0] > 0
        True

    References:
        Liu, Chen, Wei, Dewey, Prince, Carass (2024), On finite difference Jacobian computation in
        deformable image registration, doi:10.1007/s11263-024-02047-1.
    """
    linear = grid.affine[:-1, :-1]
    turned, whole = folded(displacement.detach(), linear, mask)
    size = abs(float(np.linalg.det(linear)))
    return turned * size, 100 * turned / whole if whole else 0.0
