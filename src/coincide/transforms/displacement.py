"""Displacement: one vector a voxel."""

from coincide.kernels.invert import invert as inverted
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
    voxels = applied(grid.inverse[:-1, :-1], field.detach())
    inverse, residual = inverted(voxels, steps, tolerance)
    return applied(grid.affine[:-1, :-1], inverse), residual
