"""Slopes of fields on the CPU."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, as_3d_matrix
from coincide.kernels.derivatives import loops
from coincide.space.shapes import Volume

GRADIENTS = {"slopes": ("field",), "squared_slope": ("field",)}


def slopes(field: Volume, inverse: np.ndarray) -> Tensor:
    """World slopes, (B, C, D, *S); see `coincide.kernels.derivatives`."""
    return _Slopes.apply(field, inverse)  # type: ignore[return-value]


def squared_slope(field: Volume, inverse: np.ndarray) -> Volume:
    """Squared length of the world slope, (B, 1, *S)."""
    # |inverseᵀ g|² for a slope g along the voxel axes
    return _SquaredSlope.apply(field, inverse @ inverse.T)  # type: ignore[return-value]


def scratch(array: np.ndarray) -> np.ndarray:
    """Working memory for the three slopes of one channel of (B, C, X, Y, Z)."""
    return np.empty((3, *array.shape[2:]), array.dtype)


class _Slopes(Function):
    @staticmethod
    def forward(ctx: Any, field: Volume, inverse: np.ndarray) -> Tensor:
        ctx.inverse, ctx.shape = inverse, field.shape
        source, dim = as_3d(field), len(inverse)
        matrix = as_3d_matrix(inverse, source.dtype)
        out = torch.empty(*source.shape[:2], 3, *source.shape[2:], dtype=field.dtype)
        for one, target in zip(source, out.numpy(), strict=True):
            loops.slopes(one, matrix, target)
        # slopes along missing axes come first, and are zero
        return out[:, :, 3 - dim :].reshape(*field.shape[:2], dim, *field.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        batch, channels, *shape = ctx.shape
        dim = len(shape)
        # for a moment the slopes are channels, of which `as_3d` knows one axis
        grad = as_3d(gradients[0].reshape(batch, channels * dim, *shape))
        grad = grad.reshape(batch, channels, dim, *grad.shape[2:])
        if dim < 3:
            # nothing comes back through the slopes along missing axes
            grad = np.pad(grad, ((0, 0), (0, 0), (3 - dim, 0), (0, 0), (0, 0), (0, 0)))
        matrix = as_3d_matrix(ctx.inverse, grad.dtype)
        result = torch.empty(ctx.shape, dtype=gradients[0].dtype)
        target = as_3d(result)
        stress = scratch(target)
        for b in range(batch):
            for c in range(channels):
                loops.turned(grad[b, c], matrix, stress)
                loops.gather(stress, target[b, c])
        return result, None


class _SquaredSlope(Function):
    @staticmethod
    def forward(ctx: Any, field: Volume, metric: np.ndarray) -> Volume:
        # slopes are computed again in the backward pass: kept, they would be three times the field
        ctx.save_for_backward(field)
        ctx.metric = metric
        out = torch.empty_like(field[:, :1], memory_format=torch.contiguous_format)
        target = as_3d(out)
        matrix = as_3d_matrix(metric, target.dtype)
        for one, square in zip(as_3d(field), target, strict=True):
            loops.squared(one, matrix, square[0])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (field,) = ctx.saved_tensors
        source, grad = as_3d(field), as_3d(gradients[0])
        result = torch.empty_like(field, memory_format=torch.contiguous_format)
        target, stress = as_3d(result), scratch(source)
        matrix = as_3d_matrix(ctx.metric, source.dtype)
        for b in range(len(source)):
            for c in range(source.shape[1]):
                loops.squared_stress(source[b, c], matrix, grad[b, 0], stress)
                loops.gather(stress, target[b, c])
        return result, None
