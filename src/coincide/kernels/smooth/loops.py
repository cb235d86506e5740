"""Compiled separable filters: weights along each axis, borders mirrored at the outer faces.

Mirrored at the faces, not at the centres of the outermost voxels: then what leaves on one side
comes back on the same voxels, the sum of an image stays, and the filter is its own adjoint, so that
its backward pass is itself.

Every plane is cut into strips of rows, small enough to stay in the cache. A strip is filtered along
the three axes, one after the other, as one long run of voxels, whatever the length of its rows;
what was mixed up across their ends is then done anew.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def reflected(p, n):
    """Index p reflected at the outer faces of n voxels: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    while p < 0 or p >= n:
        p = -1 - p if p < 0 else 2 * n - 1 - p
    return p


@inline
def begin(line, m, t, a, b, u, c, d, v, e, f, w):
    """The middle and three symmetric pairs, with their weights."""
    for k in range(line.size):
        line[k] = t * m[k] + u * (a[k] + b[k]) + v * (c[k] + d[k]) + w * (e[k] + f[k])


@inline
def add(line, a, b, u, c, d, v, e, f, w):
    """Three more pairs."""
    for k in range(line.size):
        line[k] += u * (a[k] + b[k]) + v * (c[k] + d[k]) + w * (e[k] + f[k])


@inline
def ends(row, radius, weights, line):
    """The first and last voxels of a filtered row, where its neighbours are reflected."""
    size = row.size
    # then a window near one end is reflected there, once, and does not reach the other
    if size >= 2 * radius:
        for k in range(radius):
            left, right = weights[0] * row[k], weights[0] * row[size - 1 - k]
            for t in range(1, radius + 1):
                p = k - t if k >= t else t - 1 - k
                left += weights[t] * (row[k + t] + row[p])
                right += weights[t] * (row[size - 1 - k - t] + row[size - 1 - p])
            line[k], line[size - 1 - k] = left, right
    else:
        for k in range(size):
            total = weights[0] * row[k]
            for t in range(1, radius + 1):
                total += weights[t] * (row[reflected(k - t, size)] + row[reflected(k + t, size)])
            line[k] = total


@loop
def separable(volume, wx, wy, wz, strip, out):
    """Filter (C, X, Y, Z) with odd symmetric weights, their halves padded to multiples of three.

    The weights are those from the centre outwards; `strip` is the number of rows worked on
    together; `out` is not `volume`.
    """
    channels, X, Y, Z = volume.shape
    rx, ry, rz = wx.size - 1, wy.size - 1, wz.size - 1
    strips = (Y + strip - 1) // strip
    planes, target = volume.reshape(channels, X, Y * Z), out.reshape(channels, X, Y * Z)
    for task in prange(channels * strips * X):
        c = task // (strips * X)
        part = (task - c * strips * X) // X
        i = task - (c * strips + part) * X
        first = part * strip
        count = min(strip, Y - first)
        wide = np.empty((count + 2 * ry) * Z, volume.dtype)
        rows = np.zeros(count * Z + 2 * rz, volume.dtype)
        # along the first axis, with the rows that the second needs on both sides
        low, high = max(first - ry, 0), min(first + count + ry, Y)
        s, e = low * Z, high * Z
        line = wide[(low - first + ry) * Z : (high - first + ry) * Z]
        for t in range(1, rx + 1, 3):
            p, q = planes[c, reflected(i - t, X), s:e], planes[c, reflected(i + t, X), s:e]
            a, b = planes[c, reflected(i - t - 1, X), s:e], planes[c, reflected(i + t + 1, X), s:e]
            f, g = planes[c, reflected(i - t - 2, X), s:e], planes[c, reflected(i + t + 2, X), s:e]
            if t == 1:
                middle = planes[c, i, s:e]
                begin(line, middle, wx[0], p, q, wx[1], a, b, wx[2], f, g, wx[3])
            else:
                add(line, p, q, wx[t], a, b, wx[t + 1], f, g, wx[t + 2])
        for n in range(count + 2 * ry):
            j = first + n - ry
            # filtering along x knows nothing of rows: those beyond the volume mirror the filtered
            if j < 0 or j >= Y:
                q = reflected(j, Y) - first + ry
                for k in range(Z):
                    wide[n * Z + k] = wide[q * Z + k]
        size = count * Z
        line = rows[rz : rz + size]
        for t in range(1, ry + 1, 3):
            s, e = (ry - t) * Z, (ry + t) * Z
            p, q = wide[s : s + size], wide[e : e + size]
            a, b = wide[s - Z : s - Z + size], wide[e + Z : e + Z + size]
            f, g = wide[s - 2 * Z : s - 2 * Z + size], wide[e + 2 * Z : e + 2 * Z + size]
            if t == 1:
                middle = wide[ry * Z : ry * Z + size]
                begin(line, middle, wy[0], p, q, wy[1], a, b, wy[2], f, g, wy[3])
            else:
                add(line, p, q, wy[t], a, b, wy[t + 1], f, g, wy[t + 2])
        line = target[c, i, first * Z : first * Z + size]
        for t in range(1, rz + 1, 3):
            s, e = rz - t, rz + t
            p, q = rows[s : s + size], rows[e : e + size]
            a, b = rows[s - 1 : s - 1 + size], rows[e + 1 : e + 1 + size]
            f, g = rows[s - 2 : s - 2 + size], rows[e + 2 : e + 2 + size]
            if t == 1:
                middle = rows[rz : rz + size]
                begin(line, middle, wz[0], p, q, wz[1], a, b, wz[2], f, g, wz[3])
            else:
                add(line, p, q, wz[t], a, b, wz[t + 1], f, g, wz[t + 2])
        for n in range(count):
            row, line = rows[rz + n * Z : rz + (n + 1) * Z], out[c, i, first + n]
            ends(row, rz, wz, line)
