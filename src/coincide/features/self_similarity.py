"""Self-similarity: each place described by distances between patches around it."""

import numpy as np

from coincide.features.channels import of_each
from coincide.kernels.mind import descriptors
from coincide.space.filled import filled
from coincide.space.image import Image

FLOOR = 1e-3  # the noise estimate is held between this and its inverse, times its mean


def neighbours(dim: int, dilation: int) -> np.ndarray:
    """Offsets of the 2D face neighbours at `dilation` voxels, (2D, D)."""
    axes = dilation * np.eye(dim, dtype=int)
    return np.concatenate([-axes, axes])


def adjacent_pairs(dim: int, dilation: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of face neighbours next to each other: offsets of the first and of the second."""
    offsets = neighbours(dim, dilation)
    pairs = [
        (a, b)
        for n, a in enumerate(offsets)
        for b in offsets[n + 1 :]
        # next to each other across an edge; opposite neighbours are twice the dilation apart
        if ((a - b) ** 2).sum() == 2 * dilation**2
    ]
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])


def self_similarity(image: Image, first: np.ndarray, second: np.ndarray, radius: int) -> Image:
    """Descriptors of every channel, one for each pair of offsets; see `mind`.

    What a mask leaves out enters no patch: there the image is filled from inside.
    """
    return of_each(image, lambda one: descriptors(filled(one).data, first, second, radius, FLOOR))
