"""Grids and images that the tests share: oblique, flipped, anisotropic, in 2-D and 3-D."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from coincide.space.grid import Grid
from coincide.space.image import Image

SHAPES = {2: (13, 16), 3: (10, 12, 11)}


def turn(dim: int, seed: int) -> np.ndarray:
    """A random orthogonal matrix (D, D) that mirrors."""
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    q[:, 0] *= -np.sign(np.linalg.det(q))
    return q


def oblique(shape, *, spacing=None, seed=0, shift=7.0) -> Grid:
    """A flipped, oblique, anisotropic grid far from the origin."""
    dim = len(shape)
    step = np.array([1.0, 1.7, 0.8])[:dim] if spacing is None else np.broadcast_to(spacing, dim)
    affine = np.eye(dim + 1)
    affine[:-1, :-1] = turn(dim, seed) * step
    middle = affine[:-1, :-1] @ ((np.array(shape) - 1) / 2)
    affine[:-1, -1] = shift * np.arange(1, dim + 1) - middle
    return Grid(tuple(shape), affine)


def noise(shape, *, seed=0, sigma=1.0, batch=1, channels=1, dtype=torch.float32) -> torch.Tensor:
    """Smooth random values (B, C, *S) with mean 0 and variance 1."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((batch, channels, *shape))
    if sigma:
        values = gaussian_filter(values, (0, 0, *(sigma,) * len(shape)))
    return torch.tensor((values - values.mean()) / values.std(), dtype=dtype)


def image(shape, *, seed=0, grid=None, sigma=1.0, batch=1, dtype=torch.float32) -> Image:
    """A smooth random image; on an oblique grid unless one is given."""
    where = oblique(shape) if grid is None else grid
    return Image(noise(shape, seed=seed, sigma=sigma, batch=batch, dtype=dtype), where)
