"""Lattice: voxels whose axes run as they do on the screen, and images seen on them."""

import numpy as np
import torch

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample


def facing(grid: Grid) -> Grid:
    """The same voxels with axes in the order and sense left, posterior, inferior.

    An axial slice then has the person's right on the left of the screen, as radiologists read it.
    Oblique images keep their own planes and are named after the nearest world axes.
    """
    direction = grid.direction
    left = set(range(grid.dim))
    columns = []
    for world in range(grid.dim):
        axis = max(left, key=lambda a: abs(direction[world, a]))
        left.remove(axis)
        columns.append((axis, direction[world, axis] > 0))
    affine = grid.affine.copy()
    corner = np.zeros(grid.dim)
    for column, (axis, backwards) in enumerate(columns):
        affine[:-1, column] = grid.affine[:-1, axis] * (-1 if backwards else 1)
        corner[axis] = grid.shape[axis] - 1 if backwards else 0
    affine[:-1, -1] = grid.to_world(corner)
    return Grid(tuple(grid.shape[axis] for axis, _ in columns), affine)


def spaced(grid: Grid, spacing: np.ndarray) -> Grid:
    """A lattice of another voxel size, mm, over the same box."""
    shape = np.maximum(1, np.round(grid.extent / spacing)).astype(int)
    factor = np.array(grid.shape) / shape
    affine = grid.affine.copy()
    affine[:-1, :-1] = grid.affine[:-1, :-1] * factor
    affine[:-1, -1] = grid.to_world((factor - 1) / 2)
    return Grid(tuple(shape.tolist()), affine)


def coarser(grid: Grid, most: int) -> Grid:
    """The same box with at most `most` voxels an axis, no finer than it is."""
    if max(grid.shape) <= most:
        return grid
    # an axis of few thick slices keeps them: only what is finer than needed is made coarser
    return spaced(grid, np.maximum(grid.spacing, grid.extent.max() / most))


def on(image: Image, lattice: Grid, *, nearest: bool = False) -> np.ndarray:
    """The channels of the first image on a lattice, (C, *S); zero outside of the image.

    Where the lattice takes whole voxels of the image, only turned, they are a view of its memory:
    interpolating millions of voxels at their own places would be most of the time of a report.

    Args:
        image: What to see.
        lattice: Where.
        nearest: Nearest neighbour, as labels need it; else linear.
    """
    data = image.data[:1].detach().cpu()
    turned = _turned(data[0].numpy(), lattice.index_in(image.grid), lattice.shape)
    if turned is not None:
        return turned
    if not nearest:
        data = data.to(torch.float32)
    seen = Image(data.contiguous(), image.grid)
    return resample(seen, lattice, interpolation="nearest" if nearest else "linear").data[0].numpy()


def inside(image: Image, lattice: Grid) -> np.ndarray:
    """Which voxels of a lattice lie within the box of an image, (*S) bool."""
    affine = lattice.index_in(image.grid)
    within = np.ones(lattice.shape, bool)
    axes = np.ogrid[tuple(slice(0, n) for n in lattice.shape)]
    for row, length in zip(affine[:-1], image.grid.shape, strict=True):
        at = row[-1] + sum(weight * axis for weight, axis in zip(row[:-1], axes, strict=True))
        within &= (at > -0.5) & (at < length - 0.5)
    return within


def _turned(data: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The view of (C, *N) on whole voxels; None where the lattice does not take such."""
    dim = len(shape)
    whole = np.round(affine)
    # half a hundredth of a voxel over the length of an axis is the rounding of float32 headers
    reach = np.abs(affine - whole)[:dim] @ [*shape, 1]
    steps = np.abs(whole[:dim, :dim])
    if reach.max() > 5e-3 or not ((steps.sum(0) == 1).all() and (steps.sum(1) == 1).all()):
        return None
    axes = [int(np.flatnonzero(whole[:dim, column])[0]) for column in range(dim)]
    cuts: list[slice] = []
    for column, axis in enumerate(axes):
        first, step = int(whole[axis, -1]), int(whole[axis, column])
        last = first + step * (shape[column] - 1)
        if min(first, last) < 0 or max(first, last) >= data.shape[1 + axis]:
            return None
        stop = last + step
        cuts.append(slice(first, None if stop < 0 else stop, step))
    return data.transpose(0, *(1 + axis for axis in axes))[(slice(None), *cuts)]
