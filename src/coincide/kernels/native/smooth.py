"""Compiled separable filters: weights along each axis, borders mirrored at the outer faces.

A volume is cut into strips of rows. Along each strip the planes are filtered in the other two axes
one after the other and kept in a ring, just as many as the filter along the first axis needs, so
that a value is read from memory once and written once.
"""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def reflected(p, n):
    """Index p reflected at the outer faces of n voxels: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    while p < 0 or p >= n:
        p = -1 - p if p < 0 else 2 * n - 1 - p
    return p


@inline
def begin(line, m, t, a, b, u, c, d, v, e, f, w):
    """The middle row and three symmetric pairs of rows with their weights."""
    for k in range(line.size):
        line[k] = t * m[k] + u * (a[k] + b[k]) + v * (c[k] + d[k]) + w * (e[k] + f[k])


@inline
def add(line, a, b, u, c, d, v, e, f, w):
    """Three more pairs."""
    for k in range(line.size):
        line[k] += u * (a[k] + b[k]) + v * (c[k] + d[k]) + w * (e[k] + f[k])


@loop
def separable(volume, wx, wy, wz, strip, out):
    """Filter (C, X, Y, Z) with odd symmetric weights, their halves padded to multiples of three.

    The weights are those from the centre outwards; `strip` is the number of rows worked on
    together; `out` is not `volume`.
    """
    channels, X, Y, Z = volume.shape
    rx, ry, rz = wx.size - 1, wy.size - 1, wz.size - 1
    strips = (Y + strip - 1) // strip
    for task in prange(channels * strips):
        c = task // strips
        first = (task - c * strips) * strip
        count = min(strip, Y - first)
        padded = np.empty(Z + 2 * rz, volume.dtype)
        rows = np.empty((count + 2 * ry, Z), volume.dtype)
        ring = np.empty((2 * rx + 1, count, Z), volume.dtype)
        for p in range(-rx, X + rx):
            plane = volume[c, reflected(p, X)]
            for n in range(count + 2 * ry):
                line, row = plane[reflected(first + n - ry, Y)], rows[n]
                for k in range(Z):
                    padded[k + rz] = line[k]
                for k in range(rz):
                    padded[k] = line[reflected(k - rz, Z)]
                    padded[rz + Z + k] = line[reflected(Z + k, Z)]
                middle = padded[rz : rz + Z]
                for t in range(1, rz + 1, 3):
                    a, b = padded[rz - t : rz - t + Z], padded[rz + t : rz + t + Z]
                    d, e = padded[rz - t - 1 : rz - t - 1 + Z], padded[rz + t + 1 : rz + t + 1 + Z]
                    f, g = padded[rz - t - 2 : rz - t - 2 + Z], padded[rz + t + 2 : rz + t + 2 + Z]
                    if t == 1:
                        begin(row, middle, wz[0], a, b, wz[1], d, e, wz[2], f, g, wz[3])
                    else:
                        add(row, a, b, wz[t], d, e, wz[t + 1], f, g, wz[t + 2])
            slot = ring[(p + rx) % (2 * rx + 1)]
            for n in range(count):
                line, middle = slot[n], rows[n + ry]
                for t in range(1, ry + 1, 3):
                    a, b = rows[n + ry - t], rows[n + ry + t]
                    d, e = rows[n + ry - t - 1], rows[n + ry + t + 1]
                    f, g = rows[n + ry - t - 2], rows[n + ry + t + 2]
                    if t == 1:
                        begin(line, middle, wy[0], a, b, wy[1], d, e, wy[2], f, g, wy[3])
                    else:
                        add(line, a, b, wy[t], d, e, wy[t + 1], f, g, wy[t + 2])
            i = p - rx
            if i < 0:
                continue
            size = 2 * rx + 1
            for n in range(count):
                line, middle = out[c, i, first + n], ring[(i + rx) % size, n]
                for t in range(1, rx + 1, 3):
                    q = i + rx
                    a, b = ring[(q - t) % size, n], ring[(q + t) % size, n]
                    d, e = ring[(q - t - 1) % size, n], ring[(q + t + 1) % size, n]
                    f, g = ring[(q - t - 2) % size, n], ring[(q + t + 2) % size, n]
                    if t == 1:
                        begin(line, middle, wx[0], a, b, wx[1], d, e, wx[2], f, g, wx[3])
                    else:
                        add(line, a, b, wx[t], d, e, wx[t + 1], f, g, wx[t + 2])
