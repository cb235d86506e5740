"""Second differences on the CPU."""

from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d
from coincide.kernels.laplacian import loops
from coincide.space.shapes import Volume

GRADIENTS = {"laplacian": ("field",)}


def laplacian(field: Volume, weight: np.ndarray) -> Volume:
    """Weighted second differences, (B, C, *S); see `coincide.kernels.laplacian`."""
    return _Laplacian.apply(field, weight)  # type: ignore[return-value]


class _Laplacian(Function):
    @staticmethod
    def forward(ctx: Any, field: Volume, weight: np.ndarray) -> Volume:
        ctx.weight = weight
        return _each(loops.laplacian, field, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _each(loops.adjoint, gradients[0], ctx.weight), None


def _each(function: Any, field: Volume, weight: np.ndarray) -> Volume:
    """A compiled loop from (X, Y, Z) to (X, Y, Z) run on every channel."""
    out = torch.empty_like(field, memory_format=torch.contiguous_format)
    source, target = as_3d(field), as_3d(out)
    factors = np.concatenate([np.zeros(3 - len(weight)), weight]).astype(source.dtype)
    for b in range(len(source)):
        for c in range(source.shape[1]):
            function(source[b, c], factors, target[b, c])
    return out
