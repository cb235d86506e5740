"""Demons: the mean squared difference of two images and the force of Thirion's demons."""

import numpy as np

from coincide.kernels.backend import backend
from coincide.space.shapes import Field, PerPair, Volume


def demons(
    fixed: Volume,
    warped: Volume,
    mask: Volume,
    metric: np.ndarray,
    *,
    longest: float,
    share: float,
    floor: float,
    out: Field,
) -> PerPair:
    r"""Mean squared difference, and the force $m\,d\,g / (|g|^2 + (d^2 + \eta) / 4 \ell^2)$.

    Here d = F - W; with several channels each product is summed over them. The force is never
    longer than $\ell$, whatever the images.

    Args:
        fixed: F, (B, C, *S).
        warped: W, (B, C, *S).
        mask: m, (B, 1, *S) weights.
        metric: (D, D) symmetric; inverse of the grid's squared spacing, 1/mm².
        longest: Bound on the length of the force, mm.
        share: Of the warped image's gradient in g, 0 to 1; the fixed image's has the rest.
        floor: η, squared difference that is noise (> 0).
        out: Receives the force, (B, D, *S), voxels.

    Returns:
        Mean over channels and mask of (F - W)², (B,); without gradient, as is the force.
    """
    tensors = {"warped": warped, "fixed": fixed, "mask": mask}
    geometry = metric, longest, share, floor
    return backend("demons.demons", tensors)(fixed, warped, mask, *geometry, out)
