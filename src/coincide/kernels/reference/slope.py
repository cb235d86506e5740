"""Slopes, second differences, volumes and areas with torch operations."""

import torch
from torch import Tensor

from coincide.space.shapes import Field, Volume


def differences(field: Volume) -> Tensor:
    """Slopes along the voxel axes, (B, C, D, *S): central inside, one-sided at the border."""
    slopes = []
    for axis, n in enumerate(field.shape[2:], start=2):
        if n == 1:
            slopes.append(torch.zeros_like(field))
            continue
        inner = (field.narrow(axis, 2, n - 2) - field.narrow(axis, 0, n - 2)) / 2
        first = field.narrow(axis, 1, 1) - field.narrow(axis, 0, 1)
        last = field.narrow(axis, n - 1, 1) - field.narrow(axis, n - 2, 1)
        slopes.append(torch.cat([first, inner, last], axis))
    return torch.stack(slopes, 2)


def slopes(field: Volume, inverse: Tensor) -> Tensor:
    """World slopes, (B, C, D, *S)."""
    return torch.einsum("bce...,ed->bcd...", differences(field), inverse)


def squared_slope(field: Volume, inverse: Tensor) -> Volume:
    """Sum over channels of the squared length of the slope, (B, 1, *S)."""
    return slopes(field, inverse).square().sum((1, 2))[:, None]


def laplacian(field: Volume, weight: Tensor) -> Volume:
    """Sum over axes of weight (D,) times the second difference, (B, C, *S)."""
    total = torch.zeros_like(field)
    for axis, n in enumerate(field.shape[2:], start=2):
        if n > 2:
            ends = [field.narrow(axis, m, n - 2) for m in range(3)]
            inner = ends[0] - 2 * ends[1] + ends[2]
            first, last = inner.narrow(axis, 0, 1), inner.narrow(axis, n - 3, 1)
            total = total + weight[axis - 2] * torch.cat([first, inner, last], axis)
    return total


def jacobian(field: Field, inverse: Tensor) -> Tensor:
    """I + ∇u with the matrix in the last two axes, (B, *S, D, D)."""
    moved = slopes(field, inverse).movedim((1, 2), (-2, -1))
    return moved + torch.eye(len(inverse), dtype=moved.dtype, device=moved.device)


def determinant(field: Field, inverse: Tensor) -> Volume:
    """Determinant of the Jacobian, (B, 1, *S)."""
    matrix = jacobian(field, inverse)
    if len(inverse) != 3:
        return torch.linalg.det(matrix)[:, None]
    a, b, c = matrix.unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum(-1)[:, None]


def faces(field: Field, inverse: Tensor) -> Volume:
    """Squared change of the area of each voxel face, (B, D, *S): |cof(J) n|²."""
    matrix = jacobian(field, inverse)
    normals = inverse / inverse.norm(dim=1, keepdim=True)  # rows
    rows = torch.stack([_removed(matrix, d) for d in range(len(inverse))], -2)
    return (rows @ normals.T).square().sum(-2).movedim(-1, 1)


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
