"""Smooth: Gaussian and box filters, mirrored at the border so that they are their own adjoint."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume


def gaussian(volume: Volume, sigma: Sequence[float], *, out: Tensor | None = None) -> Volume:
    """Gaussian filter of (B, C, *S), cut at three sigma and normalised.

    Args:
        volume: Values.
        sigma: Standard deviation along each axis, in voxels; 0 leaves the axis alone.
        out: Where to write the result, without gradient; `volume` itself costs a copy.
    """
    return filtered(volume, [gaussian_weights(s) for s in sigma], out=out)


def box(volume: Volume, radius: Sequence[int], *, out: Tensor | None = None) -> Volume:
    """Mean over a box of 2·radius + 1 voxels along each axis, (B, C, *S)."""
    return filtered(volume, [np.full(2 * r + 1, 1 / (2 * r + 1)) for r in radius], out=out)


def filtered(volume: Volume, weights: Sequence[np.ndarray], *, out: Tensor | None = None) -> Volume:
    """Separable filter with odd, symmetric weights along each axis.

    Args:
        volume: (B, C, *S).
        weights: One array of odd length an axis, symmetric about its middle.
        out: Where to write the result, without gradient; `volume` itself costs a copy.

    Returns:
        (B, C, *S), differentiable where no `out` is given.
    """
    # one voxel, mirrored, is the same everywhere: no filter of sum one changes it
    weights = [w if n > 1 else np.ones(1) for w, n in zip(weights, volume.shape[2:], strict=True)]
    if out is not None:
        return backend("smooth.filter_into", {"volume": volume})(volume, weights, out)
    return backend("smooth.filtered", {"volume": volume})(volume, weights)


@cache
def gaussian_weights(sigma: float) -> np.ndarray:
    """Sampled Gaussian of standard deviation `sigma` voxels, cut at three sigma, sum 1."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    weights /= weights.sum()
    # one array for all who ask
    weights.flags.writeable = False
    return weights
