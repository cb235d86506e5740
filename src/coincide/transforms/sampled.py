"""Sampled: what transforms with one vector a voxel have in common."""

from typing import Self

import torch
from torch import Tensor

from coincide.kernels.warp import warp
from coincide.registry import positive
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import sample, sample_slope
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, without_hessian
from coincide.transforms.parameter import frozen_like, laid_out, set_parameter
from coincide.transforms.transform import Transform


class Sampled(Transform):
    """A transform whose parameters are vectors on a grid, linear between its voxels.

    Args:
        spacing: Voxel size wanted for the field, mm; 0: that of the grid it is put on.
        field: (B, D, *S), mm, world axes; None: zero. What was computed, as by a network, keeps
            its graph.
        grid: Where the voxels of `field` lie.
    """

    field: Tensor

    def __init__(
        self, spacing: float = 0.0, *, field: Tensor | None = None, grid: Grid | None = None
    ):
        super().__init__()
        self.spacing, self.grid = spacing, grid
        positive(self, "spacing", zero=True)
        if grid is not None:
            zero = torch.zeros(1, grid.dim, *grid.shape)
            set_parameter(self, "field", zero if field is None else field)

    def on(self, grid: Grid) -> Self:
        """The same field resampled to `grid` at its own spacing."""
        own = grid.shrink(grid.factors(self.spacing)) if self.spacing else grid
        if self.grid is None:
            return type(self)(self.spacing, grid=own)
        field = upsampled(laid_out(self.field), self.grid, own)
        return frozen_like(type(self)(self.spacing, field=field, grid=own), self)

    def _placed(self) -> Grid:
        if self.grid is None:
            raise ValueError("this field has no grid yet; call .on(grid) first")
        return self.grid


def displaced(points: Points, field: Field, own: Grid) -> Points:
    """X + u(x) at points (B, P, D), mm, for the field u on its `own` grid."""
    points = points.expand(max(len(points), len(field)), *points.shape[1:])
    shift, _ = sample(Image(field, own), points)
    return points + shift


def displaced_jacobian(points: Points, field: Field, own: Grid) -> Tensor:
    """Derivative of `displaced` by the points, (B, P, D, D); differentiable in field and points."""
    slope = sample_slope(Image(field, own), points)
    return slope + torch.eye(own.dim, dtype=points.dtype, device=points.device)


@hessian_at.register
def _(transform: Sampled, points: Points) -> Tensor:  # noqa: ARG001
    raise without_hessian(transform)


def composed(field: Field, own: Grid, grid: Grid, inner: Field | None) -> Field:
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
