"""LandmarkScores: how far corresponding points are apart after the registration."""

from dataclasses import asdict, dataclass

import numpy as np

from coincide.scores.mapped import mapped
from coincide.space.grid import Grid
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class LandmarkScores:
    """Target registration error (TRE) over all landmarks, mm.

    Args:
        count: How many pairs of points.
        tre_mean_mm: Mean.
        tre_median_mm: Median.
        tre_p75_mm: Third quartile.
        tre_max_mm: Largest.
        tre_snapped_mean_mm: Mean where mapped points are first moved to the nearest voxel centre
            of the moving image, as DIR-Lab does: never better than the voxels allow.
        tre_snapped_median_mm: Median of the same.
        tre_snapped_max_mm: Largest of the same.
        initial_mean_mm: Mean distance before the registration.
    """

    count: int
    tre_mean_mm: float
    tre_median_mm: float
    tre_p75_mm: float
    tre_max_mm: float
    tre_snapped_mean_mm: float
    tre_snapped_median_mm: float
    tre_snapped_max_mm: float
    initial_mean_mm: float

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def landmarks(
    transform: Transform, fixed: np.ndarray, moving: np.ndarray, moving_grid: Grid
) -> LandmarkScores:
    r"""Target registration error: how far a mapped landmark misses its partner.

    $\mathrm{TRE}_n = \lVert T(f_n) - m_n \rVert$, with f in the fixed and m in the moving world.

    Args:
        transform: Fixed-world to moving-world points.
        fixed: (P, D) landmarks of the fixed image, world RAS+, mm.
        moving: (P, D) their partners in the moving image, in the same order.
        moving_grid: Voxels of the moving image, for the snapped error.

    Raises:
        ValueError: if the two sets do not pair up, are empty, or have the wrong dimension.

    References:
        Castillo et al. 2009, doi:10.1088/0031-9155/54/7/001 (DIR-Lab).
    """
    fixed, moving = np.asarray(fixed, np.float64), np.asarray(moving, np.float64)
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] != moving_grid.dim:
        raise ValueError(
            f"landmarks of shape {fixed.shape} and {moving.shape} do not pair up; give two arrays "
            f"(P, {moving_grid.dim}) in mm, row by row the same place"
        )
    if not len(fixed):
        raise ValueError("no landmarks were given; leave them out or give at least one pair")
    found = mapped(transform, fixed)
    snapped = moving_grid.to_world(np.round(moving_grid.to_index(found)))
    error = np.linalg.norm(found - moving, axis=1)
    coarse = np.linalg.norm(snapped - moving, axis=1)
    return LandmarkScores(
        count=len(fixed),
        tre_mean_mm=float(error.mean()),
        tre_median_mm=float(np.median(error)),
        tre_p75_mm=float(np.percentile(error, 75)),
        tre_max_mm=float(error.max()),
        tre_snapped_mean_mm=float(coarse.mean()),
        tre_snapped_median_mm=float(np.median(coarse)),
        tre_snapped_max_mm=float(coarse.max()),
        initial_mean_mm=float(np.linalg.norm(fixed - moving, axis=1).mean()),
    )
