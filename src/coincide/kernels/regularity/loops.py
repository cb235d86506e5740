"""Compiled loop that sums up how regular a displacement is, without an array of Jacobians."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def volume(a, b, c, d, e, f, g, h, i):
    """Determinant of a 3x3 matrix given by rows."""
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


@loop
def regularity(field, matrix, mask, out):
    """Summary of each row of voxels.

    With G the slopes along the voxel axes, J = (A + G) A⁻¹, so det J = det(A + G) / det A.

    Args:
        field: (3, rows, columns, K) displacement, mm.
        matrix: (3, 3) linear part A of the affine of its grid.
        mask: (rows, columns, K) uint8; voxels that count are not 0.
        out: (rows * columns, 9) float64: voxels folded, voxels folded at a corner, sum and sum of
            squares of log det, least and largest det, sum and largest length of the displacement,
            voxels counted.
    """
    _, rows, columns, K = field.shape
    f = field.dtype.type
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    unit = f(1) / volume(m00, m01, m02, m10, m11, m12, m20, m21, m22)
    half = f(0.5)
    for row in prange(rows * columns):
        i = row // columns
        j = row - i * columns
        # at a border the difference that exists stands for the one that does not
        ia, ib = (i, i - 1) if i > 0 else (min(i + 1, rows - 1), i)
        ic, id_ = (i + 1, i) if i < rows - 1 else (i, max(i - 1, 0))
        ja, jb = (j, j - 1) if j > 0 else (min(j + 1, columns - 1), j)
        jc, jd = (j + 1, j) if j < columns - 1 else (j, max(j - 1, 0))
        det = np.empty(K, field.dtype)
        least = np.empty(K, field.dtype)
        size = np.empty(K, field.dtype)
        u, v, w = field[0], field[1], field[2]
        for k in range(K):
            ka, kb = (k, k - 1) if k > 0 else (min(k + 1, K - 1), k)
            kc, kd = (k + 1, k) if k < K - 1 else (k, max(k - 1, 0))
            # A and the slopes are both mm a voxel: an edge of a voxel, and how it is changed
            # rows: component; backward (a) and forward (b) columns for each axis
            xa0 = m00 + u[ia, j, k] - u[ib, j, k]
            xa1 = m10 + v[ia, j, k] - v[ib, j, k]
            xa2 = m20 + w[ia, j, k] - w[ib, j, k]
            xb0 = m00 + u[ic, j, k] - u[id_, j, k]
            xb1 = m10 + v[ic, j, k] - v[id_, j, k]
            xb2 = m20 + w[ic, j, k] - w[id_, j, k]
            ya0 = m01 + u[i, ja, k] - u[i, jb, k]
            ya1 = m11 + v[i, ja, k] - v[i, jb, k]
            ya2 = m21 + w[i, ja, k] - w[i, jb, k]
            yb0 = m01 + u[i, jc, k] - u[i, jd, k]
            yb1 = m11 + v[i, jc, k] - v[i, jd, k]
            yb2 = m21 + w[i, jc, k] - w[i, jd, k]
            za0 = m02 + u[i, j, ka] - u[i, j, kb]
            za1 = m12 + v[i, j, ka] - v[i, j, kb]
            za2 = m22 + w[i, j, ka] - w[i, j, kb]
            zb0 = m02 + u[i, j, kc] - u[i, j, kd]
            zb1 = m12 + v[i, j, kc] - v[i, j, kd]
            zb2 = m22 + w[i, j, kc] - w[i, j, kd]
            c0, c1, c2 = half * (xa0 + xb0), half * (xa1 + xb1), half * (xa2 + xb2)
            d0, d1, d2 = half * (ya0 + yb0), half * (ya1 + yb1), half * (ya2 + yb2)
            e0, e1, e2 = half * (za0 + zb0), half * (za1 + zb1), half * (za2 + zb2)
            det[k] = unit * volume(c0, d0, e0, c1, d1, e1, c2, d2, e2)
            # the eight corners share four cross products of the second and third columns
            low = f(np.inf)
            for n in range(4):
                p0, p1, p2 = (yb0, yb1, yb2) if n & 1 else (ya0, ya1, ya2)
                q0, q1, q2 = (zb0, zb1, zb2) if n & 2 else (za0, za1, za2)
                r0, r1, r2 = p1 * q2 - p2 * q1, p2 * q0 - p0 * q2, p0 * q1 - p1 * q0
                low = min(low, unit * (xa0 * r0 + xa1 * r1 + xa2 * r2))
                low = min(low, unit * (xb0 * r0 + xb1 * r1 + xb2 * r2))
            least[k] = low
            size[k] = u[i, j, k] ** 2 + v[i, j, k] ** 2 + w[i, j, k] ** 2
        folded = corners = voxels = 0
        logs = squares = length = 0.0
        lowest, highest, longest = np.inf, -np.inf, 0.0
        for k in range(K):
            if mask[i, j, k]:
                voxels += 1
                folded += det[k] <= 0
                # central differences are none of the eight combinations, so either may fold alone
                corners += (least[k] <= 0) | (det[k] <= 0)
                value = np.log(min(max(np.float64(det[k]), 1e-9), 1e9))
                logs += value
                squares += value * value
                lowest, highest = min(lowest, det[k]), max(highest, det[k])
                length += np.sqrt(size[k])
                longest = max(longest, size[k])
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = folded, corners, logs, squares
        out[row, 4], out[row, 5], out[row, 6] = lowest, highest, length
        out[row, 7], out[row, 8] = np.sqrt(longest), voxels
