"""Labels: how much of each label two maps have, and share, under a displacement."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.native import labels as native
from coincide.kernels.native.jit import lifted, lifted_field, lifted_matrix
from coincide.kernels.reference import labels as reference
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
        (B, 3, count) float64, differentiable in `field`.
    """
    batch = max(len(fixed), len(field))
    fixed, moving, field, mask = (
        t.expand(batch, *t.shape[1:]) for t in (fixed, moving, field, mask)
    )
    if field.device.type != "cpu":
        return reference.label_sums(fixed, moving, field, mask, index, scale, count).double()
    return _Sums.apply(fixed, moving, field, mask, index, scale, count)  # type: ignore[return-value]


class _Sums(Function):
    @staticmethod
    def forward(
        ctx: Any,
        fixed: Tensor,
        moving: Tensor,
        field: Field,
        mask: Volume,
        index: np.ndarray,
        scale: np.ndarray,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(fixed, moving, field, mask)
        ctx.geometry = [lifted_matrix(m, np.dtype(np.float64)) for m in (index, scale)]
        moved = lifted_field(field)
        result = torch.empty(len(fixed), 3, count, dtype=torch.float64)
        for b, (f, m, w) in enumerate(zip(*map(lifted, (fixed, moving, mask)), strict=True)):
            partial = np.zeros((f.shape[1], 3, count + 1))
            native.tally(f[0], m[0], moved[b], *ctx.geometry, w[0], partial)
            result[b] = torch.from_numpy(partial.sum(0)[:, :count])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        fixed, moving, field, mask = ctx.saved_tensors
        moved = lifted_field(field)
        out = np.empty_like(moved)
        for b, (f, m, w) in enumerate(zip(*map(lifted, (fixed, moving, mask)), strict=True)):
            table = np.pad(gradients[0][b].numpy(), ((0, 0), (0, 1)))
            native.gather(f[0], m[0], moved[b], *ctx.geometry, w[0], table, out[b])
        dim = field.shape[1]
        return None, None, torch.from_numpy(out[:, 3 - dim :].reshape(field.shape)), *(None,) * 4
