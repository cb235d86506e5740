"""MIND: distances between neighbouring patches of an image, made into descriptors."""

import numpy as np

from coincide.kernels.backend import backend
from coincide.space.shapes import Volume


def descriptors(
    volume: Volume, first: np.ndarray, second: np.ndarray, radius: int, floor: float
) -> Volume:
    r"""$\exp(-(D_c - \min D) / V)$ for patch distances $D_c$ between two shifted copies.

    Args:
        volume: (B, 1, *S) intensities.
        first: (C, D) integer offsets, voxels, of the first patch of each channel.
        second: (C, D) the same of the second patch.
        radius: Half width of the patch, voxels.
        floor: V, the mean over channels, is held between `floor` and 1/`floor` times its mean
            over the volume.

    Returns:
        (B, C, *S) in (0, 1], the largest channel 1 at every voxel; differentiable in `volume`.
    """
    run = backend("mind.descriptors", {"volume": volume})
    return run(volume, first, second, radius, floor)
