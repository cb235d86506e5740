"""Compiled joint histograms of overlapping windows, as `histogram` makes one of the whole image.

Windows stand on a lattice and fall linearly to the next, so that along each axis a voxel counts in
two. Slabs between two planes of the lattice are worked on in two rounds, the even and the odd: no
two slabs of a round share a window, and sums do not depend on the thread count.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def weights(x, bins, w):
    """Cubic B-spline weights, into w, of the four bins from the returned one on."""
    first = min(int(x), bins - 3)
    t = x - first
    s = 1 - t
    w[0] = s * s * s / 6
    w[1] = 2.0 / 3 - t * t * (2 - t) / 2
    w[2] = 2.0 / 3 - s * s * (2 - s) / 2
    w[3] = t * t * t / 6
    return first - 1


@inline
def slopes(x, bins, w):
    """Derivatives of `weights`."""
    first = min(int(x), bins - 3)
    t = x - first
    s = 1 - t
    w[0] = -s * s / 2
    w[1] = 1.5 * t * t - 2 * t
    w[2] = 2 * s - 1.5 * s * s
    w[3] = t * t / 2
    return first - 1


@loop
def scatter(fixed, warped, mask, starts, low, high, table):
    """Add every voxel to the windows about it.

    Positions on the lattice are given for each axis as rows of `low` (window below) and `high`
    (weight of the window above); slab c holds the planes starts[c] to starts[c + 1]. `table` is
    (KX, KY, KZ, bins, bins).
    """
    _, Y, Z = fixed.shape
    bins = table.shape[3]
    slabs = starts.size - 1
    # a slab shares windows with the next, never with the one after that
    for parity in range(2):
        for half in prange((slabs + 1 - parity) // 2):
            slab = 2 * half + parity
            w = np.empty(4)
            for i in range(starts[slab], starts[slab + 1]):
                for j in range(Y):
                    for k in range(Z):
                        m = np.float64(mask[i, j, k])
                        if m <= 0:
                            continue
                        row = min(max(int(fixed[i, j, k]), 0), bins - 3)
                        x = min(max(np.float64(warped[i, j, k]), 1.0), bins - 2.0)
                        first = weights(x, bins, w)
                        for corner in range(8):
                            a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
                            wx = high[0, i] if a else 1 - high[0, i]
                            wy = high[1, j] if b else 1 - high[1, j]
                            wz = high[2, k] if c else 1 - high[2, k]
                            # the tents of the eight windows around a voxel add up to one
                            share = m * wx * wy * wz
                            line = table[low[0, i] + a, low[1, j] + b, low[2, k] + c, row]
                            for n in range(4):
                                line[first + n] += share * w[n]


@loop
def gather(fixed, warped, mask, low, high, table, out):
    """Gradient with respect to the warped values of sum(table · histograms)."""
    X, Y, Z = fixed.shape
    bins = table.shape[3]
    for i in prange(X):
        w = np.empty(4)
        for j in range(Y):
            for k in range(Z):
                m = np.float64(mask[i, j, k])
                x = np.float64(warped[i, j, k])
                # a value held at the end of the range stays in its bins if it changes a little
                if m <= 0 or x < 1 or x > bins - 2:
                    out[i, j, k] = 0
                    continue
                row = min(max(int(fixed[i, j, k]), 0), bins - 3)
                first = slopes(x, bins, w)
                total = 0.0
                for corner in range(8):
                    a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
                    wx = high[0, i] if a else 1 - high[0, i]
                    wy = high[1, j] if b else 1 - high[1, j]
                    wz = high[2, k] if c else 1 - high[2, k]
                    line = table[low[0, i] + a, low[1, j] + b, low[2, k] + c, row]
                    part = 0.0
                    for n in range(4):
                        part += line[first + n] * w[n]
                    total += wx * wy * wz * part
                out[i, j, k] = m * total
