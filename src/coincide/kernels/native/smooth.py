"""Compiled separable filters: weights along each axis, borders mirrored at the outer faces."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def reflected(p, n):
    """Index p reflected at the outer faces of n voxels: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    while p < 0 or p >= n:
        p = -1 - p if p < 0 else 2 * n - 1 - p
    return p


@loop
def separable(volume, wx, wy, wz, scratch, out):
    """Filter (C, X, Y, Z) with odd symmetric weights; `scratch` has the shape of `out`."""
    channels, X, Y, Z = volume.shape
    rx, ry, rz = wx.size // 2, wy.size // 2, wz.size // 2
    for plane in prange(channels * X):
        c = plane // X
        i = plane - c * X
        padded = np.empty(Z + 2 * rz, volume.dtype)
        rows = np.empty((Y, Z), volume.dtype)
        for j in range(Y):
            line, row = volume[c, i, j], rows[j]
            for k in range(Z):
                padded[k + rz] = line[k]
            for k in range(rz):
                padded[k] = line[reflected(k - rz, Z)]
                padded[rz + Z + k] = line[reflected(Z + k, Z)]
            for k in range(Z):
                row[k] = wz[rz] * padded[k + rz]
            for t in range(rz):
                weight = wz[t]
                for k in range(Z):
                    row[k] += weight * (padded[k + t] + padded[k + 2 * rz - t])
        for j in range(Y):
            line, row = scratch[c, i, j], rows[j]
            for k in range(Z):
                line[k] = wy[ry] * row[k]
            for t in range(ry):
                weight = wy[t]
                below, above = rows[reflected(j + t - ry, Y)], rows[reflected(j + ry - t, Y)]
                for k in range(Z):
                    line[k] += weight * (below[k] + above[k])
    for plane in prange(channels * X):
        c = plane // X
        i = plane - c * X
        for j in range(Y):
            line, row = out[c, i, j], scratch[c, i, j]
            for k in range(Z):
                line[k] = wx[rx] * row[k]
            for t in range(rx):
                weight = wx[t]
                below = scratch[c, reflected(i + t - rx, X), j]
                above = scratch[c, reflected(i + rx - t, X), j]
                for k in range(Z):
                    line[k] += weight * (below[k] + above[k])
