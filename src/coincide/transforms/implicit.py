"""Implicit: what transforms that are made by networks of coordinates have in common."""

import copy
import inspect
from typing import Self

import numpy as np

from coincide.space.grid import Grid
from coincide.transforms.newton import Newton
from coincide.transforms.transform import Transform

WRITTEN = 128  # voxels along the longest axis of the field that stands in for it where one must


class Implicit(Transform):
    """A map in the weights of networks, made over the grid that it is first put on.

    A part is called with numbers that say what the networks are like, which it keeps under their
    names, and with `grid`; without it there are no networks yet, and it is the identity. Finer
    grids change nothing.
    """

    grid: Grid | None

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for who cannot hold a network: 128 voxels along the longest axis."""
        return None if self.grid is None else sampling_grid(self.grid)

    def inverse(self) -> Transform:
        """The map back, point by point, by Newton's iteration.

        Raises:
            ValueError: if it has not been put on a grid.
        """
        self.placed()
        return Newton(self)

    def on(self, grid: Grid) -> Self:
        """A copy with the same map; new networks over `grid`, if it lies nowhere yet."""
        if self.grid is not None:
            return copy.deepcopy(self)
        names = inspect.signature(type(self)).parameters
        given = {name: getattr(self, name) for name in names if name != "grid"}
        return type(self)(**given, grid=grid)

    def placed(self) -> Grid:
        """The grid that it was first put on.

        Raises:
            ValueError: if there is none yet.
        """
        if self.grid is None:
            raise ValueError(f"this {self.name} has no grid yet; call .on(grid) first")
        return self.grid


def sampling_grid(grid: Grid) -> Grid:
    """A grid over the same box, 128 voxels along its longest axis, about as wide along the others.

    Args:
        grid: Over which the map lies.
    """
    size = float(grid.extent.max()) / WRITTEN
    shape = np.maximum(1, np.round(grid.extent / size)).astype(int)
    shape = np.where(np.array(grid.shape) == 1, 1, shape)
    affine = grid.affine.copy()
    affine[:-1, :-1] = grid.affine[:-1, :-1] * (np.array(grid.shape) / shape)
    affine[:-1, -1] = grid.centre - affine[:-1, :-1] @ ((shape - 1) / 2)
    return Grid(tuple(int(n) for n in shape), affine)
