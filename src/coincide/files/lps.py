"""LPS: the world of ITK and DICOM, whose first two axes point the other way than ours."""

import numpy as np

from coincide.space.grid import Grid


def flip(dim: int) -> np.ndarray:
    """Signs that turn RAS+ into LPS+ coordinates and back, (D,): -1 for the first two axes."""
    signs = np.ones(dim)
    signs[:2] = -1
    return signs


def flipped_matrix(matrix: np.ndarray) -> np.ndarray:
    """A map of points, (D+1, D+1), seen in the other world."""
    signs = np.append(flip(len(matrix) - 1), 1)
    return signs[:, None] * matrix * signs


def affine_of(spacing: np.ndarray, direction: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """RAS+ affine (D+1, D+1), mm, of ITK's spacing, direction (D, D) and origin."""
    dim = len(origin)
    affine = np.eye(dim + 1)
    affine[:-1, :-1] = np.asarray(direction).reshape(dim, dim) * spacing
    affine[:-1, -1] = origin
    affine[:-1] *= flip(dim)[:, None]
    return affine


def geometry_of(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ITK's spacing (D,), direction (D, D) and origin (D,) of a grid, LPS+ mm."""
    signs = flip(grid.dim)
    return grid.spacing, signs[:, None] * grid.direction, signs * grid.origin


def shear(affine: np.ndarray) -> float:
    """Largest deviation of the angle between two axes from a right angle, degrees."""
    linear = affine[:-1, :-1]
    unit = linear / np.linalg.norm(linear, axis=0)
    cosines = np.abs(unit.T @ unit - np.eye(len(unit)))
    return float(np.degrees(np.arcsin(min(1.0, cosines.max()))))


def unsheared(grid: Grid) -> tuple[Grid, float]:
    """The nearest grid whose axes are at right angles, and the largest shift of a voxel, mm.

    The polar decomposition of the direction gives the rotation (or reflection) nearest to it; the
    centre of the grid stays where it is.
    """
    u, _, v = np.linalg.svd(grid.direction)
    affine = grid.affine.copy()
    affine[:-1, :-1] = (u @ v) * grid.spacing
    middle = (np.array(grid.shape) - 1) / 2
    affine[:-1, -1] = grid.centre - affine[:-1, :-1] @ middle
    result = Grid(grid.shape, affine)
    return result, apart(grid.affine, affine, grid.shape)


def apart(one: np.ndarray, two: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance between the places two affines give to a corner of the grid, mm."""
    dim = len(one) - 1
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:dim]])).reshape(dim, -1)
    change = (one - two)[:-1]
    return float(np.linalg.norm(change[:, :-1] @ corners + change[:, -1:], axis=0).max())
