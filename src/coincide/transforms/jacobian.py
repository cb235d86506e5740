"""Jacobian: how a transform stretches, turns and folds space."""

import torch

from coincide.kernels import slope, volume
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Volume


def gradient(field: Field, grid: Grid) -> torch.Tensor:
    """World gradient of every component, (B, C, D, *S), per mm.

    Central differences inside, one-sided at the border; zero along an axis of one voxel.

    Args:
        field: (B, C, *S) values on `grid`.
        grid: Where they lie; may be oblique or sheared.
    """
    return slope.slopes(field, grid.inverse[:-1, :-1])


def squared_gradient(field: Field, grid: Grid) -> Volume:
    """Sum over components of the squared length of the world gradient, (B, 1, *S), per mm².

    The same as `gradient` squared and summed, without an array of gradients.

    Args:
        field: (B, C, *S) values on `grid`.
        grid: Where they lie; may be oblique or sheared.
    """
    return slope.squared_slope(field, grid.inverse[:-1, :-1])


def determinant(displacement: Field, grid: Grid) -> Volume:
    r"""Determinant of the Jacobian $J = I + \nabla u$ at every voxel, (B, 1, *S).

    Args:
        displacement: (B, D, *S), mm.
        grid: Where it lies.
    """
    return volume.determinant(displacement, grid.affine[:-1, :-1])


def faces(displacement: Field, grid: Grid) -> Volume:
    r"""Squared change of area of every voxel face, (B, D, *S): $\lVert \operatorname{cof}(J)\,n_d
    \rVert^2$ with $n_d$ the normal of the face across voxel axis $d$.

    Args:
        displacement: (B, D, *S), mm.
        grid: Where it lies.
    """
    return volume.faces(displacement, grid.affine[:-1, :-1])


def second_derivatives(field: Field, grid: Grid) -> torch.Tensor:
    """World second derivatives of every component, (B, C, D, D, *S), per mm²."""
    first = gradient(field, grid)
    columns = [gradient(first[:, :, d], grid) for d in range(grid.dim)]
    return torch.stack(columns, 2)
