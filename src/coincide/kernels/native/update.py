"""Compiled steps of the compositional update: force, largest move, composition."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import loop


@loop
def pull(slope, warped, metric, out):
    """Out = -metric · sum_c slope_c ∇warped_c: central differences, zero at the border."""
    channels, X, Y, Z = warped.shape
    half = warped.dtype.type(0.5)
    m00, m01, m02 = metric[0, 0] * half, metric[0, 1] * half, metric[0, 2] * half
    m11, m12, m22 = metric[1, 1] * half, metric[1, 2] * half, metric[2, 2] * half
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        i1, i2 = max(i - 1, 0), min(i + 1, X - 1)
        j1, j2 = max(j - 1, 0), min(j + 1, Y - 1)
        gx = np.zeros(Z, warped.dtype)
        gy = np.zeros(Z, warped.dtype)
        gz = np.zeros(Z, warped.dtype)
        for c in range(channels):
            s, w = slope[c, i, j], warped[c, i, j]
            a, b = warped[c, i1, j], warped[c, i2, j]
            d, e = warped[c, i, j1], warped[c, i, j2]
            for k in range(Z):
                gx[k] -= s[k] * (b[k] - a[k])
                gy[k] -= s[k] * (e[k] - d[k])
            for k in range(1, Z - 1):
                gz[k] -= s[k] * (w[k + 1] - w[k - 1])
        u, v, t = out[0, i, j], out[1, i, j], out[2, i, j]
        for k in range(Z):
            u[k] = m00 * gx[k] + m01 * gy[k] + m02 * gz[k]
            v[k] = m01 * gx[k] + m11 * gy[k] + m12 * gz[k]
            t[k] = m02 * gx[k] + m12 * gy[k] + m22 * gz[k]


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
