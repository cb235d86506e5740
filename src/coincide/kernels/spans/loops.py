"""Compiled search for what of an image can matter: of each row the voxels from where to where."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@loop
def extents(volume, spans):
    """Of each row of (X, Y, Z) what lies between background, the value of the first voxel of all.

    `spans` (X, Y, 2) receives the first such voxel and the one after the last; the same twice
    where there is none.
    """
    X, Y, Z = volume.shape
    ground = volume[0, 0, 0]
    for i in prange(X):
        for j in range(Y):
            row = volume[i, j]
            low, high = 0, Z
            while low < Z and row[low] == ground:
                low += 1
            while high > low and row[high - 1] == ground:
                high -= 1
            spans[i, j, 0], spans[i, j, 1] = low, high


@loop
def widened(spans, length, radius, out):
    """Of each row of `length` voxels those whose window meets a span."""
    X, Y, _ = spans.shape
    rx, ry, rz = radius
    for i in prange(X):
        # first over planes, then over rows: a box is as far as one after the other
        across = np.empty((Y, 2), np.int32)
        for j in range(Y):
            low, high = length, 0
            for p in range(max(0, i - rx), min(X, i + rx + 1)):
                if spans[p, j, 1] > spans[p, j, 0]:
                    low, high = min(low, spans[p, j, 0]), max(high, spans[p, j, 1])
            across[j, 0], across[j, 1] = low, high
        for j in range(Y):
            low, high = length, 0
            for q in range(max(0, j - ry), min(Y, j + ry + 1)):
                low, high = min(low, across[q, 0]), max(high, across[q, 1])
            if high > low:
                low, high = max(low - rz, 0), min(high + rz, length)
            else:
                low, high = 0, 0
            out[i, j, 0], out[i, j, 1] = low, high


@inline
def rows_of(spans, planes, low, high):
    """The first of the rows low ... high that has a span in some of the planes, and the last."""
    first, last = high, low
    for i in range(planes[0], planes[1]):
        for j in range(low, high):
            if spans[i, j, 1] > spans[i, j, 0]:
                first, last = min(first, j), max(last, j + 1)
    return first, last
