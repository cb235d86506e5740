"""Compiled joint histogram: the fixed value picks a row, the warped value a B-spline window."""

import numpy as np
from numba import prange

from coincide.kernels.compile import loop


@loop
def scatter(fixed, warped, mask, partial):
    """Add every voxel to `partial` (chunks, bins, bins); values are in bins, mask holds weights.

    The first bin of a voxel is held at bins - 3, so that its last, three further on, exists: the
    upper end of the range is the far end of the last cell of bins, not the near end of another.
    """
    chunks, bins, _ = partial.shape
    size = (fixed.size + chunks - 1) // chunks
    for chunk in prange(chunks):
        table = partial[chunk]
        for p in range(chunk * size, min(fixed.size, (chunk + 1) * size)):
            m = mask[p]
            if m <= 0:
                continue
            row = min(max(int(fixed[p]), 0), bins - 3)
            # in double precision: a bin adds up millions of weights
            x = min(max(np.float64(warped[p]), 1.0), bins - 2.0)
            first = min(int(x), bins - 3)
            t = x - first
            s = 1 - t
            # the cubic B-spline about the four bins around x, which adds up to one
            table[row, first - 1] += m * s * s * s / 6
            table[row, first] += m * (2.0 / 3 - t * t * (2 - t) / 2)
            table[row, first + 1] += m * (2.0 / 3 - s * s * (2 - s) / 2)
            table[row, first + 2] += m * t * t * t / 6


@loop
def gather(fixed, warped, mask, table, out):
    """Gradient with respect to the warped values of sum(table · histogram)."""
    bins = table.shape[0]
    # every voxel writes to its own place, so the number of pieces changes nothing but the load
    chunks = 64
    size = (fixed.size + chunks - 1) // chunks
    for chunk in prange(chunks):
        for p in range(chunk * size, min(fixed.size, (chunk + 1) * size)):
            m = mask[p]
            x = np.float64(warped[p])
            # a value held at the end of the range stays in its bins if it changes a little
            if m <= 0 or x < 1 or x > bins - 2:
                out[p] = 0
                continue
            row = min(max(int(fixed[p]), 0), bins - 3)
            first = min(int(x), bins - 3)
            t = x - first
            s = 1 - t
            out[p] = m * (
                -s * s / 2 * table[row, first - 1]
                + (1.5 * t * t - 2 * t) * table[row, first]
                + (2 * s - 1.5 * s * s) * table[row, first + 1]
                + t * t / 2 * table[row, first + 2]
            )
