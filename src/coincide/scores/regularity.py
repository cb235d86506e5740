"""Regularity: whether a transform folds, stretches or travels more than anatomy can."""

from dataclasses import asdict, dataclass

import numpy as np

from coincide.kernels.regularity import regularity as summed
from coincide.scores.digital import non_diffeomorphic_volume
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Volume


@dataclass(frozen=True)
class Regularity:
    """How regular a transform is on the voxels that count.

    Args:
        folding_percent: Voxels with a Jacobian determinant ≤ 0 by central differences, %.
        folding_corner_percent: Voxels where any of the 2^D determinants by forward and backward
            differences is ≤ 0 as well: finds folds smaller than a voxel, %.
        non_diffeomorphic_volume_percent: Volume of the tetrahedra between voxels that are turned
            inside out, % of the volume: how much is folded, not only where.
        non_diffeomorphic_volume_mm3: The same in mm³ (mm² in 2-D).
        sd_log_jacobian: Standard deviation of log det J, det held to [1e-9, 1e9].
        min_jacobian: Least determinant.
        max_jacobian: Largest determinant.
        mean_displacement_mm: Mean length of the displacement, mm.
        max_displacement_mm: Largest length of the displacement, mm.
        voxels: How many voxels were counted.
    """

    folding_percent: float
    folding_corner_percent: float
    non_diffeomorphic_volume_percent: float
    non_diffeomorphic_volume_mm3: float
    sd_log_jacobian: float
    min_jacobian: float
    max_jacobian: float
    mean_displacement_mm: float
    max_displacement_mm: float
    voxels: int

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def regularity(displacement: Field, grid: Grid, mask: Volume | None = None) -> Regularity:
    r"""Folding, spread of the local volume change, and size of a displacement.

    Where the determinant of $J = I + \nabla u$ is below one, tissue shrinks; at or below zero,
    it folds onto itself, which no anatomy does.

    Args:
        displacement: (1, D, *S), mm.
        grid: Where it lies; may be oblique or sheared.
        mask: (1, 1, *S); voxels above 0 count; None: all.

    Raises:
        ValueError: if more than one pair is given, or no voxel counts.

    Example:
        >>> import numpy as np, torch
        >>> from coincide.space.grid import Grid
        >>> still = torch.zeros(1, 3, 8, 8, 8)
        >>> regularity(still, Grid((8, 8, 8), np.eye(4))).folding_percent
        0.0

    References:
        Liu et al. 2024, On finite difference Jacobian computation in deformable image
        registration, doi:10.1007/s11263-024-02047-1 (folds between voxels).
    """
    if len(displacement) != 1:
        raise ValueError(
            f"got the displacement of {len(displacement)} pairs; score one pair at a time"
        )
    sums = summed(displacement.detach(), grid.affine[:-1, :-1], mask)
    voxels = sums.voxels
    if not voxels:
        raise ValueError("the mask of the fixed image is empty; give one that covers something")
    mean = sums.logs / voxels
    volume, percent = non_diffeomorphic_volume(displacement, grid, mask)
    return Regularity(
        folding_percent=100 * sums.folded / voxels,
        folding_corner_percent=100 * sums.corners / voxels,
        non_diffeomorphic_volume_percent=percent,
        non_diffeomorphic_volume_mm3=volume,
        sd_log_jacobian=float(np.sqrt(max(sums.squares / voxels - mean**2, 0.0))),
        min_jacobian=sums.least,
        max_jacobian=sums.greatest,
        mean_displacement_mm=sums.length / voxels,
        max_displacement_mm=sums.longest,
        voxels=voxels,
    )
