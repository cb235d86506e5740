"""Slope: first and second differences of fields in the world, with gradients.

Slopes are central differences inside and one-sided at the border; zero along an axis of one voxel.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.native import laplacian as native_laplacian
from coincide.kernels.native import slope as native
from coincide.kernels.native.jit import lifted, lifted_matrix
from coincide.kernels.reference import slope as reference
from coincide.space.grid import tensor
from coincide.space.shapes import Volume


def slopes(field: Volume, inverse: np.ndarray) -> Tensor:
    """World slope of every channel, (B, C, D, *S), per mm.

    Args:
        field: (B, C, *S).
        inverse: (D, D) linear part of world to voxel.
    """
    if field.device.type != "cpu":
        return reference.slopes(field, tensor(inverse, field))
    return _Slopes.apply(field, inverse)  # type: ignore[return-value]


def squared_slope(field: Volume, inverse: np.ndarray) -> Volume:
    """Sum over channels of the squared length of the world slope, (B, 1, *S), per mm².

    Args:
        field: (B, C, *S).
        inverse: (D, D) linear part of world to voxel.
    """
    if field.device.type != "cpu":
        return reference.squared_slope(field, tensor(inverse, field))
    return _SquaredSlope.apply(field, inverse @ inverse.T)  # type: ignore[return-value]


def laplacian(field: Volume, weight: np.ndarray) -> Volume:
    """Weighted sum of the second differences along the voxel axes, (B, C, *S).

    The outermost voxels take the difference of their neighbours: a parabola is exact everywhere.

    Args:
        field: (B, C, *S).
        weight: (D,) one factor an axis, 1/mm².
    """
    if field.device.type != "cpu":
        return reference.laplacian(field, tensor(weight, field))
    return _Laplacian.apply(field, weight)  # type: ignore[return-value]


def scratch(array: np.ndarray) -> np.ndarray:
    """Working memory for the three slopes of one channel of (B, C, X, Y, Z)."""
    return np.empty((3, *array.shape[2:]), array.dtype)


class _Slopes(Function):
    @staticmethod
    def forward(ctx: Any, field: Volume, inverse: np.ndarray) -> Tensor:
        ctx.inverse, ctx.shape = inverse, field.shape
        source, dim = lifted(field), len(inverse)
        matrix = lifted_matrix(inverse, source.dtype)
        out = torch.empty(*source.shape[:2], 3, *source.shape[2:], dtype=field.dtype)
        for one, target in zip(source, out.numpy(), strict=True):
            native.slopes(one, matrix, target)
        return out[:, :, 3 - dim :].reshape(*field.shape[:2], dim, *field.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        batch, channels, *shape = ctx.shape
        dim = len(shape)
        grad = lifted(gradients[0].reshape(batch, channels * dim, *shape))
        grad = grad.reshape(batch, channels, dim, *grad.shape[2:])
        if dim < 3:
            grad = np.pad(grad, ((0, 0), (0, 0), (3 - dim, 0), (0, 0), (0, 0), (0, 0)))
        matrix = lifted_matrix(ctx.inverse, grad.dtype)
        result = torch.empty(ctx.shape, dtype=gradients[0].dtype)
        target = lifted(result)
        stress = scratch(target)
        for b in range(batch):
            for c in range(channels):
                native.turned(grad[b, c], matrix, stress)
                native.gather(stress, target[b, c])
        return result, None


class _SquaredSlope(Function):
    @staticmethod
    def forward(ctx: Any, field: Volume, metric: np.ndarray) -> Volume:
        ctx.save_for_backward(field)
        ctx.metric = metric
        out = torch.empty_like(field[:, :1], memory_format=torch.contiguous_format)
        target = lifted(out)
        matrix = lifted_matrix(metric, target.dtype)
        for one, square in zip(lifted(field), target, strict=True):
            native.squared(one, matrix, square[0])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (field,) = ctx.saved_tensors
        source, grad = lifted(field), lifted(gradients[0])
        result = torch.empty_like(field, memory_format=torch.contiguous_format)
        target, stress = lifted(result), scratch(source)
        matrix = lifted_matrix(ctx.metric, source.dtype)
        for b in range(len(source)):
            for c in range(source.shape[1]):
                native.squared_stress(source[b, c], matrix, grad[b, 0], stress)
                native.gather(stress, target[b, c])
        return result, None


class _Laplacian(Function):
    @staticmethod
    def forward(ctx: Any, field: Volume, weight: np.ndarray) -> Volume:
        ctx.weight = weight
        return _each(native_laplacian.laplacian, field, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _each(native_laplacian.adjoint, gradients[0], ctx.weight), None


def _each(function: Any, field: Volume, weight: np.ndarray) -> Volume:
    """A compiled loop from (X, Y, Z) to (X, Y, Z) run on every channel."""
    out = torch.empty_like(field, memory_format=torch.contiguous_format)
    source, target = lifted(field), lifted(out)
    factors = np.concatenate([np.zeros(3 - len(weight)), weight]).astype(source.dtype)
    for b in range(len(source)):
        for c in range(source.shape[1]):
            function(source[b, c], factors, target[b, c])
    return out
