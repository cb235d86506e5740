"""Changes of volumes and areas with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.derivatives.torch import slopes
from coincide.space.grid import tensor
from coincide.space.shapes import Field, Volume

GRADIENTS = {"determinant": ("displacement",), "faces": ("displacement",)}


def jacobian(field: Field, inverse: np.ndarray) -> Tensor:
    """I + ∇u with the matrix in the last two axes, (B, *S, D, D)."""
    moved = slopes(field, inverse).movedim((1, 2), (-2, -1))
    return moved + torch.eye(len(inverse), dtype=moved.dtype, device=moved.device)


def determinant(displacement: Field, inverse: np.ndarray) -> Volume:
    """Determinant of the Jacobian, (B, 1, *S)."""
    matrix = jacobian(displacement, inverse)
    if len(inverse) != 3:
        return torch.linalg.det(matrix)[:, None]
    a, b, c = matrix.unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum(-1)[:, None]


def faces(displacement: Field, affine: np.ndarray) -> Volume:
    """Squared change of the area of each voxel face, (B, D, *S): |cof(J) n|²."""
    inverse = np.linalg.inv(affine)
    matrix = jacobian(displacement, inverse)
    normals = inverse / np.linalg.norm(inverse, axis=1, keepdims=True)  # rows
    rows = torch.stack([_removed(matrix, d) for d in range(len(inverse))], -2)
    return (rows @ tensor(normals, matrix).T).square().sum(-2).movedim(-1, 1)


def _removed(matrix: Tensor, row: int) -> Tensor:
    """One row of the cofactors of matrices (..., D, D)."""
    dim = matrix.shape[-1]
    rest = _without(matrix, -2, row)
    minors = [torch.linalg.det(_without(rest, -1, column)) for column in range(dim)]
    return torch.stack([(-1) ** (row + c) * m for c, m in enumerate(minors)], -1)


def _without(matrix: Tensor, axis: int, place: int) -> Tensor:
    """Matrices less one row or column; slices, since a list of numbers would be copied over."""
    after = matrix.shape[axis] - place - 1
    parts = matrix.narrow(axis, 0, place), matrix.narrow(axis, place + 1, after)
    return torch.cat(parts, axis)
