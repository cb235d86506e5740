"""Joint histogram of two images, smooth in the second."""

from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume


def joint_histogram(fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
    """Weighted joint histogram with a box window for `fixed` and a cubic B-spline for `warped`.

    This is the estimate of Mattes et al. (2003), doi:10.1109/TMI.2003.809072.

    Args:
        fixed: (B, 1, *S) intensities counted in bins; voxel x falls into row floor(x), at most
            bins - 3: the largest value shares the last row with those just below it.
        warped: (B, 1, *S) intensities counted in bins; bin centres lie at whole numbers and
            values outside [1, bins - 2] are moved to that range.
        mask: (B, 1, *S) weights.
        bins: Number of bins of both.

    Returns:
        (B, bins, bins) float64 sums of weights; differentiable in `warped`, and in `mask` by torch
        operations. Values of `fixed` fall into whole rows, which have no gradient.

    Raises:
        ValueError: if `fixed` needs a gradient; exchange the images to get one.
    """
    run = backend("histogram.joint_histogram", {"warped": warped, "fixed": fixed, "mask": mask})
    return run(fixed, warped, mask, bins)
