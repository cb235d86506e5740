"""Cost volume: the squared difference of two feature images for many shifts at once."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.native import cost_volume as native
from coincide.kernels.reference import cost_volume as reference
from coincide.kernels.smooth import gaussian_weights


def cost_volume(
    fixed: Tensor,
    weight: Tensor,
    unknown: Tensor,
    moving: Tensor,
    seen: Tensor,
    cell: tuple[int, ...],
    scale: float,
) -> Tensor:
    r"""Cost of each shift d for each cell of voxels.

    $$
    c(n, d) = s \sum_{x \in n} w(x) \big( v(x+d) \, |F(x) - M(x+d)|^2
        + (1 - v(x+d)) \, o(x) \big)
    $$

    Args:
        fixed: F, (C, *S); S is a multiple of the cell.
        weight: w, (*S), where the fixed image counts.
        unknown: o, (*S), what a voxel costs that is brought to where nothing is seen.
        moving: M, (C, *(S + L - 1)); shift 0 begins at its voxel 0.
        seen: v, (*(S + L - 1)), where the moving image counts.
        cell: Voxels of a cell along each axis.
        scale: s.

    Returns:
        (*N, *L) for N cells and L shifts along each axis. No gradient.
    """
    if fixed.device.type != "cpu":
        return reference.cost_volume(fixed, weight, unknown, moving, seen, cell, scale)
    missing = 4 - fixed.ndim
    lift = (1,) * missing
    f, m = (a.contiguous().reshape(len(a), *lift, *a.shape[1:]).numpy() for a in (fixed, moving))
    w, o, v = (a.contiguous().reshape(*lift, *a.shape).numpy() for a in (weight, unknown, seen))
    nodes = [n // c for n, c in zip(fixed.shape[1:], cell, strict=True)]
    shifts = [b - a + 1 for a, b in zip(fixed.shape[1:], moving.shape[1:], strict=True)]
    out = torch.empty(*nodes, *shifts, dtype=fixed.dtype)
    target = out.numpy().reshape(*lift, *nodes, *lift, *shifts)
    sides = np.array((*lift, *cell), np.int64)
    native.cost_volume(f, w, o, m, v, sides, f.dtype.type(scale), target)
    return out


def blurred(volume: Tensor, sigma: float, dim: int) -> Tensor:
    """A cost volume (*N, *L) of `dim` axes, smoothed in place over its cells.

    Args:
        volume: Costs, contiguous.
        sigma: Standard deviation of the Gaussian, cells; 0 leaves the costs alone.
        dim: Number of axes.
    """
    weights = gaussian_weights(sigma).astype(np.float32)
    array = volume.numpy()
    for axis in range(dim):
        n = array.shape[axis]
        if n > 1 and len(weights) > 1:
            before = int(np.prod(array.shape[:axis]))
            after = int(np.prod(array.shape[axis + 1 : dim]))
            labels = int(np.prod(array.shape[dim:]))
            native.blur(array.reshape(before, n, after, labels), weights)
    return volume
