"""Changes of volumes and areas on the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix, from_3d_field
from coincide.kernels.derivatives.loops import gather
from coincide.kernels.volume import loops
from coincide.space.shapes import Field, Volume

GRADIENTS = {"determinant": ("displacement",), "faces": ("displacement",)}


def determinant(displacement: Field, inverse: np.ndarray) -> Volume:
    """Determinant of I + ∇u, (B, 1, *S); see `coincide.kernels.volume`."""
    return _Determinant.apply(displacement, inverse)  # type: ignore[return-value]


def faces(displacement: Field, affine: np.ndarray) -> Volume:
    """Squared change of the area of each voxel face, (B, D, *S)."""
    return _Faces.apply(displacement, affine)  # type: ignore[return-value]


class _Determinant(Function):
    @staticmethod
    def forward(ctx: Any, displacement: Field, inverse: np.ndarray) -> Volume:
        ctx.save_for_backward(displacement)
        ctx.inverse = inverse
        out = torch.empty_like(displacement[:, :1], memory_format=torch.contiguous_format)
        target = as_3d(out)
        matrix = as_3d_matrix(inverse, target.dtype)
        for one, det in zip(as_3d_field(displacement), target, strict=True):
            loops.determinant(one, matrix, det[0])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (displacement,) = ctx.saved_tensors
        source, grad = as_3d_field(displacement), as_3d(gradients[0])
        matrix = as_3d_matrix(ctx.inverse, source.dtype)

        def stress(b: int, out: np.ndarray) -> None:
            loops.determinant_stress(source[b], matrix, grad[b, 0], out)

        return _received(displacement, source, stress), None


class _Faces(Function):
    @staticmethod
    def forward(ctx: Any, displacement: Field, affine: np.ndarray) -> Volume:
        ctx.save_for_backward(displacement)
        ctx.affine = affine
        source = as_3d_field(displacement)
        out = np.empty_like(source)
        matrix, unit = _geometry(affine, source.dtype)
        for one, area in zip(source, out, strict=True):
            loops.faces(one, matrix, unit, area)
        return from_3d_field(out, displacement.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (displacement,) = ctx.saved_tensors
        source, grad = as_3d_field(displacement), as_3d_field(gradients[0])
        matrix, unit = _geometry(ctx.affine, source.dtype)

        def stress(b: int, out: np.ndarray) -> None:
            loops.faces_stress(source[b], matrix, unit, grad[b], out)

        return _received(displacement, source, stress), None


def _geometry(affine: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The affine for three axes, and one over the squared area of each face."""
    matrix = as_3d_matrix(affine, np.dtype(np.float64))
    cofactors = np.linalg.det(matrix) * np.linalg.inv(matrix)  # rows are normals times areas
    return matrix.astype(dtype), (1 / np.square(cofactors).sum(1)).astype(dtype)


def _received(
    displacement: Tensor, source: np.ndarray, stress: Callable[[int, np.ndarray], None]
) -> Tensor:
    """Gradient of a displacement from what its nine slopes receive."""
    dim = displacement.shape[1]
    parts = np.empty((3, *source.shape[1:]), source.dtype)
    result = torch.empty_like(displacement, memory_format=torch.contiguous_format)
    target = as_3d(result)
    for b in range(len(source)):
        stress(b, parts)
        for c in range(dim):
            # in 2-D the first component is one of zeros, which nobody asked for
            gather(parts[c + 3 - dim], target[b, c])
    return result
