"""Sums of labels on the CPU."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix, from_3d_field
from coincide.kernels.labels import loops
from coincide.space.shapes import Field, Volume

GRADIENTS = {"label_sums": ("field",)}


def label_sums(
    fixed: Shaped[Tensor, "B 1 *S"],
    moving: Shaped[Tensor, "B 1 *M"],
    field: Field,
    mask: Volume,
    index: np.ndarray,
    scale: np.ndarray,
    count: int,
) -> Tensor:
    """Sums (B, 3, count) float64; see `coincide.kernels.labels`."""
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
        ctx.geometry = [as_3d_matrix(m, np.dtype(np.float64)) for m in (index, scale)]
        moved = as_3d_field(field)
        result = torch.empty(len(fixed), 3, count, dtype=torch.float64)
        for b, (f, m, w) in enumerate(zip(*map(as_3d, (fixed, moving, mask)), strict=True)):
            partial = np.zeros((f.shape[1], 3, count + 1))
            loops.tally(f[0], m[0], moved[b], *ctx.geometry, w[0], partial)
            result[b] = torch.from_numpy(partial.sum(0)[:, :count])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        fixed, moving, field, mask = ctx.saved_tensors
        moved = as_3d_field(field)
        out = np.empty_like(moved)
        for b, (f, m, w) in enumerate(zip(*map(as_3d, (fixed, moving, mask)), strict=True)):
            # nothing comes back through what is no label
            table = np.pad(gradients[0][b].numpy(), ((0, 0), (0, 1)))
            loops.gather(f[0], m[0], moved[b], *ctx.geometry, w[0], table, out[b])
        return None, None, from_3d_field(out, field.shape), *(None,) * 4
