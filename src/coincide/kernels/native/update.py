"""Compiled steps of the compositional update: force, largest move, composition."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def descend(slope, volume, i, j, force):
    """Subtract, in row (i, j), slope times twice the gradient of (X, Y, Z) from `force` (3, Z)."""
    X, Y, Z = volume.shape
    gx, gy, gz = force
    w = volume[i, j]
    a, b = volume[max(i - 1, 0), j], volume[min(i + 1, X - 1), j]
    for k in range(Z):
        gx[k] -= slope[k] * (b[k] - a[k])
    d, e = volume[i, max(j - 1, 0)], volume[i, min(j + 1, Y - 1)]
    for k in range(Z):
        gy[k] -= slope[k] * (e[k] - d[k])
    for k in range(1, Z - 1):
        gz[k] -= slope[k] * (w[k + 1] - w[k - 1])
    if Z > 1:
        gz[0] -= slope[0] * (w[1] - w[0])
        gz[-1] -= slope[-1] * (w[-1] - w[-2])


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
def pull(slope, warped, metric, out):
    """Out = -metric · sum_c slope_c ∇warped_c: central differences, border continued."""
    channels, X, Y, Z = warped.shape
    half = warped.dtype.type(0.5)
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        force = np.zeros((3, Z), warped.dtype)
        for c in range(channels):
            descend(slope[c, i, j], warped[c], i, j, force)
        turn(force, metric, half, i, j, out)


@loop
def largest(field, metric, rows):
    """Largest squared length in each row of planes, u · metric · u; rows has X entries."""
    _, X, Y, Z = field.shape
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
                slope = wx[k] * (b[k] - a[k]) + wy[k] * (e[k] - d[k])
                line[k] = u[k] + step * (w[k] + half * slope)
            for k in range(1, Z - 1):
                line[k] += half * step * wz[k] * (u[k + 1] - u[k - 1])
            if Z > 1:
                line[0] += half * step * wz[0] * (u[1] - u[0])
                line[-1] += half * step * wz[-1] * (u[-1] - u[-2])
