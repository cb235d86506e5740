"""Compiled steps of the compositional update: force, largest move, composition."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def descend(gradient, volume, i, j, force):
    """Subtract, in row (i, j), gradient times twice the slope of (X, Y, Z) from `force` (3, Z).

    Twice, because halving is left to `turn`, once for all channels. At a border the image is
    continued by its last voxel, so that the slope there is half a one-sided difference.
    """
    X, Y, Z = volume.shape
    gx, gy, gz = force
    w = volume[i, j]
    a, b = volume[max(i - 1, 0), j], volume[min(i + 1, X - 1), j]
    for k in range(Z):
        gx[k] -= gradient[k] * (b[k] - a[k])
    d, e = volume[i, max(j - 1, 0)], volume[i, min(j + 1, Y - 1)]
    for k in range(Z):
        gy[k] -= gradient[k] * (e[k] - d[k])
    for k in range(1, Z - 1):
        gz[k] -= gradient[k] * (w[k + 1] - w[k - 1])
    if Z > 1:
        gz[0] -= gradient[0] * (w[1] - w[0])
        gz[-1] -= gradient[-1] * (w[-1] - w[-2])


@inline
def turn(force, metric, scale, i, j, out):
    """Row (i, j) of out (3, X, Y, Z) = scale · metric · force."""
    gx, gy, gz = force
    for axis in range(3):
        line = out[axis, i, j]
        u, v, t = scale * metric[axis, 0], scale * metric[axis, 1], scale * metric[axis, 2]
        for k in range(line.size):
            line[k] = u * gx[k] + v * gy[k] + t * gz[k]


@loop
def force(gradient, warped, metric, out):
    """Out = -metric · sum_c gradient_c ∇warped_c: central differences, border continued."""
    channels, X, Y, Z = warped.shape
    half = warped.dtype.type(0.5)
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        row_force = np.zeros((3, Z), warped.dtype)
        for c in range(channels):
            descend(gradient[c, i, j], warped[c], i, j, row_force)
        turn(row_force, metric, half, i, j, out)


@loop
def largest(field, metric, rows):
    """Largest squared length in each plane, u · metric · u; `rows` has X entries.

    One entry a plane, not one number that all threads update: a maximum taken in any order is the
    same, but a shared one would have to be locked.
    """
    _, X, Y, Z = field.shape
    # the matrix is symmetric: the entries on both sides of the diagonal at once
    m00, m01, m02 = metric[0, 0], 2 * metric[0, 1], 2 * metric[0, 2]
    m11, m12, m22 = metric[1, 1], 2 * metric[1, 2], metric[2, 2]
    for i in prange(X):
        best = field.dtype.type(0)
        for j in range(Y):
            a, b, c = field[0, i, j], field[1, i, j], field[2, i, j]
            for k in range(Z):
                x, y, z = a[k], b[k], c[k]
                size = x * (m00 * x + m01 * y + m02 * z) + y * (m11 * y + m12 * z) + m22 * z * z
                best = max(best, size)
        rows[i] = best


@loop
def compose(field, update, step, out):
    """First-order composition: out = u + s·w + s·(w·∇)u, everything in voxels."""
    _, X, Y, Z = field.shape
    half = field.dtype.type(0.5)
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        i1, i2 = max(i - 1, 0), min(i + 1, X - 1)
        j1, j2 = max(j - 1, 0), min(j + 1, Y - 1)
        wx, wy, wz = update[0, i, j], update[1, i, j], update[2, i, j]
        for c in range(3):
            u, w, line = field[c, i, j], update[c, i, j], out[c, i, j]
            a, b = field[c, i1, j], field[c, i2, j]
            d, e = field[c, i, j1], field[c, i, j2]
            for k in range(Z):
                # the border is continued as in `force`: half of the one difference that is left
                slope = wx[k] * (b[k] - a[k]) + wy[k] * (e[k] - d[k])
                line[k] = u[k] + step * (w[k] + half * slope)
            for k in range(1, Z - 1):
                line[k] += half * step * wz[k] * (u[k + 1] - u[k - 1])
            if Z > 1:
                line[0] += half * step * wz[0] * (u[1] - u[0])
                line[-1] += half * step * wz[-1] * (u[-1] - u[-2])
