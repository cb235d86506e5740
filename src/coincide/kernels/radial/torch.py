"""Radial sums with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import tensor
from coincide.space.shapes import Points, Volume

GRADIENTS = {
    "radial_sum": ("weights", "centres"),
    "radial_sum_at": ("weights", "centres", "points"),
}


def kernel(squared: Tensor, dim: int) -> Tensor:
    r"""The kernel of thin plates at squared distances, whose bending is a point force.

    $r^{4-D}$, times $\log r$ where D is even, with the sign that makes its matrix conditionally
    positive: $r^2 \log r$ in 2-D, $-r$ in 3-D.
    """
    # at a centre the logarithm, and the slope of the root, would be infinite
    squared = squared.clamp_min(1e-24)
    if dim % 2:
        return -(squared ** ((4 - dim) / 2))
    return 0.5 * squared ** ((4 - dim) / 2) * squared.log()


def radial_sum_at(points: Points, centres: Tensor, weights: Tensor) -> Points:
    """Sums (B, P, C) at points; see `coincide.kernels.radial`."""
    apart = (points[:, :, None] - centres).square().sum(-1)
    return kernel(apart, centres.shape[1]) @ weights.transpose(1, 2)


def radial_sum(
    affine: np.ndarray, shape: tuple[int, ...], centres: Tensor, weights: Tensor
) -> Volume:
    """Sums (B, C, *S) at the voxels of a grid."""
    axes = [torch.arange(n, dtype=weights.dtype, device=weights.device) for n in shape]
    voxel = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, len(shape))
    matrix = tensor(affine, weights)
    places = voxel @ matrix[:, :-1].T + matrix[:, -1]
    size = max(1, 2**24 // len(centres))  # places at once, so that memory stays bounded
    parts = [radial_sum_at(p, centres, weights) for p in places.split(size, 1)]
    return torch.cat(parts, 1).transpose(1, 2).reshape(len(weights), -1, *shape)
