"""Compiled slopes of a field along the voxel axes, what is made of them, and their adjoints.

A slope is a central difference inside and a one-sided one at the border; zero along an axis of one
voxel.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def differences(volume, i, j, x, y, z):
    """Slopes of (X, Y, Z) along the three axes on one row of voxels, into lines of Z."""
    X, Y, Z = volume.shape
    f = volume.dtype.type
    i1, i2, j1, j2 = max(i - 1, 0), min(i + 1, X - 1), max(j - 1, 0), min(j + 1, Y - 1)
    # two voxels apart inside, one at the border; of an axis of one voxel the difference is zero
    sx, sy = f(1) / f(max(i2 - i1, 1)), f(1) / f(max(j2 - j1, 1))
    a, b, d, e, line = volume[i1, j], volume[i2, j], volume[i, j1], volume[i, j2], volume[i, j]
    for k in range(Z):
        x[k] = sx * (b[k] - a[k])
        y[k] = sy * (e[k] - d[k])
    for k in range(1, Z - 1):
        z[k] = f(0.5) * (line[k + 1] - line[k - 1])
    # along the row the ends are done apart, so that the loop over the middle vectorises
    last = max(Z - 2, 0)
    z[0] = line[min(1, Z - 1)] - line[0]
    z[Z - 1] = line[Z - 1] - line[last]


@inline
def shares(i, n, f):
    """Where the slopes at two voxels reach voxel i: the voxels and the factors, first minus second.

    Slope m is factor times what lies at m + 1 less what lies at m - 1, both held inside. At the
    ends the difference is over one voxel, so the factor is one and not a half; and an end voxel
    enters its own slope, with the sign that its place in the difference has.
    """
    first = f(1) if i == 1 else f(0.5)
    second = f(1) if i == n - 2 else f(0.5)
    if i == 0:
        first = f(-1)
    if i == n - 1:
        second = f(-1)
    if n == 1:
        first, second = f(0), f(0)
    return max(i - 1, 0), min(i + 1, n - 1), first, second


@loop
def gather(stress, out):
    """Adjoint of the slopes: out (X, Y, Z) from what each of the three, (3, X, Y, Z), receives."""
    X, Y, Z = out.shape
    f = out.dtype.type
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        i1, i2, ai, bi = shares(i, X, f)
        j1, j2, aj, bj = shares(j, Y, f)
        a, b, d, e = stress[0, i1, j], stress[0, i2, j], stress[1, i, j1], stress[1, i, j2]
        p, line = stress[2, i, j], out[i, j]
        for k in range(Z):
            line[k] = ai * a[k] - bi * b[k] + aj * d[k] - bj * e[k]
        # both slopes that look at these voxels are central; nearer to an end one is not
        for k in range(2, Z - 2):
            line[k] += f(0.5) * (p[k - 1] - p[k + 1])
        for n in range(4):
            # the two voxels at each end, each once
            k = n if n < 2 else Z - 4 + n
            if k < Z and (n < 2 or k > 1):
                k1, k2, ak, bk = shares(k, Z, f)
                line[k] += ak * p[k1] - bk * p[k2]


@loop
def slopes(field, inverse, out):
    """World slopes: out (C, 3, X, Y, Z) of (C, X, Y, Z); `inverse` (3, 3) is world to voxel."""
    channels, X, Y, Z = field.shape
    for row in prange(channels * X):
        c = row // X
        i = row - c * X
        x, y, z = np.empty(Z, field.dtype), np.empty(Z, field.dtype), np.empty(Z, field.dtype)
        for j in range(Y):
            differences(field[c], i, j, x, y, z)
            for d in range(3):
                line = out[c, d, i, j]
                a, b, e = inverse[0, d], inverse[1, d], inverse[2, d]
                for k in range(Z):
                    line[k] = a * x[k] + b * y[k] + e * z[k]


@loop
def turned(gradient, inverse, out):
    """What the slopes along the voxel axes receive from the world slopes, both (3, X, Y, Z)."""
    _, X, Y, Z = out.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        u, v, w = gradient[0, i, j], gradient[1, i, j], gradient[2, i, j]
        for e in range(3):
            line = out[e, i, j]
            # a row of the matrix where `slopes` takes a column: its transpose
            a, b, d = inverse[e, 0], inverse[e, 1], inverse[e, 2]
            for k in range(Z):
                line[k] = a * u[k] + b * v[k] + d * w[k]


@loop
def squared(field, metric, out):
    """Out (X, Y, Z) = sum over channels of the squared length of the world slope.

    `metric` (3, 3) turns slopes along the voxel axes into a squared length in the world.
    """
    channels, X, Y, Z = field.shape
    f = field.dtype.type
    m00, m11, m22 = metric[0, 0], metric[1, 1], metric[2, 2]
    m01, m02, m12 = f(2) * metric[0, 1], f(2) * metric[0, 2], f(2) * metric[1, 2]
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        x, y, z = np.empty(Z, field.dtype), np.empty(Z, field.dtype), np.empty(Z, field.dtype)
        line = out[i, j]
        line[:] = f(0)
        for c in range(channels):
            differences(field[c], i, j, x, y, z)
            for k in range(Z):
                a, b, d = x[k], y[k], z[k]
                line[k] += a * (m00 * a + m01 * b + m02 * d) + b * (m11 * b + m12 * d) + m22 * d * d


@loop
def squared_stress(volume, metric, gradient, out):
    """What the slopes of one channel (X, Y, Z) receive from `squared`, out (3, X, Y, Z)."""
    X, Y, Z = volume.shape
    f = volume.dtype.type
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        x, y, z = np.empty(Z, volume.dtype), np.empty(Z, volume.dtype), np.empty(Z, volume.dtype)
        differences(volume, i, j, x, y, z)
        g = gradient[i, j]
        for e in range(3):
            line = out[e, i, j]
            a, b, d = f(2) * metric[e, 0], f(2) * metric[e, 1], f(2) * metric[e, 2]
            for k in range(Z):
                line[k] = g[k] * (a * x[k] + b * y[k] + d * z[k])
