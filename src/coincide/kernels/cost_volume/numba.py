"""Cost volumes on the CPU."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.cost_volume import loops
from coincide.kernels.smooth import gaussian_weights

GRADIENTS = {"cost_volume": (), "blurred": ()}


def cost_volume(
    fixed: Tensor,
    weight: Tensor,
    unknown: Tensor,
    moving: Tensor,
    seen: Tensor,
    cell: tuple[int, ...],
    scale: float,
) -> Tensor:
    """Costs (*N, *L); see `coincide.kernels.cost_volume`."""
    # the features have their channels in front, so that three axes make four
    missing = 4 - fixed.ndim
    lift = (1,) * missing
    f, m = (
        a.detach().contiguous().reshape(len(a), *lift, *a.shape[1:]).numpy()
        for a in (fixed, moving)
    )
    w, o, v = (
        a.detach().contiguous().reshape(*lift, *a.shape).numpy() for a in (weight, unknown, seen)
    )
    nodes = [n // c for n, c in zip(fixed.shape[1:], cell, strict=True)]
    shifts = [b - a + 1 for a, b in zip(fixed.shape[1:], moving.shape[1:], strict=True)]
    out = torch.empty(*nodes, *shifts, dtype=fixed.dtype)
    # a view, through which the loop writes to `out`
    target = out.numpy().reshape(*lift, *nodes, *lift, *shifts)
    sides = np.array((*lift, *cell), np.int64)
    loops.cost_volume(f, w, o, m, v, sides, f.dtype.type(scale), target)
    return out


def blurred(volume: Tensor, sigma: float, dim: int) -> Tensor:
    """The volume, smoothed in place over its cells; see `coincide.kernels.cost_volume`."""
    array = volume.detach().numpy()
    weights = gaussian_weights(sigma).astype(array.dtype)
    for axis in range(dim):
        n = array.shape[axis]
        if n > 1 and len(weights) > 1:
            # any axis becomes the second of four; the last holds all shifts of a cell
            before = int(np.prod(array.shape[:axis]))
            after = int(np.prod(array.shape[axis + 1 : dim]))
            labels = int(np.prod(array.shape[dim:]))
            # a view as well, since the volume is contiguous: it is smoothed itself
            loops.blur(array.reshape(before, n, after, labels), weights)
    return volume
