"""Lattice: which control points are searched for, and which shifts are tried."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from coincide.space.grid import Grid

LIMIT = 2**28  # candidates of one volume at most: 1 GiB as float32


@dataclass(frozen=True, eq=False)
class Lattice:
    """Voxels that are compared, cells of them that move as one, and the shifts of a cell.

    A shift is a whole number of voxels, so comparing needs no interpolation.

    Args:
        grid: Voxels, a whole number of cells along each axis; may go beyond the image.
        cell: Voxels of a cell along each axis.
        radius: Largest shift along each axis, voxels.
    """

    grid: Grid
    cell: tuple[int, ...]
    radius: tuple[int, ...]

    @cached_property
    def nodes(self) -> Grid:
        """The middles of the cells."""
        return self.grid.shrink(self.cell)

    @cached_property
    def wide(self) -> Grid:
        """The voxels, with room for the largest shift on every side."""
        stop = [n + r for n, r in zip(self.grid.shape, self.radius, strict=True)]
        return self.grid.crop([-r for r in self.radius], stop)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Number of shifts along each axis."""
        return tuple(2 * r + 1 for r in self.radius)

    @cached_property
    def places(self) -> np.ndarray:
        """All shifts, voxels, (L, 3); axes that are missing come first and stay."""
        axes = [np.arange(-r, r + 1) for r in self.radius]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        return np.pad(index, ((0, 0), (3 - len(axes), 0))).astype(np.float32)

    @cached_property
    def metric(self) -> np.ndarray:
        """Squared length of a shift p of voxels, mm²: pᵀ metric p; (3, 3)."""
        matrix = self.grid.affine[:-1, :-1]
        # zero along missing axes, where shifts have no length
        missing = 3 - len(matrix)
        return np.pad(matrix.T @ matrix, ((missing, 0), (missing, 0)))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Squared lengths of all shifts, mm², (L,)."""
        return np.einsum("la,ab,lb->l", self.places, self.metric, self.places).astype(np.float32)


def lattice(grid: Grid, *, spacing: float, reach: float, step: float) -> Lattice:
    """The lattice nearest to the wanted one that fits whole voxels and the memory.

    Args:
        grid: Where the features lie.
        spacing: Distance between control points, mm; more where the volume would be too large.
        reach: Largest shift along each axis, mm; at most half of the image.
        step: Distance between shifts, mm; no axis is made finer than it is.
    """
    voxels = grid.shrink(grid.factors(step))
    radius = tuple(
        # an axis of one voxel has no shifts
        min(max(1, round(reach / s)), n // 2)
        for s, n in zip(voxels.spacing, voxels.shape, strict=True)
    )
    shifts = int(np.prod([2 * r + 1 for r in radius]))
    while True:
        cell = tuple(
            min(max(1, round(spacing / s)), n)
            for s, n in zip(voxels.spacing, voxels.shape, strict=True)
        )
        nodes = [-(-n // c) for n, c in zip(voxels.shape, cell, strict=True)]
        if np.prod(nodes) * shifts <= LIMIT or max(nodes) == 1:
            break
        # fewer control points rather than fewer shifts: reach and step decide what can be found
        spacing *= 1.25
    # what is missing to whole cells is shared by both ends
    whole = [n * c for n, c in zip(nodes, cell, strict=True)]
    start = [-((w - n) // 2) for w, n in zip(whole, voxels.shape, strict=True)]
    stop = [a + w for a, w in zip(start, whole, strict=True)]
    return Lattice(voxels.crop(start, stop), cell, radius)
