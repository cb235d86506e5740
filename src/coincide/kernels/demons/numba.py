"""The demons force on the CPU."""

import numpy as np
import torch

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix, write
from coincide.kernels.demons import loops
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"demons": ()}


def demons(
    fixed: Volume,
    warped: Volume,
    mask: Volume,
    metric: np.ndarray,
    longest: float,
    share: float,
    floor: float,
    out: Field,
) -> PerPair:
    """Mean squared difference (B,) and the force, in `out`; see `coincide.kernels.demons`."""
    f, w, m = (as_3d(t.to(warped.dtype)) for t in (fixed, warped, mask))
    target = as_3d_field(out)
    matrix, kind = as_3d_matrix(metric, w.dtype), w.dtype.type
    # |g|² + d² / 4l² is at least |g| |d| / l, so that no force is longer than l
    numbers = kind(0.25 / longest**2), kind(share), kind(floor)
    result = np.empty(len(w))
    rows = np.empty((w.shape[2] * w.shape[3], 2))
    for b in range(len(w)):
        loops.demons(f[b], w[b], m[b, 0], matrix, *numbers, target[b], rows)
        total, weight = rows.sum(0)
        result[b] = total / max(fixed.shape[1] * weight, 1e-12)
    write(target, out)
    return torch.as_tensor(result, dtype=warped.dtype)
