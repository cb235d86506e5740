"""MIND: distances between neighbouring patches of an image, made into descriptors."""

import numpy as np
import torch

from coincide.kernels.backend import backend
from coincide.kernels.native import mind as native
from coincide.kernels.native.jit import lifted
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
        (B, C, *S) in (0, 1], the largest channel 1 at every voxel. No gradient.
    """
    if volume.device.type != "cpu":
        return backend(volume, "mind").descriptors(volume, first, second, radius, floor)
    source = lifted(volume)
    out = torch.empty(len(volume), len(first), *volume.shape[2:], dtype=volume.dtype)
    target = lifted(out)
    missing = 3 - first.shape[1]
    a = np.pad(first, ((0, 0), (missing, 0))).astype(np.int64)
    b = np.pad(second, ((0, 0), (missing, 0))).astype(np.int64)
    reach = np.array([radius if n > 1 else 0 for n in source.shape[2:]], np.int64)
    for pair in range(len(source)):
        native.distances(source[pair, 0], a, b, reach, target[pair])
        mean = max(float((out[pair].mean(0) - out[pair].amin(0)).mean()), 1e-12)
        kind = target.dtype.type
        native.descriptors(target[pair], kind(floor * mean), kind(mean / floor))
    return out
