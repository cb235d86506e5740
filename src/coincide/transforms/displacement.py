"""Displacement: one vector a voxel."""

import numpy as np
import torch

from coincide.kernels.native import invert as native
from coincide.kernels.native.jit import lifted, lifted_field
from coincide.registry import named
from coincide.space.grid import Grid, applied
from coincide.space.shapes import Field, Points
from coincide.transforms.sampled import Sampled, carried, shifted


@named("displacement")
class Displacement(Sampled):
    r"""Dense displacement field: $T(x) = x + u(x)$, u linear between voxels, zero outside its grid.

    Args:
        spacing: Voxel size wanted for the field, mm; 0: that of the grid it is put on.
        field: (B, D, *S) displacement, mm, world axes; None: zero.
        grid: Where the voxels of `field` lie.
    """

    optimiser = "compositive(update=2.0, field=1.5)"

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
    source = lifted_field(applied(grid.inverse[:-1, :-1], field.detach()).cpu())
    out = np.empty_like(source)
    residual = torch.empty_like(field[:, :1], device="cpu")
    size = lifted(residual)
    for b in range(len(source)):
        limit = source.dtype.type(tolerance)
        native.invert(source[b], steps, limit, out[b], size[b, 0])
    inverse = torch.from_numpy(out[:, 3 - grid.dim :].reshape(field.shape))
    world = applied(grid.affine[:-1, :-1], inverse)
    return world.to(field.device), residual.to(field.device)
