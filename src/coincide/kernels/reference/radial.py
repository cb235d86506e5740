"""Radial sums with torch operations."""

from torch import Tensor


def kernel(squared: Tensor, dim: int) -> Tensor:
    r"""The kernel of thin plates at squared distances, whose bending is a point force.

    $r^{4-D}$, times $\log r$ where D is even, with the sign that makes its matrix conditionally
    positive: $r^2 \log r$ in 2-D, $-r$ in 3-D.
    """
    squared = squared.clamp_min(1e-24)
    if dim % 2:
        return -(squared ** ((4 - dim) / 2))
    return 0.5 * squared ** ((4 - dim) / 2) * squared.log()


def radial_sum(points: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    """Sum over centres of weight · kernel(distance), (B, P, C).

    Args:
        points: (B or 1, P, D) places.
        centres: (N, D) where the kernels stand.
        weights: (B or 1, C, N).
    """
    apart = (points[:, :, None] - centres).square().sum(-1)
    return kernel(apart, centres.shape[1]) @ weights.transpose(1, 2)
