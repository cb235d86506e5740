"""Compiled loop that sums up the volume of folded simplices between the voxels."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop
from coincide.kernels.regularity.loops import volume


@inline
def lines(field, i, j, start):
    """The three components along one row of voxels.

    They begin at `start`, as an index that is a sum may be negative for all the compiler knows,
    and then the loop is not vectorised.
    """
    return field[0, i, j][start:], field[1, i, j][start:], field[2, i, j][start:]


@loop
def folded(field, matrix, mask, weights, out):
    """Folded and whole volume of each row of cells, in volumes of an undeformed cell.

    A cell has eight voxels as corners. At each, the three edges of the cell span a tetrahedron,
    whose signed volume is a sixth of a determinant by one-sided differences. Four corners that
    are no neighbours, and the tetrahedron between the other four, fill the cell, and so do the
    other four corners with theirs: each set is weighed by a half. Along an axis of one voxel both
    corners are the same, and the edge is that of the undeformed voxel.

    Args:
        field: (3, X, Y, Z) displacement, mm.
        matrix: (3, 3) linear part of the affine of its grid.
        mask: (X, Y, Z) uint8; a corner counts where it is not 0, a tetrahedron between corners
            where it is not 0 at one of its own.
        weights: Of the determinant at a corner, and of that between corners.
        out: (cells along X times cells along Y, 2) float64.
    """
    _, X, Y, Z = field.shape
    f = field.dtype.type
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    unit = f(1) / volume(m00, m01, m02, m10, m11, m12, m20, m21, m22)
    zero, one = f(0), f(1)
    columns, depth = max(Y - 1, 1), max(Z - 1, 1)
    ahead = min(1, Z - 1)
    corner, between = f(weights[0]), f(weights[1])
    for row in prange(len(out)):
        i = row // columns
        j = row - i * columns
        I, J = min(i + 1, X - 1), min(j + 1, Y - 1)
        total = np.zeros(depth, field.dtype)
        whole = np.zeros(depth, field.dtype)
        # the corner at (a, b, c) of the cell: the edge along x depends on b and c, and so on
        for n in range(8):
            a, b, c = n & 1, n >> 1 & 1, n >> 2
            ia, jb, kc = I if a else i, J if b else j, ahead if c else 0
            x0, x1, x2 = lines(field, i, jb, kc)
            X0, X1, X2 = lines(field, I, jb, kc)
            y0, y1, y2 = lines(field, ia, j, kc)
            Y0, Y1, Y2 = lines(field, ia, J, kc)
            z0, z1, z2 = lines(field, ia, jb, 0)
            Z0, Z1, Z2 = lines(field, ia, jb, ahead)
            counts = mask[ia, jb][kc:]
            for k in range(depth):
                det = unit * volume(
                    m00 + X0[k] - x0[k],
                    m01 + Y0[k] - y0[k],
                    m02 + Z0[k] - z0[k],
                    m10 + X1[k] - x1[k],
                    m11 + Y1[k] - y1[k],
                    m12 + Z1[k] - z1[k],
                    m20 + X2[k] - x2[k],
                    m21 + Y2[k] - y2[k],
                    m22 + Z2[k] - z2[k],
                )
                weight = corner if counts[k] else zero
                total[k] += weight * max(-det, zero)
                whole[k] += weight
        # the corners with an even number of steps from the first, then those with an odd one
        for odd in range(2):
            # from the first of the four, or from the last of the odd ones, to the other three
            near, far = (I, i) if odd else (i, I)
            close, away = (J, j) if odd else (j, J)
            low, high = (ahead, 0) if odd else (0, ahead)
            p0, p1, p2 = lines(field, near, close, low)
            q0, q1, q2 = lines(field, far, away, low)
            r0, r1, r2 = lines(field, near, away, high)
            s0, s1, s2 = lines(field, far, close, high)
            pm, qm = mask[near, close][low:], mask[far, away][low:]
            rm, sm = mask[near, away][high:], mask[far, close][high:]
            sign = -one if odd else one
            for k in range(depth):
                # in the undeformed cell these steps are x + y, y + z and z + x
                det = unit * volume(
                    m00 + m01 + sign * (q0[k] - p0[k]),
                    m01 + m02 + sign * (r0[k] - p0[k]),
                    m02 + m00 + sign * (s0[k] - p0[k]),
                    m10 + m11 + sign * (q1[k] - p1[k]),
                    m11 + m12 + sign * (r1[k] - p1[k]),
                    m12 + m10 + sign * (s1[k] - p1[k]),
                    m20 + m21 + sign * (q2[k] - p2[k]),
                    m21 + m22 + sign * (r2[k] - p2[k]),
                    m22 + m20 + sign * (s2[k] - p2[k]),
                )
                weight = between if pm[k] | qm[k] | rm[k] | sm[k] else zero
                total[k] += weight * max(-det, zero)
                # undeformed, its determinant is twice that at a corner
                whole[k] += weight * (one + one)
        turned = filled = 0.0
        for k in range(depth):
            turned += total[k]
            filled += whole[k]
        out[row, 0], out[row, 1] = turned, filled
