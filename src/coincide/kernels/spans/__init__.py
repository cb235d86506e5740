"""Spans: of each row of voxels along the last axis, from where to where it can matter.

Half of an image of a brain is empty, and most of the time of a dense kernel is spent there. Spans
are arrays (X, Y, 2) of the first voxel and the one after the last, of three axes as in
`coincide.kernels.as_3d`.
"""

import numpy as np

from coincide.kernels.as_3d import as_3d
from coincide.kernels.spans import loops
from coincide.space.shapes import Volume


def whole(shape: tuple[int, ...]) -> np.ndarray:
    """All voxels of a volume (X, Y, Z)."""
    spans = np.zeros((*shape[:2], 2), np.int32)
    spans[..., 1] = shape[2]
    return spans


def extents(volume: np.ndarray) -> np.ndarray:
    """What lies between background, the value of the first voxel, in every row of (X, Y, Z)."""
    spans = np.empty((*volume.shape[:2], 2), np.int32)
    loops.extents(volume, spans)
    return spans


def widened(spans: np.ndarray, length: int, reach: tuple[int, ...]) -> np.ndarray:
    """Of each row of `length` voxels those that have a span within reach along each axis."""
    out = np.empty_like(spans)
    loops.widened(spans, length, reach, out)
    return out


def support(volume: Volume, radius: tuple[int, ...]) -> np.ndarray:
    """The voxels that lie in some window with more than background, in any image or channel.

    Args:
        volume: (B, C, *S) values.
        radius: Half width of the windows along each axis, voxels.
    """
    images = as_3d(volume)
    # twice: a voxel matters if a window it lies in sees something, and windows reach as far again
    reach = (0,) * (3 - len(radius)) + tuple(2 * r for r in radius)
    found = np.stack([extents(image) for pair in images for image in pair])
    some = found[..., 1] > found[..., 0]
    length = images.shape[-1]
    # rows without a span must not have a say in the least and the largest
    low = np.where(some, found[..., 0], length).min(0)
    high = np.where(some, found[..., 1], 0).max(0)
    # a row that is empty in all images has low = length and high = 0: it becomes (0, 0)
    return widened(np.stack([np.minimum(low, high), high], -1), length, reach)
