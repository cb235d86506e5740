"""LNCC: mean squared local correlation in box windows."""

from coincide.kernels.backend import backend
from coincide.space.shapes import PerPair, Volume


def decorrelation(
    fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
) -> PerPair:
    r"""1 - the mean over the mask of $\mathrm{cov}_w^2 / (\mathrm{var}_F\,\mathrm{var}_W)$.

    Windows are boxes; they shrink at the border, as in ITK's ANTS neighbourhood correlation.

    Args:
        fixed: (B, C, *S) values, best centred about zero.
        warped: The same.
        mask: (B, 1, *S) weights; windows count only weighted voxels.
        radius: Half width of the window along each axis, voxels.
        floor: Added to both variances.

    Returns:
        (B,), differentiable in all three tensors; in the mask by torch operations.
    """
    run = backend("lncc.decorrelation", {"warped": warped, "fixed": fixed, "mask": mask})
    return run(fixed, warped, mask, radius, floor)
