"""Compiled self-similarity context: patch distances between pairs of shifted copies."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def held(p, n):
    """Index p held inside n voxels."""
    return min(max(p, 0), n - 1)


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
                total = summed[j]
                for k in range(Z):
                    d = a[held(k + az, Z)] - b[held(k + bz, Z)]
                    total[k] += d * d
        for j in range(Y):
            row = out[c, i, j]
            for k in range(Z):
                line[k] = summed[j, k]
            for q in range(1, ry + 1):
                below, above = summed[held(j - q, Y)], summed[held(j + q, Y)]
                for k in range(Z):
                    line[k] += below[k] + above[k]
            for k in range(Z):
                total = line[k]
                for q in range(1, rz + 1):
                    total += line[held(k - q, Z)] + line[held(k + q, Z)]
                row[k] = total / count


@loop
def descriptors(distance, low, high):
    """In place: exp(-(D - min D) / V) with V the channel mean held between `low` and `high`."""
    channels, X, Y, Z = distance.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        for k in range(Z):
            least = distance[0, i, j, k]
            total = distance.dtype.type(0)
            for c in range(channels):
                d = distance[c, i, j, k]
                least = min(least, d)
                total += d
            spread = min(max(total / channels - least, low), high)
            for c in range(channels):
                distance[c, i, j, k] = np.exp(-(distance[c, i, j, k] - least) / spread)
