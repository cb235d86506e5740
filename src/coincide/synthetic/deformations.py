"""Deformations: random transforms whose truth is known."""

import numpy as np
import scipy
import torch

from coincide.space.grid import Grid
from coincide.synthetic.waves import smooth
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine


def smooth_displacement(grid: Grid, *, peak: float, sigma: float, seed: int = 0) -> Displacement:
    r"""A random smooth displacement that dies away towards the border of its grid.

    Up to a `peak` of half of `sigma` it does not fold; beyond that, look at the Jacobian.

    Args:
        grid: Where the displacement lives.
        peak: Length of the longest vector, mm, >= 0; reached exactly.
        sigma: Correlation length, mm, > 0.
        seed: Which displacement; the same on a finer grid with the same centre and extent, up to
            the place of its peak.

    Example:
        >>> from coincide.synthetic.deformations import smooth_displacement
        >>> from coincide.synthetic.phantoms import centred
        >>> grid = centred((16, 16, 16), spacing=2)
        >>> u = smooth_displacement(grid, peak=2, sigma=8, seed=1).displacement(grid)
        >>> round(u.norm(dim=1).max().item(), 4)
        2.0
    """
    random = np.random.default_rng(seed)
    field = smooth(grid, sigma=sigma, channels=grid.dim, random=random).astype(np.float64)
    for axis, (count, extent) in enumerate(zip(grid.shape, grid.extent, strict=True)):
        if count > 1:
            share = (np.arange(count) + 0.5) / count
            band = min(0.5, 3 * sigma / extent)
            rise = np.clip(np.minimum(share, 1 - share) / band, 0, 1)
            taper = np.sin(np.pi / 2 * rise) ** 2
            field *= taper.reshape([-1 if d == axis else 1 for d in range(grid.dim)])
    longest = np.sqrt((field**2).sum(0).max())
    field *= peak / longest
    return Displacement(field=torch.from_numpy(field.astype(np.float32))[None], grid=grid)


def random_affine(
    grid: Grid, *, degrees: float = 10.0, shift: float = 10.0, scale: float = 0.1, seed: int = 0
) -> Affine:
    """A random rotation, stretch and shift about the middle of a grid.

    Args:
        grid: Whose middle is turned about.
        degrees: Each angle of the rotation vector is drawn from plus or minus this many degrees.
        shift: Each component of the shift is drawn from plus or minus this many mm.
        scale: Each axis is stretched by a factor between 1 / (1 + scale) and 1 + scale.
        seed: Which affine.

    Example:
        >>> from coincide.synthetic.deformations import random_affine
        >>> from coincide.synthetic.phantoms import centred
        >>> random_affine(centred((8, 8)), degrees=0, shift=0, scale=0).numpy().round(6).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    random = np.random.default_rng(seed)
    dim = grid.dim
    skew = np.zeros((dim, dim))
    rows, columns = np.triu_indices(dim, 1)
    angles = np.deg2rad(degrees) * random.uniform(-1, 1, len(rows))
    skew[rows, columns], skew[columns, rows] = -angles, angles
    stretch = np.diag((1 + scale) ** random.uniform(-1, 1, dim))
    matrix = np.eye(dim + 1)
    matrix[:-1, :-1] = scipy.linalg.expm(skew) @ stretch
    offset = shift * random.uniform(-1, 1, dim)
    matrix[:-1, -1] = grid.centre + offset - matrix[:-1, :-1] @ grid.centre
    return Affine(matrix, centre=grid.centre, radius=float(np.linalg.norm(grid.extent) / 4))
