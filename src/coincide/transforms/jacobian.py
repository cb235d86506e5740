"""Jacobian: how a transform stretches, turns and folds space."""

import numpy as np
import torch

from coincide.kernels import derivatives, volume
from coincide.kernels.laplacian import laplacian as weighted_laplacian
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Volume


def gradient(field: Field, grid: Grid) -> torch.Tensor:
    """World gradient of every component, (B, C, D, *S), per mm.

    Central differences inside, one-sided at the border; zero along an axis of one voxel.

    Args:
        field: (B, C, *S) values on `grid`.
        grid: Where they lie; may be oblique or sheared.
    """
    return derivatives.slopes(field, grid.inverse[:-1, :-1])


def squared_gradient(field: Field, grid: Grid) -> Volume:
    """Sum over components of the squared length of the world gradient, (B, 1, *S), per mm².

    The same as `gradient` squared and summed, without an array of gradients.

    Args:
        field: (B, C, *S) values on `grid`.
        grid: Where they lie; may be oblique or sheared.
    """
    return derivatives.squared_slope(field, grid.inverse[:-1, :-1])


def determinant(displacement: Field, grid: Grid) -> Volume:
    r"""Determinant of the Jacobian $J = I + \nabla u$ at every voxel, (B, 1, *S).

    Args:
        displacement: (B, D, *S), mm.
        grid: Where it lies.
    """
    return volume.determinant(displacement, grid.inverse[:-1, :-1])


def faces(displacement: Field, grid: Grid) -> Volume:
    r"""Squared change of area of every voxel face, (B, D, *S).

    $\lVert \operatorname{cof}(J)\,n_d \rVert^2$ with $n_d$ the normal of the face across voxel
    axis $d$; in 2-D faces are the edges of a pixel.

    Args:
        displacement: (B, D, *S), mm.
        grid: Where it lies.
    """
    return volume.faces(displacement, grid.affine[:-1, :-1])


def slopes_at(jacobian: torch.Tensor) -> torch.Tensor:
    """Slopes of the displacement, J - I, from those of the map, (..., D, D)."""
    return jacobian - torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)


def cofactors_at(jacobian: torch.Tensor) -> torch.Tensor:
    """Cofactor matrices of (..., D, D), D = 2 or 3: column d says what becomes of the face d."""
    if jacobian.shape[-1] == 2:
        (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
        return torch.stack([torch.stack([d, -c], -1), torch.stack([-b, a], -1)], -2)
    x, y, z = jacobian.unbind(-1)
    return torch.stack([torch.linalg.cross(*two) for two in ((y, z), (z, x), (x, y))], -1)


def determinant_at(jacobian: torch.Tensor) -> torch.Tensor:
    """Determinants of (..., D, D), D = 2 or 3, smooth where they are zero."""
    return (jacobian[..., 0] * cofactors_at(jacobian)[..., 0]).sum(-1)


def second_derivatives(field: Field, grid: Grid) -> torch.Tensor:
    """World second derivatives of every component, (B, C, D, D, *S), per mm²."""
    first = gradient(field, grid)
    columns = [gradient(first[:, :, d], grid) for d in range(grid.dim)]
    return torch.stack(columns, 2)


def laplacian(field: Field, grid: Grid) -> Field:
    r"""World Laplacian of every component, (B, C, *S), per mm².

    Second differences of neighbouring voxels; the border takes those of the next voxel. Where the
    axes of the grid are not perpendicular, mixed derivatives come from slopes of slopes.

    Args:
        field: (B, C, *S) values on `grid`.
        grid: Where they lie.
    """
    inverse = grid.inverse[:-1, :-1]
    metric = inverse @ inverse.T
    total = weighted_laplacian(field, np.diag(metric))
    # what rounding leaves off the diagonal of an oblique grid is no shear
    mixed = np.where(abs(metric) > 1e-9 * abs(metric).max(), metric, 0) - np.diag(np.diag(metric))
    if not mixed.any():
        return total
    # per voxel, as the metric turns products of slopes into the world
    index = derivatives.slopes(field, np.eye(grid.dim))
    for axis in range(grid.dim):
        along = torch.einsum("bce...,e->bc...", index, tensor(mixed[axis], field))
        total = total + derivatives.slopes(along, np.eye(grid.dim))[:, :, axis]
    return total
