"""Compiled self-similarity context: patch distances between pairs of shifted copies."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def held(p, n):
    """Index p held inside n voxels."""
    return min(max(p, 0), n - 1)


@inline
def squared(a, b, first, second, total):
    """total[k] += (a[k + first] - b[k + second])², rows continued by their ends."""
    size = total.size
    low = min(max(0, -first, -second), size)
    high = max(size - max(0, first, second), low)
    p, q, t = a[low + first : high + first], b[low + second : high + second], total[low:high]
    for k in range(high - low):
        t[k] += (p[k] - q[k]) * (p[k] - q[k])
    for k in range(low):
        d = a[held(k + first, size)] - b[held(k + second, size)]
        total[k] += d * d
    for k in range(high, size):
        d = a[held(k + first, size)] - b[held(k + second, size)]
        total[k] += d * d


@inline
def along(line, radius, count, out):
    """Sums over 2 radius + 1 neighbours along a row continued by its ends, divided by `count`."""
    size = out.size
    for k in range(size):
        out[k] = line[k]
    for q in range(1, min(radius, size - 1) + 1):
        before, after = line[: size - q], line[q:]
        start, end = out[: size - q], out[q:]
        for k in range(size - q):
            start[k] += after[k]
        for k in range(size - q):
            end[k] += before[k]
        for k in range(q):
            out[k] += line[0]
            out[size - 1 - k] += line[size - 1]
    for _ in range(size, radius + 1):
        for k in range(size):
            out[k] += line[0] + line[size - 1]
    for k in range(size):
        out[k] /= count


@loop
def distances(volume, first, second, radius, out):
    """out[c] = mean over a (2r+1) box of (I(x + first_c) - I(x + second_c))², border continued.

    `first` and `second` are (C, 3) offsets in voxels, `radius` (3,).
    """
    X, Y, Z = volume.shape
    channels = out.shape[0]
    rx, ry, rz = radius[0], radius[1], radius[2]
    count = volume.dtype.type((2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1))
    for plane in prange(channels * X):
        c = plane // X
        i = plane - c * X
        ax, ay, az = first[c, 0], first[c, 1], first[c, 2]
        bx, by, bz = second[c, 0], second[c, 1], second[c, 2]
        summed = np.zeros((Y, Z), volume.dtype)
        line = np.empty(Z, volume.dtype)
        for q in range(-rx, rx + 1):
            centre = held(i + q, X)
            x1, x2 = held(centre + ax, X), held(centre + bx, X)
            for j in range(Y):
                a, b = volume[x1, held(j + ay, Y)], volume[x2, held(j + by, Y)]
                squared(a, b, az, bz, summed[j])
        for j in range(Y):
            row = out[c, i, j]
            for k in range(Z):
                line[k] = summed[j, k]
            for q in range(1, ry + 1):
                below, above = summed[held(j - q, Y)], summed[held(j + q, Y)]
                for k in range(Z):
                    line[k] += below[k] + above[k]
            along(line, rz, count, row)


@inline
def decay(row, least, spread):
    """In place: exp((least - x) / spread), the 64th power of a series, on many voxels at once."""
    f = row.dtype.type
    for k in range(row.size):
        y = max((least[k] - row[k]) / spread[k], f(-80)) / f(64)
        e = f(1)
        for n in range(12, 0, -1):
            e = f(1) + e * y / f(n)
        for _ in range(6):
            e *= e
        row[k] = e


@loop
def descriptors(distance, low, high):
    """In place: exp(-(D - min D) / V) with V the channel mean held between `low` and `high`."""
    channels, X, Y, Z = distance.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        least = distance[0, i, j].copy()
        spread = np.zeros(Z, distance.dtype)
        for c in range(channels):
            d = distance[c, i, j]
            for k in range(Z):
                least[k] = min(least[k], d[k])
            for k in range(Z):
                spread[k] += d[k]
        for k in range(Z):
            spread[k] = min(max(spread[k] / channels - least[k], low), high)
        for c in range(channels):
            decay(distance[c, i, j], least, spread)
