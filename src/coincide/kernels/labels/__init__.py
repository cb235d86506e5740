"""Labels: how much of each label two maps have, and share, under a displacement."""

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Field, Volume


def label_sums(
    fixed: Shaped[Tensor, "B 1 *S"],
    moving: Shaped[Tensor, "B 1 *M"],
    field: Field,
    mask: Volume,
    index: np.ndarray,
    scale: np.ndarray,
    count: int,
) -> Tensor:
    """Weights of fixed, of moved and of common voxels of each label.

    The indicator image of every label is moved by linear interpolation, as `warp` would, but no
    such image is made. Positions outside the moving map do not count.

    Args:
        fixed: (B, 1, *S) int32 numbers of labels, 0 to count; `count` itself is no label.
        moving: (B, 1, *M) the same.
        field: (B, D, *S) displacement; see `warp` for `index` and `scale`.
        mask: (B, 1, *S) weights.
        index: (D, D+1) from a voxel of `fixed` to a voxel of `moving`.
        scale: (D, D) from a displacement to voxels of `moving`.
        count: Number of labels.

    Returns:
        (B, 3, count) float64, differentiable in `field`, and in `mask` by torch operations.
    """
    batch = max(map(len, (fixed, moving, field, mask)))
    fixed, moving, field, mask = (
        t.expand(batch, *t.shape[1:]) for t in (fixed, moving, field, mask)
    )
    run = backend("labels.label_sums", {"field": field, "mask": mask})
    return run(fixed, moving, field, mask, index, scale, count)
