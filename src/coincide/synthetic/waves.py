"""Waves: smooth random functions of the world, the same on every grid that samples them."""

from collections.abc import Sequence

import numpy as np

from coincide.space.grid import Grid

WAVES = 64


def smooth(
    grid: Grid, *, sigma: float | Sequence[float], channels: int, random: np.random.Generator
) -> np.ndarray:
    r"""Smooth random functions at the voxels of a grid.

    A sum of plane waves about the centre of the grid, with normally distributed frequencies,
    approaches a Gaussian random field with mean 0, variance 1 and correlation
    $\exp(-r^2 / 2\sigma^2)$. The waves belong to the world, so a finer grid with the same centre
    samples the same functions.

    Args:
        grid: Where the values are wanted.
        sigma: Correlation length, mm, > 0; one number, or one for each world axis.
        channels: Number of independent functions.
        random: Source of the frequencies, amplitudes and phases.

    Returns:
        (channels, *S) float32.
    """
    frequency = random.standard_normal((WAVES, grid.dim)) / np.asarray(sigma)  # radians per mm
    amplitude = random.standard_normal((channels, WAVES, 2)) @ np.array([1, 1j])
    voxel = frequency @ grid.affine[:-1, :-1]  # radians per voxel along each axis
    product = amplitude / np.sqrt(WAVES)
    for axis, count in enumerate(grid.shape):
        steps = np.arange(count) - (count - 1) / 2
        wave = np.exp(1j * voxel[:, axis, None] * steps)  # (WAVES, count)
        if axis < grid.dim - 1:
            product = product[..., None, :] * wave.T
        else:
            product = (product.astype(np.complex64) @ wave.astype(np.complex64)).real
    return np.ascontiguousarray(product, dtype=np.float32)
