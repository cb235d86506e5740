"""Working: the grid on which a network is shown two images."""

import numpy as np

from coincide.space.grid import Grid
from coincide.space.orientation import axes


def working_grid(grid: Grid, spacing: float) -> Grid:
    """Cubes over a grid, axes in the order and sense of the world, an even number along each.

    Voxels that are such cubes already are kept where they lie, so that nothing is interpolated; an
    odd number of them is continued by one at the end.

    Args:
        grid: Of the fixed image.
        spacing: Edge, mm; 0: the finest edge of the grid.
    """
    edge = spacing or grid.finest
    order, _ = axes(grid)
    extent = grid.extent[order]
    sense = np.where([grid.direction[w, a] < 0 for w, a in enumerate(order)], -1, 1)
    # a little less, so that rounding errors add no voxel
    shape = np.maximum(1, np.ceil(extent / edge - 1e-3)).astype(int)
    affine = np.eye(grid.dim + 1)
    affine[:-1, :-1] = grid.direction[:, order] * sense * edge
    affine[:-1, -1] = grid.centre - affine[:-1, :-1] @ ((shape - 1) / 2)
    shape = shape + shape % 2
    return Grid(tuple(int(n) for n in shape), affine)
