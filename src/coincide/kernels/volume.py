"""Volume: how a displacement changes the volumes and faces of voxels, with gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.native import determinant as native
from coincide.kernels.native.jit import lifted, lifted_field, lifted_matrix
from coincide.kernels.native.slope import gather
from coincide.kernels.reference import slope as reference
from coincide.space.grid import tensor
from coincide.space.shapes import Field, Volume


def determinant(displacement: Field, inverse: np.ndarray) -> Volume:
    """Determinant of I + ∇u, (B, 1, *S), differentiable.

    Args:
        displacement: (B, D, *S), mm.
        inverse: (D, D) linear part of world to voxel.
    """
    if displacement.device.type != "cpu":
        return reference.determinant(displacement, tensor(inverse, displacement))
    return _Determinant.apply(displacement, inverse)  # type: ignore[return-value]


def faces(displacement: Field, affine: np.ndarray) -> Volume:
    """Squared ratio of the area of each deformed voxel face to what it was, (B, D, *S).

    In 2-D faces are the edges of a pixel. Face d lies across voxel axis d; differentiable.

    Args:
        displacement: (B, D, *S), mm.
        affine: (D, D) linear part of voxel to world.
    """
    if displacement.device.type != "cpu":
        return reference.faces(displacement, tensor(np.linalg.inv(affine), displacement))
    return _Faces.apply(displacement, affine)  # type: ignore[return-value]


class _Determinant(Function):
    @staticmethod
    def forward(ctx: Any, displacement: Field, inverse: np.ndarray) -> Volume:
        ctx.save_for_backward(displacement)
        ctx.inverse = inverse
        out = torch.empty_like(displacement[:, :1], memory_format=torch.contiguous_format)
        target = lifted(out)
        matrix = lifted_matrix(inverse, target.dtype)
        for one, det in zip(lifted_field(displacement), target, strict=True):
            native.determinant(one, matrix, det[0])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (displacement,) = ctx.saved_tensors
        source, grad = lifted_field(displacement), lifted(gradients[0])
        matrix = lifted_matrix(ctx.inverse, source.dtype)

        def stress(b: int, out: np.ndarray) -> None:
            native.determinant_stress(source[b], matrix, grad[b, 0], out)

        return _received(displacement, source, stress), None


class _Faces(Function):
    @staticmethod
    def forward(ctx: Any, displacement: Field, affine: np.ndarray) -> Volume:
        ctx.save_for_backward(displacement)
        ctx.affine = affine
        source, dim = lifted_field(displacement), len(affine)
        out = np.empty_like(source)
        matrix, unit = _geometry(affine, source.dtype)
        for one, area in zip(source, out, strict=True):
            native.faces(one, matrix, unit, area)
        return torch.from_numpy(out[:, 3 - dim :].reshape(displacement.shape))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (displacement,) = ctx.saved_tensors
        source, grad = lifted_field(displacement), lifted_field(gradients[0])
        matrix, unit = _geometry(ctx.affine, source.dtype)

        def stress(b: int, out: np.ndarray) -> None:
            native.faces_stress(source[b], matrix, unit, grad[b], out)

        return _received(displacement, source, stress), None


def _geometry(affine: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The affine for three axes, and one over the squared area of each face."""
    matrix = lifted_matrix(affine, np.dtype(np.float64))
    cofactors = np.linalg.det(matrix) * np.linalg.inv(matrix)  # rows are normals times areas
    return matrix.astype(dtype), (1 / np.square(cofactors).sum(1)).astype(dtype)


def _received(
    displacement: Tensor, source: np.ndarray, stress: Callable[[int, np.ndarray], None]
) -> Tensor:
    """Gradient of a displacement from what its nine slopes receive."""
    dim = displacement.shape[1]
    parts = np.empty((3, *source.shape[1:]), source.dtype)
    result = torch.empty_like(displacement, memory_format=torch.contiguous_format)
    target = lifted(result)
    for b in range(len(source)):
        stress(b, parts)
        for c in range(dim):
            gather(parts[c + 3 - dim], target[b, c])
    return result
