"""Sampled: what transforms with one vector a voxel have in common."""

from typing import Self

import torch
from torch import Tensor, nn

from coincide.kernels.warp import warp
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import sample
from coincide.space.shapes import Field, Points
from coincide.transforms.transform import Transform


class Sampled(Transform):
    """A transform whose parameters are vectors on a grid, linear between its voxels.

    Args:
        spacing: Voxel size wanted for the field, mm; 0: that of the grid it is put on.
        field: (B, D, *S), mm, world axes; None: zero.
        grid: Where the voxels of `field` lie.
    """

    def __init__(
        self, spacing: float = 0.0, *, field: Tensor | None = None, grid: Grid | None = None
    ):
        super().__init__()
        self.spacing, self.grid = spacing, grid
        if grid is not None:
            zero = torch.zeros(1, grid.dim, *grid.shape)
            self.field = nn.Parameter(zero if field is None else field.detach())

    def on(self, grid: Grid) -> Self:
        """The same field resampled to `grid` at its own spacing."""
        own = grid.shrink(grid.factors(self.spacing)) if self.spacing else grid
        if self.grid is None:
            return type(self)(self.spacing, grid=own)
        field = upsampled(self.field.detach(), self.grid, own)
        return type(self)(self.spacing, field=field, grid=own)

    def _placed(self) -> Grid:
        if self.grid is None:
            raise ValueError("this field has no grid yet; call .on(grid) first")
        return self.grid


def shifted(points: Points, field: Field, own: Grid) -> Points:
    """X + u(x) at points (B, P, D), mm, for the field u on its `own` grid."""
    shift, _ = sample(Image(field, own), points)
    return points + shift


def carried(field: Field, own: Grid, grid: Grid, inner: Field | None) -> Field:
    """inner(x) + u(x + inner(x)) at the voxels of `grid`, for the field u on its `own` grid."""
    if inner is None and grid == own:
        return field
    values, _ = warp(field, inner, grid.index_in(own)[:-1], own.inverse[:-1, :-1], shape=grid.shape)
    return values if inner is None else values + inner


def upsampled(field: Field, own: Grid, grid: Grid) -> Field:
    """The field on another grid, its border continued outside."""
    if own == grid:
        return field
    index = grid.index_in(own)[:-1]
    return warp(field, None, index, own.inverse[:-1, :-1], shape=grid.shape, clamp=True)[0]
