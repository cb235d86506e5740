"""Label map: whether an image that nobody has called one is one."""

from collections.abc import Iterator

import numpy as np

from coincide.files.stored import Stored

FEW, MANY = 32, 512
SAME = 0.5  # least share of neighbours with one value
SPARSE = 4000  # voxels looked at first: what has many values there is no label map


def label_values(source: Stored) -> int:
    """Number of different values if these voxels look like labels; 0 if not.

    Labels are whole numbers, stored without scaling, and

    - at most 32 different ones, such as the tissues of a segmentation, or
    - at most 512 different ones, as in an atlas, where at least half of the pairs of neighbours of
      which one is not the most common value (the background) have the same value. In an image with
      few grey values, neighbours differ by noise.

    Colours, vectors and images of one value are none.
    """
    array = source.array
    if source.channels in ("colour", "vectors") or source.slope != 1 or source.intercept != 0:
        return 0
    if array.dtype.kind not in "iubf" or not array.size:
        return 0
    step = max(1, array.size // SPARSE)
    flat = array.ravel(order="K") if array.flags.forc else array.reshape(-1)
    some = flat[::step]
    if not _whole(some) or len(np.unique(some)) > MANY:
        return 0
    known: set = set()
    for part in _parts(array):
        if not _whole(part):
            return 0
        known.update(np.unique(part).tolist())
        if len(known) > MANY:
            return 0
    if not 1 < len(known) <= MANY:
        return 0
    return len(known) if len(known) <= FEW or _coherent(array, some) else 0


def _coherent(array: np.ndarray, some: np.ndarray) -> bool:
    values, counts = np.unique(some, return_counts=True)
    ground = values[counts.argmax()]
    same = pairs = 0
    for part in _parts(array):
        for axis in range(min(part.ndim, 2)):
            one, other = np.delete(part, -1, axis), np.delete(part, 0, axis)
            seen = (one != ground) | (other != ground)
            same += int(((one == other) & seen).sum())
            pairs += int(seen.sum())
    return same >= SAME * pairs


def _whole(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.all(np.rint(array) == array))


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Planes of the first two axes, so that little memory is needed."""
    for rest in np.ndindex(*array.shape[2:]):
        yield array[(slice(None), slice(None), *rest)]
