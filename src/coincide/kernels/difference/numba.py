"""Mean squared difference on the CPU: value and gradient, or value and force, in one pass."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix, write
from coincide.kernels.difference import loops
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"mean_square": ("fixed", "warped"), "mean_square_force": ()}
# Pieces whose sums are kept apart and added in order: so many however many threads there are, so
# that the value is the same to the last bit on any machine.
CHUNKS = 64


def mean_square(fixed: Volume, warped: Volume, mask: Volume) -> PerPair:
    """Mean over channels and mask of (W - F)², (B,); see `coincide.kernels.difference`."""
    return _MeanSquare.apply(fixed, warped, mask)  # type: ignore[return-value]


def mean_square_force(
    fixed: Volume, warped: Volume, mask: Volume, metric: np.ndarray, out: Field
) -> PerPair:
    """The same and its force; see `coincide.kernels.difference`."""
    f, w, m = (as_3d(t.to(warped.dtype)) for t in (fixed, warped, mask))
    target = as_3d_field(out)
    turn, result = as_3d_matrix(metric, w.dtype), torch.zeros(len(w), dtype=warped.dtype)
    partial = np.zeros(w.shape[2] * w.shape[3])
    for b in range(len(w)):
        # in double precision, since millions of single-precision weights lose digits
        mass = float(mask[b].sum(dtype=torch.float64)) * w.shape[1]
        weight = max(mass, 1e-12)
        # the derivative of the mean is 2 m (W - F) over the mass
        scale = w.dtype.type(2 / weight)
        loops.squared_force(f[b], w[b], m[b, 0], scale, turn, partial, target[b])
        result[b] = float(partial.sum()) / weight if mass > 0 else float((f[b] ** 2).mean())
    write(target, out)
    return result


class _MeanSquare(Function):
    @staticmethod
    def forward(ctx: Any, fixed: Volume, warped: Volume, mask: Volume) -> Tensor:
        channels = fixed.shape[1]
        # made along with the value, as it costs one more write; backward only scales it
        gradient = torch.empty_like(warped, memory_format=torch.contiguous_format)
        result = torch.zeros(len(fixed), dtype=warped.dtype)
        ctx.empty = []
        for b in range(len(fixed)):
            f, w, m, g = (
                t.detach().contiguous().view(n, -1).numpy()
                for t, n in (
                    (fixed[b].to(warped.dtype), channels),
                    (warped[b], channels),
                    (mask[b].to(warped.dtype), 1),
                    (gradient[b], channels),
                )
            )
            mass = float(mask[b].sum(dtype=torch.float64)) * channels
            weight = max(mass, 1e-12)
            partial = np.zeros(CHUNKS)
            loops.squared(f, w, m[0], w.dtype.type(2 / weight), partial, g)
            result[b] = float(partial.sum()) / weight if mass > 0 else float((f**2).mean())
            if mass <= 0:
                ctx.empty.append(b)
        # needed only where the value was a mean of F² alone
        keep = fixed if ctx.empty and ctx.needs_input_grad[0] else None
        ctx.save_for_backward(gradient, keep)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        to_warped = scaled(ctx.saved_tensors[0], gradients[0])
        to_fixed = None
        if ctx.needs_input_grad[0]:
            to_fixed = -to_warped  # the two images enter by their difference alone
            for b in ctx.empty:
                only = ctx.saved_tensors[1][b]  # where no weight is, the mean of F² was returned
                to_fixed[b] = gradients[0][b] * 2 * only / only.numel()
        return to_fixed, to_warped if ctx.needs_input_grad[1] else None, None


def scaled(gradient: Tensor, factor: Tensor) -> Tensor:
    """Gradient (B, ...) times one factor a pair (B,); no pass over the voxels where all are one."""
    if bool((factor == 1).all()):
        return gradient
    return factor.view(-1, *(1,) * (gradient.ndim - 1)) * gradient
