"""Displacement: one vector a voxel."""

import numpy as np
import torch
from torch import Tensor, nn

from coincide.kernels.native import invert as native
from coincide.kernels.native.jit import lifted, lifted_field
from coincide.kernels.warp import warp
from coincide.registry import named
from coincide.space.grid import Grid, tensor
from coincide.space.image import Image
from coincide.space.sampling import sample
from coincide.space.shapes import Field, Points
from coincide.transforms.transform import Transform


@named("displacement")
class Displacement(Transform):
    r"""Dense displacement field: $T(x) = x + u(x)$, u linear between voxels, zero outside its grid.

    Args:
        spacing: Voxel size wanted for the field, mm; 0: that of the grid it is put on.
        field: (B, D, *S) displacement, mm, world axes; None: zero.
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

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else shifted(points, self.field, self.grid)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        own = self._placed()
        return carried(self.field, own, grid, inner)

    def inverse(self) -> "Displacement":
        """Numerical inverse on the same grid; see `invert`."""
        field, _ = invert(self.field.detach(), self._placed())
        return Displacement(self.spacing, field=field, grid=self.grid)

    def on(self, grid: Grid) -> "Displacement":
        """The same field resampled to `grid` at its own spacing."""
        own = grid.shrink(grid.factors(self.spacing)) if self.spacing else grid
        if self.grid is None:
            return Displacement(self.spacing, grid=own)
        field = upsampled(self.field.detach(), self.grid, own)
        return Displacement(self.spacing, field=field, grid=own)

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


def invert(
    field: Field, grid: Grid, *, steps: int = 40, tolerance: float = 0.003
) -> tuple[Field, Field]:
    r"""Displacement that undoes another: fixed-point iteration $w \leftarrow -u(y + w)$, damped.

    Args:
        field: u, (B, D, *S), mm.
        grid: Where u lies; its border is continued outside.
        steps: At most this many iterations a voxel.
        tolerance: A voxel is done when its residual is below this many voxels.

    Returns:
        The inverse displacement w on the same grid, mm, and its residual |w + u(y + w)| in voxels,
        (B, 1, *S).
    """
    to_voxels = tensor(grid.inverse[:-1, :-1], field)
    source = lifted_field(torch.einsum("de,be...->bd...", to_voxels, field.detach()).cpu())
    out = np.empty_like(source)
    residual = torch.empty_like(field[:, :1], device="cpu")
    size = lifted(residual)
    for b in range(len(source)):
        limit = source.dtype.type(tolerance)
        native.invert(source[b], steps, limit, out[b], size[b, 0])
    inverse = torch.from_numpy(out[:, 3 - grid.dim :].reshape(field.shape))
    to_world = tensor(grid.affine[:-1, :-1], inverse)
    world = torch.einsum("de,be...->bd...", to_world, inverse)
    return world.to(field.device), residual.to(field.device)
