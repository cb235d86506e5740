"""Compiled maps of how a displacement changes volumes and areas, and what slopes receive of them.

With A the affine of the grid and G the slopes of the field along the voxel axes, the columns of
A + G are the edges of a deformed voxel.
"""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop
from coincide.kernels.native.slope import differences


@inline
def edges(field, matrix, i, j, out):
    """A + G on one row of voxels, out (3, 3, Z): component, axis."""
    for c in range(3):
        differences(field[c], i, j, out[c, 0], out[c, 1], out[c, 2])
        for e in range(3):
            for k in range(out.shape[2]):
                out[c, e, k] += matrix[c, e]


@inline
def cross(a, b, k):
    """Cross product of two columns (3, Z) at k."""
    return (
        a[1, k] * b[2, k] - a[2, k] * b[1, k],
        a[2, k] * b[0, k] - a[0, k] * b[2, k],
        a[0, k] * b[1, k] - a[1, k] * b[0, k],
    )


@loop
def determinant(field, matrix, unit, out):
    """Out (X, Y, Z) = det(A + G) · unit, for `unit` = 1 / det A."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        e = np.empty((3, 3, Z), field.dtype)
        edges(field, matrix, i, j, e)
        zero, one, two, line = e[:, 0], e[:, 1], e[:, 2], out[i, j]
        for k in range(Z):
            a, b, d = cross(one, two, k)
            line[k] = unit * (zero[0, k] * a + zero[1, k] * b + zero[2, k] * d)


@loop
def determinant_stress(field, matrix, unit, gradient, out):
    """What the slopes receive from `determinant`, out (3, 3, X, Y, Z): component, axis."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        e = np.empty((3, 3, Z), field.dtype)
        edges(field, matrix, i, j, e)
        g = gradient[i, j]
        for axis in range(3):
            one, two = e[:, (axis + 1) % 3], e[:, (axis + 2) % 3]
            u, v, w = out[0, axis, i, j], out[1, axis, i, j], out[2, axis, i, j]
            for k in range(Z):
                a, b, d = cross(one, two, k)
                s = unit * g[k]
                u[k], v[k], w[k] = s * a, s * b, s * d


@loop
def faces(field, matrix, unit, out):
    """Out (3, X, Y, Z): squared area of each face of a deformed voxel, times unit (3)."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        e = np.empty((3, 3, Z), field.dtype)
        edges(field, matrix, i, j, e)
        for axis in range(3):
            one, two = e[:, (axis + 1) % 3], e[:, (axis + 2) % 3]
            line = out[axis, i, j]
            for k in range(Z):
                a, b, d = cross(one, two, k)
                line[k] = unit[axis] * (a * a + b * b + d * d)


@loop
def faces_stress(field, matrix, unit, gradient, out):
    """What the slopes receive from `faces`, out (3, 3, X, Y, Z): component, axis."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        e = np.empty((3, 3, Z), field.dtype)
        s = np.zeros((3, 3, Z), field.dtype)
        normal = np.empty((3, Z), field.dtype)
        edges(field, matrix, i, j, e)
        for axis in range(3):
            p, q = (axis + 1) % 3, (axis + 2) % 3
            one, two = e[:, p], e[:, q]
            factor, g = 2 * unit[axis], gradient[axis, i, j]
            for k in range(Z):
                a, b, d = cross(one, two, k)
                h = factor * g[k]
                normal[0, k], normal[1, k], normal[2, k] = h * a, h * b, h * d
            for k in range(Z):
                a, b, d = cross(two, normal, k)
                s[0, p, k] += a
                s[1, p, k] += b
                s[2, p, k] += d
                a, b, d = cross(normal, one, k)
                s[0, q, k] += a
                s[1, q, k] += b
                s[2, q, k] += d
        out[:, :, i, j] = s
