"""Placed: fields on half the resolution of what a network was shown, as transforms."""

from torch import Tensor

from coincide.space.grid import Grid
from coincide.transforms.displacement import Displacement
from coincide.transforms.velocity import Velocity


def half(grid: Grid) -> Grid:
    """Voxels of twice the size, each in the middle of those it covers."""
    return grid.shrink((2,) * grid.dim)


def as_velocity(vectors: Tensor, grid: Grid) -> Velocity:
    """The flow along a velocity on half the resolution of `grid`, (B, D, *S / 2), mm."""
    return Velocity(field=vectors, grid=half(grid))


def as_displacement(vectors: Tensor, grid: Grid) -> Displacement:
    """A displacement on half the resolution of `grid`, (B, D, *S / 2), mm."""
    return Displacement(field=vectors, grid=half(grid))
