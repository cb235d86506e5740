"""Jacobian: how a transform stretches, turns and folds space."""

import torch

from coincide.kernels.native import determinant as native
from coincide.kernels.native.jit import lifted, lifted_field, lifted_matrix
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Volume


def gradient(field: Field, grid: Grid) -> torch.Tensor:
    """World gradient of every component, (B, C, D, *S), per mm.

    Central differences inside, one-sided at the border; zero along an axis of one voxel.

    Args:
        field: (B, C, *S) values on `grid`.
        grid: Where they lie; may be oblique or sheared.
    """
    slopes = []
    for axis, n in enumerate(grid.shape, start=2):
        if n == 1:
            slopes.append(torch.zeros_like(field))
            continue
        inner = (field.narrow(axis, 2, n - 2) - field.narrow(axis, 0, n - 2)) / 2
        first = field.narrow(axis, 1, 1) - field.narrow(axis, 0, 1)
        last = field.narrow(axis, n - 1, 1) - field.narrow(axis, n - 2, 1)
        slopes.append(torch.cat([first, inner, last], axis))
    index = torch.stack(slopes, 2)
    return torch.einsum("bce...,ed->bcd...", index, tensor(grid.inverse[:-1, :-1], field))


def determinant(displacement: Field, grid: Grid) -> Volume:
    r"""Determinant of the Jacobian $J = I + \nabla u$ at every voxel, (B, 1, *S).

    Args:
        displacement: (B, D, *S), mm.
        grid: Where it lies.
    """
    if displacement.device.type == "cpu" and not displacement.requires_grad:
        out = torch.empty_like(displacement[:, :1], memory_format=torch.contiguous_format)
        matrix = lifted_matrix(grid.affine[:-1, :-1], lifted(out).dtype)
        for one, det in zip(lifted_field(displacement), lifted(out), strict=True):
            native.determinant(one, matrix, det[0])
        return out
    jacobian = gradient(displacement, grid)
    moved = jacobian.movedim((1, 2), (-2, -1))
    identity = torch.eye(grid.dim, dtype=moved.dtype, device=moved.device)
    matrix = moved + identity
    if grid.dim == 3:
        a, b, c = matrix.unbind(-2)
        det = (a * torch.linalg.cross(b, c)).sum(-1)
    else:
        det = torch.linalg.det(matrix)
    return det[:, None]


def second_derivatives(field: Field, grid: Grid) -> torch.Tensor:
    """World second derivatives of every component, (B, C, D, D, *S), per mm²."""
    first = gradient(field, grid)
    columns = [gradient(first[:, :, d], grid) for d in range(grid.dim)]
    return torch.stack(columns, 2)
