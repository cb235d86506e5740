"""Orientation: axes of voxels in the order and sense of those of the world."""

import numpy as np

from coincide.space.grid import Grid
from coincide.space.image import Image


def axes(grid: Grid) -> tuple[list[int], list[int]]:
    """Which axis of a grid runs along each of the world, and dimensions that run against it.

    Returns:
        The grid's axis for each of the world's; and, once they are in that order, which of the
        dimensions of a tensor (B, C, *S) are to be flipped.
    """
    left = list(range(grid.dim))
    order, turned = [], []
    for world in range(grid.dim):
        axis = max(left, key=lambda a: abs(grid.direction[world, a]))
        left.remove(axis)
        order.append(axis)
        if grid.direction[world, axis] < 0:
            turned.append(2 + world)
    return order, turned


def oriented(image: Image) -> Image:
    """The same voxels at the same places, their axes in the order and sense of the world's."""
    order, turned = axes(image.grid)
    if order == sorted(order) and not turned:
        return image
    affine = image.grid.affine.copy()
    affine[:-1, :-1] = affine[:-1, :-1][:, order]
    shape = tuple(image.grid.shape[axis] for axis in order)
    for dimension in turned:
        axis = dimension - 2
        affine[:-1, -1] += affine[:-1, axis] * (shape[axis] - 1)
        affine[:-1, axis] *= -1
    data, mask = (
        part
        if part is None
        else part.permute(0, 1, *(2 + axis for axis in order)).flip(turned).contiguous()
        for part in (image.data, image.mask)
    )
    assert data is not None
    return Image(data, Grid(shape, np.asarray(affine)), mask)
