"""Difference: mean squared difference of multi-channel images."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.native import difference as native
from coincide.kernels.native.jit import lifted, lifted_matrix
from coincide.kernels.update import pull
from coincide.space.shapes import Field, Volume

CHUNKS = 64


def mean_square(fixed: Volume, warped: Volume, mask: Volume) -> Tensor:
    """Mean over channels and mask of (W - F)², (B,); differentiable in `warped`.

    Args:
        fixed: (B, C, *S).
        warped: (B, C, *S).
        mask: (B, 1, *S) weights. Where a pair has none the mean of F² is returned: the two images
            differ by all there is, and moving one out of view does not pay.
    """
    if fixed.device.type != "cpu":
        voxels = tuple(range(1, fixed.ndim))
        total = (mask * (warped - fixed) ** 2).sum(voxels)
        weight = fixed.shape[1] * mask.sum(voxels)
        nothing = fixed.detach().square().mean(voxels)
        return torch.where(weight > 0, total / weight.clamp_min(1e-12), nothing)
    return _MeanSquare.apply(fixed, warped, mask)  # type: ignore[return-value]


def mean_square_pull(
    fixed: Volume, warped: Volume, mask: Volume, metric: np.ndarray, *, out: Field
) -> Tensor:
    """`mean_square`, (B,), and what `coincide.kernels.update.pull` makes of its slope.

    Args:
        fixed: (B, C, *S).
        warped: (B, C, *S).
        mask: (B, 1, *S) weights.
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        out: Receives the force, (B, D, *S), voxels.
    """
    if warped.device.type != "cpu" or warped.dim() != 5:
        leaf = warped.detach().requires_grad_()
        with torch.enable_grad():
            value = mean_square(fixed, leaf, mask)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
        pull(slope, warped, metric, out=out)
        return value.detach()
    f, w, m, target = (lifted(t.to(warped.dtype)) for t in (fixed, warped, mask, out))
    turn, result = lifted_matrix(metric, w.dtype), torch.zeros(len(w), dtype=warped.dtype)
    partial = np.zeros(w.shape[2] * w.shape[3])
    for b in range(len(w)):
        mass = float(mask[b].sum(dtype=torch.float64)) * w.shape[1]
        weight = max(mass, 1e-12)
        native.squared_pull(f[b], w[b], m[b, 0], w.dtype.type(2 / weight), turn, partial, target[b])
        result[b] = float(partial.sum()) / weight if mass > 0 else float((f[b] ** 2).mean())
    return result


class _MeanSquare(Function):
    @staticmethod
    def forward(ctx: Any, fixed: Volume, warped: Volume, mask: Volume) -> Tensor:
        channels = fixed.shape[1]
        slope = torch.empty_like(warped, memory_format=torch.contiguous_format)
        result = torch.zeros(len(fixed), dtype=warped.dtype)
        for b in range(len(fixed)):
            f, w, m, s = (
                t.detach().contiguous().view(n, -1).numpy()
                for t, n in (
                    (fixed[b].to(warped.dtype), channels),
                    (warped[b], channels),
                    (mask[b].to(warped.dtype), 1),
                    (slope[b], channels),
                )
            )
            mass = float(mask[b].sum(dtype=torch.float64)) * channels
            weight = max(mass, 1e-12)
            partial = np.zeros(CHUNKS)
            native.squared(f, w, m[0], w.dtype.type(2 / weight), partial, s)
            result[b] = float(partial.sum()) / weight if mass > 0 else float((f**2).mean())
        ctx.save_for_backward(slope)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return None, scaled(slope, gradients[0]), None


def scaled(slope: Tensor, factor: Tensor) -> Tensor:
    """Slope (B, ...) times one factor a pair (B,); no pass over the voxels where all are one."""
    if bool((factor == 1).all()):
        return slope
    return factor.view(-1, *(1,) * (slope.ndim - 1)) * slope
