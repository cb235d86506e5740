"""Consistency: whether a transform and its inverse lead back to where they started."""

from dataclasses import asdict, dataclass

import numpy as np

from coincide.scores.mapped import mapped
from coincide.space.image import Image
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class Consistency:
    """How far there and back again misses the start.

    Args:
        inverse_residual_median_mm: Median of the distance, mm; None where no point could be used.
        inverse_residual_p95_mm: 95th percentile of the distance, mm.
        points: How many points were used.
    """

    inverse_residual_median_mm: float | None
    inverse_residual_p95_mm: float | None
    points: int

    def to_dict(self) -> dict[str, float | None]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def consistency(
    transform: Transform,
    inverse: Transform,
    fixed: Image,
    moving: Image,
    *,
    points: int = 20000,
    seed: int = 0,
) -> Consistency:
    r"""Inverse residual at random voxels of the content of the fixed image.

    A point goes to the moving image and back: $r(x) = \lVert T^{-1}(T(x)) - x \rVert$. A large
    residual means that the two directions tell different stories, and neither can be trusted.

    Args:
        transform: Fixed-world to moving-world points.
        inverse: Moving-world to fixed-world points.
        fixed: Where to start; its mask is the content, without one what is brighter than its mean.
        moving: Points that leave its grid are not counted: nothing is known there.
        points: At most this many, 1 or more.
        seed: Of the random choice.
    """
    candidates = content(fixed)
    chosen = np.random.default_rng(seed).choice(
        candidates, min(points, len(candidates)), replace=False, shuffle=False
    )
    index = np.stack(np.unravel_index(chosen, fixed.grid.shape), -1)
    start = fixed.grid.to_world(index)
    there = mapped(transform, start)
    at = moving.grid.to_index(there)
    inside = ((at >= -0.5) & (at <= np.array(moving.grid.shape) - 0.5)).all(1)
    residual = np.linalg.norm(mapped(inverse, there) - start, axis=1)[inside]
    if not len(residual):
        return Consistency(None, None, 0)
    return Consistency(
        float(np.median(residual)), float(np.percentile(residual, 95)), len(residual)
    )


def content(image: Image) -> np.ndarray:
    """Flat indices of voxels that hold anatomy: the mask, else what is brighter than the mean."""
    if image.mask is not None:
        inside = image.mask[0, 0].detach().cpu().numpy() > 0
    else:
        values = image.numpy()
        inside = values > values.mean(dtype=np.float64)
    found = np.flatnonzero(inside)
    return found if len(found) else np.arange(image.grid.voxels)
