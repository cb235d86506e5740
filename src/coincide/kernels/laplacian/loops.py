"""Compiled second differences along the voxel axes and their adjoint.

The outermost voxels take the second difference of their neighbours, so that a parabola has the same
everywhere; an axis of fewer than three voxels has none.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@loop
def laplacian(volume, weight, out):
    """Out (X, Y, Z) = sum over axes of weight (3) times the second difference."""
    X, Y, Z = volume.shape
    f = volume.dtype.type
    wx = weight[0] if X > 2 else f(0)
    wy = weight[1] if Y > 2 else f(0)
    wz = weight[2] if Z > 2 else f(0)
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        ci, cj = min(max(i, 1), max(X - 2, 0)), min(max(j, 1), max(Y - 2, 0))
        a, b, c = volume[max(ci - 1, 0), j], volume[ci, j], volume[min(ci + 1, X - 1), j]
        p, q, r = volume[i, max(cj - 1, 0)], volume[i, cj], volume[i, min(cj + 1, Y - 1)]
        s, line = volume[i, j], out[i, j]
        for k in range(Z):
            line[k] = wx * (a[k] - 2 * b[k] + c[k]) + wy * (p[k] - 2 * q[k] + r[k])
        for k in range(1, Z - 1):
            line[k] += wz * (s[k - 1] - 2 * s[k] + s[k + 1])
        if Z > 2:
            line[0] += wz * (s[0] - 2 * s[1] + s[2])
            line[Z - 1] += wz * (s[Z - 3] - 2 * s[Z - 2] + s[Z - 1])


@inline
def collected(rows, i, n, weight, line):
    """Add to `line` what second differences along the first axis of (n, Z) give to place i."""
    # empty along an axis of one or two voxels, which has no second difference
    for m in range(max(i - 1, 1), min(i + 1, n - 2) + 1):
        factor = -2 * weight if m == i else weight
        for k in range(line.size):
            line[k] += factor * rows[m, k]
        # the ends borrowed the difference of their neighbours
        if m == 1:
            for k in range(line.size):
                line[k] += factor * rows[0, k]
        if m == n - 2:
            for k in range(line.size):
                line[k] += factor * rows[n - 1, k]


@loop
def adjoint(gradient, weight, out):
    """Adjoint of `laplacian`, from (X, Y, Z) to (X, Y, Z)."""
    X, Y, Z = gradient.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        line = out[i, j]
        line[:] = 0
        collected(gradient[:, j], i, X, weight[0], line)
        collected(gradient[i], j, Y, weight[1], line)
        if Z > 2:
            # differences about 1 ... Z - 2, with nothing around them
            there = np.zeros(Z + 2, gradient.dtype)
            for k in range(Z):
                there[min(max(k, 1), Z - 2) + 1] += gradient[i, j, k]
            for k in range(Z):
                line[k] += weight[2] * (there[k] - 2 * there[k + 1] + there[k + 2])
