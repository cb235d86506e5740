"""Difference: mean squared difference of multi-channel images."""

import numpy as np

from coincide.kernels.backend import backend
from coincide.space.shapes import Field, PerPair, Volume


def mean_square(fixed: Volume, warped: Volume, mask: Volume) -> PerPair:
    """Mean over channels and mask of (W - F)², (B,); differentiable in all three.

    Args:
        fixed: F, (B, C, *S).
        warped: W, (B, C, *S).
        mask: (B, 1, *S) weights. Where a pair has none the mean of F² is returned: the two images
            differ by all there is, and moving one out of view does not pay.
    """
    run = backend("difference.mean_square", {"warped": warped, "fixed": fixed, "mask": mask})
    return run(fixed, warped, mask)


def mean_square_force(
    fixed: Volume, warped: Volume, mask: Volume, metric: np.ndarray, *, out: Field
) -> PerPair:
    """`mean_square`, (B,), and what `coincide.kernels.update.force` makes of its gradient.

    Args:
        fixed: (B, C, *S).
        warped: (B, C, *S).
        mask: (B, 1, *S) weights.
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        out: Receives the force, (B, D, *S), voxels; without gradient, as is the value.
    """
    run = backend("difference.mean_square_force", {"warped": warped, "fixed": fixed, "mask": mask})
    return run(fixed, warped, mask, metric, out)
