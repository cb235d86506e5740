"""Displacement: one vector a voxel."""

import numpy as np
import torch
from torch import Tensor, nn

from coincide.kernels.warp import warp
from coincide.registry import named
from coincide.space.grid import Grid
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
        if self.grid is None:
            return points
        shift, _ = sample(Image(self.field, self.grid), points)
        return points + shift

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return carried(self.field, self._placed(), grid, inner)

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
    field: Field, grid: Grid, *, steps: int = 30, tolerance: float = 0.005
) -> tuple[Field, Field]:
    r"""Displacement that undoes another: fixed-point iteration $w \leftarrow -u(x + w)$, damped.

    Where the residual grows, the step is halved, so that strong compressions converge too.

    Args:
        field: u, (B, D, *S), mm.
        grid: Where u lies; its border is continued outside.
        steps: At most this many iterations.
        tolerance: Stop when the 99.9th percentile of the residual is below this many voxels.

    Returns:
        The inverse displacement w on the same grid, mm, and its residual |w + u(x + w)|, mm,
        (B, 1, *S).
    """
    index, scale = np.eye(grid.dim, grid.dim + 1), grid.inverse[:-1, :-1]
    inverse = -field
    limit = tolerance * float(grid.spacing.min())
    last = None
    damping = torch.ones_like(field[:, :1])
    for _ in range(steps):
        there, _ = warp(field, inverse, index, scale, clamp=True)
        error = inverse + there
        size = error.norm(dim=1, keepdim=True)
        if float(torch.quantile(size.flatten()[:: max(1, size.numel() // 100000)], 0.999)) < limit:
            break
        if last is not None:
            damping = torch.where(size > 0.9 * last, damping * 0.6, damping).clamp_min(0.1)
        inverse = inverse - damping * error
        last = size
    there, _ = warp(field, inverse, index, scale, clamp=True)
    return inverse, (inverse + there).norm(dim=1, keepdim=True)
