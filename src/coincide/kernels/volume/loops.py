"""Compiled maps of how a displacement changes volumes and areas, and what slopes receive of them.

Slopes of the field lie along the voxel axes or, where they are those of ∇u, along those of the
world. With A the affine of the grid, the columns of A + slopes are the edges of a deformed voxel.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop
from coincide.kernels.derivatives.loops import differences


@inline
def edges(field, matrix, i, j, out):
    """A + slopes on one row of voxels, out (3, 3, Z): component, voxel axis."""
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


@inline
def jacobian(field, inverse, i, j, out):
    """I + ∇u on one row of voxels, out (3, 3, Z): component, world axis; exact where u is even."""
    Z = out.shape[2]
    x, y, z = np.empty(Z, out.dtype), np.empty(Z, out.dtype), np.empty(Z, out.dtype)
    for c in range(3):
        differences(field[c], i, j, x, y, z)
        for d in range(3):
            line, one = out[c, d], out.dtype.type(1 if c == d else 0)
            a, b, e = inverse[0, d], inverse[1, d], inverse[2, d]
            for k in range(Z):
                line[k] = one + (a * x[k] + b * y[k] + e * z[k])


@loop
def determinant(field, inverse, out):
    """Out (X, Y, Z) = det(I + ∇u); `inverse` (3, 3) is world to voxel."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        matrix = np.empty((3, 3, Z), field.dtype)
        jacobian(field, inverse, i, j, matrix)
        zero, one, two, line = matrix[:, 0], matrix[:, 1], matrix[:, 2], out[i, j]
        for k in range(Z):
            a, b, d = cross(one, two, k)
            line[k] = zero[0, k] * a + zero[1, k] * b + zero[2, k] * d


@loop
def determinant_stress(field, inverse, gradient, out):
    """What the slopes receive from `determinant`, out (3, 3, X, Y, Z): component, voxel axis."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        matrix = np.empty((3, 3, Z), field.dtype)
        world = np.empty((3, 3, Z), field.dtype)
        jacobian(field, inverse, i, j, matrix)
        g = gradient[i, j]
        for d in range(3):
            # the derivative of a determinant by a column is the cross product of the other two
            one, two, columns = matrix[:, (d + 1) % 3], matrix[:, (d + 2) % 3], world[:, d]
            for k in range(Z):
                a, b, e = cross(one, two, k)
                columns[0, k], columns[1, k], columns[2, k] = g[k] * a, g[k] * b, g[k] * e
        for c in range(3):
            u, v, w = world[c, 0], world[c, 1], world[c, 2]
            for axis in range(3):
                line = out[c, axis, i, j]
                a, b, e = inverse[axis, 0], inverse[axis, 1], inverse[axis, 2]
                for k in range(Z):
                    line[k] = a * u[k] + b * v[k] + e * w[k]


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
    """What the slopes receive from `faces`, out (3, 3, X, Y, Z): component, voxel axis."""
    _, X, Y, Z = field.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        e = np.empty((3, 3, Z), field.dtype)
        s = np.zeros((3, 3, Z), field.dtype)
        normal = np.empty((3, Z), field.dtype)
        edges(field, matrix, i, j, e)
        for axis in range(3):
            # of the squared area |n|², n = a × b: by a it is 2 b × n, by b it is 2 n × a
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
