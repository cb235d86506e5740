"""Sampled: what transforms with one vector a voxel have in common."""

from itertools import product
from typing import Self

import torch
from torch import Tensor

from coincide.kernels.warp import warp
from coincide.registry import positive
from coincide.space.grid import Grid, tensor
from coincide.space.image import Image
from coincide.space.sampling import sample
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
    """Derivative of `displaced` by the points, (B, P, D, D); differentiable in field and points.

    Between two voxels the field changes by their difference; on a voxel, by that to the next.
    """
    batch = max(len(points), len(field))
    points = points.expand(batch, *points.shape[1:])
    index = tensor(own.inverse, points)
    position = points @ index[:-1, :-1].T + index[:-1, -1]
    size = torch.tensor(own.shape, dtype=points.dtype, device=points.device)
    # ITK's border: the outermost values continue for half a voxel, beyond it there is nothing
    inside = ((position - (size - 1) / 2).abs() <= size / 2).all(-1, keepdim=True)
    # beyond the outermost centres the value is held, and does not change with the position
    free = (position >= 0) & (position <= size - 1) & (size > 1) & inside
    low = torch.minimum(position.detach(), size - 2).clamp_min(0).floor()
    fraction = position.clamp_min(0).minimum(size - 1) - low
    low = low.long()  # a flat address may be too large for a float32
    flat = field.to(points.dtype).flatten(2).expand(batch, -1, -1)
    columns = [torch.zeros_like(points) for _ in own.shape]
    for corner in product((0, 1), repeat=own.dim):
        address = torch.zeros_like(low[..., 0])
        for axis, (up, n) in enumerate(zip(corner, own.shape, strict=True)):
            address = address * n + (low[..., axis] + up).clamp_max(n - 1)
        value = flat.gather(2, address[:, None].expand(-1, own.dim, -1)).transpose(1, 2)
        for axis, up in enumerate(corner):
            # a sign along the axis of the derivative, interpolation along the others
            weight = torch.full_like(points[..., :1], 1.0 if up else -1.0)
            for other, there in enumerate(corner):
                part = fraction[..., other, None]
                weight = weight if other == axis else weight * (part if there else 1 - part)
            columns[axis] = columns[axis] + weight * value
    slope = torch.stack(columns, -1) * free[..., None, :]
    return slope @ index[:-1, :-1] + torch.eye(own.dim, dtype=points.dtype, device=points.device)


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
